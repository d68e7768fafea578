//! The errors of a reconcile, in a closed set that decides what happens next and labels the metrics.

use std::time::Duration;

use aiops_mlflow_client::ErrorKind as MlflowErrorKind;

/// Why a reconcile did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the Kubernetes API failed.
    #[error("unable to {action}: {}", said(.source))]
    Kubernetes {
        /// What was tried, such as `apply Job team/forest-train`.
        action: String,
        /// What the client says.
        #[source]
        source: kube::Error,
    },
    /// A child's name is taken.
    #[error("{kind} {namespace}/{name} exists and belongs to {holder}: {remedy}")]
    NameTaken {
        /// The child's kind.
        kind: String,
        /// The child's namespace.
        namespace: String,
        /// The child's name.
        name: String,
        /// Who owns it.
        holder: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A call to MLflow failed.
    #[error(transparent)]
    Mlflow(#[from] aiops_mlflow_client::Error),
    /// A call to the model repository failed.
    #[error(transparent)]
    Repository(#[from] aiops_model_repository::RepositoryError),
    /// The object cannot be read as the type that the CRD declares.
    #[error("the stored object does not match the CRD: {0}")]
    InvalidObject(String),
    /// The whole reconcile took too long.
    #[error("the reconcile took longer than {} s", .0.as_secs())]
    Timeout(Duration),
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// Try again, later and later.
    Retry,
    /// The same input gives the same error: wait until the object changes, looking again from time to time.
    AwaitChange,
}

/// How long to wait before looking again at what only a change can mend.
pub const RESYNC: Duration = Duration::from_secs(600);

impl Error {
    /// Whether the API server does not have the object that a call named.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Kubernetes { source: kube::Error::Api(status), .. } if status.is_not_found())
    }

    /// The metric's label.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } => "kubernetes",
            Self::NameTaken { .. } => "name_taken",
            Self::Mlflow(_) => "mlflow",
            Self::Repository(_) => "repository",
            Self::InvalidObject(_) => "invalid_object",
            Self::Timeout(_) => "timeout",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::InvalidObject(_) => Disposition::AwaitChange,
            // What the spec asks for cannot be, such as a request above its limit.
            Self::Kubernetes {
                source: kube::Error::Api(status),
                ..
            } if status.code == 422 => Disposition::AwaitChange,
            Self::Mlflow(error) if error.kind() == MlflowErrorKind::InvalidRequest => {
                Disposition::AwaitChange
            }
            _ => Disposition::Retry,
        }
    }
}

/// What the client says, for people: of an answer of the API server its sentence, without the structure around it.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if lacks_rights(status) => format!(
            "{}; add the namespace to the chart's workloadNamespaces, which gives the operator its rights there",
            status.message
        ),
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether the operator's own roles do not allow it. Quotas and webhooks answer with the same code, and other words.
fn lacks_rights(status: &kube::core::Status) -> bool {
    status.code == 403 && status.message.contains(" is forbidden: User \"")
}

/// Names the action that a call to the Kubernetes API was part of.
pub trait DuringAction<T> {
    /// Adds `action` to the error.
    ///
    /// # Errors
    /// The call's own.
    fn during(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> DuringAction<T> for Result<T, kube::Error> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Kubernetes {
            action: action(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_calls_invalid_waits_for_a_change_and_an_outage_does_not() {
        let answered = |code: u16| {
            let status = kube::core::Status::failure("no", "Reason").with_code(code);
            let result: Result<(), kube::Error> = Err(kube::Error::Api(status.boxed()));
            result
                .during(|| "apply Job team/x".into())
                .unwrap_err()
                .disposition()
        };
        assert_eq!(answered(422), Disposition::AwaitChange);
        for code in [403, 409, 429, 500, 503] {
            assert_eq!(answered(code), Disposition::Retry, "{code}");
        }
    }

    #[test]
    fn a_namespace_that_the_operator_may_not_write_to_says_how_to_change_that() {
        let told = |message: &str| {
            let status = kube::core::Status::failure(message, "Forbidden").with_code(403);
            let refused: Result<(), kube::Error> = Err(kube::Error::Api(status.boxed()));
            refused
                .during(|| "apply Job team/x".into())
                .unwrap_err()
                .to_string()
        };
        let rights = told(
            "jobs.batch \"x\" is forbidden: User \"system:serviceaccount:aiops:aiops-operator\" cannot patch \
             resource \"jobs\" in API group \"batch\" in the namespace \"team\"",
        );
        assert!(rights.contains("workloadNamespaces"), "{rights}");
        let quota =
            told("jobs.batch \"x\" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1");
        assert!(!quota.contains("workloadNamespaces"), "{quota}");
    }

    #[test]
    fn what_the_api_server_refuses_is_told_in_its_own_sentence() {
        let status =
            kube::core::Status::failure("spec.replicas: must not be negative", "Invalid").with_code(422);
        let refused: Result<(), kube::Error> = Err(kube::Error::Api(status.boxed()));
        let error = refused.during(|| "apply Deployment team/x".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to apply Deployment team/x: spec.replicas: must not be negative"
        );
    }
}
