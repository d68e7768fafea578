//! `<APIs>:<header>=<value>`, as it stands on the command line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use subtle::ConstantTimeEq as _;

use super::Api;

/// Before the path of a file that holds the value.
const FILE: char = '@';
/// Before the name of a variable of the environment that holds it.
const VARIABLE: &str = "env:";

/// Why a restriction cannot be used. The value is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum RestrictionError {
    /// It is written in another way.
    #[error("--{flag}: {why}; write <API>,<API>…:<header>=<value>")]
    Form {
        /// The flag.
        flag: &'static str,
        /// What is wrong.
        why: String,
    },
    /// An API is restricted twice.
    #[error("--{flag}: {api} can not be specified in multiple groups: give all of its APIs one header")]
    Twice {
        /// The flag.
        flag: &'static str,
        /// The API.
        api: Api,
    },
    /// The value is elsewhere and not there.
    #[error("--{flag}: the value of header '{header}' cannot be read from {place}: {error}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// The header.
        header: String,
        /// The file or variable.
        place: String,
        /// Why.
        error: String,
    },
}

/// What a call has to show.
struct Key {
    header: HeaderName,
    value: Vec<u8>,
}

/// APIs that ask for a header.
#[derive(Default)]
pub struct Restrictions(BTreeMap<Api, Arc<Key>>);

impl fmt::Debug for Restrictions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.keys()).finish()
    }
}

impl Restrictions {
    /// Reads a flag's values; `prefix` comes before each header.
    pub(super) fn parse(
        flag: &'static str,
        prefix: &str,
        known: &[Api],
        groups: &[String],
    ) -> Result<Self, RestrictionError> {
        let mut restrictions = BTreeMap::new();
        for group in groups {
            let wrong = |why: &str| RestrictionError::Form {
                flag,
                why: why.to_owned(),
            };
            let (apis, pair) = group
                .split_once(':')
                .ok_or_else(|| wrong("there is no ':' after the APIs"))?;
            let (header, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong("there is no '=' after the header"))?;
            let key = Arc::new(Key {
                header: format!("{prefix}{}", header.trim().to_ascii_lowercase())
                    .parse()
                    .map_err(|_| wrong(&format!("'{header}' is no name of a header")))?,
                value: read_value(flag, header, value)?,
            });
            for name in apis.split(',').map(str::trim) {
                let api = known.iter().copied().find(|api| api.name() == name);
                let api = api.ok_or_else(|| wrong(&unknown(name, known)))?;
                if restrictions.insert(api, Arc::clone(&key)).is_some() {
                    return Err(RestrictionError::Twice { flag, api });
                }
            }
        }
        Ok(Self(restrictions))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apis(&self) -> impl Iterator<Item = Api> {
        self.0.keys().copied()
    }

    pub(super) fn restricts(&self, api: Api) -> bool {
        self.0.contains_key(&api)
    }

    /// The header that is missing, or has another value.
    pub(super) fn missing(&self, api: Option<Api>, headers: &HeaderMap) -> Option<&HeaderName> {
        let key = self.0.get(&api?)?;
        let shown = headers.get(&key.header);
        // In constant time, so that nobody can find the value byte by byte.
        let fits = shown.is_some_and(|shown| shown.as_bytes().ct_eq(&key.value).into());
        (!fits).then_some(&key.header)
    }
}

fn unknown(name: &str, known: &[Api]) -> String {
    let names: Vec<_> = known.iter().map(|api| api.name()).collect();
    format!("'{name}' is none of {}", names.join(", "))
}

fn read_value(flag: &'static str, header: &str, value: &str) -> Result<Vec<u8>, RestrictionError> {
    let elsewhere = |place: &str, error: String| RestrictionError::Value {
        flag,
        header: header.to_owned(),
        place: place.to_owned(),
        error,
    };
    let value = if let Some(path) = value.strip_prefix(FILE) {
        let text = std::fs::read_to_string(path).map_err(|error| elsewhere(path, error.to_string()))?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else if let Some(name) = value.strip_prefix(VARIABLE) {
        std::env::var(name).map_err(|error| elsewhere(name, error.to_string()))?
    } else {
        value.to_owned()
    };
    if value.is_empty() {
        return Err(RestrictionError::Form {
            flag,
            why: format!("the value of header '{header}' is empty"),
        });
    }
    Ok(value.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(groups: &[&str]) -> Result<Restrictions, RestrictionError> {
        let groups: Vec<_> = groups.iter().map(|group| (*group).to_owned()).collect();
        Restrictions::parse("http-restricted-api", "", &Api::ALL, &groups)
    }

    fn shown(header: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(header), value.parse().unwrap())])
    }

    #[test]
    fn each_api_asks_for_its_header() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "of a file\n").unwrap();
        let of_file = format!("trace:other=@{}", file.path().display());
        let restrictions = parse(&["model-repository, logging:Admin=a=b", &of_file]).unwrap();
        let missing = |api, headers: &HeaderMap| restrictions.missing(Some(api), headers).is_some();
        assert!(!missing(Api::Logging, &shown("admin", "a=b")));
        assert!(missing(Api::Logging, &shown("admin", "a=c")));
        assert!(missing(Api::ModelRepository, &shown("admin", "a")));
        assert!(missing(Api::ModelRepository, &HeaderMap::new()));
        assert!(!missing(Api::Trace, &shown("other", "of a file")));
        assert!(!missing(Api::Inference, &HeaderMap::new()));
        assert!(restrictions.missing(None, &HeaderMap::new()).is_none());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (groups, part) in [
            (&["trace"][..], "no ':'"),
            (&["trace:secret"], "no '='"),
            (&["tracing:a=secret"], "'tracing' is none of health"),
            (&["trace:a b=secret"], "'a b' is no name of a header"),
            (&["trace:a="], "is empty"),
            (&["trace:a=@/nowhere"], "cannot be read from /nowhere"),
            (
                &["trace:a=env:AIOPS_NOT_SET"],
                "cannot be read from AIOPS_NOT_SET",
            ),
            (
                &["trace:a=secret", "trace:b=secret"],
                "trace can not be specified",
            ),
        ] {
            let error = parse(groups).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("--http-restricted-api"),
                "{error}"
            );
            assert!(!error.contains("=secret"), "{error}");
        }
    }
}
