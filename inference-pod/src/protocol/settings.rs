//! The logging and trace extensions: settings that clients read and change, whichever protocol they come by.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Service;
use crate::error::{ErrorKind, InferenceError, Result};
use crate::logging;

/// A value of a log setting.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LogValue {
    Switch(bool),
    Number(u32),
    Text(String),
}

/// Every log setting, by name. Lines go to standard error, so there is no file; times are always those of ISO 8601.
pub(super) fn log_settings() -> Vec<(&'static str, LogValue)> {
    let settings = logging::settings();
    vec![
        ("log_file", LogValue::Text(String::new())),
        ("log_info", LogValue::Switch(settings.info)),
        ("log_warning", LogValue::Switch(settings.warning)),
        ("log_error", LogValue::Switch(settings.error)),
        ("log_verbose_level", LogValue::Number(settings.verbose_level)),
        ("log_format", LogValue::Text("ISO8601".to_owned())),
    ]
}

/// Changes log settings: all that are given, or none when one of them is wrong.
pub(super) fn change_log_settings(given: &[(String, LogValue)]) -> Result<()> {
    let mut changed = logging::settings();
    for (name, value) in given {
        match (name.as_str(), value) {
            ("log_info", LogValue::Switch(on)) => changed.info = *on,
            ("log_warning", LogValue::Switch(on)) => changed.warning = *on,
            ("log_error", LogValue::Switch(on)) => changed.error = *on,
            ("log_verbose_level", LogValue::Number(level)) => changed.verbose_level = *level,
            ("log_format", LogValue::Text(format)) if matches!(format.as_str(), "default" | "ISO8601") => {}
            ("log_format", LogValue::Text(format)) => {
                return Err(InferenceError::invalid(format!(
                    "invalid argument for log_format, got: {format}; there are default and ISO8601"
                )));
            }
            ("log_file", _) => {
                return Err(InferenceError::unsupported(
                    "log file location can not be updated through network protocol",
                ));
            }
            ("log_info" | "log_warning" | "log_error", _) => return Err(misfit(name, "true or false")),
            ("log_verbose_level", _) => return Err(misfit(name, "an integer that is not negative")),
            _ => {
                return Err(misfit(
                    name,
                    "one of log_info, log_warning, log_error, log_verbose_level and log_format",
                ));
            }
        }
    }
    let after = logging::change(|settings| *settings = changed);
    tracing::info!(?after, "log settings are changed");
    Ok(())
}

fn misfit(name: &str, wanted: &str) -> InferenceError {
    InferenceError::invalid(format!("setting '{name}' must be {wanted}"))
}

/// Trace settings by name, each a list of values.
pub(super) type TraceValues = BTreeMap<&'static str, Vec<String>>;

/// Names of the settings that can be changed, and their defaults.
const TRACE_DEFAULTS: [(&str, &str); 4] = [
    ("trace_level", "OFF"),
    ("trace_rate", "1000"),
    ("trace_count", "-1"),
    ("log_frequency", "0"),
];

/// Trace settings: those of the server, and what models have of their own. They are kept and answered; no trace is written.
#[derive(Default)]
pub struct TraceSettings(Mutex<Changed>);

#[derive(Clone, Default)]
struct Changed {
    server: TraceValues,
    models: BTreeMap<String, TraceValues>,
}

impl TraceSettings {
    /// Those that hold for a model, or for all.
    pub(super) fn get(&self, model: Option<&str>) -> TraceValues {
        let changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values: TraceValues = TRACE_DEFAULTS
            .iter()
            .map(|(name, value)| (*name, vec![(*value).to_owned()]))
            .chain([
                ("trace_file", vec![String::new()]),
                ("trace_mode", vec!["triton".to_owned()]),
            ])
            .collect();
        values.extend(changed.server.clone());
        values.extend(
            model
                .and_then(|model| changed.models.get(model))
                .cloned()
                .unwrap_or_default(),
        );
        values
    }

