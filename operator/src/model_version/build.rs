//! Builds the publish Job of a ModelVersion. Deterministic.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::progress::Registered;
use super::validate::{ValidatedModelVersion, job_name};
use crate::build::{job, labels, literal, object_store, pod, security};
use crate::configuration::Configuration;

const DEADLINE_SECONDS: i64 = 1800;
const BACKOFF_LIMIT: i32 = 4;
const FOLDER: &str = "/publish";

/// The publish Job: conversion where the source is not ONNX yet, then check and upload.
pub fn job(validated: &ValidatedModelVersion, registered: &Registered, configuration: &Configuration) -> Job {
    let labels = labels::labels("publish", labels::MODEL_VERSION, &validated.name);
    let pod = PodSpec {
        restart_policy: Some("Never".into()),
        init_containers: convert(registered, configuration).map(|container| vec![container]),
        containers: vec![publish(validated, registered, configuration)],
        volumes: Some(
            [
                vec![security::empty_folder("work"), security::empty_folder("tmp")],
                object_store::volumes(configuration),
            ]
            .concat(),
        ),
        ..pod::spec(configuration)
    };
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(&validated.name)),
            namespace: Some(validated.namespace.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(BACKOFF_LIMIT),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
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

/// The converter, for a model that a run logged.
fn convert(registered: &Registered, configuration: &Configuration) -> Option<Container> {
    let (run_id, model_id) = (
        registered.reference.run_id.as_ref()?,
        registered.reference.model_id.as_ref()?,
    );
    let arguments = [
        "convert",
        "--run-id",
        run_id,
        "--model-id",
        model_id,
        "--output",
        FOLDER,
    ];
    let variables = vec![literal::variable(
        "MLFLOW_TRACKING_URI",
        &configuration.mlflow_tracking_uri,
    )];
    Some(container(
        "convert",
        &configuration.trainer_image,
        &arguments,
        variables,
        configuration,
    ))
}

fn publish(
    validated: &ValidatedModelVersion,
    registered: &Registered,
    configuration: &Configuration,
) -> Container {
    let repository = configuration.model_repository(&validated.namespace);
    let input = match &validated.source.uri {
        Some(uri) => ["--source", uri.as_str()],
        None => ["--input", FOLDER],
    };
    let target = [
        "--model-repository",
        &repository,
        "--model",
        &validated.model,
        "--version",
        &registered.version,
    ];
    let arguments = [&["publish"][..], &input, &target].concat();
    let variables = object_store::variables(configuration);
    container(
        "publish",
        &configuration.inference_pod_image,
        &arguments,
        variables,
        configuration,
    )
}

fn container(
    name: &str,
    image: &str,
    arguments: &[&str],
    variables: Vec<EnvVar>,
    configuration: &Configuration,
) -> Container {
    let mounts = vec![security::mount("work", FOLDER), security::mount("tmp", "/tmp")];
    Container {
        name: name.into(),
        image: Some(image.into()),
        image_pull_policy: Some(configuration.image_pull_policy.clone()),
        args: Some(literal::arguments(arguments)),
        env: Some(variables),
        resources: Some(configuration.publish_resources.clone()),
        security_context: Some(security::container()),
        // A crash that wrote no message is explained by the end of its log.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some([mounts, object_store::mounts(configuration)].concat()),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use aiops_crds::MlflowVersionReference;

    use super::super::validate::tests::version;
    use super::super::validate::validate;
    use super::*;
    use crate::build::literal::tests::expanded;

    #[test]
    fn both_containers_get_the_resources_of_the_installation() {
        let mut configuration = Configuration::sample();
        configuration.publish_resources =
            serde_json::from_value(serde_json::json!({"limits": {"memory": "8Gi"}})).unwrap();
        let reference = serde_json::json!({"registeredModel": "team.tumour", "runId": "r", "modelId": "m-1"});
        let registered = Registered {
            version: "1".into(),
            reference: serde_json::from_value(reference).unwrap(),
        };
        let job = job(
            &validate(&version(serde_json::json!({}))),
            &registered,
            &configuration,
        );
        let pod = job.spec.unwrap().template.spec.unwrap();
        let containers = pod.init_containers.unwrap().into_iter().chain(pod.containers);
        let resources: Vec<_> = containers.map(|container| container.resources).collect();
        let expected = Some(configuration.publish_resources);
        assert_eq!(resources, [expected.clone(), expected]);
    }

    #[test]
    fn a_uri_that_names_a_variable_reaches_the_publisher_as_it_is() {
        let uri = "s3://datasets/$(AWS_SECRET_ACCESS_KEY).onnx";
        let validated = validate(&version(serde_json::json!({"source": {"uri": uri}})));
        let registered = Registered {
            version: "1".into(),
            reference: MlflowVersionReference::default(),
        };
        let job = job(&validated, &registered, &Configuration::sample());
        let pod = job.spec.unwrap().template.spec.unwrap();
        let arguments = pod.containers[0].args.as_ref().unwrap();
        assert_eq!(expanded(&arguments[2]), uri);
    }
}
