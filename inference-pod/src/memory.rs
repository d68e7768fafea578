//! The memory that requests in flight may take together, so that overload ends in refusals rather than in a killed pod.
//!
//! What a request takes is estimated from its size on the wire: decoded, put into a batch and answered it is several
//! times as large. Answers and models are not counted; the other half of the container's memory is for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{ErrorKind, InferenceError, Result};

/// A v1 hierarchy without a limit says the largest multiple of a page instead.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// The bound over all requests of the process; none at all where no limit is known.
pub struct Budget {
    limit: Option<usize>,
    taken: AtomicUsize,
}

/// One request's share of the budget, given back when it is dropped. Whatever holds the request's bytes holds it too: a
/// caller that goes away leaves them with the thread that decodes them or in a queue.
pub struct Reservation {
    budget: Arc<Budget>,
    expansion: usize,
    received: AtomicUsize,
    /// What many small parts take beyond that.
    beyond: AtomicUsize,
}

impl Budget {
    /// The given bound, else half of the container's memory limit, else none.
    pub fn new(asked_for: Option<usize>) -> Arc<Self> {
        let by_container = || {
            let limit = container_limit()? / 2;
            usize::try_from(limit).ok()
        };
        Self::of(asked_for.or_else(by_container))
    }

    /// With this bound.
    pub fn of(limit: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            taken: AtomicUsize::new(0),
        })
    }

    /// The bound.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Size of the largest request that fits when nothing else is there.
    pub fn largest_request(&self, expansion: usize) -> Option<usize> {
        self.limit.map(|limit| limit / expansion)
    }

    /// A share for a request that takes `expansion` times its size; empty yet.
    pub fn reserve(self: &Arc<Self>, expansion: usize) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            expansion,
            received: AtomicUsize::new(0),
            beyond: AtomicUsize::new(0),
        }
    }
}

impl Reservation {
    /// Refuses a request of this size if it would not even fit alone.
    pub fn check(&self, size: usize) -> Result<()> {
        let Some(largest) = self.budget.largest_request(self.expansion) else {
            return Ok(());
        };
        if size <= largest {
            return Ok(());
        }
        Err(InferenceError {
            kind: ErrorKind::TooLarge,
            message: format!(
                "the request has {size} bytes or more, and {largest} are the most for one: it takes up to {} times its size \
                 while it is answered, and requests may take {} bytes of memory together (--max-request-memory, by default \
                 half of the container's limit); send it in parts",
                self.expansion,
                self.budget.limit.unwrap_or_default()
            ),
        })
    }

    /// Takes the share of so many more bytes that came in.
    pub fn grow(&self, size: usize) -> Result<()> {
        self.grow_beyond(size, 0)
    }

    /// The same for bytes with so many small parts in them that these take `beyond` more once they are decoded.
    pub fn grow_beyond(&self, size: usize, beyond: usize) -> Result<()> {
        let received = self.received.load(Ordering::Relaxed).saturating_add(size);
        self.check(received)?;
        let limit = self.budget.limit.unwrap_or(usize::MAX);
        if beyond > 0 {
            let parts = self.beyond.load(Ordering::Relaxed).saturating_add(beyond);
            let alone = received.saturating_mul(self.expansion).saturating_add(parts);
            check_parts(alone, limit)?;
        }
        let more = size.saturating_mul(self.expansion).saturating_add(beyond);
        let take = |taken: usize| taken.checked_add(more).filter(|sum| *sum <= limit);
        match self
            .budget
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => {
                self.received.fetch_add(size, Ordering::Relaxed);
                if beyond > 0 {
                    self.beyond.fetch_add(beyond, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(taken) => Err(InferenceError::unavailable(format!(
                "other requests take {taken} of the {limit} bytes of memory that are set aside for them \
                 (--max-request-memory); send it again later"
            ))),
        }
    }

    /// Gives everything back; the next bytes are those of another request.
    pub fn clear(&self) {
        let received = self.received.swap(0, Ordering::Relaxed);
        let beyond = self.beyond.swap(0, Ordering::Relaxed);
        let all = received.saturating_mul(self.expansion).saturating_add(beyond);
        self.budget.taken.fetch_sub(all, Ordering::Relaxed);
    }
}

fn check_parts(alone: usize, limit: usize) -> Result<()> {
    if alone <= limit {
        return Ok(());
    }
    Err(InferenceError {
        kind: ErrorKind::TooLarge,
        message: format!(
            "the request has so many small parts (strings, rows, inputs or parameters) that it takes {alone} bytes of memory \
             or more once it is decoded, and requests may take {limit} bytes together (--max-request-memory, by default half \
             of the container's limit); send it in parts"
        ),
    })
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The memory limit of the control group of this process, of version 2 or 1.
pub(crate) fn container_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_of_groups(Path::new("/sys/fs/cgroup"), &groups)
}

/// The smallest limit on the way from the groups of a process, as `/proc/self/cgroup` names them, up to the root.
fn limit_of_groups(root: &Path, groups: &str) -> Option<u64> {
    groups_of(root, groups).iter().filter_map(Group::limit).min()
}

/// A control group that counts memory.
pub(crate) struct Group {
    folder: PathBuf,
    names: &'static Names,
}

/// What versions 1 and 2 call the same things.
pub(crate) struct Names {
    limit: &'static str,
    pub(crate) current: &'static str,
    pub(crate) inactive_file: &'static str,
    pub(crate) active_file: &'static str,
    pub(crate) mapped_file: &'static str,
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    inactive_file: "total_inactive_file",
    active_file: "total_active_file",
    mapped_file: "total_mapped_file",
};
const VERSION_2: Names = Names {
    limit: "memory.max",
    current: "memory.current",
    inactive_file: "inactive_file",
    active_file: "active_file",
    mapped_file: "file_mapped",
};

impl Group {
    pub(crate) fn names(&self) -> &'static Names {
        self.names
    }

    /// The text of one of its files.
    pub(crate) fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(file)).ok()
    }

    /// Its own limit.
    pub(crate) fn limit(&self) -> Option<u64> {
        let limit = self.read(self.names.limit)?.trim().parse().ok()?;
        Some(limit).filter(|limit| *limit < UNLIMITED_BYTES)
    }
}

