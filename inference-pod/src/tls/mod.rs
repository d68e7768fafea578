//! TLS of the fronts: certificates that are read again when their files change, without a restart.

mod files;
mod follow;

pub use files::{TlsError, TlsFiles};

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// HTTP/2 by ALPN.
pub const HTTP_2: &[u8] = b"h2";
/// HTTP/1.1 by ALPN.
pub const HTTP_1: &[u8] = b"http/1.1";

/// What secures the connections of a front. New connections get what the files held last.
pub struct Tls {
    files: TlsFiles,
    protocols: Vec<Vec<u8>>,
    current: ArcSwap<Current>,
}

struct Current {
    contents: files::Contents,
    config: Arc<ServerConfig>,
    not_after: i64,
}

impl Tls {
    /// Reads the files. `protocols` are those of ALPN, the preferred one first.
    pub fn open(files: TlsFiles, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.to_vec()).collect();
        let contents = files.read()?;
        let current = ArcSwap::from_pointee(Current::new(&files, &protocols, contents)?);
        Ok(Self {
            files,
            protocols,
            current,
        })
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.current.load().not_after
    }

    /// The front whose flags name the files.
    pub fn front(&self) -> &'static str {
        self.files.front
    }
}

impl Current {
    fn new(files: &TlsFiles, protocols: &[Vec<u8>], contents: files::Contents) -> Result<Self, TlsError> {
        let (mut config, not_after) = files.config(&contents)?;
        config.alpn_protocols = protocols.to_vec();
        Ok(Self {
            contents,
            config: Arc::new(config),
            not_after,
        })
    }
}
