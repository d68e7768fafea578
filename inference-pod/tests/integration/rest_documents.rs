//! The OpenAPI document of the loaded models, and the page to try them.

use http::Method;
use serde_json::{Value, json};

use crate::rest_front::{header, send};
use crate::support::{Repository, Server, client, publish_into};

#[tokio::test]
async fn the_document_describes_the_models_that_are_loaded() {
    let _ = client();
    let repository = Repository::of(&["dense_1", "ratio"]);
    publish_into(&repository, "iris", "iris", 3);
    let server = Server::start(
        &repository.uri(),
        &["--model-control-mode=explicit", "--load-model=iris"],
    )
    .await;
    let answer = send(&server, Method::GET, "/openapi.json", &[], "").await;
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    let tag = header(&answer, "etag");
    let document: Value = answer.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/models/iris",
        "/v1/models/iris:predict",
        "/v1/models/iris/versions/3:predict",
        "/predict/iris",
        "/health",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(!paths.contains_key("/predict/ratio"));
    let schemas = &document["components"]["schemas"];
    let row = &schemas["iris.3.Row"]["anyOf"][0];
    assert_eq!(row["properties"]["sepal_length"]["type"], "number");
    assert_eq!(row["required"].as_array().unwrap().len(), 4);
    assert_eq!(row["additionalProperties"], false);
    let prediction = &schemas["iris.3.Prediction"]["properties"];
    assert_eq!(
        prediction["label"]["enum"],
        json!(["setosa", "versicolor", "virginica"])
    );
    // The example is a row that the model takes.
    let example = &paths["/predict/iris"]["post"]["requestBody"]["content"]["application/json"]["example"];
    let answer = send(&server, Method::POST, "/predict/iris", &[], example.to_string()).await;
    assert_eq!(answer.status(), 200);

    let same = send(
        &server,
        Method::GET,
        "/openapi.json",
        &[("If-None-Match", &tag)],
        "",
    )
    .await;
    assert_eq!(
        (same.status().as_u16(), header(&same, "etag")),
        (304, tag.clone())
    );
    let loaded = client()
        .post(format!("{}/v2/repository/models/ratio/load", server.http))
        .send()
        .await
        .unwrap();
    assert_eq!(loaded.status(), 200);
    let other = send(
        &server,
        Method::GET,
        "/openapi.json",
        &[("If-None-Match", &tag)],
        "",
    )
    .await;
    assert_eq!(other.status(), 200);
    let document: Value = other.json().await.unwrap();
    assert!(
        document["paths"]
            .as_object()
            .unwrap()
            .contains_key("/predict/ratio")
    );
}

#[tokio::test]
async fn a_browser_gets_a_page_that_loads_from_nowhere_else() {
    let _ = client();
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let answer = send(&server, Method::GET, "/", &[("Accept", "text/html,*/*")], "").await;
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "location").as_str()),
        (302, "docs")
    );
    let answer = send(&server, Method::GET, "/docs", &[], "").await;
    let policy = header(&answer, "content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = answer.text().await.unwrap();
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("style="));
    for (path, media_type) in [
        ("docs/page.css", "text/css; charset=utf-8"),
        ("docs/page.js", "text/javascript; charset=utf-8"),
    ] {
        assert!(page.contains(path), "{path}");
        let answer = send(&server, Method::GET, &format!("/{path}"), &[], "").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "content-type").as_str()),
            (200, media_type)
        );
    }
    drop(server);
    let server = Server::start(&repository.uri(), &["--rest-docs=false"]).await;
    for path in ["/docs", "/openapi.json", "/docs/page.js"] {
        assert_eq!(send(&server, Method::GET, path, &[], "").await.status(), 404);
    }
    assert_eq!(
        send(&server, Method::GET, "/", &[("Accept", "text/html")], "")
            .await
            .status(),
        200
    );
}
