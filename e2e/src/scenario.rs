//! What a scenario is, and what each has at hand: a namespace of its own, and short words for what users do in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_crds::{ConditionStatus, ModelVersion};
use anyhow::{Context as _, Result, bail, ensure};
use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::conditions::{Conditioned, describe, is_final};
use crate::programs::Programs;
use crate::progress::Progress;
use crate::wait::{Seen, until};

/// How a scenario ended that did not fail.
pub enum Ended {
    /// What it claims was seen to be so.
    Passed,
    /// It cannot be run on this cluster, and why.
    Skipped(String),
}

/// One claim about the product, in a file of its own.
pub struct Scenario {
    /// Short name, also part of its namespace's.
    pub name: &'static str,
    /// The claim.
    pub claim: &'static str,
    /// Whether it takes away what the others need, so that it must run when they do not.
    pub alone: bool,
    /// Does the work.
    pub run: for<'context> fn(&'context Context) -> LocalBoxFuture<'context, Result<Ended>>,
}

/// How long a Job of the product may take on a busy machine of two cores, its start included.
pub const JOB: Duration = Duration::from_secs(240);
/// How long what needs no Job may take.
pub const SOON: Duration = Duration::from_secs(90);

/// What a scenario has at hand.
pub struct Context {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// kubectl, helm and the Python clients.
    pub programs: Arc<Programs>,
    /// The scenario's own namespace.
    pub namespace: String,
    /// Its voice.
    pub progress: Progress,
}

