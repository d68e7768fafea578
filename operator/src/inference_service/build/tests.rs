//! The children as files that a reviewer reads: `golden/*.yaml`. `UPDATE_GOLDEN=1 cargo test` writes them anew.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Serialize;

use super::super::resolve::{PublishedVersion, ResolvedModel};
use super::super::serving_plan::RenderedPlan;
use super::super::validate::tests::{service, spec};
use super::super::validate::validate;
use super::*;
use crate::configuration::ObjectStore;
use crate::configuration::tests::configuration;

fn minio() -> ObjectStore {
    ObjectStore {
        endpoint: Some("http://aiops-minio.aiops.svc:9000".into()),
        region: "us-east-1".into(),
        path_style: true,
        custom_ca: false,
    }
}

fn plan(version: u64) -> RenderedPlan {
    RenderedPlan::of(&[ResolvedModel {
        name: "tumour".into(),
        default: PublishedVersion {
            model_version: "tumour-forest-2".into(),
            version,
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        },
    }])
}

fn children(more: serde_json::Value, replicas: Option<i32>, store: ObjectStore) -> Children {
    let validated = validate(&service(spec(more))).unwrap();
    build(&validated, &plan(2), replicas, true, &configuration(store))
}

fn golden(folder: &str, kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/inference_service/build/golden")
        .join(folder)
        .join(format!("{kind}.yaml"))
}

fn check(folder: &str, kind: &str, child: &impl Serialize) {
    let path = golden(folder, kind);
    let text = serde_yaml::to_string(child).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert_eq!(
        text,
        expected,
        "{} differs; UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}

fn check_all(folder: &str, children: &Children) {
    let Children {
        service_account,
        serving_plan,
        deployment,
        service,
        autoscaler,
        disruption_budget,
        service_monitor,
    } = children;
    check(folder, "service-account", service_account);
    check(folder, "serving-plan", serving_plan);
    check(folder, "deployment", deployment);
    check(folder, "service", service);
    check(folder, "disruption-budget", disruption_budget);
    if let Some(autoscaler) = autoscaler {
        check(folder, "autoscaler", autoscaler);
    }
    if let Some(service_monitor) = service_monitor {
        check(folder, "service-monitor", service_monitor);
    }
}

#[test]
fn the_children_of_the_least_spec_are_as_reviewed() {
    let children = children(serde_json::json!({}), Some(1), minio());
    assert!(children.autoscaler.is_none());
    check_all("fixed", &children);
}

#[test]
fn the_children_of_an_autoscaled_gpu_service_behind_a_private_ca_are_as_reviewed() {
    let more = serde_json::json!({
        "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetCPUUtilization": 60},
        "resources": {"requests": {"cpu": 2}, "limits": {"nvidia.com/gpu": 1, "memory": "2Gi"}},
    });
    let store = ObjectStore {
        custom_ca: true,
        ..minio()
    };
    let children = children(more, None, store);
    assert_eq!(children.deployment.spec.as_ref().unwrap().replicas, None);
    check_all("autoscaled", &children);
}

#[test]
fn a_cluster_without_the_prometheus_operator_gets_no_service_monitor() {
    let validated = validate(&service(spec(serde_json::json!({})))).unwrap();
    let children = build(&validated, &plan(2), Some(1), false, &configuration(minio()));
    assert!(children.service_monitor.is_none());
}

#[test]
fn another_plan_changes_the_config_map_and_nothing_else() {
    let validated = validate(&service(spec(serde_json::json!({})))).unwrap();
    let build = |version| build(&validated, &plan(version), Some(1), true, &configuration(minio()));
    let (before, after) = (build(2), build(3));
    assert_ne!(before.serving_plan, after.serving_plan);
    assert_eq!(before.deployment, after.deployment);
    assert_eq!(before.service, after.service);
}

fn any_spec() -> impl Strategy<Value = serde_json::Value> {
    let model = (
        "[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?",
        prop_oneof!["Production", "Staging"],
    );
    let models = proptest::collection::btree_map(model.0, model.1, 1..6);
    let scale = prop_oneof![
        Just(serde_json::json!({})),
        (0_i32..=1000).prop_map(|replicas| serde_json::json!({"replicas": replicas})),
        (1_i32..=500, 0_i32..=500, proptest::option::of(1_i32..=1000)).prop_map(|(min, more, target)| {
            let mut range = serde_json::json!({"minReplicas": min, "maxReplicas": min + more});
            if let Some(target) = target {
                range["targetCPUUtilization"] = target.into();
            }
            serde_json::json!({"autoscaling": range})
        }),
    ];
    let resources = proptest::option::of((1_u32..64, 1_u32..64));
    (models, scale, resources).prop_map(|(models, scale, resources)| {
        let models: Vec<serde_json::Value> = models
            .into_iter()
            .map(|(name, stage)| serde_json::json!({"name": name, "version": {"stage": stage}}))
            .collect();
        let mut spec = scale;
        spec["models"] = models.into();
        if let Some((cpu, memory)) = resources {
            spec["resources"] =
                serde_json::json!({"requests": {"cpu": cpu, "memory": format!("{memory}Gi")}});
        }
        spec
    })
}

proptest! {
    #[test]
    fn any_valid_spec_builds_the_same_bytes_twice_with_pods_that_every_selector_finds(spec in any_spec()) {
        let validated = validate(&service(spec)).unwrap();
        let replicas = super::super::replicas::to_apply(&validated.scale, None);
        let bytes = |children: &Children| serde_json::to_string(&serde_json::json!([
            children.service_account, children.serving_plan, children.deployment, children.service,
            children.autoscaler, children.disruption_budget, children.service_monitor,
        ])).unwrap();
        let first = build(&validated, &plan(2), replicas, true, &configuration(minio()));
        let second = build(&validated, &plan(2), replicas, true, &configuration(minio()));
        prop_assert_eq!(bytes(&first), bytes(&second));

        let deployment = first.deployment.spec.as_ref().unwrap();
        let pods = deployment.template.metadata.as_ref().unwrap().labels.clone().unwrap();
        for selector in [
            deployment.selector.match_labels.as_ref(),
            first.service.spec.as_ref().unwrap().selector.as_ref(),
            first.disruption_budget.spec.as_ref().unwrap().selector.as_ref().unwrap().match_labels.as_ref(),
        ] {
            for (key, value) in selector.unwrap() {
                prop_assert_eq!(pods.get(key), Some(value));
            }
        }
        let autoscaled = matches!(validated.scale, Scale::Automatic { .. });
        prop_assert_eq!(first.autoscaler.is_some(), autoscaled);
    }
}