    /// Changes settings of a model, or of all; a setting without values gets back what holds without it. All that are given
    /// are changed, or none when one of them is wrong.
    pub(super) fn change(&self, model: Option<&str>, given: Vec<(String, Vec<String>)>) -> Result<()> {
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = changed.clone();
        let values = match model {
            Some(model) => after.models.entry(model.to_owned()).or_default(),
            None => &mut after.server,
        };
        for (name, given) in given {
            let name = check_trace_setting(&name, &given)?;
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
}

/// Whether trace settings of a model may be asked for.
pub(super) fn check_model(service: &Service, model: &str) -> Result<()> {
    match service.registry.find(model, None) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound => Err(InferenceError::invalid(format!(
            "Request for unknown model : {model}"
        ))),
        Err(error) => Err(error),
    }
}

fn check_trace_setting(name: &str, values: &[String]) -> Result<&'static str> {
    let known = TRACE_DEFAULTS.iter().find(|(known, _)| *known == name);
    let Some((name, _)) = known else {
        return Err(match name {
            "trace_file" => {
                InferenceError::unsupported("trace file location can not be updated through network protocol")
            }
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
        ("trace_level", levels) => {
            match levels
                .iter()
                .find(|level| !matches!(level.as_str(), "OFF" | "TIMESTAMPS" | "TENSORS"))
            {
                None if levels.len() <= 3 => Ok(name),
                None => Err(misfit(name, "a list of at most three levels")),
                Some(_) => Err(misfit(name, "a list of OFF, TIMESTAMPS and TENSORS")),
            }
        }
        (_, [value]) if is_number(value) => Ok(name),
        (_, [value]) => Err(InferenceError::invalid(format!(
            "Unable to parse '{name}', got: {value}; it must be an integer, {least} or greater"
        ))),
        _ => Err(InferenceError::invalid(format!(
            "expect only 1 value for '{name}'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_settings_of_a_model_come_before_those_of_all() {
        let settings = TraceSettings::default();
        let set = |model, name: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            settings.change(model, vec![(name.to_owned(), values)])
        };
        set(None, "trace_rate", &["10"]).unwrap();
        set(Some("m"), "trace_level", &["TIMESTAMPS", "TENSORS"]).unwrap();
        assert_eq!(settings.get(None)["trace_level"], ["OFF"]);
        assert_eq!(settings.get(Some("m"))["trace_level"], ["TIMESTAMPS", "TENSORS"]);
        assert_eq!(settings.get(Some("m"))["trace_rate"], ["10"]);
        set(Some("m"), "trace_level", &[]).unwrap();
        assert_eq!(settings.get(Some("m"))["trace_level"], ["OFF"]);
        for (name, values, part) in [
            ("trace_level", &["LOUD"][..], "OFF, TIMESTAMPS and TENSORS"),
            ("trace_rate", &["-1"], "0 or greater"),
            ("trace_count", &["many"], "-1 or greater"),
            ("trace_count", &["1", "2"], "only 1 value"),
            ("trace_file", &["/etc/passwd"], "can not be updated"),
            ("colour", &["red"], "must be one of"),
        ] {
            let error = set(None, name, values).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn log_settings_that_are_wrong_change_nothing() {
        let before = logging::settings();
        for (name, value, part) in [
            ("log_info", LogValue::Number(1), "true or false"),
            ("log_verbose_level", LogValue::Switch(true), "an integer"),
            ("log_file", LogValue::Text("/x".into()), "can not be updated"),
            (
                "log_format",
                LogValue::Text("xml".into()),
                "invalid argument for log_format",
            ),
            ("colour", LogValue::Switch(true), "must be one of"),
        ] {
            let given = [
                ("log_error".to_owned(), LogValue::Switch(false)),
                (name.to_owned(), value),
            ];
            let error = change_log_settings(&given).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
        assert_eq!(logging::settings(), before);
    }
}
