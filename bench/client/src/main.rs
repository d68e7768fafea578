//! The load of the benchmarks: sends requests that were made before, and prints what came of them as one JSON object.
//!
//! It has one core, as the server has, so it encodes and decodes nothing: requests are bytes from files, answers are counted,
//! and one in every run is kept for the caller to compare.

mod arguments;
mod grpc;
mod http1;
mod load;
mod report;

use clap::Parser as _;

use arguments::Arguments;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A client that sends at given times never sleeps: without this, answers would wait while it looks at the clock.
        .event_interval(4)
        .build()?;
    let report = runtime.block_on(load::run(&arguments))?;
    let mut output = std::io::stdout();
    serde_json::to_writer(&mut output, &report)?;
    Ok(())
}
