//! Networks that fail in chosen ways: a proxy before the real server that loses answers, and a server with one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aiops_mlflow_client::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server;

/// Passes requests on to the MLflow server and loses what the test tells it to lose.
pub struct LossyProxy {
    port: u16,
    lost: Arc<AtomicU32>,
}

/// What a [`LossyProxy`] loses.
#[derive(Clone, Copy)]
pub struct Losses {
    /// The answer to the first request whose first line contains this is lost: the server has done its work by then.
    pub answer_to: &'static str,
    /// So many requests after it do not reach the server at all.
    pub then_requests: u32,
}

impl LossyProxy {
    pub async fn start(losses: Losses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lost = Arc::new(AtomicU32::new(0));
        let counter = lost.clone();
        let upstream = server::port();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(pass_on(connection, upstream, losses, counter.clone()));
            }
        });
        Self { port, lost }
    }

    pub fn client(&self) -> Client {
        Client::new(Config::new(
            format!("http://127.0.0.1:{}", self.port).parse().unwrap(),
        ))
        .unwrap()
    }

    /// How many answers and requests were lost.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }
}

/// One request per connection: the server is told to close it after its answer.
async fn pass_on(mut connection: TcpStream, upstream: u16, losses: Losses, lost: Arc<AtomicU32>) {
    let Some(request) = read_request(&mut connection).await else {
        return;
    };
    let (first_line, rest) = request.split_once("\r\n").unwrap();
    let already_lost = lost.load(Ordering::SeqCst);
    if already_lost > 0 && already_lost <= losses.then_requests {
        lost.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
    server
        .write_all(format!("{first_line}\r\nconnection: close\r\n{rest}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.unwrap();
    if already_lost == 0 && first_line.contains(losses.answer_to) {
        lost.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let _ = connection.write_all(&answer).await;
}

/// A server that gives every request the same answer.
pub struct FixedServer {
    pub port: u16,
    requests: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl FixedServer {
    /// `answer` is a whole HTTP answer; `None` never answers.
    pub async fn start(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let Some(request) = read_request(&mut connection).await else {
                    continue;
                };
                let _ = sender.send(request);
                match answer {
                    Some(answer) => {
                        let _ = connection.write_all(answer.as_bytes()).await;
                    }
                    None => tokio::time::sleep(Duration::from_secs(60)).await,
                }
            }
        });
        Self { port, requests }
    }

    /// The next request that arrived, head and body.
    pub async fn next_request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

/// Head and body of a request with a `content-length`, or none.
async fn read_request(connection: &mut TcpStream) -> Option<String> {
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = connection
            .read(&mut buffer)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        received.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&received);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
    }
}
