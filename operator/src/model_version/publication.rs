//! Reads what the publish Job reports (pure).

use aiops_crds::{ModelVersionReason as Reason, Parity, PublishedModel, TensorSignature};
use serde::Deserialize;

use super::progress::{Publication, Registered};
use super::validate::{ValidatedModelVersion, job_name};
use crate::configuration::Configuration;
use crate::framework::job_outcome::{Failure, JobOutcome, job_outcome};
use crate::framework::observed_job::ObservedJob;

/// The termination message of `publish` (docs/interfaces.md).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    digest: String,
    size_bytes: i64,
    inputs: Vec<TensorSignature>,
    outputs: Vec<TensorSignature>,
    opset: i64,
    parity: Option<ReportedParity>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportedParity {
    rows: i64,
    label_agreement: Option<f64>,
    max_absolute_difference: f64,
    max_relative_difference: f64,
}

/// How the publication stands. A Job that was created just now counts as at work.
pub fn read(
    observed: &ObservedJob,
    validated: &ValidatedModelVersion,
    registered: &Registered,
    configuration: &Configuration,
) -> Publication {
    let Some(job) = &observed.job else {
        return Publication::Active { trouble: None };
    };
    match job_outcome(job, &observed.pods, observed.read_at) {
        JobOutcome::Active { trouble } => Publication::Active { trouble },
        JobOutcome::Succeeded { report } => match serde_json::from_str::<Report>(&report) {
            Ok(report) => {
                let repository = configuration.model_repository(&validated.namespace);
                let uri = format!("{repository}/{}/{}", validated.model, registered.version);
                Publication::Done(Box::new(published(report, uri)))
            }
            Err(_) => Publication::Failed(Failure {
                reason: "PublishFailed".into(),
                message: format!(
                    "Job {0} has ended, but its report is gone with its pod: delete Job {0} to publish again, which changes nothing that is published",
                    job_name(&validated.name)
                ),
            }),
        },
        JobOutcome::Failed(failure) => Publication::Failed(Failure {
            message: format!("{}; {}", failure.message, remedy(&failure.reason, validated)),
            ..failure
        }),
    }
}

/// What to do about a failure of the Job. Only where something outside the model was in the way does another try help.
fn remedy(reason: &str, validated: &ValidatedModelVersion) -> String {
    let (job, namespace) = (job_name(&validated.name), &validated.namespace);
    let again = format!("kubectl delete job {job} -n {namespace}");
    let uri = validated.source.uri.as_deref().unwrap_or("the source");
    match Reason::parse(reason) {
        Some(Reason::OutOfMemory) => {
            format!("raise publish.resources.limits.memory of the chart, then: {again}")
        }
        Some(Reason::SourceNotFound) => {
            format!("upload {uri}, or name another file in a new ModelVersion; after the upload: {again}")
        }
        Some(Reason::SourceForbidden) => {
            format!("let the credentials of the object store's Secret in namespace {namespace} read {uri}, then: {again}")
        }
        Some(Reason::RepositoryNotFound) => {
            format!("make the bucket, or let a new pod of the operator make it, then: {again}")
        }
        Some(Reason::RepositoryForbidden) => {
            format!("let the credentials of the object store's Secret in namespace {namespace} write there, then: {again}")
        }
        Some(Reason::RepositoryUnusable) => {
            format!("put the object store right as the message says, then: {again}")
        }
        Some(Reason::RuntimeUnavailable) => {
            format!("set inferencePod.image of the chart to an image that is built for the nodes, then: {again}")
        }
        Some(Reason::VersionConflict) => {
            "what is published is never overwritten: create another ModelVersion, which gets a number of its own".into()
        }
        Some(Reason::SamplesMissing | Reason::ModelNotFound) => {
            "log the model again in another run, and name that in a new ModelVersion".into()
        }
        Some(
            Reason::InvalidModel
            | Reason::UnsupportedOpset
            | Reason::UnsupportedModel
            | Reason::UnsupportedFlavor
            | Reason::UnsupportedOperator
            | Reason::ConversionFailed
            | Reason::ParityFailed,
        ) => "the same model would fail again: name another one in a new ModelVersion".into(),
        _ => format!("to try again: {again}"),
    }
}

