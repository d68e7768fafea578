//! Accepting connections, and waiting for those that are there when the server stops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::{Front, drive};

/// A connection that says nothing for so long is asked by the kernel whether its other end is there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// A pause when there are no file descriptors left: somebody has to close one.
const PAUSE_WHEN_OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Serves until the front is stopped and its connections have ended.
pub(in crate::server) async fn serve(listener: TcpListener, front: Front) -> anyhow::Result<()> {
    let mut connections = Connections::new(front);
    let stop = connections.front.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => connections.begin(stream),
            Err(error) => pause(&error, connections.front.name).await,
        }
    }
    // Clients whose connection is made, but not accepted yet, would be reset.
    tokio::task::yield_now().await;
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        connections.begin(stream);
    }
    drop(listener);
    connections.tasks.close();
    connections.tasks.wait().await;
    Ok(())
}

struct Connections {
    front: Arc<Front>,
    tasks: TaskTracker,
    places: Option<Arc<Semaphore>>,
    refusing: bool,
}

impl Connections {
    fn new(front: Front) -> Self {
        let places = front
            .limits
            .max_connections
            .map(|most| Arc::new(Semaphore::new(most.get().min(Semaphore::MAX_PERMITS))));
        Self {
            front: Arc::new(front),
            tasks: TaskTracker::new(),
            places,
            refusing: false,
        }
    }

    fn begin(&mut self, stream: TcpStream) {
        let Ok(place) = self.place() else {
            return;
        };
        if let Err(error) = set_options(&stream, self.front.limits.write_timeout) {
            tracing::debug!(%error, "an option of a connection was refused");
        }
        let front = Arc::clone(&self.front);
        self.tasks.spawn(async move {
            let _place = place;
            drive::connection(stream, &front).await;
        });
    }

    /// A place among the most connections that there may be; one line a time when they are taken.
    fn place(&mut self) -> Result<Option<OwnedSemaphorePermit>, ()> {
        let Some(places) = &self.places else {
            return Ok(None);
        };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| ());
        if place.is_err() && !self.refusing {
            let name = self.front.name;
            let flag = if name == "grpc" { "grpc" } else { "http" };
            tracing::warn!(
                front = name,
                "all connections of --{flag}-max-connections are taken: more are refused"
            );
        }
        self.refusing = place.is_err();
        place.map(Some)
    }
}

fn set_options(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    // Answers are written whole; waiting for more only adds latency.
    stream.set_nodelay(true)?;
    // The kernel alone sees a slow reader's progress: a blocked write goes on only when a third of its buffer has left.
    SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout))?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))
}

/// A client that has left is nobody's fault; anything else is likely to be so again at once.
async fn pause(error: &io::Error, front: &'static str) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    ) {
        return;
    }
    tracing::error!(front, %error, "a connection cannot be accepted; is the limit of open files too low?");
    tokio::time::sleep(PAUSE_WHEN_OUT_OF_FILES).await;
}
