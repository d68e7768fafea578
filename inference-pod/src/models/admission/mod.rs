//! Whether a version fits the memory, asked before it is opened: what does not is refused, and what serves goes on.

mod usage;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::memory::Budget;
use usage::Usage;

/// What is asked and against what.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionSettings {
    /// Whether there is a check at all.
    pub check: bool,
    /// The most memory for models and the server itself, in the place of the container's limit less that for requests.
    pub max_model_memory: Option<u64>,
}

/// Why a version is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    needed: u64,
    files: u64,
    room: Room,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let room = &self.room;
        write!(
            formatter,
            "it does not fit the memory: it needs about {} MiB (its files have {}), and {} are free: of {} MiB {} are in use",
            mebibytes_up(self.needed),
            mebibytes_up(self.files),
            mebibytes(room.free()),
            mebibytes(room.limit),
            mebibytes_up(room.used),
        )?;
        let remedy = match room.for_requests {
            Some(bytes) => {
                let bytes = mebibytes_up(bytes);
                write!(
                    formatter,
                    " and {bytes} set aside for requests (--max-request-memory)"
                )?;
                "raise the container's memory limit"
            }
            None => "raise --max-model-memory",
        };
        write!(
            formatter,
            "; {remedy}, unload another model, or load it unchecked with --model-load-memory-check=false"
        )
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

fn mebibytes_up(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    limit: u64,
    /// In use, or promised to versions that are being opened.
    used: u64,
    /// Kept for requests, where the limit is the container's.
    for_requests: Option<u64>,
}

impl Room {
    fn free(&self) -> u64 {
        self.limit
            .saturating_sub(self.for_requests.unwrap_or_default())
            .saturating_sub(self.used)
    }
}

/// The check. One for all loads of a server.
pub struct Admission {
    settings: AdmissionSettings,
    budget: Arc<Budget>,
    promised: Arc<Promised>,
}

/// What versions that are being opened were promised.
#[derive(Default)]
struct Promised {
    bytes: Mutex<u64>,
    given_back: Notify,
}

/// A promise of memory; given back when the version is open, and its memory is counted as used, or failed.
pub(super) struct Promise {
    promised: Arc<Promised>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        *self.promised.bytes.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.promised.given_back.notify_waiters();
    }
}

impl Admission {
    /// Nothing is promised yet.
    pub fn new(settings: AdmissionSettings, budget: Arc<Budget>) -> Self {
        Self {
            settings,
            budget,
            promised: Arc::default(),
        }
    }

    /// Promises memory to a version in `folder` with so many instances. While others are being opened it waits for what they
    /// leave.
    pub(super) async fn admit(&self, folder: &Path, instances: usize) -> Result<Promise, Refusal> {
        let files = size_of_files(folder);
        let needed = estimate(files, instances);
        loop {
            let given_back = self.promised.given_back.notified();
            tokio::pin!(given_back);
            // Registered before the look, so that what is given back in between is not missed.
            given_back.as_mut().enable();
            match self.try_to_promise(files, needed) {
                Ok(promise) => return Ok(promise),
                Err((refusal, 0)) => return Err(refusal),
                Err(_) => given_back.await,
            }
        }
    }

    /// The promise, or the refusal and what is promised to others.
    fn try_to_promise(&self, files: u64, needed: u64) -> Result<Promise, (Refusal, u64)> {
        let mut promised = self.promised.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = self.room(*promised)
            && room.free() < needed
        {
            return Err((Refusal { needed, files, room }, *promised));
        }
        *promised += needed;
        Ok(Promise {
            promised: Arc::clone(&self.promised),
            bytes: needed,
        })
    }

    /// What requests may still take: those in flight have theirs within what is in use.
    fn not_taken_by_requests(&self) -> u64 {
        let limit = self.budget.limit().unwrap_or_default();
        limit.saturating_sub(self.budget.taken()) as u64
    }

    /// Memory now; nothing where there is no limit or none is to be checked.
    fn room(&self, promised: u64) -> Option<Room> {
        if !self.settings.check {
            return None;
        }
        let (usage, for_requests) = match self.settings.max_model_memory {
            Some(limit) => (
                Usage {
                    limit,
                    used: usage::of_process()?,
                },
                None,
            ),
            None => {
                let for_requests = self.not_taken_by_requests();
                (usage::of_container()?, Some(for_requests))
            }
        };
        Some(Room {
            limit: usage.limit,
            used: usage.used + promised,
            for_requests,
        })
    }
}

