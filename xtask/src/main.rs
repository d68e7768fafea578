//! Chores of the repository: `cargo xtask generate` writes what is generated, `cargo xtask verify` shows what drifted.

mod api_reference;
mod generated;
mod manifests;
mod markdown;
mod schema;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Chores of the repository.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Clone, Copy, Subcommand)]
enum Chore {
    /// Writes the CRD manifests, the templates of the chart aiops-crds and the API reference from the crate aiops-crds.
    Generate,
    /// Fails with a list of the generated files that are not what `generate` would write, or that git does not know.
    Verify,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the repository's root")?;
    let files = generated::files()?;
    match Arguments::parse().chore {
        Chore::Generate => {
            for path in generated::write(root, &files)? {
                report(&path);
            }
            Ok(ExitCode::SUCCESS)
        }
        Chore::Verify => {
            let drifts = generated::verify(root, &files)?;
            for drift in &drifts {
                report(&drift.to_string());
            }
            if drifts.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            report("run `cargo xtask generate` and commit the result");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The chores are for the terminal: what they find goes there.
#[allow(clippy::print_stdout)]
fn report(line: &str) {
    println!("{line}");
}
