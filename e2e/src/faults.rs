//! Takes parts of the product and of the cluster away for a while, and always brings them back.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cluster::RELEASE;
use crate::scenario::Context;
use crate::wait::Seen;

/// How long an outage lasts.
pub const OUTAGE: Duration = Duration::from_secs(60);
/// How long a part may take to be gone or to be back.
const CHANGE: Duration = Duration::from_secs(180);

/// A part of the product that can be away.
#[derive(Clone, Copy)]
pub enum Part {
    /// MLflow's server.
    Mlflow,
    /// The object store.
    Minio,
}

impl Part {
    fn component(self) -> &'static str {
        match self {
            Self::Mlflow => "mlflow",
            Self::Minio => "minio",
        }
    }
}

impl Context {
    /// Does `work` while a part is away, keeps it away for a minute in all, and brings it back where the work failed as well.
    /// Where it is not let come to its end, [`Context::bring_all_back`] does.
    pub async fn while_away<T>(&self, part: Part, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let name = part.component();
        let result = match self.scale(part, 0).await {
            Ok(()) => {
                self.progress
                    .say(&format!("{name} is away for {} s", OUTAGE.as_secs()));
                let (result, ()) = futures::join!(work(), tokio::time::sleep(OUTAGE));
                result
            }
            Err(error) => Err(error),
        };
        self.scale(part, 1)
            .await
            .with_context(|| format!("{name} cannot be brought back"))?;
        result
    }

    /// Brings back whatever a scenario took away and did not give back, because it was stuck or interrupted. One part that does
    /// not come back keeps no other away; the first failure is told.
    pub async fn bring_all_back(&self) -> Result<()> {
        let mut result = Ok(());
        if let Some(state) = self.cluster.own_state_folder() {
            let state = state.to_string_lossy();
            let started = self
                .programs
                .cluster_script("start", &["apiserver", &state])
                .await;
            result = started
                .map(|_| ())
                .context("the API server cannot be brought back");
        }
        for part in [Part::Mlflow, Part::Minio] {
            let back = self.scale(part, 1).await;
            result = result.and(back.with_context(|| format!("{} cannot be brought back", part.component())));
        }
        result
    }

    async fn scale(&self, part: Part, replicas: i32) -> Result<()> {
        let name = format!("{RELEASE}-{}", part.component());
        match part {
            Part::Mlflow => self.scale_object::<Deployment>(&name, replicas).await?,
            Part::Minio => self.scale_object::<StatefulSet>(&name, replicas).await?,
        }
        let wanted = usize::try_from(replicas)?;
        let pods = self.cluster.api::<Pod>(&self.cluster.release_namespace);
        let selector =
            ListParams::default().labels(&format!("app.kubernetes.io/component={}", part.component()));
        let state = if replicas == 0 { "gone" } else { "ready" };
        self.until(&format!("{name} is {state}"), CHANGE, async || {
            let all = pods.list(&selector).await?;
            let ready = all.iter().filter(|pod| is_ready(pod)).count();
            let total = all.items.len();
            let settled = total == wanted && ready == wanted;
            Ok(if settled {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("{total} pods, {ready} ready"))
            })
        })
        .await
    }

    async fn scale_object<Kind>(&self, name: &str, replicas: i32) -> Result<()>
    where
        Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let change = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let scaled = self
            .cluster
            .api::<Kind>(&self.cluster.release_namespace)
            .patch(name, &PatchParams::default(), &change)
            .await;
        scaled
            .map(|_| ())
            .with_context(|| format!("{name} cannot be scaled to {replicas}"))
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
