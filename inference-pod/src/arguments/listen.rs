//! Where the server listens.

use std::net::IpAddr;

use clap::{Args, ValueEnum};

/// How answers over gRPC are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompressionLevel {
    /// Not at all.
    None,
    /// As the others: there is one level.
    Low,
    /// As the others: there is one level.
    Medium,
    /// As the others: there is one level.
    High,
}

/// Addresses and ports.
#[derive(Debug, Args)]
pub struct ListenArguments {
    /// Address of the HTTP server (Open Inference Protocol v2).
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub http_address: IpAddr,
    /// Port of the HTTP server (Open Inference Protocol v2).
    #[arg(long, default_value_t = 8000, value_name = "PORT")]
    pub http_port: u16,
    /// Address of the gRPC server.
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub grpc_address: IpAddr,
    /// Port of the gRPC server.
    #[arg(long, default_value_t = 8001, value_name = "PORT")]
    pub grpc_port: u16,
    /// Whether answers over gRPC are compressed (gzip or deflate) for clients that accept it.
    #[arg(long, value_enum, default_value_t = CompressionLevel::None, value_name = "LEVEL")]
    pub grpc_infer_response_compression_level: CompressionLevel,
    /// Address of the metrics server.
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub metrics_address: IpAddr,
    /// Port of the metrics server, which also tells the state of the serving plan.
    #[arg(long, default_value_t = 8002, value_name = "PORT")]
    pub metrics_port: u16,
    /// Address of the REST server (rows in, predictions out).
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub rest_address: IpAddr,
    /// Port of the REST server (rows in, predictions out).
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub rest_port: u16,
}
