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
