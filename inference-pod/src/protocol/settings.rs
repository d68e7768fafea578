//! The logging extension: settings that clients read and change, whichever protocol they come by.

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

#[cfg(test)]
mod tests {
    use super::*;

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
