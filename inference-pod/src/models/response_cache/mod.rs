//! The response cache: answers that are kept for requests that ask the same again, all models' together within so many bytes;
//! what was asked for longest ago goes first.

mod collector;
mod key;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use lru::LruCache;

use crate::configuration::ModelConfig;
use crate::error::Result;
use crate::metrics::{CacheMetrics, microseconds};
use crate::runtime::OutputTensor;
use crate::scheduler::{JobRequest, Scheduler};
use crate::statistics::{Member, Statistics};
use crate::tensor::TensorData;
use collector::Totals;
use key::Key;

/// What an answer takes besides its elements: its key, its place, its vectors.
const ENTRY_BYTES: usize = 256;
const STRING_BYTES: usize = size_of::<Bytes>();

/// Answers of all models that enable it.
pub struct ResponseCache {
    limit: usize,
    next_serial: AtomicU64,
    state: Mutex<State>,
}

struct State {
    answers: LruCache<Key, Kept>,
    bytes: usize,
    totals: Totals,
}

struct Kept {
    outputs: Vec<OutputTensor>,
    bytes: usize,
}

impl ResponseCache {
    /// With room for so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            next_serial: AtomicU64::new(0),
            state: Mutex::new(State {
                answers: LruCache::unbounded(),
                bytes: 0,
                totals: Totals::default(),
            }),
        })
    }

    /// Bytes that answers may take.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The answer that is kept; the lookup began, with its hash, at `start`.
    fn get(&self, key: &Key, start: Instant) -> Option<Vec<OutputTensor>> {
        let mut state = self.lock();
        let found = state.answers.get(key).map(|kept| kept.outputs.clone());
        match &found {
            Some(_) => state.totals.hits += 1,
            None => state.totals.misses += 1,
        }
        state.totals.lookup_microseconds += microseconds(start.elapsed());
        found
    }

    fn keep(&self, key: Key, outputs: &[OutputTensor]) {
        let start = Instant::now();
        let bytes = size(outputs);
        if bytes > self.limit {
            return;
        }
        let outputs = outputs.iter().map(own).collect();
        let mut state = self.lock();
        if let Some(same) = state.answers.put(key, Kept { outputs, bytes }) {
            state.bytes -= same.bytes;
        }
        state.bytes += bytes;
        while state.bytes > self.limit {
            let Some((_, oldest)) = state.answers.pop_lru() else {
                break;
            };
            state.bytes -= oldest.bytes;
            state.totals.evictions += 1;
        }
        state.totals.insertion_microseconds += microseconds(start.elapsed());
    }

    /// Drops what was kept for a version.
    fn forget(&self, serial: u64) {
        let mut state = self.lock();
        let keys = state.answers.iter().map(|(key, _)| key);
        let keys: Vec<_> = keys.filter(|key| key.serial == serial).copied().collect();
        for key in keys {
            if let Some(kept) = state.answers.pop(&key) {
                state.bytes -= kept.bytes;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked between two numbers would leave the count of bytes wrong, not the answers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that an answer takes once it is kept.
fn size(outputs: &[OutputTensor]) -> usize {
    let output = |output: &OutputTensor| {
        let strings = match &output.data {
            TensorData::Strings(strings) => strings.len() * STRING_BYTES,
            TensorData::Fixed(_) => 0,
        };
        output.data.byte_size() + strings + size_of_val(output.shape.as_slice()) + size_of::<OutputTensor>()
    };
    ENTRY_BYTES + outputs.iter().map(output).sum::<usize>()
}

/// A copy: what a session answers is a slice of its whole batch, which would be kept with it.
fn own(output: &OutputTensor) -> OutputTensor {
    OutputTensor {
        shape: output.shape.clone(),
        data: match &output.data {
            TensorData::Fixed(bytes) => TensorData::Fixed(Bytes::copy_from_slice(bytes)),
            TensorData::Strings(strings) => TensorData::Strings(
                strings
                    .iter()
                    .map(|string| Bytes::copy_from_slice(string))
                    .collect(),
            ),
        },
    }
}

/// The cache as one loaded version uses it. Another version, or the same one loaded anew, never sees its answers; they go with it.
pub(super) struct VersionCache {
    cache: Arc<ResponseCache>,
    serial: u64,
    metrics: CacheMetrics,
    statistics: Arc<Statistics>,
}

impl VersionCache {
    /// Where both the server and the model's configuration ask for it, as in Triton.
    pub(super) fn open(
        cache: Option<&Arc<ResponseCache>>,
        config: &ModelConfig,
        version: u64,
        statistics: &Arc<Statistics>,
    ) -> Option<Self> {
        if !config.response_cache {
            return None;
        }
        let Some(cache) = cache else {
            tracing::warn!(
                model = config.name,
                version,
                "response_cache has no effect: this server keeps no answers; start it with --cache-config=local,size=BYTES"
            );
            return None;
        };
        Some(Self {
            cache: Arc::clone(cache),
            serial: cache.next_serial.fetch_add(1, Ordering::Relaxed),
            metrics: statistics.metrics().of_cache(),
            statistics: Arc::clone(statistics),
        })
    }

    /// The answer that was kept, or else the sessions', which is kept from now on. A failure is not.
    pub(super) async fn run(&self, scheduler: &Scheduler, job: JobRequest) -> Result<Vec<OutputTensor>> {
        let start = Instant::now();
        let received = job.received;
        let key = key::of(self.serial, &job).await?;
        if let Some(outputs) = self.cache.get(&key, start) {
            let lookup = start.elapsed();
            self.metrics.hits.add(1);
            self.metrics.hit_duration_us.add(microseconds(lookup));
            let member = Member {
                queued: start.saturating_duration_since(received),
                total: received.elapsed(),
                trace: job.trace,
            };
            self.statistics.record_cache_hit(lookup, &member);
            if let Some(trace) = &member.trace {
                trace.answered_by_cache(start);
            }
            return Ok(outputs);
        }
        let lookup = start.elapsed();
        let outputs = scheduler.run(job).await?;
        let answered = Instant::now();
        self.cache.keep(key, &outputs);
        let duration = lookup + answered.elapsed();
        self.metrics.misses.add(1);
        self.metrics.miss_duration_us.add(microseconds(duration));
        self.statistics.record_cache_miss(duration);
        Ok(outputs)
    }
}

impl Drop for VersionCache {
    fn drop(&mut self) {
        self.cache.forget(self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn answer(elements: usize) -> Vec<OutputTensor> {
        vec![OutputTensor {
            shape: vec![1, elements as i64],
            data: TensorData::Fixed(vec![7; elements].into()),
        }]
    }

    fn get(cache: &ResponseCache, key: &Key) -> Option<Vec<OutputTensor>> {
        cache.get(key, Instant::now())
    }

    fn key(serial: u64, number: u8) -> Key {
        Key {
            serial,
            hash: [number; 32],
        }
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first() {
        let cache = ResponseCache::new(3 * size(&answer(1000)));
        for number in 1..=3 {
            cache.keep(key(0, number), &answer(1000));
        }
        assert!(get(&cache, &key(0, 1)).is_some());
        cache.keep(key(0, 4), &answer(1000));
        let there: Vec<_> = (1..=4)
            .filter(|number| get(&cache, &key(0, *number)).is_some())
            .collect();
        assert_eq!(there, [1, 3, 4]);
        cache.keep(key(0, 5), &answer(2500));
        assert!(cache.lock().bytes <= cache.limit());
        assert!(get(&cache, &key(0, 5)).is_some() && get(&cache, &key(0, 1)).is_none());
        cache.keep(key(0, 6), &answer(4000));
        assert!(
            get(&cache, &key(0, 6)).is_none(),
            "it is larger than all of the cache"
        );
        assert!(get(&cache, &key(0, 5)).is_some(), "and drives nothing out");
        let totals = cache.lock().totals;
        assert_eq!((totals.hits, totals.misses, totals.evictions), (6, 3, 4));
    }

    #[test]
    fn bytes_are_counted_and_given_back() {
        let cache = ResponseCache::new(1 << 20);
        cache.keep(key(0, 1), &answer(100));
        cache.keep(key(0, 1), &answer(100));
        cache.keep(key(1, 1), &answer(50));
        let strings = vec![OutputTensor {
            shape: vec![2],
            data: TensorData::Strings(vec![Bytes::from_static(b"ab"), Bytes::new()]),
        }];
        cache.keep(key(1, 2), &strings);
        assert_eq!(get(&cache, &key(1, 2)), Some(strings.clone()));
        assert_eq!(
            cache.lock().bytes,
            size(&answer(100)) + size(&answer(50)) + size(&strings)
        );
        assert!(size(&strings) >= ENTRY_BYTES + 2 + 2 * STRING_BYTES);
        cache.forget(1);
        assert_eq!(cache.lock().bytes, size(&answer(100)));
        assert!(get(&cache, &key(0, 1)).is_some() && get(&cache, &key(1, 1)).is_none());
    }

    #[test]
    fn an_answer_does_not_keep_the_batch_it_came_in() {
        let batch = Bytes::from(vec![1; 1 << 16]);
        let share = OutputTensor {
            shape: vec![1, 4],
            data: TensorData::Fixed(batch.slice(..4)),
        };
        let cache = ResponseCache::new(1 << 20);
        cache.keep(key(0, 1), std::slice::from_ref(&share));
        drop(share);
        assert!(batch.try_into_mut().is_ok(), "nothing else holds the batch");
    }

    #[test]
    fn a_version_without_both_settings_has_no_cache() {
        let metrics = Metrics::default();
        let statistics = Arc::new(Statistics::new(metrics.of_model("m", 1)));
        let cache = ResponseCache::new(1000);
        let config = |enabled| ModelConfig {
            response_cache: enabled,
            ..ModelConfig::default()
        };
        let open = |cache: Option<&Arc<ResponseCache>>, enabled| {
            VersionCache::open(cache, &config(enabled), 1, &statistics)
        };
        assert!(open(Some(&cache), false).is_none());
        assert!(open(None, true).is_none());
        let one = open(Some(&cache), true).unwrap();
        let other = open(Some(&cache), true).unwrap();
        assert_ne!(one.serial, other.serial);
        cache.keep(key(one.serial, 1), &answer(10));
        drop(one);
        assert_eq!(cache.lock().bytes, 0);
    }
}
