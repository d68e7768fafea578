//! What `make demo` runs once the product is installed: the main job with config/samples/, and what it made.

use std::time::Duration;

use aiops_crds::{ConditionStatus, Experiment, InferenceService, ModelVersion, Stage};
use anyhow::{Context as _, Result};
use kube::Api;
use serde_json::json;

use crate::cluster::{Cluster, OBJECT_STORE_SECRET, RELEASE};
use crate::conditions::{Conditioned, describe, is_final};
use crate::programs::Programs;
use crate::progress::{Progress, print_line};
use crate::serving::Fronts;
use crate::wait::{Seen, until};

const NAMESPACE: &str = "default";
const EXPERIMENT: &str = "tumour-forest";
const VERSION: &str = "tumour-forest-1";
const SERVICE: &str = "tumour";
/// Nothing here takes longer, on a machine of two cores.
const LIMIT: Duration = Duration::from_secs(300);

struct Demo {
    cluster: Cluster,
    programs: Programs,
    progress: Progress,
}

/// Runs the main job, or finds it done, and shows it.
pub async fn run() -> Result<()> {
    let cluster = Cluster::connect().await?;
    cluster.require_release().await?;
    let demo = Demo {
        programs: Programs::new(cluster.kubeconfig()),
        cluster,
        progress: Progress::start("demo"),
    };
    demo.apply_samples().await?;
    demo.until_ready::<Experiment>(EXPERIMENT).await?;
    demo.until_published().await?;
    demo.approve().await?;
    demo.until_ready::<InferenceService>(SERVICE).await?;
    demo.show().await
}

impl Demo {
    fn api<Kind: Conditioned>(&self) -> Api<Kind> {
        self.cluster.api(NAMESPACE)
    }

