//! The settings of the trace extension: those of the server, and what models have of their own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::configuration::{Mode, TraceConfiguration};
use crate::error::{InferenceError, Result};

/// Trace settings by name, each a list of values.
pub type TraceValues = BTreeMap<&'static str, Vec<String>>;

/// Names of the settings that can be changed, and their defaults.
const DEFAULTS: [(&str, &str); 4] = [
    ("trace_level", "OFF"),
    ("trace_rate", "1000"),
    ("trace_count", "-1"),
    ("log_frequency", "0"),
];

pub(super) struct TraceSettings {
    /// What holds where nothing was changed.
    first: TraceValues,
    changed: Mutex<Changed>,
}

#[derive(Clone, Default)]
struct Changed {
    server: TraceValues,
    models: BTreeMap<String, TraceValues>,
}

impl TraceSettings {
    pub(super) fn new(configuration: &TraceConfiguration) -> Self {
        let mut first: TraceValues = DEFAULTS
            .iter()
            .map(|(name, value)| (*name, vec![(*value).to_owned()]))
            .collect();
        let (mode, file) = match &configuration.mode {
            Mode::Triton(file) => ("triton", file.as_ref()),
            Mode::OpenTelemetry(_) => ("opentelemetry", None),
        };
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        first.insert("trace_mode", vec![mode.to_owned()]);
        first.insert("trace_file", vec![file]);
        first.extend(configuration.settings.clone());
        Self {
            first,
            changed: Mutex::default(),
        }
    }

    /// Those that hold for a model, or for all.
    pub(super) fn get(&self, model: Option<&str>) -> TraceValues {
        let changed = self.changed();
        let mut values = self.first.clone();
        values.extend(changed.server.clone());
        values.extend(
            model
                .and_then(|model| changed.models.get(model))
                .cloned()
                .unwrap_or_default(),
        );
        values
    }

    /// Models that have settings of their own.
    pub(super) fn models(&self) -> Vec<String> {
        self.changed().models.keys().cloned().collect()
    }

    /// After how many traces a file is full; 0 for one file with all.
    pub(super) fn log_frequency(&self, model: &str) -> usize {
        let values = self.get(Some(model));
        values["log_frequency"].concat().parse().unwrap_or(0)
    }

    pub(super) fn change(&self, model: Option<&str>, given: Vec<(String, Vec<String>)>) -> Result<()> {
        let mut changed = self.changed();
        let mut after = changed.clone();
        let values = match model {
            Some(model) => after.models.entry(model.to_owned()).or_default(),
            None => &mut after.server,
        };
        let mode = self.first["trace_mode"].concat();
        for (name, given) in given {
            let name = check(&name, &given, &mode)?;
            if given.is_empty() {
                values.remove(name);
            } else {
                values.insert(name, given);
            }
        }
        after.models.retain(|_, values| !values.is_empty());
        *changed = after;
        Ok(())
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks the first values as those of clients are checked.
pub(super) fn check_first(configuration: &TraceConfiguration) -> anyhow::Result<()> {
    let mode = match configuration.mode {
        Mode::Triton(_) => "triton",
        Mode::OpenTelemetry(_) => "opentelemetry",
    };
    for (name, values) in &configuration.settings {
        check(name, values, mode).map_err(|error| anyhow::anyhow!("--trace-config: {error}"))?;
    }
    Ok(())
}

fn misfit(name: &str, wanted: &str) -> InferenceError {
    InferenceError::invalid(format!("setting '{name}' must be {wanted}"))
}

fn check(name: &str, values: &[String], mode: &str) -> Result<&'static str> {
    let known = DEFAULTS.iter().find(|(known, _)| *known == name);
    let Some((name, _)) = known else {
        return Err(match name {
            "trace_file" => {
                InferenceError::unsupported("trace file location can not be updated through network protocol")
            }
            "trace_mode" => InferenceError::unsupported(
                "trace mode can not be updated through network protocol; start the server with --trace-config=mode=…",
            ),
            _ => misfit(
                name,
                "one of trace_level, trace_rate, trace_count and log_frequency",
            ),
        });
    };
    let least = if *name == "trace_count" { -1 } else { 0 };
    let is_number = |value: &String| value.parse::<i32>().is_ok_and(|number| number >= least);
    match (*name, values) {
        (_, []) => Ok(name),
        ("trace_level", levels) => check_levels(name, levels, mode).map(|()| *name),
        (_, [value]) if is_number(value) => Ok(name),
        (_, [value]) => Err(InferenceError::invalid(format!(
            "Unable to parse '{name}', got: {value}; it must be an integer, {least} or greater"
        ))),
        _ => Err(InferenceError::invalid(format!(
            "expect only 1 value for '{name}'"
        ))),
    }
}

fn check_levels(name: &str, levels: &[String], mode: &str) -> Result<()> {
    let is_known = |level: &String| matches!(level.as_str(), "OFF" | "TIMESTAMPS" | "TENSORS");
    match levels.iter().find(|level| !is_known(level)) {
        Some(_) => Err(misfit(name, "a list of OFF, TIMESTAMPS and TENSORS")),
        None if levels.len() > 3 => Err(misfit(name, "a list of at most three levels")),
        None if levels.iter().any(|level| level == "TENSORS") => Err(InferenceError::unsupported(format!(
            "trace level TENSORS is not supported in mode {mode}: requests hold what people sent, and a trace is kept \
             elsewhere; use TIMESTAMPS"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_settings_of_a_model_come_before_those_of_all() {
        let settings = TraceSettings::new(&TraceConfiguration::default());
        let set = |model, name: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            settings.change(model, vec![(name.to_owned(), values)])
        };
        set(None, "trace_rate", &["10"]).unwrap();
        set(Some("m"), "trace_level", &["TIMESTAMPS", "OFF"]).unwrap();
        assert_eq!(settings.get(None)["trace_level"], ["OFF"]);
        assert_eq!(settings.get(Some("m"))["trace_level"], ["TIMESTAMPS", "OFF"]);
        assert_eq!(settings.get(Some("m"))["trace_rate"], ["10"]);
        set(Some("m"), "trace_level", &[]).unwrap();
        assert_eq!(settings.get(Some("m"))["trace_level"], ["OFF"]);
        for (name, values, part) in [
            ("trace_level", &["LOUD"][..], "OFF, TIMESTAMPS and TENSORS"),
            ("trace_level", &["TENSORS"], "use TIMESTAMPS"),
            ("trace_rate", &["-1"], "0 or greater"),
            ("trace_count", &["many"], "-1 or greater"),
            ("trace_count", &["1", "2"], "only 1 value"),
            ("trace_file", &["/etc/passwd"], "can not be updated"),
            ("trace_mode", &["opentelemetry"], "can not be updated"),
            ("colour", &["red"], "must be one of"),
        ] {
            let error = set(None, name, values).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }
}
