//! The program: reads the command line and runs what it asks for.

use std::process::ExitCode;

use aiops_inference_pod::arguments::{Arguments, Command};
use aiops_inference_pod::{heap, logging, publish, runtime, server};
use clap::{CommandFactory as _, Parser as _};

/// Models are opened by one thread after another and requests freed by others than allocated them: glibc's allocator keeps an
/// arena for each, and gives little of it back. ONNX Runtime allocates here too, as the feature of the crate says.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What serves the network. On one processor, more threads only take it from each other, and answers that are ready at the
/// same time would be written one by one.
fn network_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    let mut builder = match runtime::available_threads() {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// Keeps ONNX Runtime from talking to its makers: its builds for Linux send what they load and how long it took to Microsoft,
/// and what it does in order to start is done before its own switch can be used.
fn disable_telemetry() {
    #[expect(
        unsafe_code,
        reason = "there is no other way to tell the library before it is loaded"
    )]
    // SAFETY: nothing reads the environment meanwhile, as no thread is started yet that does.
    unsafe {
        std::env::set_var("ORT_DISABLE_TELEMETRY", "1");
    }
}

fn main() -> ExitCode {
    disable_telemetry();
    heap::settle();
    let arguments = Arguments::parse();
    let runtime = match network_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            Arguments::command()
                .error(clap::error::ErrorKind::Io, error)
                .print()
                .unwrap_or_default();
            return ExitCode::FAILURE;
        }
    };
    let ended = match arguments.command {
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
    };
    // A model that is being opened or warmed up on a thread of this runtime does not hold up the end.
    runtime.shutdown_background();
    ended
}
