//! gRPC as far as a load generator needs it: messages that are encoded already, over HTTP/2.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Method, Request, Uri};
use tokio::net::TcpStream;

/// As large as those of the servers' own clients, so that no answer waits for the window.
const WINDOW_BYTES: u32 = 8 << 20;

/// A message with the flag and the length that go before it.
pub fn message(body: &[u8]) -> anyhow::Result<Bytes> {
    let mut message = BytesMut::with_capacity(5 + body.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(body.len()).context("a message is too large")?);
    message.extend_from_slice(body);
    Ok(message.freeze())
}

/// A connection, on which many requests are under way at a time.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    uri: Uri,
}

/// An answer.
pub struct Answer {
    /// Whether its status is OK.
    pub is_success: bool,
    /// Its message, with what goes before it.
    pub body: Bytes,
}

impl Connection {
    pub async fn open(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        let uri = format!("http://{address}{path}").parse()?;
        Ok(Self { sender, uri })
    }

    pub async fn call(&self, message: &Bytes) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request, false)?;
        stream.send_data(message.clone(), true)?;
        let mut response = response.await?;
        let mut is_success = is_ok(response.headers());
        let body = response.body_mut();
        let mut received = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            if received.is_empty() && joined.is_empty() {
                received = piece;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut received));
                joined.extend_from_slice(&piece);
            }
        }
        if let Some(trailers) = body.trailers().await? {
            is_success |= is_ok(&trailers);
        }
        if !joined.is_empty() {
            received = joined.freeze();
        }
        ensure!(!is_success || received.len() >= 5, "an answer has no message");
        Ok(Answer {
            is_success,
            body: received,
        })
    }
}

fn is_ok(headers: &http::HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status == "0")
}