/// Beside the weights: the graph, its plan, the first runs.
const SMALL_CHANGE_BYTES: u64 = 8 << 20;

/// What a version takes while it is opened, which is more than afterwards. Measured, see docs/model-loading.md.
fn estimate(files: u64, instances: usize) -> u64 {
    // Several are lent weights that were read for them and share what their kernels make of these, however many they are.
    let shared = if instances > 1 { files.saturating_mul(2) } else { 0 };
    let opening = files.saturating_mul(5) / 2;
    opening.saturating_add(shared).saturating_add(SMALL_CHANGE_BYTES)
}

/// Sizes of all files of a version: the graph and its external weights are nearly all of them.
fn size_of_files(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| {
        // Links are followed: mounted volumes are made of them.
        match std::fs::metadata(entry.path()) {
            Ok(found) if found.is_dir() => size_of_files(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        }
    };
    entries.filter_map(Result::ok).map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_model_memory: Option<u64>) -> Admission {
        let settings = AdmissionSettings {
            check: true,
            max_model_memory,
        };
        Admission::new(settings, Budget::of(None))
    }

    fn model_of(bytes: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("model.onnx")).unwrap();
        file.set_len(bytes / 2).unwrap();
        std::fs::create_dir(folder.path().join("weights")).unwrap();
        let file = std::fs::File::create(folder.path().join("weights/part")).unwrap();
        file.set_len(bytes / 2).unwrap();
        folder
    }

    #[tokio::test]
    async fn a_version_that_does_not_fit_is_refused_with_the_numbers() {
        let folder = model_of(100 << 20);
        let enough = 1 << 30;
        let error = admission(Some(64 << 20))
            .admit(folder.path(), 1)
            .await
            .err()
            .unwrap();
        let text = error.to_string();
        for part in [
            "needs about 258 MiB (its files have 100)",
            "of 64 MiB",
            "raise --max-model-memory",
            "--model-load-memory-check=false",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(admission(Some(enough)).admit(folder.path(), 1).await.is_ok());
        assert!(admission(Some(enough)).admit(folder.path(), 12).await.is_ok());
        let unchecked = AdmissionSettings {
            check: false,
            max_model_memory: Some(1),
        };
        let unchecked = Admission::new(unchecked, Budget::of(None));
        assert!(unchecked.admit(folder.path(), 1).await.is_ok());
    }

    #[tokio::test]
    async fn versions_that_fit_one_after_the_other_are_opened_one_after_the_other() {
        let folder = model_of(100 << 20);
        let used = usage::of_process().unwrap();
        let admission = admission(Some(used + (500 << 20)));
        let first = admission.admit(folder.path(), 1).await.ok().unwrap();
        let mut second = Box::pin(admission.admit(folder.path(), 1));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_ok());
    }

    #[test]
    fn requests_in_flight_are_counted_once() {
        let budget = Budget::of(Some(1000));
        let request = budget.reserve(2);
        request.grow(200).unwrap();
        let settings = AdmissionSettings {
            check: true,
            max_model_memory: None,
        };
        let admission = Admission::new(settings, Arc::clone(&budget));
        assert_eq!(admission.not_taken_by_requests(), 600);
    }

    #[test]
    fn several_instances_need_two_more_copies_however_many_they_are() {
        let files = 100 << 20;
        assert_eq!(estimate(files, 2) - estimate(files, 1), 2 * files);
        assert_eq!(estimate(files, 12), estimate(files, 2));
    }

    #[test]
    fn the_memory_for_requests_is_not_for_models() {
        let room = Room {
            limit: 512 << 20,
            used: 100 << 20,
            for_requests: Some(256 << 20),
        };
        assert_eq!(room.free(), 156 << 20);
        let refusal = Refusal {
            needed: 200 << 20,
            files: 64 << 20,
            room,
        };
        let text = refusal.to_string();
        for part in [
            "needs about 200 MiB",
            "156 are free: of 512 MiB 100 are in use and 256 set aside for requests (--max-request-memory)",
            "raise the container's memory limit",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
