//! What a new connection speaks. Without TLS, HTTP/2 is told by its first bytes, which are looked at and left in the socket.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::tls::HTTP_2;

/// The form in which requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a client of HTTP/2 sends first.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Clients send the first bytes in one piece; one that does not is looked at again after so long, and then twice as long.
const PATIENCE: Duration = Duration::from_millis(5);
const MOST_PATIENCE: Duration = Duration::from_millis(250);

/// Waits for the first bytes; none when the client goes away.
pub(super) async fn of_first_bytes(stream: &TcpStream) -> Option<Version> {
    let mut first = [0; PREFACE.len()];
    let mut patience = PATIENCE;
    loop {
        let count = stream.peek(&mut first).await.ok()?;
        match told_by(&first[..count]) {
            Some(version) => return Some(version),
            None if count == 0 => return None,
            None => {
                tokio::time::sleep(patience).await;
                patience = (patience * 2).min(MOST_PATIENCE);
            }
        }
    }
}

fn told_by(first: &[u8]) -> Option<Version> {
    if !PREFACE.starts_with(first) {
        Some(Version::Http1)
    } else if first.len() == PREFACE.len() {
        Some(Version::Http2)
    } else {
        None
    }
}

/// What the handshake of TLS agreed on.
pub(super) fn of_alpn(protocol: Option<&[u8]>) -> Version {
    match protocol {
        Some(name) if name == HTTP_2 => Version::Http2,
        _ => Version::Http1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_version() {
        for (first, version) in [
            (&b""[..], None),
            (b"P", None),
            (b"POST /v2", Some(Version::Http1)),
            (b"PRI", None),
            (b"GET", Some(Version::Http1)),
            (PREFACE, Some(Version::Http2)),
        ] {
            assert_eq!(told_by(first), version, "{first:?}");
        }
    }
}
