//! TLS of the fronts. The flags are Triton's for gRPC, and the same for the others.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use crate::tls::TlsFiles;

macro_rules! tls_arguments {
    ($name:ident, $front:literal, $what:literal) => {
        #[doc = concat!("TLS of ", $what, ".")]
        #[derive(Debug, Args)]
        pub struct $name {
            #[doc = "Whether connections are secured by TLS."]
            #[arg(
                id = concat!($front, "_use_ssl"), long = concat!($front, "-use-ssl"),
                help = concat!("Secure ", $what, " by TLS"), value_name = "BOOLEAN", default_value = "false",
                action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
                value_parser = BoolishValueParser::new(),
            )]
            pub use_ssl: bool,
            #[doc = "Whether clients have to show a certificate."]
            #[arg(
                id = concat!($front, "_use_ssl_mutual"), long = concat!($front, "-use-ssl-mutual"),
                help = concat!("Secure ", $what, " by mutual TLS: clients have to show a certificate too"),
                value_name = "BOOLEAN", default_value = "false", action = ArgAction::Set, num_args = 0..=1,
                default_missing_value = "true", value_parser = BoolishValueParser::new(),
            )]
            pub use_ssl_mutual: bool,
            #[doc = "The server's certificate."]
            #[arg(
                id = concat!($front, "_server_cert"), long = concat!($front, "-server-cert"), value_name = "FILE",
                help = "PEM file with the server's certificate, and those between it and its authority; read again when it changes",
            )]
            pub server_cert: Option<PathBuf>,
            #[doc = "Its key."]
            #[arg(
                id = concat!($front, "_server_key"), long = concat!($front, "-server-key"), value_name = "FILE",
                help = "PEM file with the key of the server's certificate; read again when it changes",
            )]
            pub server_key: Option<PathBuf>,
            #[doc = "Authorities of clients' certificates."]
            #[arg(
                id = concat!($front, "_root_cert"), long = concat!($front, "-root-cert"), value_name = "FILE",
                help = "PEM file with the authorities of clients' certificates, for mutual TLS; read again when it changes",
            )]
            pub root_cert: Option<PathBuf>,
        }

        impl $name {
            /// The files to use, or none without TLS; an error where the flags do not fit together.
            pub fn files(&self) -> anyhow::Result<Option<TlsFiles>> {
                files($front, self.use_ssl, self.use_ssl_mutual, [&self.server_cert, &self.server_key, &self.root_cert])
            }
        }
    };
}

tls_arguments!(HttpTlsArguments, "http", "HTTP and REST");
tls_arguments!(GrpcTlsArguments, "grpc", "gRPC");
tls_arguments!(MetricsTlsArguments, "metrics", "metrics");

/// Flags of TLS.
#[derive(Debug, Args)]
pub struct TlsArguments {
    /// Of HTTP and REST.
    #[command(flatten)]
    pub http: HttpTlsArguments,
    /// Of gRPC.
    #[command(flatten)]
    pub grpc: GrpcTlsArguments,
    /// Of the metrics.
    #[command(flatten)]
    pub metrics: MetricsTlsArguments,
}

fn files(
    front: &'static str,
    use_ssl: bool,
    mutual: bool,
    [certificate, key, root]: [&Option<PathBuf>; 3],
) -> anyhow::Result<Option<TlsFiles>> {
    if !use_ssl && !mutual {
        for (flag, file) in [
            ("server-cert", certificate),
            ("server-key", key),
            ("root-cert", root),
        ] {
            anyhow::ensure!(
                file.is_none(),
                "--{front}-{flag} is given, but without --{front}-use-ssl connections would be plain: add --{front}-use-ssl, or remove --{front}-{flag}"
            );
        }
        return Ok(None);
    }
    let needed = |flag: &str, file: &Option<PathBuf>| {
        file.clone().ok_or_else(|| {
            anyhow::anyhow!("TLS of {front} is asked for, but its --{front}-{flag}=<PEM file> is missing")
        })
    };
    if !mutual && root.is_some() {
        tracing::warn!(
            "--{front}-root-cert has no effect: clients are asked for a certificate only with --{front}-use-ssl-mutual"
        );
    }
    Ok(Some(TlsFiles {
        front,
        certificate: needed("server-cert", certificate)?,
        key: needed("server-key", key)?,
        client_authorities: mutual.then(|| needed("root-cert", root)).transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Arguments;
    use super::*;

    fn grpc(flags: &[&str]) -> anyhow::Result<Option<TlsFiles>> {
        let flags = [&["server", "--model-repository=/m"], flags].concat();
        Arguments::try_parse_from(flags)?.serve.tls.grpc.files()
    }

    #[test]
    fn tls_is_asked_for_as_in_triton() {
        let pair = ["--grpc-server-cert=/c", "--grpc-server-key=/k"];
        for yes in [
            &["--grpc-use-ssl"][..],
            &["--grpc-use-ssl=1"],
            &["--grpc-use-ssl", "true"],
        ] {
            let files = grpc(&[yes, &pair].concat()).unwrap().unwrap();
            assert_eq!(
                (files.certificate, files.key, files.client_authorities),
                ("/c".into(), "/k".into(), None)
            );
        }
        let mutual = ["--grpc-use-ssl-mutual=true", "--grpc-root-cert=/r"];
        let files = grpc(&[&mutual[..], &pair].concat()).unwrap().unwrap();
        assert_eq!(files.client_authorities.unwrap(), std::path::Path::new("/r"));
        assert!(grpc(&["--grpc-use-ssl=false"]).unwrap().is_none());
    }

    #[test]
    fn flags_that_do_not_fit_together_are_refused_by_name() {
        let cases: [(&[&str], &str); 4] = [
            (&["--grpc-use-ssl"], "--grpc-server-cert=<PEM file> is missing"),
            (
                &["--grpc-use-ssl", "--grpc-server-cert=/c"],
                "--grpc-server-key=<PEM file>",
            ),
            (
                &[
                    "--grpc-use-ssl-mutual",
                    "--grpc-server-cert=/c",
                    "--grpc-server-key=/k",
                ],
                "--grpc-root-cert=<PEM file>",
            ),
            (&["--grpc-server-key=/k"], "without --grpc-use-ssl"),
        ];
        for (flags, part) in cases {
            let error = grpc(flags).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
