//! Ways from this machine to a Service: its cluster IP where that answers, a forwarded port where it does not.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the nodes' network may take to learn of a Service.
const LEARNING: Duration = Duration::from_secs(15);

/// Host and port, usable from this machine as long as the value lives.
#[derive(Clone, Debug)]
pub struct Address {
    text: String,
    forward: Option<Arc<Forward>>,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Address {
    /// An address that nobody needs to forward.
    pub fn at(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            forward: None,
        }
    }

    /// Waits until a connection is accepted: the nodes' network learns of a new Service a moment after it is made.
    pub async fn until_open(self) -> Result<Self> {
        let deadline = Instant::now() + LEARNING;
        loop {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.text.as_str())).await {
                Ok(Ok(_)) => return Ok(self),
                Ok(Err(error)) if Instant::now() > deadline => {
                    bail!(
                        "{self} takes no connection within {} s: {error}",
                        LEARNING.as_secs()
                    )
                }
                Err(_) if Instant::now() > deadline => {
                    bail!("{self} takes no connection within {} s", LEARNING.as_secs())
                }
                Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Whether this process forwards the port: then the address ends with it.
    pub fn is_forwarded(&self) -> bool {
        self.forward.is_some()
    }
}

#[derive(Debug)]
struct Forward(JoinHandle<()>);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether cluster IPs answer here, as they do on a node: the API server's own Service is asked.
pub async fn services_are_reachable(client: &Client) -> bool {
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let Ok(kubernetes) = services.get("kubernetes").await else {
        return false;
    };
    let Some(address) = kubernetes.spec.and_then(|spec| spec.cluster_ip) else {
        return false;
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((address.as_str(), 443))).await;
    matches!(connected, Ok(Ok(_)))
}

/// The Service's cluster IP.
pub async fn direct(client: &Client, namespace: &str, service: &str, port: u16) -> Result<Address> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = services
        .get(service)
        .await
        .with_context(|| format!("Service {namespace}/{service} cannot be read"))?;
    let address = found
        .spec
        .and_then(|spec| spec.cluster_ip)
        .filter(|address| address != "None")
        .with_context(|| format!("Service {namespace}/{service} has no cluster IP"))?;
    Ok(Address::at(&format!("{address}:{port}")))
}

/// A port of this machine that is forwarded to a ready pod of the Service, chosen anew for each connection.
pub async fn forward(client: &Client, namespace: &str, service: &str, port: u16) -> Result<Address> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("no local port is free")?;
    let text = listener.local_addr()?.to_string();
    let target = Target {
        client: client.clone(),
        namespace: namespace.into(),
        service: service.into(),
        port,
    };
    let task = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let target = target.clone();
            // A connection that cannot be forwarded is closed: its client sees an error and tries again or tells.
            tokio::spawn(async move { target.serve(connection).await });
        }
    });
    Ok(Address {
        text,
        forward: Some(Arc::new(Forward(task))),
    })
}

#[derive(Clone)]
struct Target {
    client: Client,
    namespace: String,
    service: String,
    port: u16,
}

impl Target {
    async fn serve(&self, mut connection: TcpStream) -> Result<()> {
        let (pod, port) = self.ready_pod().await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut forwarder = pods.portforward(&pod, &[port]).await?;
        let mut stream = forwarder
            .take_stream(port)
            .context("the stream was taken before")?;
        tokio::io::copy_bidirectional(&mut connection, &mut stream).await?;
        Ok(())
    }

    async fn ready_pod(&self) -> Result<(String, u16)> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let ports = services
            .get(&self.service)
            .await?
            .spec
            .and_then(|spec| spec.ports)
            .unwrap_or_default();
        let name = ports
            .iter()
            .find(|port| port.port == i32::from(self.port))
            .with_context(|| format!("Service {} has no port {}", self.service, self.port))?
            .name
            .clone();
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.namespace);
        let of_service =
            ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.service));
        for slice in slices.list(&of_service).await? {
            let port = slice
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_deref().unwrap_or("") == name.as_deref().unwrap_or(""));
            let ready = slice.endpoints.iter().find(|endpoint| {
                endpoint
                    .conditions
                    .as_ref()
                    .and_then(|conditions| conditions.ready)
                    != Some(false)
            });
            let pod = ready.and_then(|endpoint| endpoint.target_ref.as_ref()?.name.clone());
            if let (Some(pod), Some(port)) = (pod, port.and_then(|port| port.port)) {
                return Ok((pod, u16::try_from(port)?));
            }
        }
        bail!("Service {}/{} has no ready pod", self.namespace, self.service)
    }
}
