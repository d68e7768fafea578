//! The program: reads the command line and runs what it asks for.

use std::process::ExitCode;

use aiops_inference_pod::arguments::{Arguments, Command};
use aiops_inference_pod::{logging, publish, runtime, server};
use clap::{CommandFactory as _, Parser as _};

/// Models are opened by one thread after another and requests freed by others than allocated them: glibc's allocator keeps an
/// arena for each, and gives little of it back. ONNX Runtime allocates here too, as the feature of the crate says.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// From this size on jemalloc keeps allocations in an arena of their own.
const LARGE_BYTES: usize = 8 << 20;

/// Has what is large given back to the system when it is freed, and the rest within seconds. jemalloc does the first only for
/// a process without threads of its own when it allocates something large for the first time, and the second only with them:
/// four instances of a model whose weights take 64 MiB held 270 MiB after they were loaded, for ten seconds.
fn settle_allocator() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
    // Nothing depends on it but the size of the process.
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
}

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

fn main() -> ExitCode {
    settle_allocator();
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
