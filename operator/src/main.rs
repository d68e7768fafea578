//! The operator's process: reads its arguments and runs what they ask for.

use std::process::ExitCode;

use aiops_operator::arguments::{Arguments, Command};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    aiops_operator::telemetry::install(arguments.log_format);
    let result = match arguments.command {
        Command::Run(run) => aiops_operator::run(run).await,
        Command::CreateBuckets(buckets) => aiops_operator::create_buckets(buckets).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
