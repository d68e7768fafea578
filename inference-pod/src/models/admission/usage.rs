//! How much memory is used, of how much: by the control group, or by this process alone.

use std::path::Path;

use crate::memory::{self, Group};

/// Memory of this container or process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// The most there may be.
    pub(super) limit: u64,
    /// What cannot be taken back without asking.
    pub(super) used: u64,
}

impl Usage {
    pub(super) fn free(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Of the control groups above this process that have a limit, the one with the least room.
pub(super) fn of_container() -> Option<Usage> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    of_groups(&memory::groups_of(Path::new("/sys/fs/cgroup"), &groups))
}

fn of_groups(groups: &[Group]) -> Option<Usage> {
    groups
        .iter()
        .filter_map(of_group)
        .min_by_key(|usage| usage.free())
}

fn of_group(group: &Group) -> Option<Usage> {
    let limit = group.limit()?;
    let current = group.read(group.names().current)?.trim().parse::<u64>().ok()?;
    let statistics = group.read("memory.stat").unwrap_or_default();
    let value = |name: &str| {
        let mut lines = statistics.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(key, _)| *key == name);
        found
            .and_then(|(_, value)| value.parse::<u64>().ok())
            .unwrap_or_default()
    };
    // Files that were read or written are dropped when memory is needed, those that were fetched a moment ago among them;
    // what is mapped, such as external weights, would only be read again and again.
    let names = group.names();
    let files = value(names.inactive_file) + value(names.active_file);
    let droppable = files.saturating_sub(value(names.mapped_file));
    Some(Usage {
        limit,
        used: current.saturating_sub(droppable),
    })
}

/// Memory of this process that is not a copy of files.
pub(super) fn of_process() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)], groups: &str) -> (tempfile::TempDir, Vec<Group>) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let groups = memory::groups_of(root.path(), groups);
        (root, groups)
    }

    #[test]
    fn files_that_the_system_may_drop_are_not_counted() {
        let (_root, groups) = group(
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "700\n"),
                (
                    "memory.stat",
                    "anon 300\nfile_mapped 50\ninactive_file 100\nactive_file 250\n",
                ),
            ],
            "0::/\n",
        );
        let usage = of_groups(&groups).unwrap();
        assert_eq!((usage.limit, usage.used, usage.free()), (1000, 400, 600));
        let (_root, groups) = group(
            &[
                ("memory/a/memory.limit_in_bytes", "1000\n"),
                ("memory/a/memory.usage_in_bytes", "700\n"),
                (
                    "memory/a/memory.stat",
                    "inactive_file 1\ntotal_mapped_file 50\ntotal_inactive_file 100\ntotal_active_file 250\n",
                ),
            ],
            "4:memory:/a\n",
        );
        assert_eq!(of_groups(&groups).unwrap().used, 400);
    }

    #[test]
    fn the_group_with_the_least_room_counts() {
        let (_root, groups) = group(
            &[
                ("memory.max", "max\n"),
                ("memory.current", "5\n"),
                ("pod/memory.max", "2000\n"),
                ("pod/memory.current", "1900\n"),
                ("pod/box/memory.max", "1000\n"),
                ("pod/box/memory.current", "100\n"),
            ],
            "0::/pod/box\n",
        );
        assert_eq!(of_groups(&groups).unwrap().free(), 100);
        assert!(of_process().unwrap() > 0);
    }
}
