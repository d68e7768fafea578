//! Bounds each call to the API server: an answer that never begins would hold its object until the reconcile's deadline.

use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Request;
use futures::future::BoxFuture;
use kube::client::Body;
use tower::{BoxError, Layer, Service};

/// Adds the bound to a client.
#[derive(Clone, Copy, Debug)]
pub struct CallTimeout(pub Duration);

impl<Inner> Layer<Inner> for CallTimeout {
    type Service = Bounded<Inner>;

    fn layer(&self, inner: Inner) -> Bounded<Inner> {
        Bounded { inner, limit: self.0 }
    }
}

/// A client whose calls are bounded.
#[derive(Debug)]
pub struct Bounded<Inner> {
    inner: Inner,
    limit: Duration,
}

impl<Inner> Service<Request<Body>> for Bounded<Inner>
where
    Inner: Service<Request<Body>, Error = BoxError>,
    Inner::Future: Send + 'static,
{
    type Response = Inner::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (limit, watch) = (self.limit, is_watch(&request));
        let answer = self.inner.call(request);
        Box::pin(async move {
            if watch {
                return answer.await;
            }
            let late = || format!("the API server did not answer within {} s", limit.as_secs_f32());
            tokio::time::timeout(limit, answer)
                .await
                .unwrap_or_else(|_| Err(late().into()))
        })
    }
}

/// A watch begins with its first event, which may be a long time coming.
fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::WatchParams;
    use kube::client::ClientBuilder;
    use kube::{Api, Client, Config};

    use super::*;

    /// A client of an API server that takes half a second for every answer.
    async fn client_of_slow_server() -> Client {
        let routes = Router::new().fallback(|| async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            ""
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        // Already installed by another test, or now: the same provider either way.
        let _ = rustls::crypto::ring::default_provider().install_default();
        ClientBuilder::try_from(Config::new(uri.parse().unwrap()))
            .unwrap()
            .with_layer(&CallTimeout(Duration::from_millis(100)))
            .build()
    }

    #[tokio::test]
    async fn a_call_without_an_answer_ends_and_a_watch_goes_on_waiting() {
        let pods: Api<Pod> = Api::namespaced(client_of_slow_server().await, "team");
        let error = pods.get("a").await.unwrap_err().to_string();
        assert!(error.contains("did not answer within 0.1 s"), "{error}");
        assert!(pods.watch(&WatchParams::default(), "0").await.is_ok());
    }
}
