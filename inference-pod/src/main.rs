//! The program: reads the command line and runs what it asks for.

use std::process::ExitCode;

use aiops_inference_pod::arguments::{Arguments, Command};
use aiops_inference_pod::{heap, logging, publish, server};
use clap::{CommandFactory as _, Parser as _};

fn main() -> ExitCode {
    heap::settle();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Arguments::command()
                .error(clap::error::ErrorKind::Io, error)
                .print()
                .unwrap_or_default();
            return ExitCode::FAILURE;
        }
    };
    match arguments.command {
        Some(Command::Publish(arguments)) => {
            logging::start(&arguments.common);
            runtime.block_on(publish::run(&arguments))
        }
        None => {
            logging::start(&arguments.serve.common);
            match runtime.block_on(server::run(arguments.serve)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{error:#}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
