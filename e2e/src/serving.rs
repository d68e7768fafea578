//! Ways to a served model: the addresses of an InferenceService's fronts, and requests of the Open Inference Protocol.

use std::time::Duration;

use aiops_crds::InferenceService;
use anyhow::{Context as _, Result, bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::network::Address;
use crate::scenario::{Context, JOB};
use crate::wait::Seen;

/// Addresses of the three fronts of one InferenceService.
pub struct Fronts {
    /// Open Inference Protocol over HTTP.
    pub http: Address,
    /// Open Inference Protocol over gRPC.
    pub grpc: Address,
    /// REST.
    pub rest: Address,
}

impl Fronts {
    /// The fronts of an InferenceService, once they take connections.
    pub async fn of(cluster: &Cluster, namespace: &str, service: &str) -> Result<Self> {
        let name = format!("{service}-inference");
        Ok(Self {
            http: cluster
                .address(namespace, &name, 8000)
                .await?
                .until_open()
                .await?,
            grpc: cluster
                .address(namespace, &name, 8001)
                .await?
                .until_open()
                .await?,
            rest: cluster
                .address(namespace, &name, 8080)
                .await?
                .until_open()
                .await?,
        })
    }
}

/// A client that neither retries nor waits long.
pub fn client() -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(5));
    client.build().context("the HTTP client cannot be set up")
}

/// A request with one row for a model whose input is `features`.
pub fn request(row: &[f32]) -> Value {
    json!({"inputs": [{"name": "features", "shape": [1, row.len()], "datatype": "FP32", "data": row}]})
}

/// What a model answered to one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The version that answered.
    pub version: String,
    /// The first value of its first output.
    pub value: f64,
}

/// Asks for one row; anything but a complete answer with status 200 is an error.
pub async fn infer(client: &reqwest::Client, address: &Address, model: &str, body: &Value) -> Result<Answer> {
    let url = format!("http://{address}/v2/models/{model}/infer");
    let response = client.post(&url).json(body).send().await?;
    let status = response.status();
    let text = response.text().await?;
    if status != StatusCode::OK {
        bail!("{status}: {text}");
    }
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
    let value = answer["outputs"][0]["data"][0].as_f64();
    let version = answer["model_version"].as_str();
    let (Some(value), Some(version)) = (value, version) else {
        bail!("incomplete: {text}");
    };
    Ok(Answer {
        version: version.to_owned(),
        value,
    })
}

/// The row for models made by e2e/clients/onnx_file.py, which answer its sum, 10, times their factor.
pub const LINEAR_ROW: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

impl Context {
    /// Waits until the service serves exactly this, such as `linear:2`, for the present spec.
    pub async fn until_serving(&self, service: &str, models: &str) -> Result<InferenceService> {
        let api = self.api::<InferenceService>();
        self.until(
            &format!("InferenceService {service} serves {models}"),
            JOB,
            async || {
                let found = api.get(service).await?;
                let ready = crate::conditions::Conditioned::condition(&found, "Ready").cloned();
                let serving = found
                    .status
                    .as_ref()
                    .and_then(|status| status.serving.clone())
                    .unwrap_or_default();
                Ok(match ready {
                    Some(ready) if ready.reason == "Serving" && serving == models => Seen::Done(found),
                    Some(ready) => {
                        Seen::NotYet(format!("{serving:?}; {}", crate::conditions::describe(&ready)))
                    }
                    None => Seen::NotYet("no condition Ready of the present generation".into()),
                })
            },
        )
        .await
    }

    /// Checks that a linear model answers with this version and factor.
    pub async fn check_linear(&self, service: &str, model: &str, version: &str, factor: f64) -> Result<()> {
        let fronts = Fronts::of(&self.cluster, &self.namespace, service).await?;
        let answer = infer(&client()?, &fronts.http, model, &request(&LINEAR_ROW)).await?;
        let expected = Answer {
            version: version.to_owned(),
            value: factor * 10.0,
        };
        ensure!(
            answer == expected,
            "{service} answers {answer:?}, expected {expected:?}"
        );
        self.progress.say(&format!(
            "InferenceService {service} answers {} as version {version}",
            answer.value
        ));
        Ok(())
    }

    /// Checks over every front that a model answers what scikit-learn's own, which the run logged, does.
    pub async fn check_predictions(
        &self,
        service: &str,
        model: &str,
        dataset: &str,
        run_id: &str,
    ) -> Result<()> {
        let mlflow = self.cluster.mlflow_address().await?;
        let fronts = Fronts::of(&self.cluster, &self.namespace, service).await?;
        let options = [
            ("--mlflow", format!("http://{mlflow}")),
            ("--run-id", run_id.to_owned()),
            ("--dataset", dataset.to_owned()),
            ("--model", model.to_owned()),
            ("--http", fronts.http.to_string()),
            ("--grpc", fronts.grpc.to_string()),
            ("--rest", fronts.rest.to_string()),
        ];
        let arguments: Vec<&str> = options
            .iter()
            .flat_map(|(name, value)| [*name, value.as_str()])
            .collect();
        let checked = self
            .programs
            .python("check_predictions.py", &arguments, &[], None)
            .await?;
        self.progress.say(&format!(
            "equal to scikit-learn's: {}",
            String::from_utf8_lossy(&checked).trim()
        ));
        Ok(())
    }
}
