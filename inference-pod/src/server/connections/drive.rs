//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower::Service as _;

use super::answer::{Answer, expired};
use super::stream::{Activity, Counted};
use super::version::{self, Version};
use super::{Front, Protocol, deadline};

/// HTTP/2 flow-control window of gRPC: with the protocol's 64 KiB, a large tensor would wait for a round trip every few packets.
const GRPC_WINDOW_BYTES: u32 = 8 << 20;
/// How long a connection on which a request may be on its way is left open when the server stops.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
pub(super) async fn connection(stream: TcpStream, front: &Arc<Front>) {
    let opened = tokio::select! {
        biased;
        opened = tokio::time::timeout(front.limits.header_timeout, open(stream, front)) => opened,
        () = too_late(front) => return,
    };
    match opened {
        Ok(Some(Opened::Plain(stream, version))) => serve(stream, version, front).await,
        Ok(Some(Opened::Secured(stream, version))) => serve(*stream, version, front).await,
        Ok(None) => {}
        Err(_) => tracing::debug!(front = front.name, "a connection that said nothing is closed"),
    }
}

async fn too_late(front: &Front) {
    front.stop.cancelled().await;
    tokio::time::sleep(LAST_REQUEST).await;
}

enum Opened {
    Plain(TcpStream, Version),
    Secured(Box<tokio_rustls::server::TlsStream<TcpStream>>, Version),
}

/// The connection when it is known what it speaks.
async fn open(stream: TcpStream, front: &Front) -> Option<Opened> {
    let of_grpc = |version| match front.protocol {
        Protocol::Grpc => Version::Http2,
        Protocol::Http => version,
    };
    let Some(tls) = &front.tls else {
        let version = version::of_first_bytes(&stream).await?;
        return Some(Opened::Plain(stream, of_grpc(version)));
    };
    match tls.acceptor().accept(stream).await {
        Ok(stream) => {
            let version = version::of_alpn(stream.get_ref().1.alpn_protocol());
            Some(Opened::Secured(Box::new(stream), of_grpc(version)))
        }
        Err(error) => {
            tracing::debug!(front = front.name, %error, "a TLS handshake failed");
            None
        }
    }
}

async fn serve<S>(stream: S, version: Version, front: &Arc<Front>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let stream = TokioIo::new(Counted::new(stream, &activity));
    match front.protocol {
        Protocol::Http => {
            let answer = answer_http(Arc::clone(front), Arc::clone(&activity));
            serve_http(stream, version, front, &activity, answer).await;
        }
        Protocol::Grpc => {
            let answer = answer_grpc(Arc::clone(front), Arc::clone(&activity));
            let connection = http2_builder(front).serve_connection(stream, answer);
            drive(connection, version, front, &activity).await;
        }
    }
}

async fn serve_http<S, A>(
    stream: TokioIo<Counted<S>>,
    version: Version,
    front: &Front,
    activity: &Activity,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: HttpService<Incoming, ResBody = Answer, Error = Infallible, Future: Send + 'static> + Send + 'static,
{
    match version {
        Version::Http1 => {
            let connection = http1::Builder::new()
                .max_header_size(front.limits.max_header_bytes as usize)
                .serve_connection(stream, answer);
            drive(connection, version, front, activity).await;
        }
        Version::Http2 => {
            let connection = http2_builder(front).serve_connection(stream, answer);
            drive(connection, version, front, activity).await;
        }
    }
}

fn http2_builder(front: &Front) -> http2::Builder<TokioExecutor> {
    let (interval, timeout) = front.limits.keepalive;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .max_header_list_size(front.limits.max_header_bytes);
    if front.protocol == Protocol::Grpc {
        builder
            .initial_stream_window_size(GRPC_WINDOW_BYTES)
            .initial_connection_window_size(GRPC_WINDOW_BYTES);
    }
    builder
}

/// Answers over HTTP. Clients that keep connections open are told to move to another pod before this one stops accepting.
fn answer_http(
    front: Arc<Front>,
    activity: Arc<Activity>,
) -> impl HttpService<Incoming, ResBody = Answer, Error = Infallible, Future: Send + 'static> + Send + 'static
{
    service_fn(move |request: Request<Incoming>| {
        let activity = Arc::clone(&activity);
        let running = activity.begin();
        let front = Arc::clone(&front);
        let may_close = request.version() <= http::Version::HTTP_11;
        let answer = front.router.clone().call(request);
        async move {
            let mut answer = answer.await?;
            if may_close && front.lifecycle.is_stopping() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            drop(running);
            Ok(answer.map(|body| Answer::new(body, None, &activity)))
        }
    })
}

/// Answers over gRPC, within the time that the client gives.
fn answer_grpc(
    front: Arc<Front>,
    activity: Arc<Activity>,
) -> impl HttpService<Incoming, ResBody = Answer, Error = Infallible, Future: Send + 'static> + Send + 'static
{
    service_fn(move |request: Request<Incoming>| {
        let activity = Arc::clone(&activity);
        let running = activity.begin();
        let deadline = deadline::of(request.headers()).and_then(|time| Instant::now().checked_add(time));
        let answer = front.router.clone().call(request);
        async move {
            let answer = match deadline {
                None => answer.await?,
                Some(deadline) => timeout_at(deadline, answer)
                    .await
                    .unwrap_or_else(|_| Ok(expired().into_http()))?,
            };
            drop(running);
            Ok(answer.map(|body| Answer::new(body, deadline, &activity)))
        }
    })
}

/// A connection that can be asked to end.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no new requests and ends when those that it took are answered.
    fn begin_end(self: Pin<&mut Self>);
}

