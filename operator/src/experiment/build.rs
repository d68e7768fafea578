//! Builds the trainer's Job and the ModelVersion of an Experiment. Deterministic.

use aiops_crds::{ModelVersion, ModelVersionSpec, Source};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::validate::{ValidatedExperiment, ValidatedRegistration};
use crate::build::{job, labels, literal, object_store, pod, security};
use crate::configuration::Configuration;

const CONTAINER: &str = "trainer";
/// The variable that names the trainer's run (docs/interfaces.md).
pub const RUN_ID_VARIABLE: &str = "MLFLOW_RUN_ID";

/// The trainer's Job for one MLflow run.
pub fn job(validated: &ValidatedExperiment, run_id: &str, configuration: &Configuration) -> Job {
    let labels = labels::labels(CONTAINER, labels::EXPERIMENT, &validated.name);
    let pod = PodSpec {
        restart_policy: Some("Never".into()),
        containers: vec![container(validated, run_id, configuration)],
        volumes: Some(
            [
                vec![security::empty_folder("tmp")],
                object_store::volumes(configuration),
            ]
            .concat(),
        ),
        ..pod::spec(configuration)
    };
    Job {
        metadata: ObjectMeta {
            name: Some(validated.job_name()),
            namespace: Some(validated.namespace.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(validated.backoff_limit),
            active_deadline_seconds: Some(validated.active_deadline_seconds),
            pod_failure_policy: Some(job::failure_policy()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn container(validated: &ValidatedExperiment, run_id: &str, configuration: &Configuration) -> Container {
    let trainer = serde_json::to_string(&validated.trainer).expect("a trainer has text keys only");
    let variables = [
        literal::variable("AIOPS_TRAINER", trainer),
        literal::variable("MLFLOW_TRACKING_URI", &configuration.mlflow_tracking_uri),
        literal::variable(RUN_ID_VARIABLE, run_id),
    ];
    Container {
        name: CONTAINER.into(),
        image: Some(configuration.trainer_image.clone()),
        image_pull_policy: Some(configuration.image_pull_policy.clone()),
        args: Some(vec!["train".into()]),
        env: Some([variables.to_vec(), object_store::variables(configuration)].concat()),
        resources: Some(ResourceRequirements::from(&validated.resources)),
        security_context: Some(security::container()),
        // A crash that wrote no message is explained by the end of its log.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(
            [
                vec![security::mount("tmp", "/tmp")],
                object_store::mounts(configuration),
            ]
            .concat(),
        ),
        ..Container::default()
    }
}

/// The ModelVersion of a trained and validated Experiment. It has no owner: a model outlives its experiment.
pub fn model_version(registration: &ValidatedRegistration, validated: &ValidatedExperiment) -> ModelVersion {
    let spec = ModelVersionSpec {
        model: registration.model.clone(),
        source: Source {
            experiment: Some(validated.name.clone()),
            ..Source::default()
        },
        stage: Some(registration.stage),
        approval: None,
        deletion_policy: None,
    };
    let mut version = ModelVersion::new(&registration.name, spec);
    version.metadata.namespace = Some(validated.namespace.clone());
    version.metadata.labels = Some([(labels::EXPERIMENT.to_owned(), validated.name.clone())].into());
    version
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::{experiment, sample};
    use super::super::validate::validate;
    use super::*;
    use crate::build::literal::tests::expanded;
    use crate::configuration::ObjectStore;

    #[test]
    fn a_trainer_pulls_with_the_installations_secrets_and_starts_without_a_ca() {
        let validated = validate(&super::super::sample()).unwrap();
        let configuration = Configuration {
            image_pull_secrets: vec!["registry".into(), "mirror".into()],
            object_store: ObjectStore {
                custom_ca: true,
                ..ObjectStore::default()
            },
            ..Configuration::sample()
        };
        let job = job(&validated, "r", &configuration);
        let pod = job.spec.unwrap().template.spec.unwrap();
        let secrets = pod.image_pull_secrets.unwrap();
        let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["registry", "mirror"]);
        let optional = |volume: &k8s_openapi::api::core::v1::Volume| volume.secret.as_ref()?.optional;
        assert_eq!(pod.volumes.iter().flatten().find_map(optional), Some(true));
    }

    #[test]
    fn a_column_with_a_dollar_sign_reaches_the_trainer_as_it_is() {
        let mut spec = sample();
        spec["trainer"]["dataset"] =
            serde_json::json!({"uri": "s3://datasets/$(AWS_SECRET_ACCESS_KEY).csv", "target": "price$$"});
        let validated = validate(&experiment(spec)).unwrap();
        let job = job(&validated, "run", &Configuration::sample());
        let pod = job.spec.unwrap().template.spec.unwrap();
        let trainer = pod.containers[0].env.as_ref().unwrap()[0].value.clone();
        assert_eq!(
            expanded(&trainer.unwrap()),
            serde_json::to_string(&validated.trainer).unwrap()
        );
    }
}
