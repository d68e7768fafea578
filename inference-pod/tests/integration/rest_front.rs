//! What the REST front is around its predictions: ids, methods, media types, compression, browsers.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Repository, Server, client};

pub async fn send(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> reqwest::Response {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let mut request = client
        .request(method, format!("{}{path}", server.rest))
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

pub fn header(answer: &reqwest::Response, name: &str) -> String {
    answer
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

const ROW: &str = r#"{"instances": [[1, 2, 3, 4]]}"#;

#[tokio::test]
async fn every_answer_has_the_requests_id_and_every_error_names_it() {
    let _ = client();
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--rest-cors-origin=*"]).await;
    let preflight = [("Origin", "http://a"), ("Access-Control-Request-Method", "POST")];
    for (method, path, headers, body, status) in [
        (Method::GET, "/health", &[][..], "", 200),
        (Method::POST, "/v1/models/dense_1:predict", &[], ROW, 200),
        (Method::POST, "/v1/models/dense_1:predict", &[], "{", 400),
        (
            Method::POST,
            "/predict/dense_1",
            &[],
            r#"{"instances": [[1]]}"#,
            400,
        ),
        (Method::POST, "/predict/absent", &[], ROW, 404),
        (Method::GET, "/nowhere", &[], "", 404),
        (Method::GET, "/v1/models/%ff", &[], "", 400),
        (Method::DELETE, "/v1/models", &[], "", 405),
        (Method::PUT, "/predict/dense_1", &[], ROW, 405),
        (
            Method::POST,
            "/predict/dense_1",
            &[("Content-Type", "text/csv")],
            ROW,
            415,
        ),
        (
            Method::POST,
            "/predict/dense_1",
            &[("Content-Encoding", "br")],
            ROW,
            415,
        ),
        (Method::OPTIONS, "/predict/dense_1", &preflight, "", 200),
    ] {
        let case = format!("{method} {path} {headers:?}");
        let with_id = [headers, &[("X-Request-Id", "my-id-1")]].concat();
        let answer = send(&server, method, path, &with_id, body).await;
        assert_eq!(answer.status(), status, "{case}");
        assert_eq!(header(&answer, "x-request-id"), "my-id-1", "{case}");
        if status >= 400 {
            assert_eq!(header(&answer, "content-type"), "application/json", "{case}");
            let error: Value = answer.json().await.unwrap();
            assert!(
                error["error"].as_str().is_some_and(|text| !text.is_empty()),
                "{case}: {error}"
            );
            assert_eq!(error["requestId"], "my-id-1", "{case}");
        }
    }
    let answer = send(
        &server,
        Method::GET,
        "/health",
        &[("X-Request-Id", "two words")],
        "",
    )
    .await;
    assert_eq!(header(&answer, "x-request-id").len(), 36);
}

#[tokio::test]
async fn paths_say_which_methods_they_take() {
    let _ = client();
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    for (path, allowed) in [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/dense_1", "GET, HEAD, OPTIONS"),
        ("/v1/models/dense_1/versions/1", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/v1/models/dense_1:predict", "POST, OPTIONS"),
        ("/v1/models/dense_1/versions/1:predict", "POST, OPTIONS"),
        ("/predict/dense_1", "POST, OPTIONS"),
    ] {
        let answer = send(&server, Method::OPTIONS, path, &[], "").await;
        assert_eq!(
            (answer.status(), header(&answer, "allow").as_str()),
            (StatusCode::NO_CONTENT, allowed),
            "{path}"
        );
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::TRACE,
        ] {
            let answer = send(&server, method.clone(), path, &[], ROW).await;
            if allowed.contains(method.as_str()) {
                assert_eq!(answer.status(), 200, "{method} {path}");
            } else {
                assert_eq!(
                    (answer.status().as_u16(), header(&answer, "allow").as_str()),
                    (405, allowed),
                    "{method} {path}"
                );
            }
        }
        if allowed.starts_with("GET") {
            let (get, head) = tokio::join!(
                send(&server, Method::GET, path, &[], ""),
                send(&server, Method::HEAD, path, &[], "")
            );
            assert_eq!(
                header(&get, "content-length"),
                header(&head, "content-length"),
                "{path}"
            );
            assert!(head.bytes().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_body_is_taken_unless_it_says_that_it_is_something_else() {
    let _ = client();
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    // The last is what curl says about --data.
    for taken in [
        "",
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
    ] {
        let answer = send(
            &server,
            Method::POST,
            "/predict/dense_1",
            &[("Content-Type", taken)],
            ROW,
        )
        .await;
        assert_eq!(answer.status(), 200, "{taken}");
    }
    let answer = send(
        &server,
        Method::POST,
        "/predict/dense_1",
        &[("Content-Type", "text/plain")],
        ROW,
    )
    .await;
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "accept").as_str()),
        (415, "application/json")
    );
    let error: Value = answer.json().await.unwrap();
    assert!(error["error"].as_str().unwrap().contains("send JSON"), "{error}");
}

#[tokio::test]
async fn rows_and_predictions_may_travel_compressed() {
    let _ = client();
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--http-max-input-size=100000"]).await;
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let rows = json!({"instances": vec![[1, 2, 3, 4]; 500]}).to_string();
    let plain = send(&server, Method::POST, "/predict/dense_1", &[], rows.clone())
        .await
        .bytes()
        .await
        .unwrap();
    for encoding in ["gzip", "deflate"] {
        let headers = [("Content-Encoding", "gzip"), ("Accept-Encoding", encoding)];
        let answer = send(&server, Method::POST, "/predict/dense_1", &headers, gzip(&rows)).await;
        assert_eq!(
            (
                answer.status().as_u16(),
                header(&answer, "content-encoding").as_str()
            ),
            (200, encoding)
        );
        assert_eq!(header(&answer, "vary"), "accept-encoding");
        let compressed = answer.bytes().await.unwrap();
        let mut inflated = Vec::new();
        match encoding {
            "gzip" => GzDecoder::new(&compressed[..])
                .read_to_end(&mut inflated)
                .unwrap(),
            _ => ZlibDecoder::new(&compressed[..])
                .read_to_end(&mut inflated)
                .unwrap(),
        };
        assert!(inflated == plain && compressed.len() < plain.len() / 10);
    }
    // What would not get smaller is sent as it is.
    let answer = send(
        &server,
        Method::POST,
        "/predict/dense_1",
        &[("Accept-Encoding", "gzip")],
        ROW,
    )
    .await;
    assert_eq!(header(&answer, "content-encoding"), "");
    let bomb = gzip(&" ".repeat(200_000));
    let answer = send(
        &server,
        Method::POST,
        "/predict/dense_1",
        &[("Content-Encoding", "gzip")],
        bomb,
    )
    .await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_where_the_flag_says_so() {
    let _ = client();
    let repository = Repository::of(&["dense_1"]);
    let preflight = |origin: &'static str| {
        [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ]
    };
    let server = Server::start(&repository.uri(), &[]).await;
    let answer = send(
        &server,
        Method::OPTIONS,
        "/predict/dense_1",
        &preflight("https://a.example"),
        "",
    )
    .await;
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
    drop(server);
    let origins = [
        "--rest-cors-origin=https://a.example",
        "--rest-cors-origin=http://localhost:3000",
    ];
    let server = Server::start(&repository.uri(), &origins).await;
    for (origin, allowed) in [
        ("https://a.example", "https://a.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://b.example", ""),
    ] {
        let answer = send(
            &server,
            Method::OPTIONS,
            "/predict/dense_1",
            &preflight(origin),
            "",
        )
        .await;
        assert_eq!(header(&answer, "access-control-allow-origin"), allowed);
        assert_eq!(header(&answer, "access-control-allow-headers"), "content-type");
        for (body, status) in [(ROW, 200), ("{", 400)] {
            let answer = send(
                &server,
                Method::POST,
                "/predict/dense_1",
                &[("Origin", origin)],
                body,
            )
            .await;
            assert_eq!(
                (
                    answer.status().as_u16(),
                    header(&answer, "access-control-allow-origin").as_str()
                ),
                (status, allowed)
            );
            assert_eq!(
                header(&answer, "access-control-expose-headers"),
                "x-request-id,retry-after"
            );
        }
    }
}

#[tokio::test]
async fn health_is_where_people_look_for_it() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--drain-delay-secs=5"]).await;
    let _ = client();
    let states = async |paths: &[&str]| {
        let mut states = Vec::new();
        for path in paths {
            let answer = send(&server, Method::GET, path, &[], "").await;
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            states.push((status, body["status"].as_str().unwrap().to_owned()));
        }
        states
    };
    let (live, ready) = (
        ["/health/live", "/healthz", "/livez", "/"],
        ["/health", "/health/ready", "/readyz"],
    );
    assert!(
        states(&live)
            .await
            .iter()
            .all(|state| *state == (200, "alive".to_owned()))
    );
    assert!(
        states(&ready)
            .await
            .iter()
            .all(|state| *state == (200, "ready".to_owned()))
    );
    server.signal("TERM");
    crate::support::eventually("the server to say that it stops", || async {
        states(&ready)
            .await
            .iter()
            .all(|state| *state == (503, "stopping".to_owned()))
    })
    .await;
    assert!(states(&live).await.iter().all(|state| state.0 == 200));
}
