//! The pods. Their template knows nothing of the serving plan's content: a promotion must not restart them.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::serving_plan::FILE;
use super::{GRPC, HTTP, METRICS, REST, ValidatedInferenceService, labels, metadata, selector};
use crate::build::{literal, object_store, pod, security};
use crate::configuration::Configuration;

const CONTAINER: &str = "inference";
const PLAN_FOLDER: &str = "/etc/aiops/serving-plan";
const CACHE_FOLDER: &str = "/var/cache/aiops";
/// A pod that got SIGTERM first waits until no proxy sends to it any more, then ends what it accepted.
const TERMINATION_GRACE_SECONDS: i64 = 60;
/// Fetching and loading large models takes minutes; a pod that needs longer is started anew.
const STARTUP_SECONDS: i32 = 600;

/// The Deployment; without `replicas` the autoscaler says how many pods there are.
pub fn build(
    validated: &ValidatedInferenceService,
    replicas: Option<i32>,
    configuration: &Configuration,
) -> Deployment {
    let pod = PodSpec {
        service_account_name: Some(validated.child_name()),
        termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
        topology_spread_constraints: Some(spread(validated)),
        containers: vec![container(validated, configuration)],
        volumes: Some(
            [
                vec![
                    plan_volume(validated),
                    security::empty_folder("cache"),
                    security::empty_folder("tmp"),
                ],
                object_store::volumes(configuration),
            ]
            .concat(),
        ),
        ..pod::spec(configuration)
    };
    Deployment {
        metadata: metadata(validated, validated.child_name()),
        spec: Some(DeploymentSpec {
            replicas,
            selector: selector(validated),
            strategy: Some(never_fewer()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(validated)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// A new pod is ready before an old one goes.
fn never_fewer() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

/// Over zones and nodes where there are several; a cluster with one of them takes all pods.
fn spread(validated: &ValidatedInferenceService) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .into_iter()
        .map(|topology_key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: topology_key.into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(selector(validated)),
            ..TopologySpreadConstraint::default()
        })
        .collect()
}

fn container(validated: &ValidatedInferenceService, configuration: &Configuration) -> Container {
    let repository = configuration.model_repository(&validated.namespace);
    Container {
        name: CONTAINER.into(),
        image: Some(configuration.inference_pod_image.clone()),
        image_pull_policy: Some(configuration.image_pull_policy.clone()),
        args: Some(literal::arguments(&[
            &format!("--model-repository={repository}"),
            &format!("--serving-plan={PLAN_FOLDER}/{FILE}"),
        ])),
        env: Some(
            [
                vec![literal::variable("AIOPS_MODEL_CACHE", CACHE_FOLDER)],
                object_store::variables(configuration),
            ]
            .concat(),
        ),
        ports: Some(
            [HTTP, GRPC, METRICS, REST]
                .map(|port| ContainerPort {
                    name: Some(port.name.into()),
                    container_port: port.number.into(),
                    protocol: Some("TCP".into()),
                    ..ContainerPort::default()
                })
                .into(),
        ),
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(STARTUP_SECONDS),
            ..probe("/v2/health/ready")
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            failure_threshold: Some(2),
            ..probe("/v2/health/ready")
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(6),
            ..probe("/v2/health/live")
        }),
        resources: Some(ResourceRequirements::from(&validated.resources)),
        security_context: Some(security::container()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(
            [
                vec![
                    VolumeMount {
                        read_only: Some(true),
                        ..security::mount("serving-plan", PLAN_FOLDER)
                    },
                    security::mount("cache", CACHE_FOLDER),
                    security::mount("tmp", "/tmp"),
                ],
                object_store::mounts(configuration),
            ]
            .concat(),
        ),
        ..Container::default()
    }
}

/// A GET on the HTTP port. A busy pod may take its time: a probe that gives up early restarts it when it is needed most.
fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(HTTP.name.into()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// The whole folder is mounted: a single file (`subPath`) would never be refreshed.
fn plan_volume(validated: &ValidatedInferenceService) -> Volume {
    Volume {
        name: "serving-plan".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: validated.serving_plan_name(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}
