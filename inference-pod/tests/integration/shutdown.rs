//! SIGTERM: unready at once, accepting for the drain delay, finishing what was accepted, ending with 0.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::connections::{connect, connect_http2, is_told_to_go, rest_of};
use crate::support::{Repository, Server, client, slow_message as message};

fn body() -> serde_json::Value {
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]})
}

fn slow_repository() -> Repository {
    let repository = Repository::of(&["slow"]);
    repository.config("slow", "max_batch_size: 1 dynamic_batching { }");
    repository
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_finished_in_every_protocol() {
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &[]).await;
    let url = format!("{}/v2/models/slow/infer", server.http);
    let rest = format!("{}/predict/slow", server.rest);
    let (client, grpc) = (client(), server.grpc().await);
    let requests: Vec<_> = (0..60)
        .map(|index| {
            let (url, rest, client, mut grpc) = (url.clone(), rest.clone(), client.clone(), grpc.clone());
            tokio::spawn(async move {
                match index % 3 {
                    0 => client.post(url).json(&body()).send().await.unwrap().status() == 200,
                    1 => {
                        let rows = json!({"instances": [[1]]});
                        client.post(rest).json(&rows).send().await.unwrap().status() == 200
                    }
                    _ => grpc.model_infer(message()).await.is_ok(),
                }
            })
        })
        .collect();
    let pending = "nv_inference_pending_request_count{model=\"slow\",version=\"1\"}";
    crate::support::eventually("most requests to wait in the queue", || async {
        server.metric(pending).await > 40.0
    })
    .await;
    // Those that are not in the queue yet have been accepted a moment later.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.signal("TERM");
    let answered = join_all(requests)
        .await
        .into_iter()
        .filter(|ok| *ok.as_ref().unwrap())
        .count();
    assert_eq!(answered, 60);
    let status = server.end().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn the_drain_delay_is_unready_but_serving() {
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &["--drain-delay-secs=2"]).await;
    let start = Instant::now();
    server.signal("TERM");
    crate::support::eventually("readiness to end", || async { !server.is_ready().await }).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    let url = format!("{}/v2/models/slow/infer", server.http);
    while start.elapsed() < Duration::from_millis(1500) {
        let answer = client().post(&url).json(&body()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()["connection"],
            "close",
            "clients are told to go elsewhere"
        );
    }
    let health = client()
        .get(format!("{}/health", server.rest))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 503);
    assert_eq!(server.end().await.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_timeout_ends_what_takes_too_long_and_says_so() {
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &["--exit-timeout-secs=1"]).await;
    let url = format!("{}/v2/models/slow/infer", server.http);
    let client = client();
    let many: Vec<_> = (0..1000)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                client
                    .post(url)
                    .json(&body())
                    .send()
                    .await
                    .map(|answer| answer.status())
            })
        })
        .collect();
    let pending = "nv_inference_pending_request_count{model=\"slow\",version=\"1\"}";
    crate::support::eventually("a long queue", || async { server.metric(pending).await > 500.0 }).await;
    server.signal("TERM");
    assert_eq!(server.end().await.code(), Some(1));
    assert!(server.log().contains("--exit-timeout-secs"), "{}", server.log());
    for request in many {
        request.abort();
    }
}

/// The head of a request and a part of its body.
fn stalled_upload(server: &Server) -> std::net::TcpStream {
    use std::io::Write as _;
    let address = server.http.strip_prefix("http://").unwrap();
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let head = "POST /v2/models/slow/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{\"inp";
    connection.write_all(head.as_bytes()).unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_keeps_a_connection_open_does_not_hold_up_the_end() {
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &[]).await;
    // What tritonclient's start_stream() keeps open, with twenty requests under way.
    let messages = futures::stream::iter(vec![message(); 20]).chain(futures::stream::pending());
    let mut answers = server
        .grpc()
        .await
        .model_stream_infer(messages)
        .await
        .unwrap()
        .into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let channel = tonic::transport::Channel::from_shared(server.grpc.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(watch.message().await.unwrap().is_some());
    let _upload = stalled_upload(&server);
    tokio::time::sleep(Duration::from_millis(100)).await;

    let start = Instant::now();
    server.signal("TERM");
    let mut answered = 1;
    let end = loop {
        match answers.message().await {
            Ok(Some(_)) => answered += 1,
            Ok(None) => panic!("a stream that the client did not end must not look complete"),
            Err(end) => break end,
        }
    };
    assert_eq!((answered, end.code()), (20, tonic::Code::Unavailable), "{end}");
    while let Ok(Some(_)) = watch.message().await {}
    assert_eq!(server.end().await.code(), Some(0), "{}", server.log());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_never_idle_is_ended_too() {
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &[]).await;
    let mut answers = server
        .grpc()
        .await
        .model_stream_infer(futures::stream::repeat(message()))
        .await
        .unwrap()
        .into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let start = Instant::now();
    server.signal("TERM");
    let end = loop {
        match answers.message().await {
            Ok(Some(_)) => assert!(start.elapsed() < Duration::from_secs(10), "still answered"),
            Ok(None) => panic!("a stream that the client did not end must not look complete"),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), tonic::Code::Unavailable, "{end}");
    assert_eq!(server.end().await.code(), Some(0), "{}", server.log());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let repository = slow_repository();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = crate::support::program()
        .args([
            "--model-repository",
            &repository.uri(),
            "--http-port=0",
            "--grpc-port=0",
            "--rest-address=127.0.0.1",
        ])
        .arg(format!("--rest-port={}", taken.local_addr().unwrap().port()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("--rest-port: cannot listen"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_told_of_the_end_and_a_request_that_comes_late_is_answered() {
    use std::io::{Read as _, Write as _};
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &[]).await;
    let ask = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut idle = connect(&server.http);
    idle.write_all(ask).unwrap();
    let mut answer = [0; 1000];
    assert!(idle.read(&mut answer).unwrap() > 0);
    let mut unused = connect(&server.http);
    let mut half = connect(&server.http);
    half.write_all(&ask[..20]).unwrap();
    let mut told = [
        connect_http2(&server.grpc),
        connect_http2(&server.http),
        connect_http2(&server.rest),
    ];
    tokio::time::sleep(Duration::from_millis(200)).await;

    let start = Instant::now();
    server.signal("TERM");
    let told = tokio::task::spawn_blocking(move || told.iter_mut().all(is_told_to_go));
    tokio::time::sleep(Duration::from_millis(300)).await;
    unused.write_all(ask).unwrap();
    half.write_all(&ask[20..]).unwrap();
    for late in [&mut unused, &mut half] {
        let answer = rest_of(late);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
            "{answer}"
        );
    }
    assert_eq!(rest_of(&mut idle), "");
    assert!(told.await.unwrap());
    assert_eq!(server.end().await.code(), Some(0), "{}", server.log());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn watchers_of_health_hear_at_once_that_the_server_ends_while_it_still_serves() {
    use tonic_health::pb::health_check_response::ServingStatus;
    let repository = slow_repository();
    let mut server = Server::start(&repository.uri(), &["--drain-delay-secs=2"]).await;
    let channel = tonic::transport::Channel::from_shared(server.grpc.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let start = Instant::now();
    server.signal("TERM");
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    // A new connection too.
    server.grpc().await.model_infer(message()).await.unwrap();
    assert_eq!(server.end().await.code(), Some(0), "{}", server.log());
}
