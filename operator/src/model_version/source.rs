//! Finds the model that a ModelVersion's source names.

use aiops_crds::{ConditionStatus, Experiment, ExperimentStatus, ModelVersionReason as Reason};
use aiops_mlflow_client::{LoggedModel, Run, RunStatus, UID_TAG};
use kube::Api;

use super::progress::SourceProblem;
use super::validate::ValidatedModelVersion;
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// Where a model's files are, before it is registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A model that a run logged.
    LoggedModel {
        /// The run.
        run_id: String,
        /// The logged model.
        model_id: String,
        /// Where its files are.
        artifact_uri: String,
    },
    /// A version that MLflow's registry has already.
    RegistryVersion {
        /// Its number.
        version: String,
        /// The run that logged it.
        run_id: String,
        /// The logged model.
        model_id: String,
        /// The UID of the ModelVersion that registered it, where one did.
        registered_by: Option<String>,
    },
    /// An ONNX file in the object store.
    Onnx {
        /// Where it is.
        uri: String,
    },
}

type Resolved = Result<Origin, SourceProblem>;

fn not_ready(message: String) -> Result<Resolved, Error> {
    Ok(Err(SourceProblem {
        reason: Reason::SourceNotReady,
        message,
    }))
}

fn failed(message: String) -> Result<Resolved, Error> {
    Ok(Err(SourceProblem {
        reason: Reason::SourceFailed,
        message,
    }))
}

/// Finds the model, or says why there is none. The CRD makes sure that exactly one source is set.
pub async fn resolve(validated: &ValidatedModelVersion, context: &Context) -> Result<Resolved, Error> {
    let source = &validated.source;
    if let Some(experiment) = &source.experiment {
        return of_experiment(experiment, validated, context).await;
    }
    if let Some(run) = &source.mlflow_run {
        return of_run(run, context).await;
    }
    if let Some(version) = &source.mlflow_version {
        return of_registry(version, validated, context).await;
    }
    match &source.uri {
        Some(uri) => Ok(Ok(Origin::Onnx { uri: uri.clone() })),
        None => {
            failed("spec.source is empty: set one of experiment, mlflowRun, mlflowVersion and uri".into())
        }
    }
}

async fn of_experiment(
    name: &str,
    validated: &ValidatedModelVersion,
    context: &Context,
) -> Result<Resolved, Error> {
    let namespace = &validated.namespace;
    let experiments: Api<Experiment> = Api::namespaced(context.client.clone(), namespace);
    let Some(experiment) = experiments
        .get_opt(name)
        .await
        .during(|| format!("read Experiment {namespace}/{name}"))?
    else {
        return not_ready(format!(
            "Experiment {name} does not exist in namespace {namespace}: create it, or correct spec.source.experiment in a new ModelVersion"
        ));
    };
    let status = experiment.status.unwrap_or_default();
    match run_of_experiment(name, &status) {
        Ok(run_id) => of_run(run_id, context).await,
        Err(problem) => Ok(Err(problem)),
    }
}

/// The run of an Experiment that trained and passed its validation, or what became of it instead.
fn run_of_experiment<'status>(
    name: &str,
    status: &'status ExperimentStatus,
) -> Result<&'status str, SourceProblem> {
    let problem = |reason: Reason, message: String| Err(SourceProblem { reason, message });
    let condition = |type_: &str| {
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_);
        found.map(|found| (found.status, &found.message))
    };
    if let Some((ConditionStatus::False, message)) = condition("Validated") {
        return problem(
            Reason::SourceFailed,
            format!("Experiment {name} did not pass its validation: {message}"),
        );
    }
    match (condition("Trained"), condition("Validated"), &status.mlflow) {
        (_, Some((ConditionStatus::True, _)), Some(run)) => Ok(&run.run_id),
        (Some((ConditionStatus::False, message)), ..) if status.completion_time.is_some() => problem(
            Reason::SourceFailed,
            format!("the training of Experiment {name} failed: {message}"),
        ),
        _ => problem(
            Reason::SourceNotReady,
            format!("Experiment {name} has not finished yet"),
        ),
    }
}