fn published(report: Report, uri: String) -> PublishedModel {
    let parity = report.parity.map(|parity| Parity {
        rows: parity.rows,
        label_agreement: parity.label_agreement.map(|value| value.to_string()),
        max_absolute_difference: format!("{:e}", parity.max_absolute_difference),
        max_relative_difference: format!("{:e}", parity.max_relative_difference),
    });
    PublishedModel {
        digest: report.digest,
        size_bytes: report.size_bytes,
        uri,
        inputs: report.inputs,
        outputs: report.outputs,
        opset: report.opset,
        parity,
    }
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::version;
    use super::super::validate::validate;
    use super::*;

    /// A status that the schema refuses would never be written: every interface that a report can hold must be taken.
    #[test]
    fn whatever_fits_a_report_fits_the_schema() {
        const REPORT_BYTES: usize = 4096;
        let crd = serde_json::to_value(&aiops_crds::all_crds()[1]).unwrap();
        let published =
            "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/published/properties";
        let limit = |path: &str| {
            crd.pointer(&format!("{published}{path}"))
                .and_then(serde_json::Value::as_u64)
                .unwrap()
        };
        let shortest_tensor = r#"{"name":"x","datatype":"BOOL","shape":[]},"#.len() - 1;
        for list in ["inputs", "outputs"] {
            assert!(limit(&format!("/{list}/maxItems")) >= (REPORT_BYTES / shortest_tensor) as u64);
            let tensor = format!("/{list}/items/properties");
            assert!(limit(&format!("{tensor}/name/maxLength")) >= REPORT_BYTES as u64);
            assert!(limit(&format!("{tensor}/shape/maxItems")) >= (REPORT_BYTES / "1,".len()) as u64);
        }
    }

    /// What `publish` and `convert` report, as docs/interfaces.md lists it.
    #[test]
    fn every_reason_of_a_publish_job_is_one_of_the_conditions() {
        for reason in [
            "MLflowUnreachable",
            "ModelNotFound",
            "UnsupportedFlavor",
            "UnsupportedOperator",
            "ConversionFailed",
            "SamplesMissing",
            "InvalidModel",
            "UnsupportedOpset",
            "UnsupportedModel",
            "ParityFailed",
            "VersionConflict",
            "SourceNotFound",
            "SourceForbidden",
            "RepositoryNotFound",
            "RepositoryForbidden",
            "RepositoryUnusable",
            "RepositoryUnreachable",
            "RuntimeUnavailable",
        ] {
            assert!(Reason::parse(reason).is_some(), "{reason}");
        }
    }

    #[test]
    fn another_try_is_proposed_only_where_it_can_help() {
        let validated = validate(&version(
            serde_json::json!({"source": {"uri": "s3://datasets/m.onnx"}}),
        ));
        let again = "kubectl delete job forest-1-publish -n team";
        for (reason, word, helps) in [
            ("Crashed", "to try again", true),
            ("RepositoryUnreachable", "to try again", true),
            ("OutOfMemory", "publish.resources.limits.memory", true),
            ("SourceNotFound", "upload s3://datasets/m.onnx", true),
            ("SourceForbidden", "read s3://datasets/m.onnx", true),
            ("RepositoryNotFound", "make the bucket", true),
            ("RepositoryForbidden", "write there", true),
            ("RepositoryUnusable", "put the object store right", true),
            ("RuntimeUnavailable", "inferencePod.image", true),
            ("InvalidModel", "new ModelVersion", false),
            ("UnsupportedOpset", "new ModelVersion", false),
            ("ParityFailed", "new ModelVersion", false),
            ("VersionConflict", "another ModelVersion", false),
        ] {
            let remedy = remedy(reason, &validated);
            assert!(remedy.contains(word), "{reason}: {remedy}");
            assert_eq!(remedy.contains(again), helps, "{reason}: {remedy}");
        }
    }

    #[test]
    fn a_report_becomes_what_status_shows() {
        let text = r#"{"digest": "sha256:d", "sizeBytes": 9, "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [], "opset": 17, "irVersion": 8,
            "parity": {"rows": 200, "labelAgreement": 1.0, "maxAbsoluteDifference": 1e-7, "maxRelativeDifference": 0.000002}}"#;
        let published = published(
            serde_json::from_str(text).unwrap(),
            "s3://models/team/tumour/1".into(),
        );
        assert_eq!(published.inputs[0].shape, [-1, 4]);
        let parity = published.parity.unwrap();
        assert_eq!((parity.rows, parity.label_agreement.as_deref()), (200, Some("1")));
        assert_eq!(parity.max_relative_difference, "2e-6");
    }
}
