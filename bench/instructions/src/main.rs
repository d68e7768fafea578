//! Instructions that the codec, the router and the batcher take, counted by Callgrind and held against a baseline.
//!
//! `check` starts this program once for each case under Valgrind; there it is `run`, and only `counted_runs` is counted.

mod baseline;
mod callgrind;
mod cases;
mod machine;
mod report;

use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use baseline::{Baseline, Counts};
use cases::{Case, Run};
use machine::Machine;

/// The server's: what is allocated is part of what is counted.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs before those that are counted: what is made once is there then.
const FIRST_RUNS: usize = 4;
/// Runs that are counted together; what happens now and then, such as the allocator's housekeeping, is spread over them.
const COUNTED_RUNS: usize = 16;

/// Counts instructions.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts all cases and compares them with the baselines of a folder.
    Check {
        /// Folder with a file for each kind of processor.
        #[arg(long)]
        baselines: PathBuf,
        /// Where Callgrind's profiles are left.
        #[arg(long)]
        profiles: PathBuf,
        /// Writes the baseline anew.
        #[arg(long)]
        update: bool,
        /// Counts only the cases whose name contains this, and writes nothing.
        #[arg(long, default_value = "", conflicts_with = "update")]
        filter: String,
    },
    /// Runs one case. Only Valgrind can count it.
    Run {
        /// Its name.
        case: String,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { case } => run(&case).map(|()| true),
        Command::Check {
            baselines,
            profiles,
            update,
            filter,
        } => check(&baselines, &profiles, update, &filter),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing rose too much.
fn check(
    baselines: &std::path::Path,
    profiles: &std::path::Path,
    update: bool,
    filter: &str,
) -> anyhow::Result<bool> {
    let machine = Machine::this()?;
    let names = cases::names().filter(|name| name.contains(filter)).collect();
    let counts = callgrind::count_all(names, profiles)?;
    let path = baselines.join(machine.file_name());
    let mut output = std::io::stdout().lock();
    if update {
        let baseline = Baseline {
            machine,
            cases: counts,
        };
        baseline.write(&path)?;
        writeln!(
            output,
            "{} cases written into {}",
            baseline.cases.len(),
            path.display()
        )?;
        return Ok(true);
    }
    let Some(before) = Baseline::read(&path)? else {
        write!(output, "{}", report::uncompared(&counts, &path))?;
        return Ok(true);
    };
    let is_comparable = |name: &String| name.contains(filter);
    let changes = before.compare(&machine, &counts, is_comparable);
    write!(output, "{}", report::table(&changes))?;
    let complaints = report::complaints(&changes, &before, &machine, &path, profiles);
    write!(output, "{}{complaints}", report::gains(&changes))?;
    Ok(complaints.is_empty())
}

fn run(name: &str) -> anyhow::Result<()> {
    // Bodies that come in have a longest pause, for which there has to be a clock.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _entered = runtime.enter();
    let case = Case::find(name).with_context(|| format!("there is no case {name}"))?;
    let prepare = (case.prepare)()?;
    let prepared = |count| (0..count).map(|_| prepare()).collect::<anyhow::Result<Vec<_>>>();
    let (first, counted) = (prepared(FIRST_RUNS)?, prepared(COUNTED_RUNS)?);
    for run in first {
        run()?;
    }
    counted_runs(black_box(counted))
}

/// Callgrind collects between the beginning and the end of this function, which it finds by its name.
#[inline(never)]
fn counted_runs(runs: Vec<Run>) -> anyhow::Result<()> {
    for run in runs {
        run()?;
    }
    Ok(())
}

impl Counts {
    /// Of one run, where these are of all.
    fn of_one_run(self) -> Self {
        Self {
            program: self.program / COUNTED_RUNS as u64,
            libraries: self.libraries / COUNTED_RUNS as u64,
        }
    }
}
