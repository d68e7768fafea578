//! The command line: `aiops-e2e run`, `list` and `demo`.

use std::process::ExitCode;

use aiops_e2e::{demo, runner};
use clap::{Parser, Subcommand};

/// Scenarios on the cluster that KUBECONFIG names, with the chart installed as release aiops in namespace aiops.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios; fails if one of them fails.
    Run(runner::Options),
    /// Lists the scenarios.
    List,
    /// Runs the main job with config/samples/ and shows what it made.
    Demo,
}

fn main() -> ExitCode {
    // One TLS library for all clients, chosen once.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider is installed before main");
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads for the runtime");
    let result = runtime.block_on(async {
        match Arguments::parse().command {
            Command::Run(options) => runner::run(&options).await,
            Command::List => {
                runner::list();
                Ok(true)
            }
            Command::Demo => demo::run().await.map(|()| true),
        }
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
