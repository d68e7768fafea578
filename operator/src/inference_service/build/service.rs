//! The address of the pods.

use aiops_crds::ServiceAddresses;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{GRPC, HTTP, METRICS, Port, REST, ValidatedInferenceService, metadata, pod_labels};

/// The Service.
pub fn build(validated: &ValidatedInferenceService) -> Service {
    Service {
        metadata: metadata(validated, validated.child_name()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(pod_labels(validated)),
            ports: Some([HTTP, GRPC, METRICS, REST].map(port).into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(port: Port) -> ServicePort {
    ServicePort {
        name: Some(port.name.into()),
        port: port.number.into(),
        target_port: Some(IntOrString::String(port.name.into())),
        // Sent although it is the default: server-side apply takes it as part of a port's key.
        protocol: Some("TCP".into()),
        app_protocol: Some(port.app_protocol.into()),
        node_port: None,
    }
}

/// Where clients inside the cluster reach the Service.
pub fn addresses(validated: &ValidatedInferenceService) -> ServiceAddresses {
    let host = format!("{}.{}.svc", validated.child_name(), validated.namespace);
    ServiceAddresses {
        http: format!("http://{host}:{}", HTTP.number),
        grpc: format!("{host}:{}", GRPC.number),
        rest: format!("http://{host}:{}", REST.number),
    }
}
