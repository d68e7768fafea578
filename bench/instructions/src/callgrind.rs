//! Running a case under Callgrind, and reading what it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;

use crate::baseline::Counts;

/// What the allocator does by the clock, it would do in some runs and not in others. `abort_conf` ends a program whose
/// allocator does not know the rest.
const ALLOCATOR_SETTINGS: &str =
    "abort_conf:true,experimental_tcache_gc:false,dirty_decay_ms:-1,muzzy_decay_ms:-1";

/// Counts the instructions of one run of each case. Its profile is left in `folder`.
pub fn count_all(names: Vec<&str>, folder: &Path) -> anyhow::Result<BTreeMap<String, Counts>> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(BTreeMap::new());
    let work = || -> anyhow::Result<()> {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let counted = count(name, folder).with_context(|| format!("case {name}"))?;
            let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            counts.insert((*name).to_owned(), counted);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread that counts panicked")))
        })
    })?;
    Ok(counts
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Where the profile of a case is.
pub fn profile(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.callgrind", name.replace('/', ".")))
}

fn count(name: &str, folder: &Path) -> anyhow::Result<Counts> {
    let program = std::env::current_exe().context("this program's own path")?;
    let profile = profile(folder, name);
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_runs*", "--quiet"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(&program)
        .args(["run", name])
        // Variables lie on the stack and would move what is above them.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("MALLOC_CONF", ALLOCATOR_SETTINGS)
        .output()
        .context("valgrind cannot be started; install Debian's package valgrind")?;
    anyhow::ensure!(
        ran.status.success(),
        "valgrind ended with {}: {}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr).trim()
    );
    let text =
        std::fs::read_to_string(&profile).with_context(|| format!("{} cannot be read", profile.display()))?;
    let counts = read(&text, &program.display().to_string())?;
    anyhow::ensure!(
        counts.program > 0,
        "nothing was counted: {} has no symbol counted_runs; is it stripped?",
        program.display()
    );
    Ok(counts.of_one_run())
}

/// Sums what each object took itself. The format is in Valgrind's manual, "Callgrind Format Specification".
fn read(profile: &str, program: &str) -> anyhow::Result<Counts> {
    let mut names = BTreeMap::new();
    let mut counts = Counts::default();
    let (mut is_program, mut is_inclusive, mut total) = (false, false, None);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
            let (key, name) = object.split_once(' ').unwrap_or((object, ""));
            if !name.is_empty() {
                names.insert(key, name);
            }
            if line.starts_with("ob=") {
                is_program = names.get(key) == Some(&program);
            }
        } else if let Some(count) = line.strip_prefix("totals: ") {
            total = Some(count.trim().parse::<u64>()?);
        } else if line.starts_with("calls=") {
            // The next line is what the function that is called took, which stands with that function.
            is_inclusive = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let count = line.split(' ').nth(1).map_or(Ok(0), str::parse::<u64>)?;
            match (std::mem::take(&mut is_inclusive), is_program) {
                (true, _) => {}
                (false, true) => counts.program += count,
                (false, false) => counts.libraries += count,
            }
        }
    }
    let sum = counts.program + counts.libraries;
    anyhow::ensure!(
        total == Some(sum),
        "the lines of Callgrind's profile sum up to {sum}, and it says {total:?}"
    );
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# callgrind format
version: 1
creator: callgrind-3.19.0
positions: line
events: Ir
summary: 130

ob=(1) /target/program
fl=(1) a.rs
fn=(1) counted_runs
10 40
cob=(2) /lib/libc.so.6
cfi=(2) memcpy.S
cfn=(2) memcpy
calls=3 200
+1 60
* 10

ob=(2)
fl=(2)
fn=(2)
200 60

ob=(1)
fn=(3) main
-5 20
totals: 130
";

    #[test]
    fn a_profile_is_summed_by_object_and_calls_are_counted_once() {
        let counts = read(PROFILE, "/target/program").unwrap();
        let expected = Counts {
            program: 70,
            libraries: 60,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_profile_that_is_read_wrongly_is_an_error() {
        let cut = PROFILE.replace("* 10\n", "");
        let error = read(&cut, "/target/program").unwrap_err().to_string();
        assert!(error.contains("sum up to 120"), "{error}");
    }
}
