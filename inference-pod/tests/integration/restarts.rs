//! Restarts of one of two servers under a constant rate, asked by clients that behave as real ones do: over HTTP they ask
//! those that are ready, over gRPC those that they are connected to; they connect again when a connection ends, and turn to the
//! other one when they are refused or told that a call was not taken. Nothing that was taken may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use aiops_inference_pod::protocol::grpc_v2::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use futures::future::join_all;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use crate::support::{Repository, Server, client, slow_message};

const PERIOD: Duration = Duration::from_millis(10);
const PROBE_PERIOD: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(20);

/// One of the two, with ports that outlive the process.
struct Backend {
    http: u16,
    grpc: u16,
    ready: AtomicBool,
    /// Whether the channel has a connection.
    connected: AtomicBool,
    channel: GrpcInferenceServiceClient<Channel>,
}

impl Backend {
    fn new() -> Self {
        let free = || {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let (http, grpc) = (free(), free());
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}")).unwrap();
        Self {
            http,
            grpc,
            ready: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            channel: GrpcInferenceServiceClient::new(endpoint.connect_lazy()),
        }
    }

    async fn start(&self, repository: &Repository) -> Server {
        let (http, grpc) = (
            format!("--http-port={}", self.http),
            format!("--grpc-port={}", self.grpc),
        );
        Server::start(&repository.uri(), &[&http, &grpc, "--drain-delay-secs=1"]).await
    }

    /// A connection is made to who is ready, as a Service of Kubernetes makes it. What is connected knows nothing of readiness:
    /// it is used until the server takes no more on it.
    fn is_usable(&self) -> bool {
        self.connected.load(SeqCst) || self.ready.load(SeqCst)
    }

    async fn probe(&self, http: &reqwest::Client) {
        let url = format!("http://127.0.0.1:{}/v2/health/ready", self.http);
        let answer = http.get(url).send().await;
        self.ready
            .store(answer.is_ok_and(|answer| answer.status() == 200), SeqCst);
    }
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    turned: AtomicUsize,
    lost: std::sync::Mutex<Vec<String>>,
}

enum Answer {
    Good,
    /// Certainly not taken: connecting failed, or the server said so.
    NotTaken(String),
    Lost(String),
}

async fn ask_http(http: &reqwest::Client, backend: &Backend) -> Answer {
    let url = format!("http://127.0.0.1:{}/v2/models/slow/infer", backend.http);
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]});
    match http.post(url).json(&body).send().await {
        Ok(answer) if answer.status() == 200 => match answer.bytes().await {
            Ok(_) => Answer::Good,
            Err(error) => Answer::Lost(format!("HTTP: {error:?}")),
        },
        Ok(answer) => Answer::Lost(format!("HTTP: {}", answer.status())),
        Err(error) if error.is_connect() => Answer::NotTaken(format!("HTTP: {error:?}")),
        Err(error) => Answer::Lost(format!("HTTP: {error:?}")),
    }
}

async fn ask_grpc(backend: &Backend) -> Answer {
    match backend.channel.clone().model_infer(slow_message()).await {
        Ok(_) => Answer::Good,
        Err(status) => {
            let text = format!("gRPC: {status:?}");
            // What gRPC's own clients try again by themselves: nothing was sent, or the server did not take the stream.
            let not_taken = [
                "ConnectError",
                "Canceled",
                "REFUSED_STREAM",
                "GoAway(b\"\", NO_ERROR",
            ];
            if not_taken.iter().any(|part| text.contains(part)) {
                Answer::NotTaken(text)
            } else {
                Answer::Lost(text)
            }
        }
    }
}

async fn ask(http: &reqwest::Client, backends: &[Backend; 2], number: usize, counts: &Counts) {
    let end = tokio::time::Instant::now() + LIMIT;
    for attempt in number / 2.. {
        let backend = &backends[attempt % 2];
        let other = &backends[(attempt + 1) % 2];
        let answer = if number.is_multiple_of(2) {
            let ready = if backend.ready.load(SeqCst) {
                backend
            } else {
                other
            };
            ask_http(http, ready).await
        } else {
            let usable = if backend.is_usable() { backend } else { other };
            let answer = ask_grpc(usable).await;
            usable.connected.store(matches!(answer, Answer::Good), SeqCst);
            answer
        };
        match answer {
            Answer::Good => {
                counts.answered.fetch_add(1, SeqCst);
                return;
            }
            Answer::NotTaken(_) if tokio::time::Instant::now() < end => {
                counts.turned.fetch_add(1, SeqCst);
                tokio::time::sleep(PERIOD).await;
            }
            Answer::NotTaken(error) | Answer::Lost(error) => {
                counts.lost.lock().unwrap().push(error);
                return;
            }
        }
    }
}

async fn restart(times: usize) {
    let repository = Repository::of(&["slow"]);
    repository.config("slow", "max_batch_size: 8 dynamic_batching { }");
    let backends = Arc::new([Backend::new(), Backend::new()]);
    let (_steady, mut restarted) = (
        backends[0].start(&repository).await,
        backends[1].start(&repository).await,
    );
    let (http, counts, done) = (
        client(),
        Arc::new(Counts::default()),
        Arc::new(AtomicBool::new(false)),
    );

    let probing = {
        let (backends, done, http) = (Arc::clone(&backends), Arc::clone(&done), client());
        tokio::spawn(async move {
            while !done.load(SeqCst) {
                for backend in backends.iter() {
                    backend.probe(&http).await;
                }
                tokio::time::sleep(PROBE_PERIOD).await;
            }
        })
    };
    let load = {
        let (backends, counts, done) = (Arc::clone(&backends), Arc::clone(&counts), Arc::clone(&done));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            let mut requests = Vec::new();
            while !done.load(SeqCst) {
                ticks.tick().await;
                let (backends, counts, http) = (Arc::clone(&backends), Arc::clone(&counts), http.clone());
                let number = requests.len();
                requests.push(tokio::spawn(async move {
                    ask(&http, &backends, number, &counts).await;
                }));
            }
            let asked = requests.len();
            for ended in join_all(requests).await {
                ended.unwrap();
            }
            asked
        })
    };
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(500)).await;
        restarted.signal("TERM");
        assert_eq!(restarted.end().await.code(), Some(0), "{}", restarted.log());
        // Another pod, another address.
        backends[1].connected.store(false, SeqCst);
        restarted = backends[1].start(&repository).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    done.store(true, SeqCst);
    let asked = load.await.unwrap();
    probing.await.unwrap();
    let (answered, turned) = (counts.answered.load(SeqCst), counts.turned.load(SeqCst));
    let lost = counts.lost.lock().unwrap();
    eprintln!(
        "{times} restarts: {asked} asked, {answered} answered, {turned} sent again, {} lost",
        lost.len()
    );
    assert!(
        lost.is_empty(),
        "{} of {asked} lost: {:#?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
    assert_eq!(answered, asked);
    assert!(asked > 100 * times, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_one_of_two_servers_restarts() {
    restart(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; run it by its name"]
async fn no_request_is_lost_in_twenty_restarts_of_one_of_two_servers() {
    restart(20).await;
}
