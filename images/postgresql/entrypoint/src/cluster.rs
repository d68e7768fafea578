//! Makes the data directory when there is none. Killed at any point, the next start begins again or goes on.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::settings::{SUPERUSER, Settings, succeed};

/// What is at `PGDATA`.
#[derive(Debug, PartialEq)]
enum Found {
    /// A data directory that `initdb` finished: only a finished one is ever renamed to this path.
    Initialised,
    /// Nothing, or an empty folder.
    Nothing,
}

/// Runs `initdb` into a folder beside the data directory and renames it when it is complete.
pub fn ensure_initialised(settings: &Settings) -> anyhow::Result<()> {
    let data_directory = &settings.data_directory;
    if look(data_directory)? == Found::Nothing {
        let unfinished = beside(data_directory);
        remove(&unfinished)?;
        succeed(
            settings
                .program("initdb")
                .arg("--pgdata")
                .arg(&unfinished)
                .args([
                    "--username",
                    SUPERUSER,
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--data-checksums",
                ])
                .args(["--auth-local=peer", "--auth-host=scram-sha-256"]),
        )?;
        fs::rename(&unfinished, data_directory).with_context(|| {
            format!(
                "renaming {} to {}",
                unfinished.display(),
                data_directory.display()
            )
        })?;
        synchronise_parent(data_directory)?;
    }
    // A volume's fsGroup may add write access for the group, with which PostgreSQL refuses to start.
    fs::set_permissions(data_directory, Permissions::from_mode(0o700))
        .with_context(|| format!("setting mode 0700 on {}", data_directory.display()))
}

fn look(data_directory: &Path) -> anyhow::Result<Found> {
    if data_directory.join("PG_VERSION").exists() {
        return Ok(Found::Initialised);
    }
    match fs::read_dir(data_directory).map(|mut entries| entries.next().is_none()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error).with_context(|| format!("reading {} (PGDATA)", data_directory.display())),
        Ok(true) => Ok(Found::Nothing),
        Ok(false) => bail!(
            "{} (PGDATA) holds files but no PG_VERSION, so it is not a data directory of PostgreSQL: \
             mount another volume, or empty it if nothing there is needed",
            data_directory.display()
        ),
    }
}

/// The folder that `initdb` fills, on the same file system so that the rename is atomic.
fn beside(data_directory: &Path) -> PathBuf {
    let mut name = OsString::from(data_directory);
    name.push(".unfinished");
    name.into()
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}, left by an interrupted start", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Without this a power failure could undo the rename after the server has acknowledged its first transactions.
fn synchronise_parent(data_directory: &Path) -> anyhow::Result<()> {
    let parent = data_directory.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("synchronising {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A volume and an `initdb` that does what `script` says with the folder in `$2`.
    fn volume(script: &str) -> (TempDir, Settings) {
        let root = tempfile::tempdir().unwrap();
        let binaries = root.path().join("bin");
        fs::create_dir(&binaries).unwrap();
        let initdb = binaries.join("initdb");
        fs::write(&initdb, format!("#!/bin/sh\nset -e\n{script}\n")).unwrap();
        fs::set_permissions(&initdb, Permissions::from_mode(0o755)).unwrap();
        let settings = Settings {
            data_directory: root.path().join("pgdata"),
            binaries,
            configuration: root.path().to_owned(),
            database: "mlflow".into(),
            role: "mlflow".into(),
            password: "secret".into(),
        };
        (root, settings)
    }

    const COMPLETE: &str = "mkdir \"$2\"; echo 15 > \"$2/PG_VERSION\"; echo once >> \"$2/made\"";

    #[test]
    fn a_second_start_leaves_the_data_alone() {
        let (_root, settings) = volume(COMPLETE);
        ensure_initialised(&settings).unwrap();
        fs::write(settings.data_directory.join("row"), "kept").unwrap();
        ensure_initialised(&settings).unwrap();
        assert_eq!(
            fs::read_to_string(settings.data_directory.join("row")).unwrap(),
            "kept"
        );
        assert_eq!(
            fs::read_to_string(settings.data_directory.join("made")).unwrap(),
            "once\n"
        );
    }

    #[test]
    fn an_initdb_that_dies_half_way_leaves_nothing_that_looks_finished_and_the_next_start_begins_again() {
        let (_root, settings) = volume("mkdir \"$2\"; echo 15 > \"$2/PG_VERSION\"; kill -9 $$");
        assert!(ensure_initialised(&settings).is_err());
        assert!(!settings.data_directory.exists());

        // mkdir of the next initdb fails unless the leftover is gone.
        fs::write(
            settings.binaries.join("initdb"),
            format!("#!/bin/sh\nset -e\n{COMPLETE}\n"),
        )
        .unwrap();
        ensure_initialised(&settings).unwrap();
        assert!(settings.data_directory.join("PG_VERSION").exists());
        assert!(!beside(&settings.data_directory).exists());
    }

    #[test]
    fn a_folder_of_other_files_is_refused_and_not_touched() {
        let (_root, settings) = volume(COMPLETE);
        fs::create_dir(&settings.data_directory).unwrap();
        fs::write(settings.data_directory.join("thesis.txt"), "irreplaceable").unwrap();
        let message = format!("{:#}", ensure_initialised(&settings).unwrap_err());
        assert!(message.contains("no PG_VERSION"), "{message}");
        assert!(settings.data_directory.join("thesis.txt").exists());
    }

    #[test]
    fn the_mode_that_a_volume_with_a_group_gives_is_put_right() {
        let (_root, settings) = volume(COMPLETE);
        ensure_initialised(&settings).unwrap();
        fs::set_permissions(&settings.data_directory, Permissions::from_mode(0o2770)).unwrap();
        ensure_initialised(&settings).unwrap();
        let mode = fs::metadata(&settings.data_directory)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
