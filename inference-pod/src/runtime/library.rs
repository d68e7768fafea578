//! Finding `libonnxruntime.so`.

use std::path::{Path, PathBuf};

const FILE: &str = "libonnxruntime.so";
const FOLDERS: [&str; 4] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// The library to load: the one that was asked for, else the first in the usual places and in the project's cache.
pub fn find(asked_for: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = asked_for {
        anyhow::ensure!(
            path.is_file(),
            "--onnxruntime-library (ORT_DYLIB_PATH) {} is not a file",
            path.display()
        );
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned));
    let cache = cache_folder();
    let usual = beside.into_iter().chain(FOLDERS.map(PathBuf::from));
    usual
        .filter_map(|folder| library_in(&folder))
        .next()
        .or_else(|| cache.as_deref().and_then(newest_cached))
        .ok_or_else(|| {
            anyhow::anyhow!(
                "ONNX Runtime's {FILE} is neither beside this program, nor in {}, nor in {}; \
                 run inference-pod/fetch-onnxruntime, or name it with --onnxruntime-library or ORT_DYLIB_PATH",
                FOLDERS.join(", "),
                cache.unwrap_or_default().display()
            )
        })
}

fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let root = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(root.join("aiops/onnxruntime"))
}

/// `libonnxruntime.so` or `libonnxruntime.so.1.2.3` of a folder.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(FILE);
    if plain.is_file() {
        return Some(plain);
    }
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("libonnxruntime.so."))
    })
}

/// The library of the highest version folder.
fn newest_cached(cache: &Path) -> Option<PathBuf> {
    let version = |folder: &Path| -> Vec<u32> {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    let mut folders: Vec<_> = std::fs::read_dir(cache)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort_by_key(|folder| version(folder));
    folders.iter().rev().find_map(|folder| library_in(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_cached_version_wins() {
        let cache = tempfile::tempdir().unwrap();
        for (version, file) in [
            ("1.9.0", FILE),
            ("1.32.0", "libonnxruntime.so.1.32.0"),
            ("1.100.0", "readme"),
        ] {
            std::fs::create_dir(cache.path().join(version)).unwrap();
            std::fs::write(cache.path().join(version).join(file), "").unwrap();
        }
        let found = newest_cached(cache.path()).unwrap();
        assert!(
            found.ends_with("1.32.0/libonnxruntime.so.1.32.0"),
            "{}",
            found.display()
        );
    }

    #[test]
    fn a_library_that_was_asked_for_must_be_there() {
        let error = find(Some(Path::new("/absent.so"))).unwrap_err().to_string();
        assert!(error.contains("/absent.so"), "{error}");
    }
}
