//! Search filters, written so that no value can change their meaning.

use crate::{Error, ErrorKind};

/// Conditions of a search that must all hold.
///
/// MLflow's filters know no escape: a string is what stands between two `'` or two `"`. So each value is put between
/// the quotes it does not contain, and one that cannot be written at all (both kinds of quotes, or a backslash at its
/// end) is refused here rather than sent with another meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: Vec<String>,
}

impl Filter {
    /// A filter that everything passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: the tag `key` has the value `value`.
    ///
    /// # Errors
    /// `InvalidRequest` where the key has a backtick, or the value cannot be written.
    pub fn tag(self, key: &str, value: &str) -> Result<Self, Error> {
        self.quoted_key("tags", key, value)
    }

    /// Adds: the parameter `key` of the run has the value `value`.
    ///
    /// # Errors
    /// `InvalidRequest` where the key has a backtick, or the value cannot be written.
    pub fn param(self, key: &str, value: &str) -> Result<Self, Error> {
        self.quoted_key("params", key, value)
    }

    /// Adds: the attribute `name` (of runs: `status`, `run_name`; of versions: `name`, `run_id`) has the value `value`.
    ///
    /// # Errors
    /// `InvalidRequest` where the name is not a plain word, or the value cannot be written.
    pub fn attribute(mut self, name: &str, value: &str) -> Result<Self, Error> {
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(refused(format!("{name:?} is not the name of an attribute")));
        }
        self.conditions.push(format!("{name} = {}", quoted(value)?));
        Ok(self)
    }

    /// The filter in MLflow's words; empty where there are no conditions.
    #[must_use]
    pub fn as_text(&self) -> String {
        self.conditions.join(" AND ")
    }

    fn quoted_key(mut self, entity: &str, key: &str, value: &str) -> Result<Self, Error> {
        if key.is_empty() || key.contains('`') {
            return Err(refused(format!("the key {key:?} is empty or holds a backtick")));
        }
        self.conditions
            .push(format!("{entity}.`{key}` = {}", quoted(value)?));
        Ok(self)
    }
}

fn quoted(value: &str) -> Result<String, Error> {
    // A backslash before the closing quote would take it for a part of the string.
    let quote = match (value.contains('\''), value.contains('"')) {
        _ if value.ends_with('\\') => None,
        (false, _) => Some('\''),
        (true, false) => Some('"'),
        (true, true) => None,
    };
    quote.map(|quote| format!("{quote}{value}{quote}")).ok_or_else(|| {
        refused(format!(
            "MLflow cannot search for the value {value:?}: use one without both kinds of quotes and without a \
             backslash at its end"
        ))
    })
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, "search filter", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_put_in_backticks_and_values_in_the_quotes_they_do_not_contain() {
        let filter = Filter::new()
            .tag("aiops.dev/uid", "u1")
            .unwrap()
            .attribute("name", "it's")
            .unwrap();
        assert_eq!(
            filter.as_text(),
            "tags.`aiops.dev/uid` = 'u1' AND name = \"it's\""
        );
        assert_eq!(
            Filter::new().param("lr", "say \"0.1\"").unwrap().as_text(),
            "params.`lr` = 'say \"0.1\"'"
        );
        assert_eq!(Filter::new().as_text(), "");
    }

    #[test]
    fn what_would_change_the_meaning_is_refused() {
        for value in [r#"both ' and ""#, r"ends with \"] {
            let error = Filter::new().tag("key", value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains("cannot search"), "{error}");
        }
        assert!(Filter::new().tag("a` = 'x' OR tags.`b", "y").is_err());
        assert!(Filter::new().attribute("name = 'x' OR name", "y").is_err());
    }
}
