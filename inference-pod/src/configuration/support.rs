//! What this server makes of each field of `ModelConfig`: nothing is ignored without a word.
//!
//! `docs/model-configuration.md` shows the same table; a test compares them.

use super::checked::{Setting, Settings, Typed};
use super::schema::{FieldSchema, MessageSchema};
use super::support_table::TABLE;
use super::text_format::{ConfigError, error_at};
use Support::{NoEffect, Refused, Supported};

pub(super) enum Support {
    /// It does what it does in Triton, or what the text says.
    #[cfg_attr(not(test), expect(dead_code, reason = "the text is for the page"))]
    Supported(&'static str),
    /// It changes nothing here, which is logged.
    NoEffect(&'static str),
    /// It would have to change answers or their order, and does not: an error, with what to do.
    Refused(&'static str),
}

fn of(message: &MessageSchema, field: &FieldSchema) -> Option<&'static Support> {
    TABLE
        .iter()
        .find(|(owner, name, _)| *owner == message.name && *name == field.name)
        .map(|(.., support)| support)
}

/// Refuses what cannot be honoured; answers what to warn of. Settings that say what an absent field says are neither.
pub(super) fn judge(settings: &Settings) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    within(settings, "", &mut warnings)?;
    Ok(warnings)
}

fn within(settings: &Settings, place: &str, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    for setting in &settings.settings {
        if setting.is_default() {
            continue;
        }
        let name = setting.schema.name;
        let shown = if place.is_empty() {
            name.to_owned()
        } else {
            format!("{name} of {place}")
        };
        match of(settings.schema, setting.schema) {
            Some(Refused(remedy)) => return Err(refused(setting, &shown, remedy)),
            Some(NoEffect(why)) => warnings.push(format!(
                "config.pbtxt line {}: {shown} has no effect here: {why}",
                setting.line
            )),
            // Entries of maps have no line in the table; what is in them does.
            Some(Supported(_)) | None => {
                let place = if setting.schema.name == "value" {
                    place
                } else {
                    name
                };
                if let Typed::Settings(inner) = &setting.value {
                    within(inner, place, warnings)?;
                }
            }
        }
    }
    Ok(())
}

fn refused(setting: &Setting, shown: &str, remedy: &str) -> ConfigError {
    error_at(setting.line, format!("{shown} is not supported; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::schema::{Kind, MESSAGES};

    /// The rows of the table in `docs/model-configuration.md`.
    fn rows(message: &MessageSchema, place: &str, rows: &mut Vec<String>) {
        for field in message.fields {
            let path = format!("{place}{}", field.name);
            let support = of(message, field).unwrap_or_else(|| panic!("{path} has no line in the table"));
            let (word, text) = match support {
                Supported(text) => ("supported", text),
                NoEffect(text) => ("no effect", text),
                Refused(text) => ("refused", text),
            };
            let Kind::Message(inner) = field.kind else {
                rows.push(format!("| `{path}` | {word} | {text} |"));
                continue;
            };
            if !matches!(support, Supported("")) {
                rows.push(format!("| `{path}` | {word} | {text} |"));
            }
            if matches!(support, Supported(_)) {
                let inner = &MESSAGES[inner];
                let value = inner.field("value").filter(|_| field.map);
                match value.map(|value| value.kind) {
                    Some(Kind::Message(value)) => self::rows(&MESSAGES[value], &format!("{path}[]."), rows),
                    // Entries of plain values are told of where the table has more to say of them.
                    Some(_) if inner.fields.iter().any(|field| of(inner, field).is_none()) => {}
                    _ => self::rows(inner, &format!("{path}."), rows),
                }
            }
        }
    }

    #[test]
    fn the_page_shows_every_field_and_what_becomes_of_it() {
        let mut expected = Vec::new();
        rows(MessageSchema::root(), "", &mut expected);
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/model-configuration.md");
        let page = std::fs::read_to_string(page).unwrap();
        let shown: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 2)
            .filter(|line| !line.contains("parameters[\""))
            .collect();
        assert!(shown == expected, "the table should be\n{}", expected.join("\n"));
    }

    #[test]
    fn every_line_is_about_a_field_that_there_is() {
        for (message, field, _) in TABLE {
            let schema = MESSAGES.iter().find(|known| known.name == *message);
            assert!(
                schema.is_some_and(|schema| schema.field(field).is_some()),
                "{message}.{field}"
            );
        }
    }
}
