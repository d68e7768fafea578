//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on a connection.
    Http,
    /// gRPC, many requests at a time on a connection.
    Grpc,
}

/// Sends requests to a server and measures the answers.
#[derive(Clone, Debug, Parser)]
pub struct Arguments {
    /// Where the server listens; whoever has to connect again goes on to the next where there are several.
    #[arg(long = "address", required = true)]
    pub addresses: Vec<SocketAddr>,
    /// How requests travel.
    #[arg(long, value_enum)]
    pub protocol: Protocol,
    /// Path of the URL, or the full name of the method.
    #[arg(long)]
    pub path: String,
    /// File with the body of a request; one after another where there are several.
    #[arg(long = "body", required = true)]
    pub bodies: Vec<PathBuf>,
    /// A header of every request, `name: value`.
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// Length of the JSON of each body, in their order, where binary data follows it.
    #[arg(long = "json-length")]
    pub json_lengths: Vec<usize>,
    /// Requests that are under way at a time.
    #[arg(long, default_value_t = 1)]
    pub concurrency: usize,
    /// Most requests that are under way on one connection of gRPC.
    #[arg(long, default_value_t = 16)]
    pub streams: usize,
    /// Requests a second, sent when their time has come whatever happened to those before; without it, the next is sent when
    /// one is answered.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds before measuring.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warm_up: Duration,
    /// Seconds of measuring.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub duration: Duration,
    /// Measure so many requests, however long they take.
    #[arg(long)]
    pub requests: Option<u64>,
    /// Connect again after a connection ended, as clients do whose server is restarted.
    #[arg(long)]
    pub reconnect: bool,
    /// File for the bytes of an answer to the first body.
    #[arg(long)]
    pub keep: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("'{text}' is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
