//! CPU and memory of the container by Triton's names; of the machine where no container limits them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Read when it is scraped, but not more often than every `interval`.
#[derive(Debug)]
pub(super) struct Machine {
    interval: Duration,
    groups: Groups,
    last: Mutex<Option<Reading>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    at: Instant,
    cpu: Duration,
    utilization: f64,
    memory_total: f64,
    memory_used: f64,
}

impl Machine {
    pub(super) fn new(interval: Duration) -> Self {
        let machine = Self {
            interval,
            groups: Groups::of_this_process(),
            last: Mutex::default(),
        };
        // The first scrape should already tell of some time.
        machine.read(Instant::now());
        machine
    }

    fn read(&self, now: Instant) -> Option<Reading> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = *last
            && now.saturating_duration_since(reading.at) < self.interval
        {
            return Some(reading);
        }
        let cpu = self.groups.cpu_time()?;
        let utilization = last.map_or(0.0, |before| {
            let most = now.saturating_duration_since(before.at).as_secs_f64() * self.groups.cpus();
            (cpu.saturating_sub(before.cpu).as_secs_f64() / most.max(f64::EPSILON)).clamp(0.0, 1.0)
        });
        let (memory_total, memory_used) = self.groups.memory()?;
        *last = Some(Reading {
            at: now,
            cpu,
            utilization,
            memory_total,
            memory_used,
        });
        *last
    }
}

impl Collector for Machine {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(reading) = self.read(Instant::now()) else {
            return Ok(());
        };
        for (name, help, value) in [
            (
                "nv_cpu_utilization",
                "Share of the container's CPUs that is used, 0.0 to 1.0",
                reading.utilization,
            ),
            (
                "nv_cpu_memory_total_bytes",
                "Bytes of memory that the container may use",
                reading.memory_total,
            ),
            (
                "nv_cpu_memory_used_bytes",
                "Bytes of memory that the container uses",
                reading.memory_used,
            ),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}

/// Where the kernel tells of the control groups of a process, of version 2 or 1.
#[derive(Debug)]
struct Groups {
    cpu_folders: Vec<PathBuf>,
    memory_folders: Vec<PathBuf>,
}

impl Groups {
    fn of_this_process() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::new(Path::new("/sys/fs/cgroup"), &groups)
    }

    /// A container sees its own group as the root even where the path is still the host's, so both are asked.
    fn new(root: &Path, groups: &str) -> Self {
        let mut folders = Self {
            cpu_folders: Vec::new(),
            memory_folders: Vec::new(),
        };
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let path = path.trim_start_matches('/');
            let both = |root: PathBuf| [root.join(path), root];
            let has = |name: &str| controllers.split(',').any(|controller| controller == name);
            if controllers.is_empty() {
                folders.cpu_folders.extend(both(root.to_owned()));
                folders.memory_folders.extend(both(root.to_owned()));
            } else if has("cpuacct") {
                folders.cpu_folders.extend(both(root.join("cpuacct")));
            } else if has("memory") {
                folders.memory_folders.extend(both(root.join("memory")));
            }
        }
        folders
    }

    /// CPU time that was used so far.
    fn cpu_time(&self) -> Option<Duration> {
        let of_group = self.cpu_folders.iter().find_map(|folder| {
            let version_2 = || {
                let text = std::fs::read_to_string(folder.join("cpu.stat")).ok()?;
                let microseconds = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
                Some(Duration::from_micros(microseconds.trim().parse().ok()?))
            };
            let version_1 = || number(&folder.join("cpuacct.usage")).map(Duration::from_nanos);
            version_2().or_else(version_1)
        });
        of_group.or_else(|| {
            let text = std::fs::read_to_string("/proc/stat").ok()?;
            machine_time(&text)
        })
    }

    /// Limits included.
    fn cpus(&self) -> f64 {
        std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
    }

    /// Bytes that may be used, and bytes that are.
    fn memory(&self) -> Option<(f64, f64)> {
        let first = |names: [&str; 2]| {
            let files = self
                .memory_folders
                .iter()
                .flat_map(|folder| names.map(|name| folder.join(name)));
            files.filter_map(|file| number(&file)).next()
        };
        let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
        let (total, used) = machine_memory(&machine)?;
        let limit = crate::memory::container_limit().filter(|limit| (*limit as f64) < total);
        let used_by_group = first(["memory.current", "memory.usage_in_bytes"]);
        match (limit, used_by_group) {
            (Some(limit), Some(used)) => Some((limit as f64, used as f64)),
            _ => Some((total, used)),
        }
    }
}

fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Time of all CPUs that was not idle, in ticks of a hundredth of a second.
fn machine_time(stat: &str) -> Option<Duration> {
    let ticks = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = ticks
        .split_whitespace()
        .filter_map(|tick| tick.parse().ok())
        .collect();
    let [user, nice, system, _idle, _waiting, rest @ ..] = ticks.as_slice() else {
        return None;
    };
    // The kernel counts guests in user time already.
    let busy = user + nice + system + rest.iter().take(3).sum::<u64>();
    Some(Duration::from_millis(busy * 10))
}

fn machine_memory(meminfo: &str) -> Option<(f64, f64)> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: f64 = line
            .trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(kibibytes * 1024.0)
    };
    let total = bytes("MemTotal")?;
    Some((total, total - bytes("MemAvailable")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("cpu.stat", "usage_usec 2500000\nuser_usec 1\n");
        let two = Groups::new(root.path(), "0::/kubepods/pod7\n");
        assert_eq!(two.cpu_time(), Some(Duration::from_millis(2500)));
        write("cpuacct/box/cpuacct.usage", "1500000000\n");
        let one = Groups::new(root.path(), "4:memory:/box\n3:cpu,cpuacct:/box\n");
        assert_eq!(one.cpu_time(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_machine_without_groups_is_read_as_a_whole() {
        assert_eq!(
            machine_time("cpu  100 10 50 9000 40 5 5 2 7 7\ncpu0 1 2"),
            Some(Duration::from_millis(1720))
        );
        let memory = machine_memory("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n");
        assert_eq!(memory, Some((1_024_000.0, 614_400.0)));
        let none = Groups::new(Path::new("/nowhere"), "");
        assert!(none.cpu_time().is_some() && none.memory().is_some());
    }
}
