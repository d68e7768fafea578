//! Who sends when: the next request as soon as one is answered, or each at its own time.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use crate::arguments::{Arguments, Protocol};
use crate::report::{Latency, Report};
use crate::{grpc, http1};

/// Before a request's time comes the clock is watched; further ahead, the timer of the runtime is precise enough.
const WATCHED: Duration = Duration::from_millis(2);
/// Between attempts to connect to a server that is not there.
const RECONNECT_PAUSE: Duration = Duration::from_millis(5);
/// Latencies up to a minute, to three digits.
const LONGEST_NANOSECONDS: u64 = 60_000_000_000;

/// What all senders share. They run on one thread.
struct Shared {
    arguments: Arguments,
    /// Whole requests of HTTP, or messages of gRPC.
    requests: Vec<Bytes>,
    start: Instant,
    measured_from: Instant,
    end: Instant,
    turn: tokio::sync::Mutex<()>,
    sent: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
    answered: Cell<u64>,
    errors: Cell<u64>,
    first_error: RefCell<Option<String>>,
    kept: RefCell<Option<Bytes>>,
}

/// Runs the load that the arguments describe.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let arguments = arguments.clone();
    let requests = requests(&arguments)?;
    let start = Instant::now();
    let measured_from = start + arguments.warm_up;
    let end = match arguments.requests {
        Some(_) => start + Duration::from_secs(24 * 3600),
        None => measured_from + arguments.duration,
    };
    let shared = Rc::new(Shared {
        arguments,
        requests,
        start,
        measured_from,
        end,
        turn: tokio::sync::Mutex::default(),
        sent: Cell::new(0),
        latencies: RefCell::new(Histogram::new_with_bounds(1, LONGEST_NANOSECONDS, 3)?),
        answered: Cell::new(0),
        errors: Cell::new(0),
        first_error: RefCell::new(None),
        kept: RefCell::new(None),
    });
    let tasks = LocalSet::new();
    let senders = start_senders(&shared, &tasks).await?;
    let (before, after) = tasks
        .run_until(async {
            tokio::time::sleep_until(measured_from.into()).await;
            let before = processor_seconds()?;
            for sender in senders {
                sender.await??;
            }
            anyhow::Ok((before, processor_seconds()?))
        })
        .await?;
    let seconds = Instant::now()
        .min(shared.end)
        .duration_since(measured_from)
        .as_secs_f64();
    let latencies = shared.latencies.borrow();
    if let (Some(path), Some(answer)) = (&shared.arguments.keep, &*shared.kept.borrow()) {
        std::fs::write(path, answer)?;
    }
    Ok(Report {
        requests: latencies.len(),
        total_requests: shared.answered.get(),
        total_seconds: start.elapsed().as_secs_f64(),
        errors: shared.errors.get(),
        first_error: shared.first_error.borrow().clone(),
        seconds,
        rate: latencies.len() as f64 / seconds,
        client_load: (after - before) / seconds,
        latency: Latency::of(&latencies),
    })
}

fn requests(arguments: &Arguments) -> anyhow::Result<Vec<Bytes>> {
    let read = |(index, path): (usize, &std::path::PathBuf)| {
        let body = std::fs::read(path)?;
        match arguments.protocol {
            Protocol::Http => {
                let json_length = arguments.json_lengths.get(index).copied();
                Ok(http1::request(arguments, &body, json_length).into())
            }
            Protocol::Grpc => grpc::message(&body),
        }
    };
    arguments.bodies.iter().enumerate().map(read).collect()
}

type Sender = tokio::task::JoinHandle<anyhow::Result<()>>;

async fn start_senders(shared: &Rc<Shared>, tasks: &LocalSet) -> anyhow::Result<Vec<Sender>> {
    let mut senders = Vec::new();
    let mut connection = None;
    for index in 0..shared.arguments.concurrency {
        let place = Place::of(shared, index);
        match shared.arguments.protocol {
            Protocol::Http => senders.push(tasks.spawn_local(send_http(place))),
            Protocol::Grpc => {
                if index.is_multiple_of(shared.arguments.streams) || connection.is_none() {
                    connection = Some(grpc::Connection::open(place.address(), &shared.arguments.path).await?);
                }
                if let Some(connection) = connection.clone() {
                    senders.push(tasks.spawn_local(send_grpc(place, connection)));
                }
            }
        }
    }
    Ok(senders)
}

/// Where a sender is connected to.
struct Place {
    shared: Rc<Shared>,
    index: usize,
}

impl Place {
    fn of(shared: &Rc<Shared>, index: usize) -> Self {
        Self {
            shared: Rc::clone(shared),
            index,
        }
    }