/// The groups of a process, as `/proc/self/cgroup` names them, and all above them.
pub(crate) fn groups_of(root: &Path, groups: &str) -> Vec<Group> {
    let all = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
        match (controllers, path) {
            (Some(""), Some(path)) => way_up(root, path, &VERSION_2),
            (Some(names), Some(path)) if names.split(',').any(|name| name == "memory") => {
                way_up(&root.join("memory"), path, &VERSION_1)
            }
            _ => Vec::new(),
        }
    });
    all.collect()
}

/// A container sees its own group as the root even where the path is still the host's, so the root is always asked.
fn way_up(root: &Path, path: &str, names: &'static Names) -> Vec<Group> {
    let inside = Path::new(path.trim_start_matches('/'));
    inside
        .ancestors()
        .map(|group| Group {
            folder: root.join(group),
            names,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_budget_and_give_it_back() {
        let budget = Budget::of(Some(1000));
        let (one, two) = (budget.reserve(2), budget.reserve(2));
        one.grow(200).unwrap();
        one.grow(100).unwrap();
        let refused = two.grow(300).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert!(refused.message.contains("600 of the 1000 bytes"), "{refused}");
        two.grow(200).unwrap();
        drop(one);
        two.grow(300).unwrap();
        two.clear();
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn a_request_that_never_fits_is_told_so_with_the_numbers() {
        let reservation = Budget::of(Some(1000)).reserve(2);
        reservation.grow(400).unwrap();
        for error in [
            reservation.grow(101).unwrap_err(),
            reservation.check(501).unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::TooLarge);
            assert!(
                error
                    .message
                    .contains("has 501 bytes or more, and 500 are the most"),
                "{error}"
            );
        }
        let unlimited = Budget::of(None).reserve(2);
        unlimited.grow(usize::MAX / 4).unwrap();
    }

    #[test]
    fn many_small_parts_take_their_own_share_and_give_it_back() {
        let budget = Budget::of(Some(1000));
        let reservation = budget.reserve(2);
        reservation.grow_beyond(100, 300).unwrap();
        assert_eq!(budget.taken(), 500);
        let refused = reservation.grow_beyond(0, 501).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooLarge);
        assert!(
            refused.message.contains("takes 1001 bytes of memory"),
            "{refused}"
        );
        drop(reservation);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn the_smallest_limit_of_either_version_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(limit_of_groups(root.path(), "0::/\n"), None);
        write("pod/box/memory.max", "max\n");
        write("pod/memory.max", "2147483648\n");
        assert_eq!(limit_of_groups(root.path(), "0::/pod/box\n"), Some(2 << 30));
        // In a container that sees only its own group.
        write("memory.max", "536870912\n");
        assert_eq!(
            limit_of_groups(root.path(), "0::/kubepods/pod7\n"),
            Some(512 << 20)
        );

        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("memory");
        std::fs::create_dir_all(&folder).unwrap();
        let groups = "5:cpu,cpuacct:/a\n4:memory:/a\n";
        std::fs::write(folder.join("memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        assert_eq!(limit_of_groups(root.path(), groups), None);
        std::fs::write(folder.join("memory.limit_in_bytes"), "1073741824\n").unwrap();
        assert_eq!(limit_of_groups(root.path(), groups), Some(1 << 30));
    }
}
