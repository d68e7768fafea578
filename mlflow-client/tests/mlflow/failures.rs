//! What the client says when there is no server, another server, or one that refuses it.

use std::time::{Duration, Instant};

use aiops_mlflow_client::{Authentication, Client, Config, ErrorKind};

use crate::network::FixedServer;
use crate::server;

const EMPTY_ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

fn config(port: u16, path: &str) -> Config {
    Config::new(format!("http://127.0.0.1:{port}{path}").parse().unwrap())
}

#[tokio::test]
async fn a_host_name_that_the_server_refuses_says_where_to_allow_it() {
    let address = format!("http://localhost:{}", server::port());
    let client = Client::new(Config::new(address.parse().unwrap())).unwrap();
    let error = client.server_info().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Forbidden, Some(403)),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("localhost:{}", server::port())),
        "{error}"
    );
    assert!(error.to_string().contains("--allowed-hosts"), "{error}");
}

#[tokio::test]
async fn a_port_on_which_nobody_listens_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = Client::new(config(port, ""))
        .unwrap()
        .server_info()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Unreachable, None),
        "{error}"
    );
    assert!(error.is_retryable());
    assert!(
        error.to_string().contains("GET /api/3.0/mlflow/server-info"),
        "{error}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    let config = Config::new("http://mlflow.invalid:5000".parse().unwrap());
    let error = Client::new(config).unwrap().server_info().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unreachable_after_the_timeout() {
    let silent = FixedServer::start(None).await;
    let config = Config {
        timeout: Duration::from_millis(300),
        ..config(silent.port, "")
    };
    let started = Instant::now();
    let error = Client::new(config)
        .unwrap()
        .get_experiment_by_name("x")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.message().contains("in time"), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_is_not_mlflow_is_told_apart_from_one_that_lacks_the_thing() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>";
    let other = FixedServer::start(Some(page)).await;
    let error = Client::new(config(other.port, ""))
        .unwrap()
        .get_experiment_by_name("x")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(error.to_string().contains("<html>"), "{error}");
    assert!(error.to_string().contains("tracking URI"), "{error}");

    let wrong_prefix = Client::new(config(server::port(), "/prefix")).unwrap();
    let error = wrong_prefix.get_experiment_by_name("x").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Unexpected, Some(404)),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_but_explained() {
    let answer = "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://mlflow/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let other = FixedServer::start(Some(answer)).await;
    let error = Client::new(config(other.port, ""))
        .unwrap()
        .get_run("x")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(error.to_string().contains("redirects"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_overloaded_may_be_asked_again() {
    for answer in [
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy",
        "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy",
    ] {
        let other = FixedServer::start(Some(answer)).await;
        let error = Client::new(config(other.port, ""))
            .unwrap()
            .get_run("x")
            .await
            .unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn credentials_go_with_every_request_under_the_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "from-file\n").unwrap();
    let cases = [
        (Authentication::None, None),
        (
            Authentication::Basic {
                username: "operator".into(),
                password: "pass:word".into(),
            },
            Some("authorization: Basic b3BlcmF0b3I6cGFzczp3b3Jk"),
        ),
        (
            Authentication::Bearer {
                token: "fixed".into(),
            },
            Some("authorization: Bearer fixed"),
        ),
        (
            Authentication::TokenFile { path },
            Some("authorization: Bearer from-file"),
        ),
    ];
    for (authentication, expected) in cases {
        let mut recorder = FixedServer::start(Some(EMPTY_ANSWER)).await;
        let config = Config {
            authentication,
            ..config(recorder.port, "/ml/")
        };
        Client::new(config).unwrap().server_info().await.unwrap();
        let request = recorder.next_request().await;
        assert!(
            request.starts_with("GET /ml/api/3.0/mlflow/server-info HTTP/1.1\r\n"),
            "{request}"
        );
        let sent = request.lines().find(|line| line.starts_with("authorization:"));
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_read_names_its_file() {
    let authentication = Authentication::TokenFile {
        path: "/nonexistent/token".into(),
    };
    let config = Config {
        authentication,
        ..config(server::port(), "")
    };
    let error = Client::new(config).unwrap().server_info().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("/nonexistent/token"), "{error}");
}
