//! Stands between a client and a store, and spoils answers as it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to an answer on its way.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// The connection is reset.
    Reset,
    /// The connection is closed in order, too early.
    Close,
    /// One byte is another.
    Lie,
}

/// A connection is spoilt once it has carried so much, which no question and no manifest does.
const SPOILT_AFTER_BYTES: u64 = 100_000;

#[derive(Default)]
struct State {
    faults: Mutex<VecDeque<Fault>>,
    /// Once so much was served, every connection stalls.
    stalls_after: AtomicU64,
    served: AtomicU64,
}

/// A proxy. It ends when dropped.
pub struct Proxy {
    address: String,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of what listens at `http://host:port`.
    pub async fn before(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        state.stalls_after.store(u64::MAX, Ordering::SeqCst);
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target.clone(), Arc::clone(&shared)));
            }
        });
        Self {
            address,
            state,
            accepting,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that went to clients.
    pub fn served(&self) -> u64 {
        self.state.served.load(Ordering::SeqCst)
    }

    /// Spoils one connection after the other, each once.
    pub fn spoil(&self, faults: &[Fault]) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    pub fn unused_faults(&self) -> usize {
        self.state.faults.lock().unwrap().len()
    }

    /// Spoils nothing more.
    pub fn forget(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// Stalls everything once so many more bytes are served.
    pub fn stall_after(&self, bytes: u64) {
        self.state
            .stalls_after
            .store(self.served().saturating_add(bytes), Ordering::SeqCst);
    }

    /// Lets everything pass that comes from now on.
    pub fn heal(&self) {
        self.state.stalls_after.store(u64::MAX, Ordering::SeqCst);
    }

    /// Waits until everything stalls.
    pub async fn wait_until_stalled(&self) {
        for _ in 0..600 {
            if self.served() >= self.state.stalls_after.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("after {} bytes nothing more was asked for", self.served());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(client: TcpStream, target: String, state: Arc<State>) {
    let Ok(store) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_store, mut to_store) = store.into_split();
    let questions = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_store).await;
    });
    let mut buffer = vec![0; 16 << 10];
    let (mut carried, mut is_spoilt) = (0, false);
    while let Ok(count @ 1..) = from_store.read(&mut buffer).await {
        carried += count as u64;
        if state.served.load(Ordering::SeqCst) >= state.stalls_after.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let fault = match carried {
            SPOILT_AFTER_BYTES.. if !is_spoilt => state.faults.lock().unwrap().pop_front(),
            _ => None,
        };
        is_spoilt |= fault.is_some();
        match fault {
            None => {}
            Some(Fault::Stall) => return std::future::pending().await,
            Some(Fault::Lie) => buffer[count / 2] ^= 1,
            Some(Fault::Close) => break,
            Some(Fault::Reset) => {
                to_client.as_ref().set_zero_linger().unwrap();
                break;
            }
        }
        state.served.fetch_add(count as u64, Ordering::SeqCst);
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    questions.abort();
}
