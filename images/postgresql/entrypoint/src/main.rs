//! Entry point of the PostgreSQL image: makes the data directory once, gives the role its password, becomes `postgres`.
//!
//! Single-threaded and the parent of whatever it starts, on purpose: PostgreSQL tells a stale `postmaster.pid` from a
//! live one by process ids, and in a container those repeat. With one thread the only ids alive here are this program's
//! (1) and its child's, which PostgreSQL recognises as its own parents.

mod cluster;
mod role;
mod settings;

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Context;
use settings::Settings;

fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("aiops-postgresql-entrypoint: {error:#}");
    ExitCode::FAILURE
}

/// Prepares the data directory and replaces this process with the server; returns only if one of the steps fails.
fn run() -> anyhow::Result<std::convert::Infallible> {
    let settings = Settings::from_environment()?;
    cluster::ensure_initialised(&settings)?;
    role::apply(&settings)?;

    // The server becomes process 1 itself, so that the kubelet's signals reach it and its exit code is the container's.
    let error = settings
        .program("postgres")
        .arg("-D")
        .arg(&settings.data_directory)
        .args(["-c", "listen_addresses=*", "-c"])
        .arg(settings.host_based_access())
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).with_context(|| format!("starting {}/postgres", settings.binaries.display()))
}