    /// Runs kubectl and shows the command as a user would type it.
    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let shown: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        print_line(&format!("\n$ kubectl {}", shown.join(" ")));
        let written = self.programs.kubectl(arguments).await?;
        print_line(written.trim_end());
        Ok(written)
    }

    async fn apply_samples(&self) -> Result<()> {
        self.kubectl(&["apply", "-n", NAMESPACE, "-f", "config/samples/"])
            .await?;
        print_line("");
        Ok(())
    }

    async fn until_ready<Kind: Conditioned>(&self, name: &str) -> Result<()> {
        let api = self.api::<Kind>();
        let what = format!("{} {name} is Ready", Kind::kind(&()));
        until(&self.progress, &what, LIMIT, async || {
            let object = api.get(name).await?;
            Ok(match object.condition("Ready") {
                Some(condition) if condition.status == ConditionStatus::True => Seen::Done(()),
                Some(condition) if is_final(condition) => Seen::Never(describe(condition)),
                Some(condition) => Seen::NotYet(describe(condition)),
                None => Seen::NotYet("the operator has not looked at it yet".into()),
            })
        })
        .await
        .with_context(|| format!("look at it with: kubectl describe {} {name}", Kind::plural(&())))
    }

    async fn until_published(&self) -> Result<()> {
        let api = self.api::<ModelVersion>();
        until(
            &self.progress,
            &format!("ModelVersion {VERSION} is published"),
            LIMIT,
            async || {
                let version = api.get(VERSION).await?;
                let published = version.condition("Published");
                Ok(match published {
                    Some(condition) if condition.status == ConditionStatus::True => Seen::Done(()),
                    Some(condition) if is_final(condition) => Seen::Never(describe(condition)),
                    Some(condition) => Seen::NotYet(describe(condition)),
                    None => Seen::NotYet("the operator has not looked at it yet".into()),
                })
            },
        )
        .await
    }

    /// Asks for Production, which waits, then approves exactly the bytes that were published.
    async fn approve(&self) -> Result<()> {
        let version = self.api::<ModelVersion>().get(VERSION).await?;
        let status = version.status.clone().unwrap_or_default();
        let ready = version
            .condition("Ready")
            .is_some_and(|condition| condition.status == ConditionStatus::True);
        if ready && status.stage == Some(Stage::Production) {
            self.progress
                .say(&format!("ModelVersion {VERSION} holds Production already"));
            return Ok(());
        }
        let digest = status
            .published
            .with_context(|| format!("ModelVersion {VERSION} has no digest"))?
            .digest;
        if version.spec.stage != Some(Stage::Production) {
            self.patch(&json!({"spec": {"stage": "Production"}})).await?;
            self.until_awaiting_approval().await?;
        }
        print_line("\nProduction needs an approval of exactly these bytes:");
        self.patch(&json!({"spec": {"approval": {"digest": digest}}}))
            .await?;
        self.until_ready::<ModelVersion>(VERSION).await
    }

    async fn patch(&self, change: &serde_json::Value) -> Result<()> {
        self.kubectl(&[
            "patch",
            "modelversion",
            VERSION,
            "-n",
            NAMESPACE,
            "--type",
            "merge",
            "-p",
            &change.to_string(),
        ])
        .await?;
        print_line("");
        Ok(())
    }

    async fn until_awaiting_approval(&self) -> Result<()> {
        let api = self.api::<ModelVersion>();
        until(
            &self.progress,
            &format!("ModelVersion {VERSION} awaits approval"),
            LIMIT,
            async || {
                let version = api.get(VERSION).await?;
                Ok(match version.condition("Ready") {
                    // An approval that was given before is as good.
                    Some(condition)
                        if condition.reason == "AwaitingApproval"
                            || condition.status == ConditionStatus::True =>
                    {
                        Seen::Done(())
                    }
                    Some(condition) => Seen::NotYet(describe(condition)),
                    None => Seen::NotYet("the operator has not looked at it yet".into()),
                })
            },
        )
        .await
    }

    async fn show(&self) -> Result<()> {
        self.kubectl(&[
            "get",
            "experiments,modelversions,inferenceservices",
            "-n",
            NAMESPACE,
        ])
        .await?;
        let fronts = Fronts::of(&self.cluster, NAMESPACE, SERVICE).await?;
        let addresses = [
            fronts.http.to_string(),
            fronts.grpc.to_string(),
            fronts.rest.to_string(),
        ];
        let arguments = [
            "--model",
            SERVICE,
            "--http",
            &addresses[0],
            "--grpc",
            &addresses[1],
            "--rest",
            &addresses[2],
        ];
        let predictions = self.programs.python("predict.py", &arguments, &[], None).await?;
        print_line(&format!("\n{}", String::from_utf8_lossy(&predictions).trim_end()));
        self.show_addresses().await
    }

    /// Addresses that answer from here, or the commands that make them answer.
    async fn show_addresses(&self) -> Result<()> {
        let release = self.cluster.release_namespace.as_str();
        let inference = format!("{SERVICE}-inference");
        let mlflow = format!("{RELEASE}-mlflow");
        let minio = format!("{RELEASE}-minio");
        print_line("\nAddresses:");
        for (what, namespace, service, port, path) in [
            ("MLflow", release, &mlflow, 5000, ""),
            ("MinIO console", release, &minio, 9001, ""),
            ("REST", NAMESPACE, &inference, 8080, ""),
            ("HTTP v2", NAMESPACE, &inference, 8000, "/v2"),
            ("gRPC v2", NAMESPACE, &inference, 8001, ""),
            ("metrics", NAMESPACE, &inference, 8002, "/metrics"),
        ] {
            let address = self.cluster.address(namespace, service, port).await?;
            let scheme = if what == "gRPC v2" { "" } else { "http://" };
            print_line(&if address.is_forwarded() {
                let command = format!("kubectl -n {namespace} port-forward service/{service} {port}");
                format!("  {what:<14} {scheme}localhost:{port}{path}   after: {command}")
            } else {
                format!("  {what:<14} {scheme}{address}{path}")
            });
        }
        print_line("\nMinIO's user and password:");
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            print_line(&format!(
                "  kubectl -n {release} get secret {OBJECT_STORE_SECRET} -o jsonpath='{{.data.{key}}}' | base64 -d; echo"
            ));
        }
        Ok(())
    }
}

/// The argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=,:".contains(character);
    if argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{argument}'")
    }
}
