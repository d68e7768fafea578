//! For tests: an API server that answers as its routes say, and nothing else.

/// A client of a server with these routes, which runs as long as the test does.
pub async fn client_of(routes: axum::Router) -> kube::Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    // Whichever test comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    kube::Client::try_from(kube::Config::new(uri.parse().unwrap())).unwrap()
}
