//! The cluster under test: the one that KUBECONFIG names, with the chart installed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use tokio::sync::OnceCell;

use crate::network::{self, Address};

/// Name of the release, and prefix of what it made.
pub const RELEASE: &str = "aiops";
/// Secret with the object store's credentials.
pub const OBJECT_STORE_SECRET: &str = "aiops-object-store";

/// A cluster, its client, and how its Services are reached from here.
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// Namespace of the release: RELEASE_NAMESPACE, or aiops.
    pub release_namespace: String,
    kubeconfig: PathBuf,
    services_reachable: OnceCell<bool>,
}

impl Cluster {
    /// Connects to the cluster that KUBECONFIG names.
    pub async fn connect() -> Result<Self> {
        let kubeconfig = std::env::var_os("KUBECONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .context("KUBECONFIG is not set: it names the cluster to work on")?;
        let content = Kubeconfig::read_from(&kubeconfig)
            .with_context(|| format!("KUBECONFIG={} cannot be read", kubeconfig.display()))?;
        let mut config = Config::from_custom_kubeconfig(content, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("KUBECONFIG={} names no cluster", kubeconfig.display()))?;
        // Answers come within seconds; a scenario with an API server that is away must notice.
        config.read_timeout = Some(Duration::from_secs(30));
        config.connect_timeout = Some(Duration::from_secs(5));
        let client = Client::try_from(config).context("the client of the cluster cannot be made")?;
        let release_namespace = std::env::var("RELEASE_NAMESPACE")
            .ok()
            .filter(|name| !name.is_empty());
        Ok(Self {
            client,
            release_namespace: release_namespace.unwrap_or_else(|| "aiops".into()),
            kubeconfig,
            services_reachable: OnceCell::new(),
        })
    }

    /// Says what to install where the product is not there.
    pub async fn require_release(&self) -> Result<()> {
        let namespace = &self.release_namespace;
        let name = format!("{RELEASE}-mlflow");
        let found = self.api::<Service>(&self.release_namespace).get_opt(&name).await;
        if found
            .with_context(|| format!("the cluster of {} does not answer", self.kubeconfig.display()))?
            .is_none()
        {
            bail!(
                "there is no Service {namespace}/{name}: install charts/aiops-crds and charts/aiops as \
                 release {RELEASE} in namespace {namespace}, with its embedded stores"
            );
        }
        Ok(())
    }

    /// Objects of one kind in a namespace.
    pub fn api<Kind>(&self, namespace: &str) -> Api<Kind>
    where
        Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The path of the kubeconfig, for kubectl and helm.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// The state folder of the project's own cluster, whose parts can be stopped; none for any other cluster.
    pub fn own_state_folder(&self) -> Option<PathBuf> {
        if std::env::var("CLUSTER").is_ok_and(|cluster| cluster == "existing") {
            return None;
        }
        let folder = self.kubeconfig.canonicalize().ok()?.parent()?.to_owned();
        folder.join("cluster-id").exists().then_some(folder)
    }

    /// An address of this machine at which the Service's port answers. AIOPS_E2E_FORWARD asks for forwarded ports even
    /// where cluster IPs answer.
    pub async fn address(&self, namespace: &str, service: &str, port: u16) -> Result<Address> {
        let reachable = self.services_reachable.get_or_init(async || {
            std::env::var_os("AIOPS_E2E_FORWARD").is_none()
                && network::services_are_reachable(&self.client).await
        });
        if *reachable.await {
            network::direct(&self.client, namespace, service, port).await
        } else {
            network::forward(&self.client, namespace, service, port).await
        }
    }

    /// MLflow's address. Kept by the caller as long as it is used.
    pub async fn mlflow_address(&self) -> Result<Address> {
        self.address(&self.release_namespace, &format!("{RELEASE}-mlflow"), 5000)
            .await
    }

    /// The variables with which clients on this machine reach the object store at `address`.
    pub async fn object_store_variables(&self, address: &Address) -> Result<Vec<(String, String)>> {
        let secret = self
            .api::<Secret>(&self.release_namespace)
            .get(OBJECT_STORE_SECRET)
            .await;
        let secret =
            secret.with_context(|| format!("Secret {OBJECT_STORE_SECRET} of the release cannot be read"))?;
        let data: BTreeMap<_, _> = secret.data.unwrap_or_default();
        let mut variables = Vec::new();
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let value = data
                .get(key)
                .with_context(|| format!("Secret {OBJECT_STORE_SECRET} has no key {key}"))?;
            variables.push((key.to_owned(), String::from_utf8(value.0.clone())?));
        }
        variables.push(("AWS_ENDPOINT_URL_S3".into(), format!("http://{address}")));
        variables.push(("AWS_REGION".into(), "us-east-1".into()));
        variables.push(("AIOPS_S3_PATH_STYLE".into(), "true".into()));
        Ok(variables)
    }
}
