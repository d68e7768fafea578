//! HTTP/1.1 as far as a load generator needs it: whole requests out, whole answers in.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::arguments::Arguments;

const READ_BYTES: usize = 64 << 10;

/// The bytes of a request.
pub fn request(arguments: &Arguments, body: &[u8], json_length: Option<usize>) -> Vec<u8> {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
        arguments.path,
        arguments.addresses[0],
        body.len()
    );
    if let Some(length) = json_length {
        head += &format!("inference-header-content-length: {length}\r\n");
    }
    for header in &arguments.headers {
        head += header;
        head += "\r\n";
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}

/// A connection, on which one request is under way at a time.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer.
pub struct Answer<'a> {
    /// Whether its status is 200.
    pub is_success: bool,
    /// Whether the server ends the connection after it.
    pub closes: bool,
    /// Its body.
    pub body: &'a [u8],
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::with_capacity(READ_BYTES),
        })
    }

    pub async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.received.clear();
        let head = loop {
            let searched = self.received.len().saturating_sub(3);
            self.read().await?;
            if let Some(end) = find(&self.received[searched..], b"\r\n\r\n") {
                break Head::read(&self.received[..searched + end + 4])?;
            }
        };
        match head.length {
            Some(length) => {
                while self.received.len() < head.size + length {
                    self.read().await?;
                }
            }
            None => {
                while !self.received.ends_with(b"\r\n0\r\n\r\n") {
                    self.read().await?;
                }
            }
        }
        Ok(Answer {
            is_success: head.status == 200,
            closes: head.closes,
            body: &self.received[head.size..],
        })
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        self.received.reserve(READ_BYTES);
        let size = self.stream.read_buf(&mut self.received).await?;
        ensure!(size > 0, "the server closed the connection");
        Ok(())
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

struct Head {
    size: usize,
    status: u16,
    /// Nothing for a body in chunks.
    length: Option<usize>,
    closes: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(bytes).context("the head of an answer is not text")?;
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let mut head = Self {
            size: bytes.len(),
            status: status.with_context(|| format!("no status in the answer: {text}"))?,
            length: None,
            closes: false,
        };
        let mut in_chunks = false;
        for line in text.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                in_chunks = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        if head.length.is_none() && !in_chunks {
            bail!("an answer has neither content-length nor chunks: {text}");
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_where_an_answer_ends() {
        let head = Head::read(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length, head.closes), (200, Some(12), false));
        let head =
            Head::read(b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
                .unwrap();
        assert_eq!((head.status, head.length, head.closes), (503, None, true));
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
