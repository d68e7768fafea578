//! Publishers that are paused at the worst moment, step by step, in a folder.

use std::collections::BTreeMap;

use super::*;
use crate::digest::Digest;
use crate::location::Location;

/// A version's only file in a new folder, and its manifest.
async fn version(content: &str) -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), content).unwrap();
    let files = vec![ManifestFile::describe(folder.path(), "model.onnx").await.unwrap()];
    let manifest = Manifest {
        format_version: 1,
        model: "tumour".into(),
        version: 1,
        digest: Digest::of_files(&files),
        files,
        inputs: vec![],
        outputs: vec![],
        task: None,
        feature_names: vec![],
        class_labels: vec![],
        class_values: vec![],
        opset: BTreeMap::new(),
        ir_version: 8,
        parity: None,
        source: None,
    };
    (folder, manifest)
}

/// The same for a version of this number with a configuration.
async fn configured(number: u64, config: &str) -> (tempfile::TempDir, Manifest) {
    let (folder, mut manifest) = version("model").await;
    std::fs::write(folder.path().join(CONFIG_FILE), config).unwrap();
    let config = ManifestFile::describe(folder.path(), CONFIG_FILE).await.unwrap();
    manifest.files.push(config);
    manifest.digest = Digest::of_files(&manifest.files);
    manifest.version = number;
    (folder, manifest)
}

struct World {
    root: tempfile::TempDir,
    repository: Repository,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let repository = Repository::open_with(Location::Folder(root.path().to_owned()), None).unwrap();
        Self { root, repository }
    }

    fn stored(&self) -> String {
        std::fs::read_to_string(self.root.path().join("tumour/1/model.onnx")).unwrap()
    }

    fn model_config(&self) -> String {
        std::fs::read_to_string(self.root.path().join("tumour/config.pbtxt")).unwrap()
    }
}

#[tokio::test]
async fn a_publisher_that_wakes_after_the_version_is_complete_does_not_touch_it() {
    let world = World::new();
    let (late_folder, late) = version("late").await;
    let (folder, manifest) = version("complete").await;
    world.repository.publish(&manifest, folder.path()).await.unwrap();
    let error = world
        .repository
        .put(&late, &late.files[0], late_folder.path())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, RepositoryError::VersionConflict { .. }),
        "{error}"
    );
    assert_eq!(world.stored(), "complete");
}

#[tokio::test]
async fn bytes_that_were_taken_for_a_dead_publishers_come_back_when_it_was_not_dead() {
    let world = World::new();
    let (alive_folder, alive) = version("alive").await;
    let (other_folder, other) = version("other").await;
    let put = world
        .repository
        .put(&alive, &alive.files[0], alive_folder.path())
        .await;
    assert!(put.unwrap().is_none());
    let replaced = world
        .repository
        .put(&other, &other.files[0], other_folder.path())
        .await;
    let replaced = replaced.unwrap().unwrap();
    assert_eq!(world.stored(), "other");
    let manifest = Bytes::from(alive.to_json());
    world
        .repository
        .store
        .create("tumour/1/manifest.json", manifest)
        .await
        .unwrap();
    world.repository.put_back(&other, vec![replaced]).await.unwrap();
    assert_eq!(world.stored(), "alive");
}

#[tokio::test]
async fn a_publisher_whose_manifest_won_restores_what_another_wrote_before_it() {
    let world = World::new();
    let (folder, manifest) = version("winner").await;
    let (other_folder, other) = version("other").await;
    world
        .repository
        .write(&manifest, folder.path(), &mut Vec::new())
        .await
        .unwrap();
    std::fs::copy(
        other_folder.path().join("model.onnx"),
        world.root.path().join("tumour/1/model.onnx"),
    )
    .unwrap();
    world
        .repository
        .make_whole(&manifest, folder.path())
        .await
        .unwrap();
    assert_eq!(world.stored(), "winner");
    let error = world
        .repository
        .publish(&other, other_folder.path())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RepositoryError::VersionConflict { .. }),
        "{error}"
    );
    assert_eq!(world.stored(), "winner");
}

#[tokio::test]
async fn the_models_configuration_is_the_newest_versions_whoever_is_slower() {
    let world = World::new();
    let repository = &world.repository;
    let (older_folder, older) = configured(1, "older").await;
    let (newer_folder, newer) = configured(2, "newer").await;
    // The newer version is not complete yet when the older one's publisher looks.
    repository
        .write_files(&newer, newer_folder.path(), &mut Vec::new())
        .await
        .unwrap();
    repository.publish(&older, older_folder.path()).await.unwrap();
    assert_eq!(world.model_config(), "older");
    repository.complete(&newer, newer_folder.path()).await.unwrap();
    assert_eq!(world.model_config(), "newer");
    // The older one's publisher goes on, or another one does its work again.
    for first_newer in [1, 2] {
        repository
            .put_model_config(&older, older_folder.path(), first_newer)
            .await
            .unwrap();
    }
    assert_eq!(world.model_config(), "newer");
}

#[tokio::test]
async fn a_publisher_with_other_bytes_does_not_leave_its_configuration() {
    let world = World::new();
    let (folder, manifest) = configured(1, "winner").await;
    let (other_folder, other) = configured(1, "other").await;
    world.repository.publish(&manifest, folder.path()).await.unwrap();
    world
        .repository
        .put_model_config(&other, other_folder.path(), 1)
        .await
        .unwrap();
    assert_eq!(world.model_config(), "winner");
}