impl<S, A> Connection for http1::Connection<TokioIo<S>, A>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: HttpService<Incoming, ResBody = Answer, Error = Infallible>,
{
    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, A> Connection for http2::Connection<TokioIo<S>, A, TokioExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: HttpService<Incoming, ResBody = Answer, Error = Infallible, Future: Send + 'static>,
{
    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Why a connection has to end.
enum End {
    Stop,
    Age,
    Stalled,
}

async fn drive<C: Connection>(connection: C, version: Version, front: &Front, activity: &Activity) {
    tokio::select! {
        biased;
        () = drive_to_end(connection, version, front, activity) => {}
        () = activity.withholds(front.limits.write_timeout) => {
            tracing::debug!(front = front.name, "a connection whose client took nothing of an answer is closed");
        }
    }
}

async fn drive_to_end<C: Connection>(connection: C, version: Version, front: &Front, activity: &Activity) {
    let mut connection = pin!(connection);
    // The connection is looked at first always: what has come in on it is seen before it is ended.
    let end = tokio::select! {
        biased;
        ended = connection.as_mut() => return note(front, ended),
        end = end(version, front, activity) => end,
    };
    let patience = match end {
        End::Stalled => {
            tracing::debug!(
                front = front.name,
                "a connection whose request did not come in time is closed"
            );
            return;
        }
        End::Age => front.limits.age_grace,
        End::Stop => {
            if version == Version::Http1 {
                tokio::select! {
                    biased;
                    ended = connection.as_mut() => return note(front, ended),
                    () = comes_or_not(version, activity) => {}
                }
            }
            (!activity.has_begun()).then_some(LAST_REQUEST)
        }
    };
    connection.as_mut().begin_end();
    tokio::select! {
        biased;
        ended = connection => note(front, ended),
        () = sleep_or_never(patience) => {}
    }
}

async fn end(version: Version, front: &Front, activity: &Activity) -> End {
    // A token of its own, so that connections do not share its lock.
    let stop = front.stop.child_token();
    tokio::select! {
        biased;
        () = stop.cancelled() => End::Stop,
        () = sleep_or_never(front.limits.age.map(with_jitter)) => End::Age,
        () = activity.stalls(version, front.limits.header_timeout) => End::Stalled,
    }
}

/// Until a request that may be on its way is here, or does not come. HTTP/1.1 cannot tell its client that one was not taken;
/// HTTP/2 can.
async fn comes_or_not(version: Version, activity: &Activity) {
    // Looked at whenever the connection is, which is what changes it.
    let here = poll_fn(|_| match activity.expects_request(version) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    });
    tokio::select! {
        biased;
        () = here => {}
        () = tokio::time::sleep(LAST_REQUEST) => {}
    }
}

async fn sleep_or_never(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Up to a tenth more or less, so that connections that began together do not all come back together.
fn with_jitter(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.9..=1.1))
}

fn note(front: &Front, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(front = front.name, %error, "a connection ended with an error");
    }
}
