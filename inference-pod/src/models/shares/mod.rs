//! How the requests that name no version are shared out among a model's versions: in turn or, where the serving plan names a
//! header, by caller.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName};
use ring::digest::{Context, SHA256};

/// Shares of versions. Nothing in it depends on the process: every pod with the same plan sends a caller to the same version.
pub(super) struct Shares {
    /// Versions that have a share, with their weights.
    weights: Vec<(u64, u64)>,
    /// The header that names the caller.
    caller: Option<HeaderName>,
    turn: AtomicU64,
}

impl Shares {
    pub(super) fn new(weights: Vec<(u64, u64)>, caller: Option<HeaderName>) -> Self {
        let weights = weights.into_iter().filter(|(_, weight)| *weight > 0).collect();
        Self {
            weights,
            caller,
            turn: AtomicU64::new(0),
        }
    }

    /// Versions that have a share; none at all where the default version answers everything.
    pub(super) fn versions(&self) -> impl Iterator<Item = u64> {
        self.weights.iter().map(|(version, _)| *version)
    }

    /// The version for a request; nothing where the default version answers everything.
    pub(super) fn choose(&self, model: &str, headers: &HeaderMap) -> Option<u64> {
        match self.weights.as_slice() {
            [] => None,
            [(only, _)] => Some(*only),
            weights => Some(match self.caller(headers) {
                Some(caller) => by_caller(weights, model, caller),
                None => by_turn(weights, self.turn.fetch_add(1, Ordering::Relaxed)),
            }),
        }
    }

    /// The caller, if it is named. An empty name would put all that have none into one share.
    fn caller<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let value = headers.get(self.caller.as_ref()?)?;
        Some(value.as_bytes()).filter(|name| !name.is_empty())
    }
}

/// Spreads turns evenly: multiples of the golden ratio fill an interval without clumps, so shares hold over short spans.
fn by_turn(weights: &[(u64, u64)], turn: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let point = (u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(total)) >> 64;
    let mut passed = 0;
    for (version, weight) in weights {
        passed += u128::from(*weight);
        if point < passed {
            return *version;
        }
    }
    weights[weights.len() - 1].0
}

/// Weighted rendezvous hashing with the logarithmic method (Schindelhauer and Schomaker, "Weighted Distributed Hash Tables",
/// SPAA 2005): each version draws a time for each caller, the sooner the greater its weight, and the first has the caller. A
/// version whose weight grows only takes callers from others, and one whose weight shrinks only gives some away, however many
/// versions there are and in whatever order.
fn by_caller(weights: &[(u64, u64)], model: &str, caller: &[u8]) -> u64 {
    let mut first = (weights[0].0, f64::INFINITY);
    for (version, weight) in weights {
        let time = -point(model, *version, caller).ln() / *weight as f64;
        if time < first.1 {
            first = (*version, time);
        }
    }
    first.0
}

/// A number between 0 and 1, never one of them, that a version has for a caller: the first 52 bits of SHA-256 (FIPS 180-4) of
/// the model's name, the version's number and the caller with zeros between them, and a half behind these bits.
fn point(model: &str, version: u64, caller: &[u8]) -> f64 {
    const STEPS: f64 = (1_u64 << 52) as f64;
    let mut hash = Context::new(&SHA256);
    hash.update(model.as_bytes());
    hash.update(b"\0");
    hash.update(version.to_string().as_bytes());
    hash.update(b"\0");
    hash.update(caller);
    let digest = hash.finish();
    let bits = digest.as_ref().iter().take(8);
    let bits = bits.fold(0, |bits: u64, byte| bits << 8 | u64::from(*byte)) >> 12;
    (bits as f64 + 0.5) / STEPS
}

#[cfg(test)]
mod tests;