impl Context {
    /// Objects of one kind in the scenario's namespace.
    pub fn api<Kind>(&self) -> Api<Kind>
    where
        Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.cluster.api(&self.namespace)
    }

    /// Creates an object of one of the three kinds from its name and spec.
    pub async fn create<Kind: Conditioned>(&self, name: &str, spec: Value) -> Result<Kind> {
        let kind = Kind::kind(&());
        let manifest = json!({"apiVersion": Kind::api_version(&()), "kind": kind, "metadata": {"name": name}, "spec": spec});
        let object: Kind =
            serde_json::from_value(manifest).with_context(|| format!("the spec of {kind} {name}"))?;
        let created = self.api::<Kind>().create(&PostParams::default(), &object).await;
        self.progress.say(&format!("{kind} {name} created"));
        created.with_context(|| format!("{kind} {name} cannot be created"))
    }

    /// Merges `change` into an object, as `kubectl patch --type merge` does.
    pub async fn patch<Kind: Conditioned>(&self, name: &str, change: Value) -> Result<Kind> {
        let kind = Kind::kind(&());
        let patched = self
            .api::<Kind>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&change))
            .await;
        self.progress.say(&format!("{kind} {name} patched: {change}"));
        patched.with_context(|| format!("{kind} {name} cannot be patched"))
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete<Kind: Conditioned>(&self, name: &str) -> Result<()> {
        let kind = Kind::kind(&());
        let api = self.api::<Kind>();
        api.delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("{kind} {name} cannot be deleted"))?;
        self.until(&format!("{kind} {name} is gone"), SOON, async || {
            Ok(match api.get_metadata_opt(name).await? {
                None => Seen::Done(()),
                Some(object) => Seen::NotYet(format!("it has the finalizers {:?}", object.finalizers())),
            })
        })
        .await
    }

    /// Waits with this scenario's voice.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        look: impl AsyncFnMut() -> Result<Seen<T>>,
    ) -> Result<T> {
        until(&self.progress, what, limit, look).await
    }

    /// Waits until a condition of the object, computed from its present spec, has this status and reason.
    pub async fn until_condition<Kind: Conditioned>(
        &self,
        name: &str,
        wanted: (&str, ConditionStatus, &str),
        limit: Duration,
    ) -> Result<Kind> {
        let (type_, status, reason) = wanted;
        let kind = Kind::kind(&());
        let api = self.api::<Kind>();
        let what = format!("{kind} {name}: {type_}={status:?} {reason}");
        self.until(&what, limit, async || {
            let object = api.get(name).await?;
            Ok(match object.condition(type_) {
                Some(condition) if condition.status == status && condition.reason == reason => {
                    Seen::Done(object)
                }
                Some(condition) if is_final(condition) => Seen::Never(describe(condition)),
                Some(condition) => Seen::NotYet(describe(condition)),
                None => Seen::NotYet(format!("no condition {type_} of the present generation")),
            })
        })
        .await
    }

    /// Waits until the object is Ready for this reason.
    pub async fn until_ready<Kind: Conditioned>(
        &self,
        name: &str,
        reason: &str,
        limit: Duration,
    ) -> Result<Kind> {
        self.until_condition(name, ("Ready", ConditionStatus::True, reason), limit)
            .await
    }

    /// Waits until the object is not Ready for this reason, and checks that the message says each of `words` and that a
    /// warning event tells the same.
    pub async fn until_refused<Kind: Conditioned>(
        &self,
        name: &str,
        reason: &str,
        words: &[&str],
    ) -> Result<Kind> {
        let object: Kind = self
            .until_condition(name, ("Ready", ConditionStatus::False, reason), JOB)
            .await?;
        let message = object
            .condition("Ready")
            .map(|condition| condition.message.clone())
            .unwrap_or_default();
        for word in words {
            ensure!(
                message.contains(word),
                "the message of {} {name} does not say {word:?}: {message}",
                Kind::kind(&())
            );
        }
        self.until_event(&Kind::kind(&()), name, reason, "Warning")
            .await?;
        Ok(object)
    }

    /// Waits for an event about an object.
    pub async fn until_event(&self, kind: &str, name: &str, reason: &str, type_: &str) -> Result<()> {
        let events: Api<Event> = self.api();
        let about =
            ListParams::default().fields(&format!("involvedObject.kind={kind},involvedObject.name={name}"));
        self.until(&format!("event {reason} of {kind} {name}"), SOON, async || {
            let all = events.list(&about).await?;
            let found = all.iter().any(|event| {
                event.reason.as_deref() == Some(reason) && event.type_.as_deref() == Some(type_)
            });
            let reasons: Vec<_> = all.iter().filter_map(|event| event.reason.as_deref()).collect();
            Ok(if found {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("events {reasons:?}"))
            })
        })
        .await
    }

    /// Approves the bytes that were published and waits until the version holds Production.
    pub async fn promote(&self, name: &str) -> Result<ModelVersion> {
        let version: ModelVersion = self.api().get(name).await?;
        let published = version.status.and_then(|status| status.published);
        let digest = published
            .with_context(|| format!("ModelVersion {name} is not published"))?
            .digest;
        let change = json!({"spec": {"stage": "Production", "approval": {"digest": digest}}});
        self.patch::<ModelVersion>(name, change).await?;
        self.until_ready(name, "StageReached", SOON).await
    }

    /// The pods that carry a label.
    pub async fn pods(&self, selector: &str) -> Result<Vec<Pod>> {
        Ok(self
            .api::<Pod>()
            .list(&ListParams::default().labels(selector))
            .await?
            .items)
    }

    /// Fails where an object of this kind and label is left.
    pub async fn until_none_left<Kind>(&self, selector: &str) -> Result<()>
    where
        Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let (api, kind) = (self.api::<Kind>(), Kind::kind(&()));
        self.until(&format!("no {kind} with {selector} is left"), SOON, async || {
            let left = api.list_metadata(&ListParams::default().labels(selector)).await?;
            let names: Vec<_> = left.iter().map(kube::ResourceExt::name_any).collect();
            Ok(if names.is_empty() {
                Seen::Done(())
            } else {
                Seen::NotYet(names.join(", "))
            })
        })
        .await
    }

    /// Writes an object into a bucket of the store.
    pub async fn upload(&self, bucket: &str, key: &str, content: &[u8]) -> Result<()> {
        self.object_store(&["put", bucket, key], Some(content)).await?;
        self.progress.say(&format!("s3://{bucket}/{key} uploaded"));
        Ok(())
    }

    /// The keys under a prefix.
    pub async fn stored_keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let listed = self.object_store(&["list", bucket, prefix], None).await?;
        Ok(String::from_utf8(listed)?.lines().map(str::to_owned).collect())
    }

    async fn object_store(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>> {
        let address = self
            .cluster
            .address(&self.cluster.release_namespace, "aiops-minio", 9000)
            .await?;
        let variables = self.cluster.object_store_variables(&address).await?;
        self.programs
            .python("object_store.py", arguments, &variables, input)
            .await
    }

    /// Uploads an ONNX model made by e2e/clients/onnx_file.py for this scenario; gives its URI.
    pub async fn upload_onnx(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let model = self.programs.python("onnx_file.py", arguments, &[], None).await?;
        let key = format!("{}/{name}.onnx", self.namespace);
        self.upload("datasets", &key, &model).await?;
        Ok(format!("s3://datasets/{key}"))
    }

    /// A client of MLflow for checks; the address must be kept as long as the client is used.
    pub async fn mlflow(&self) -> Result<(aiops_mlflow_client::Client, crate::network::Address)> {
        let address = self.cluster.mlflow_address().await?;
        let config = aiops_mlflow_client::Config::new(format!("http://{address}").parse()?);
        let client = aiops_mlflow_client::Client::new(config)?;
        // After an outage, a Service may be without endpoints for a while although its pods run.
        let deadline = Instant::now() + SOON;
        while let Err(error) = client.server_info().await {
            if !error.is_retryable() || Instant::now() > deadline {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok((client, address))
    }

    /// The runs that MLflow has for an Experiment of this namespace.
    pub async fn runs_of(&self, experiment: &str) -> Result<Vec<aiops_mlflow_client::Run>> {
        let (mlflow, _address) = self.mlflow().await?;
        let name = format!("{}/{experiment}", self.namespace);
        let found = match mlflow.get_experiment_by_name(&name).await {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            found => found?,
        };
        let search = aiops_mlflow_client::RunSearch {
            experiment_ids: vec![found.experiment_id],
            ..aiops_mlflow_client::RunSearch::default()
        };
        Ok(mlflow.search_runs(&search).await?)
    }

    /// The only run that MLflow has for an Experiment; more than one is a duplicate.
    pub async fn only_run_of(&self, experiment: &str) -> Result<aiops_mlflow_client::Run> {
        let mut runs = self.runs_of(experiment).await?;
        if runs.len() != 1 {
            bail!(
                "MLflow has {} runs of Experiment {experiment}, expected one",
                runs.len()
            );
        }
        Ok(runs.remove(0))
    }

    /// The versions that MLflow's registry has of a model of this namespace.
    pub async fn registered_versions(&self, model: &str) -> Result<Vec<aiops_mlflow_client::ModelVersion>> {
        let (mlflow, _address) = self.mlflow().await?;
        let name = format!("{}.{model}", self.namespace);
        let filter = aiops_mlflow_client::Filter::new().attribute("name", &name)?;
        Ok(mlflow.search_model_versions(&filter).await?)
    }
}
