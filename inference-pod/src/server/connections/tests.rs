//! Clients that take their answers slowly, and those that do not take them at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{ConnectionLimits, Front, Protocol, serve};
use crate::lifecycle::Lifecycle;

/// Far more than all buffers between server and client hold.
const ANSWER_BYTES: usize = 48 << 20;
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than any connection lives whose client takes nothing.
const LONG: Duration = Duration::from_secs(4);

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front {
        name: "http",
        protocol: Protocol::Http,
        router: Router::new().route("/", get(|| async { vec![b'x'; ANSWER_BYTES] })),
        lifecycle: Arc::new(Lifecycle::default()),
        tls: None,
        limits: ConnectionLimits {
            max_header_bytes: 1 << 16,
            header_timeout: Duration::from_secs(30),
            write_timeout: WRITE_TIMEOUT,
            max_connections: None,
            keepalive: (Duration::from_secs(60), Duration::from_secs(20)),
            age: None,
            age_grace: None,
        },
        stop: CancellationToken::new(),
    };
    tokio::spawn(serve(listener, front));
    address
}

async fn ask(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    stream
}

async fn rest_of(stream: &mut TcpStream) -> usize {
    let mut rest = Vec::new();
    // A connection that is reset is closed as well.
    let _ = stream.read_to_end(&mut rest).await;
    rest.len()
}

async fn ask_over_http2(address: SocketAddr) -> reqwest::Response {
    // Fails where another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    client.get(format!("http://{address}/")).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_loses_its_connection() {
    let address = start().await;
    let mut stream = ask(address).await;
    let answer = ask_over_http2(address).await;
    tokio::time::sleep(LONG).await;
    let rest = rest_of(&mut stream).await;
    assert!(rest < ANSWER_BYTES, "HTTP/1.1: {rest} bytes came");
    let rest = answer.bytes().await.map(|bytes| bytes.len());
    assert!(rest.is_err(), "HTTP/2: {rest:?} bytes came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_its_answer() {
    let address = start().await;
    let mut stream = ask(address).await;
    let mut answer = ask_over_http2(address).await;
    let (mut count, mut count_of_http2) = (0, 0);
    let start = tokio::time::Instant::now();
    // What its system makes room for at once, on a network without small packets.
    let mut part = vec![0; 128 << 10];
    while start.elapsed() < LONG {
        tokio::time::sleep(WRITE_TIMEOUT / 5).await;
        count += stream.read_exact(&mut part).await.unwrap();
        let so_far = count_of_http2;
        // Its client gives leave for more when half of its window, which is a mebibyte, was taken.
        while count_of_http2 < so_far + (1 << 20) {
            count_of_http2 += answer.chunk().await.unwrap().unwrap().len();
        }
    }
    count += rest_of(&mut stream).await;
    assert!(count > ANSWER_BYTES, "HTTP/1.1: {count} bytes came");
    count_of_http2 += answer.bytes().await.unwrap().len();
    assert_eq!(count_of_http2, ANSWER_BYTES, "HTTP/2");
}
