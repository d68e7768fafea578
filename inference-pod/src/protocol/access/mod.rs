//! Who may call what: APIs that ask for a header, as Triton's restricted APIs do, and changes of settings.

mod apis;
mod check;
mod restrictions;

pub use apis::Api;
pub use check::{guard_grpc, guard_http, guard_rest};
pub use restrictions::{RestrictionError, Restrictions};

use crate::error::{ErrorKind, InferenceError, Result};

/// The flag of each protocol.
const HTTP_FLAG: &str = "http-restricted-api";
const GRPC_FLAG: &str = "grpc-restricted-protocol";
const REST_FLAG: &str = "rest-restricted-api";

/// What the command line says about access.
#[derive(Debug, Default)]
pub struct Access {
    /// Restrictions of HTTP.
    pub http: Restrictions,
    /// Restrictions of gRPC.
    pub grpc: Restrictions,
    /// Restrictions of REST.
    pub rest: Restrictions,
    /// Whether every client may change settings.
    pub allow_settings_changes: bool,
}

/// The protocol that a change comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Http,
    Grpc,
}

impl Access {
    /// Reads the flags.
    pub fn new(
        http: &[String],
        grpc: &[String],
        rest: &[String],
        allow_settings_changes: bool,
    ) -> Result<Self, RestrictionError> {
        let access = Self {
            http: Restrictions::parse(HTTP_FLAG, "", &Api::ALL, http)?,
            grpc: Restrictions::parse(GRPC_FLAG, "triton-grpc-protocol-", &Api::ALL, grpc)?,
            rest: Restrictions::parse(REST_FLAG, "", &Api::OF_REST, rest)?,
            allow_settings_changes,
        };
        access.warn_of_open_doors();
        Ok(access)
    }

    /// An API that asks for a header over one protocol and for none over the other is rarely meant.
    fn warn_of_open_doors(&self) {
        for (closed, flag, open, other) in [
            (&self.http, HTTP_FLAG, &self.grpc, GRPC_FLAG),
            (&self.grpc, GRPC_FLAG, &self.http, HTTP_FLAG),
        ] {
            for api in closed.apis().filter(|api| !open.restricts(*api)) {
                tracing::warn!("--{flag} restricts {api}, but --{other} does not: it is open there");
            }
        }
        if self.http.restricts(Api::Inference) && !self.rest.restricts(Api::Inference) {
            tracing::warn!(
                "--{HTTP_FLAG} restricts inference, but --{REST_FLAG} does not: models can be asked there"
            );
        }
    }

    /// Says once that every client may load and unload, where that is so.
    pub fn warn_of_open_repository(&self) {
        let flags = self.open_repository();
        if !flags.is_empty() {
            tracing::warn!(
                "--model-control-mode=explicit lets every client load and unload models and upload files of them; {} asks for a key",
                flags.join(" and ")
            );
        }
    }

    /// The flags that would restrict load and unload, and do not.
    fn open_repository(&self) -> Vec<String> {
        let api = Api::ModelRepository;
        [(&self.http, HTTP_FLAG), (&self.grpc, GRPC_FLAG)]
            .into_iter()
            .filter(|(restrictions, _)| !restrictions.restricts(api))
            .map(|(_, flag)| format!("--{flag}={api}:<header>=<value>"))
            .collect()
    }

    /// Whether settings may be changed: by everybody where the server was told so, else only where the call had to show a
    /// header to get here.
    pub(super) fn may_change(&self, caller: Caller, api: Api) -> Result<()> {
        let (restrictions, flag) = match caller {
            Caller::Http => (&self.http, HTTP_FLAG),
            Caller::Grpc => (&self.grpc, GRPC_FLAG),
        };
        if self.allow_settings_changes || restrictions.restricts(api) {
            return Ok(());
        }
        Err(InferenceError {
            kind: ErrorKind::Forbidden,
            message: format!(
                "{api} settings can be read, but not changed by calls: start the server with --allow-settings-changes, or with --{flag}={api}:<header>=<value> for those who send that header"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_that_rest_does_not_have_is_refused_with_those_that_it_has() {
        let error = Access::new(&[], &[], &["logging,trace:k=v".into()], false).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("'logging' is none of health, metadata, inference;"),
            "{text}"
        );
    }

    #[test]
    fn open_loads_are_said_with_the_flags_that_restrict_them() {
        let keyed = Access::new(&["model-repository:k=v".into()], &[], &[], false).unwrap();
        assert_eq!(
            keyed.open_repository(),
            ["--grpc-restricted-protocol=model-repository:<header>=<value>"]
        );
        assert_eq!(Access::default().open_repository().len(), 2);
    }

    #[test]
    fn settings_are_changed_by_whom_the_server_was_told_to_trust() {
        let closed = Access::new(&[], &[], &[], false).unwrap();
        let error = closed.may_change(Caller::Grpc, Api::Logging).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Forbidden);
        assert!(
            error
                .message
                .contains("--grpc-restricted-protocol=logging:<header>=<value>"),
            "{error}"
        );
        let open = Access::new(&[], &[], &[], true).unwrap();
        assert!(open.may_change(Caller::Http, Api::Trace).is_ok());
        let keyed = Access::new(&["logging:admin=secret".into()], &[], &[], false).unwrap();
        assert!(keyed.may_change(Caller::Http, Api::Logging).is_ok());
        assert!(keyed.may_change(Caller::Http, Api::Trace).is_err());
        assert!(keyed.may_change(Caller::Grpc, Api::Logging).is_err());
    }
}