async fn of_run(run_id: &str, context: &Context) -> Result<Resolved, Error> {
    let run = match context.mlflow.get_run(run_id).await {
        Err(error) if error.is_not_found() => {
            return not_ready(format!(
                "MLflow has no run {run_id}: correct spec.source in a new ModelVersion"
            ));
        }
        result => result?,
    };
    if let Some(problem) = run_problem(&run) {
        return Ok(Err(problem));
    }
    match context
        .mlflow
        .get_logged_models_of_run(run_id)
        .await?
        .into_iter()
        .next()
    {
        Some(model) => Ok(Ok(logged(run_id, model))),
        None => failed(format!(
            "MLflow run {run_id} logged no model: log one with log_model(name=…)"
        )),
    }
}

fn run_problem(run: &Run) -> Option<SourceProblem> {
    let id = &run.info.run_id;
    match run.info.status {
        RunStatus::Finished => None,
        RunStatus::Failed | RunStatus::Killed => Some(SourceProblem {
            reason: Reason::SourceFailed,
            message: format!(
                "MLflow run {id} ended without success: name a run that is FINISHED in a new ModelVersion"
            ),
        }),
        _ => Some(SourceProblem {
            reason: Reason::SourceNotReady,
            message: format!("MLflow run {id} has not finished yet"),
        }),
    }
}

fn logged(run_id: &str, model: LoggedModel) -> Origin {
    Origin::LoggedModel {
        run_id: run_id.to_owned(),
        model_id: model.info.model_id,
        artifact_uri: model.info.artifact_uri,
    }
}

async fn of_registry(
    number: &str,
    validated: &ValidatedModelVersion,
    context: &Context,
) -> Result<Resolved, Error> {
    let name = validated.registered_model();
    let version = match context.mlflow.get_model_version(&name, number).await {
        Err(error) if error.is_not_found() => {
            return not_ready(format!(
                "MLflow's registry has no version {number} of {name}: register it there, or name one that exists in a new ModelVersion"
            ));
        }
        result => result?,
    };
    let (Some(model_id), false) = (version.logged_model_id(), version.run_id.is_empty()) else {
        return failed(format!(
            "version {number} of {name} in MLflow's registry has no run or no logged model behind it: register it from a run"
        ));
    };
    Ok(Ok(Origin::RegistryVersion {
        run_id: version.run_id.clone(),
        model_id: model_id.to_owned(),
        registered_by: version.tag(UID_TAG).map(str::to_owned),
        version: version.version,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(trained: &str, validated: &str, completed: bool) -> ExperimentStatus {
        let condition = |type_: &str, status: &str| {
            serde_json::json!({"type": type_, "status": status, "reason": "R", "message": format!("about {type_}"),
                "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:00Z"})
        };
        serde_json::from_value(serde_json::json!({
            "conditions": [condition("Trained", trained), condition("Validated", validated)],
            "mlflow": {"experimentId": "1", "runId": "r"},
            "completionTime": completed.then_some("1970-01-01T00:00:00Z"),
        }))
        .unwrap()
    }

    fn reason(status: &ExperimentStatus) -> Reason {
        run_of_experiment("forest", status).unwrap_err().reason
    }

    #[test]
    fn a_training_that_failed_is_told_from_one_that_is_at_work() {
        assert_eq!(reason(&ExperimentStatus::default()), Reason::SourceNotReady);
        assert_eq!(reason(&status("False", "Unknown", false)), Reason::SourceNotReady);
        assert_eq!(reason(&status("False", "Unknown", true)), Reason::SourceFailed);
        assert_eq!(reason(&status("True", "False", true)), Reason::SourceFailed);
        assert_eq!(
            run_of_experiment("forest", &status("True", "True", true)),
            Ok("r")
        );
    }
}
