//! Removing what nobody uses.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Cache, ENTRY_PREFIXES, GIVEN_LOCK, GIVEN_PREFIX, INCOMING_PREFIX, LEAVING_PREFIX, LOCKS};
use crate::cache::lock::{Kind, try_lock};
use crate::disk;
use crate::sharing;

/// What a process that died had fetched is kept for so long, for the one that is started in its place.
const UNFINISHED_IS_KEPT_FOR: Duration = Duration::from_secs(600);
/// A folder of a call is locked a moment after it was made.
const GIVEN_IS_KEPT_FOR: Duration = Duration::from_secs(60);

struct Entry {
    name: String,
    bytes: u64,
    last_used: SystemTime,
}

/// Removes entries until the rest takes at most `capacity` bytes, and what processes left that died.
pub(super) fn to_size(cache: &Cache, capacity: u64, keep: &HashSet<OsString>) {
    remove_entries(cache, keep, |total| total > capacity);
    leftovers(cache, keep);
}

/// Removes what processes left that died, but for what those wanted that are named.
pub(super) fn leftovers(cache: &Cache, keep: &HashSet<OsString>) {
    for name in names(&cache.folder) {
        let path = cache.folder.join(&name);
        let age = age(&path);
        if let Some(entry) = name.strip_prefix(INCOMING_PREFIX) {
            let is_old = age > UNFINISHED_IS_KEPT_FOR && !keep.contains(&OsString::from(entry));
            let lock = cache.lock_file(entry, "fetch");
            if is_old && matches!(try_lock(&lock, Kind::Exclusive), Ok(Some(_))) {
                remove_folder(&path);
            }
        } else if name.starts_with(GIVEN_PREFIX) && age > GIVEN_IS_KEPT_FOR {
            if matches!(try_lock(&path.join(GIVEN_LOCK), Kind::Exclusive), Ok(Some(_))) {
                remove_folder(&path);
            }
        } else if name.starts_with(LEAVING_PREFIX) {
            remove_folder(&path);
        }
    }
    remove_stray_locks(cache);
}

/// Removes entries until `needed` more bytes fit the cache's size and the disk; answers what is free on it.
pub(super) fn make_room(cache: &Cache, needed: u64) -> Option<u64> {
    let keep = HashSet::new();
    if cache.capacity > 0 {
        let rest = cache.capacity.saturating_sub(needed);
        remove_entries(cache, &keep, |total| total > rest);
    }
    remove_entries(cache, &keep, |_| {
        disk::free_bytes(&cache.folder).is_some_and(|free| free < needed)
    });
    disk::free_bytes(&cache.folder)
}

/// Removes the least recently used entries while there is too much, given the bytes of all.
fn remove_entries(cache: &Cache, keep: &HashSet<OsString>, is_too_much: impl Fn(u64) -> bool) {
    let mut entries: Vec<_> = names(&cache.folder)
        .into_iter()
        .filter(|name| ENTRY_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| describe(cache, name))
        .collect();
    entries.sort_by_key(|entry| entry.last_used);
    let mut total = entries.iter().map(|entry| entry.bytes).sum();
    for entry in entries {
        if !is_too_much(total) {
            return;
        }
        if !keep.contains(&OsString::from(&entry.name)) && remove_unused(cache, &entry.name) {
            total -= entry.bytes;
        }
    }
}

/// Removes an entry unless somebody uses it.
fn remove_unused(cache: &Cache, name: &str) -> bool {
    let lock = cache.lock_file(name, "use");
    let _ = sharing::create_folders(&cache.folder.join(LOCKS));
    let Ok(Some(held)) = try_lock(&lock, Kind::Exclusive) else {
        return false;
    };
    // Renamed first, so that nobody ever finds a part of it.
    let leaving = cache.folder.join(format!("{LEAVING_PREFIX}{name}"));
    let renamed = std::fs::rename(cache.folder.join(name), &leaving);
    let removed = match renamed {
        Ok(()) => {
            tracing::info!(
                entry = name,
                "a version that nobody uses is removed from the model cache"
            );
            remove_folder(&leaving)
        }
        Err(error) => {
            tracing::warn!(entry = name, %error, "a version that nobody uses stays in the model cache");
            false
        }
    };
    // Before the lock is given back: whoever waits for it looks whether its file is still there.
    let _ = std::fs::remove_file(&lock);
    drop(held);
    removed
}

/// Locks of what is neither there nor wanted.
fn remove_stray_locks(cache: &Cache) {
    let folder = cache.folder.join(LOCKS);
    for name in names(&folder) {
        let Some((entry, _)) = name.rsplit_once('.') else {
            continue;
        };
        if cache.entry(entry).exists() || cache.incoming(entry).exists() {
            continue;
        }
        let path = folder.join(&name);
        if let Ok(Some(held)) = try_lock(&path, Kind::Exclusive) {
            let _ = std::fs::remove_file(&path);
            drop(held);
        }
    }
}

fn describe(cache: &Cache, name: String) -> Entry {
    let folder = cache.folder.join(&name);
    let last_used = modified(&cache.lock_file(&name, "use")).or_else(|| modified(&folder));
    Entry {
        bytes: size_of_folder(&folder),
        last_used: last_used.unwrap_or(SystemTime::UNIX_EPOCH),
        name,
    }
}

fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of_folder(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn age(path: &Path) -> Duration {
    modified(path)
        .and_then(|time| time.elapsed().ok())
        .unwrap_or_default()
}

fn remove_folder(path: &Path) -> bool {
    match std::fs::remove_dir_all(path) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(folder = %path.display(), %error, "a folder of the model cache cannot be removed");
            false
        }
    }
}