    fn address(&self) -> SocketAddr {
        let addresses = &self.shared.arguments.addresses;
        addresses[self.index % addresses.len()]
    }

    /// Opens a connection to the next address that takes one.
    async fn moved<C>(&mut self, open: impl AsyncFn(SocketAddr) -> anyhow::Result<C>) -> anyhow::Result<C> {
        loop {
            self.index += 1;
            match open(self.address()).await {
                Ok(connection) => return Ok(connection),
                Err(error) if !self.shared.arguments.reconnect => return Err(error),
                Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            }
        }
    }
}

async fn send_http(mut place: Place) -> anyhow::Result<()> {
    let shared = Rc::clone(&place.shared);
    let mut connection = http1::Connection::open(place.address()).await?;
    while let Some(Turn { index, due }) = shared.next().await {
        let (closes, failure) = match connection.call(shared.request(index)).await {
            Ok(answer) => {
                shared.keep(index, || Bytes::copy_from_slice(answer.body));
                let failure = (!answer.is_success).then(|| String::from_utf8_lossy(answer.body).into_owned());
                (answer.closes, failure)
            }
            Err(error) => (true, Some(format!("{error:#}"))),
        };
        shared.record(due, failure);
        if closes {
            connection = place.moved(http1::Connection::open).await?;
        }
    }
    Ok(())
}

async fn send_grpc(mut place: Place, mut connection: grpc::Connection) -> anyhow::Result<()> {
    let shared = Rc::clone(&place.shared);
    let path = &shared.arguments.path;
    while let Some(Turn { index, due }) = shared.next().await {
        match connection.call(shared.request(index)).await {
            Ok(answer) => {
                shared.keep(index, || answer.body.slice(5..));
                let failure = (!answer.is_success).then(|| "the status is not OK".to_owned());
                shared.record(due, failure);
            }
            Err(error) => {
                shared.record(due, Some(format!("{error:#}")));
                connection = place
                    .moved(async |address| grpc::Connection::open(address, path).await)
                    .await?;
            }
        }
    }
    Ok(())
}

/// One request: which it is, and since when its answer is waited for.
struct Turn {
    index: u64,
    due: Instant,
}

impl Shared {
    fn request(&self, index: u64) -> &Bytes {
        &self.requests[(index % self.requests.len() as u64) as usize]
    }

    /// The next request, once its time has come; nothing when the run is over. One sender at a time watches the clock.
    async fn next(&self) -> Option<Turn> {
        let _turn = match self.arguments.rate {
            Some(_) => Some(self.turn.lock().await),
            None => None,
        };
        let index = self.sent.get();
        self.sent.set(index + 1);
        if self.arguments.requests.is_some_and(|most| index >= most) {
            return None;
        }
        let due = match self.arguments.rate {
            Some(rate) => {
                let due = self.start + Duration::from_secs_f64(index as f64 / rate);
                wait_until(due).await;
                due
            }
            None => Instant::now(),
        };
        (due < self.end).then_some(Turn { index, due })
    }

    fn keep(&self, index: u64, answer: impl FnOnce() -> Bytes) {
        if self.arguments.keep.is_some() && index.is_multiple_of(self.requests.len() as u64) {
            let mut kept = self.kept.borrow_mut();
            if kept.is_none() {
                *kept = Some(answer());
            }
        }
    }

    /// Counts a request of the measured time. Those that are answered after it belong to it where they were due in it at a
    /// given rate: to leave out the slowest would flatter the server.
    fn record(&self, due: Instant, failure: Option<String>) {
        let now = Instant::now();
        let is_measured = due >= self.measured_from && (self.arguments.rate.is_some() || now <= self.end);
        if let Some(failure) = failure {
            self.errors.set(self.errors.get() + 1);
            self.first_error.borrow_mut().get_or_insert(failure);
            return;
        }
        self.answered.set(self.answered.get() + 1);
        if is_measured {
            let nanoseconds =
                u64::try_from(now.duration_since(due).as_nanos()).unwrap_or(LONGEST_NANOSECONDS);
            self.latencies
                .borrow_mut()
                .saturating_record(nanoseconds.min(LONGEST_NANOSECONDS));
        }
    }
}

async fn wait_until(due: Instant) {
    let ahead = due.saturating_duration_since(Instant::now());
    if ahead > WATCHED {
        tokio::time::sleep(ahead - WATCHED).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// Processor time that this program took, which has one thread.
fn processor_seconds() -> anyhow::Result<f64> {
    let statistics = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: u64 = statistics.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds as f64 / 1e9)
}
