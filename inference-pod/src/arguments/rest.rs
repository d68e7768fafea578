//! What the REST front offers to browsers.

use std::str::FromStr;

use clap::{ArgAction, Args};
use http::{HeaderValue, Uri};

/// Pages of which origins may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// All.
    Any,
    /// This one.
    Only(HeaderValue),
}

/// Flags of the REST front.
#[derive(Debug, Args)]
pub struct RestArguments {
    /// Whether the REST server answers its OpenAPI document (/openapi.json) and a page to try the models (/docs).
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub rest_docs: bool,
    /// Origin whose pages may call the REST server from a browser, for example https://app.example.com, or * for all; may be
    /// given several times. Without it, none may.
    #[arg(long, value_name = "ORIGIN")]
    pub rest_cors_origin: Vec<CorsOrigin>,
}

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let wrong = || {
            format!(
                "\"{text}\" is no origin: write scheme, host and, where it is not the usual one, port, as in \
                 https://app.example.com, without a path or a slash at the end; * stands for all"
            )
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        // Browsers send origins in this form, and they are compared letter by letter.
        if format!("{scheme}://{authority}").to_lowercase() != text || authority.as_str().contains('@') {
            return Err(wrong());
        }
        HeaderValue::from_str(text).map(Self::Only).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        assert_eq!("*".parse(), Ok(CorsOrigin::Any));
        for origin in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://[::1]:8080",
        ] {
            assert_eq!(
                origin.parse(),
                Ok(CorsOrigin::Only(HeaderValue::from_static(origin)))
            );
        }
        for wrong in [
            "",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/page",
            "https://App.example.com",
            "https://*.example.com/",
            "https://user@example.com",
            "https://a.example.com,https://b.example.com",
        ] {
            let error = wrong.parse::<CorsOrigin>().unwrap_err();
            assert!(error.contains("is no origin"), "{wrong}: {error}");
        }
    }
}
