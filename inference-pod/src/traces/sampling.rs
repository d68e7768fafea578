//! Which requests are traced: every so many of a model, and so many in all. Asked for each request, so it takes no lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::settings::{TraceSettings, TraceValues};

pub(super) struct Samplers {
    /// Whether anything may be traced at all.
    is_any_on: AtomicBool,
    table: ArcSwap<Table>,
}

struct Table {
    all: Arc<Sampler>,
    /// Models with settings of their own.
    models: BTreeMap<String, Arc<Sampler>>,
}

struct Sampler {
    is_on: bool,
    /// One in so many; 0 for none.
    rate: u64,
    /// As it was set.
    count: i64,
    /// Traces that are left; -1 for any number.
    remaining: AtomicI64,
    turn: AtomicU64,
}

impl Samplers {
    pub(super) fn new(settings: &TraceSettings) -> Self {
        let samplers = Self {
            is_any_on: AtomicBool::new(false),
            table: ArcSwap::from_pointee(Table {
                all: Arc::new(Sampler::new(&settings.get(None))),
                models: BTreeMap::new(),
            }),
        };
        samplers.follow(settings);
        samplers
    }

    /// The settings have changed. Those that have not go on as they were.
    pub(super) fn follow(&self, settings: &TraceSettings) {
        let before = self.table.load();
        let next = |before: Option<&Arc<Sampler>>, values: TraceValues| {
            let next = Sampler::new(&values);
            match before {
                Some(before) if before.is_like(&next) => Arc::clone(before),
                _ => Arc::new(next),
            }
        };
        let all = next(Some(&before.all), settings.get(None));
        let models: BTreeMap<_, _> = settings
            .models()
            .into_iter()
            .map(|model| {
                let sampler = next(before.models.get(&model), settings.get(Some(&model)));
                (model, sampler)
            })
            .collect();
        let is_any_on = all.is_on || models.values().any(|sampler| sampler.is_on);
        self.table.store(Arc::new(Table { all, models }));
        self.is_any_on.store(is_any_on, Ordering::Relaxed);
    }

    pub(super) fn is_any_on(&self) -> bool {
        self.is_any_on.load(Ordering::Relaxed)
    }

    pub(super) fn is_on(&self, model: &str) -> bool {
        self.table.load().of(model).is_on
    }

    /// Whether this request is one to trace; if so, it is counted.
    pub(super) fn take(&self, model: &str) -> bool {
        self.table.load().of(model).take()
    }

    /// Traces that are left of a model, or of all; nothing where their number is not bounded.
    pub(super) fn remaining(&self, model: Option<&str>) -> Option<i64> {
        let table = self.table.load();
        let sampler = model.map_or(&*table.all, |model| table.of(model));
        Some(sampler.remaining.load(Ordering::Relaxed)).filter(|left| *left >= 0)
    }
}

impl Table {
    fn of(&self, model: &str) -> &Sampler {
        self.models.get(model).unwrap_or(&self.all)
    }
}

impl Sampler {
    /// Values are checked before they are kept.
    fn new(values: &TraceValues) -> Self {
        let number = |name: &str, fallback: i64| {
            let text = values.get(name).and_then(|values| values.first());
            text.and_then(|text| text.parse().ok()).unwrap_or(fallback)
        };
        let levels = values.get("trace_level").map(Vec::as_slice).unwrap_or_default();
        let count = number("trace_count", -1);
        Self {
            is_on: levels.iter().any(|level| level != "OFF"),
            rate: u64::try_from(number("trace_rate", 0)).unwrap_or(0),
            count,
            remaining: AtomicI64::new(count),
            turn: AtomicU64::new(0),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.is_on, self.rate, self.count) == (other.is_on, other.rate, other.count)
    }

    fn take(&self) -> bool {
        if !self.is_on || self.rate == 0 {
            return false;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        if !turn.is_multiple_of(self.rate) {
            return false;
        }
        let one_less = |left: i64| match left {
            0 => None,
            ..0 => Some(left),
            _ => Some(left - 1),
        };
        self.remaining
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::TraceConfiguration;
    use super::*;

    #[test]
    fn every_so_many_requests_are_taken_until_there_were_enough() {
        let settings = TraceSettings::new(&TraceConfiguration::default());
        let samplers = Samplers::new(&settings);
        let change = |model, given: &[(&str, &str)]| {
            let given = given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
            settings.change(model, given.collect()).unwrap();
            samplers.follow(&settings);
        };
        let taken = |model: &str, turns: usize| (0..turns).filter(|_| samplers.take(model)).count();
        assert!(!samplers.is_any_on());
        change(None, &[("trace_level", "TIMESTAMPS"), ("trace_rate", "10")]);
        assert_eq!(taken("a", 95), 9);
        change(Some("b"), &[("trace_rate", "1"), ("trace_count", "3")]);
        assert_eq!(taken("b", 2), 2);
        assert_eq!(samplers.remaining(Some("b")), Some(1));
        assert_eq!(taken("a", 5), 1, "what did not change goes on where it was");
        assert_eq!(taken("b", 100), 1);
        change(Some("b"), &[("trace_level", "OFF")]);
        assert!(!samplers.is_on("b") && samplers.is_on("a"));
        change(None, &[("trace_rate", "0")]);
        assert_eq!(taken("a", 1000), 0);
    }
}
