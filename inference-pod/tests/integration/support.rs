//! Starting servers, laying out repositories.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use serde_json::{Value, json};
use tonic::transport::Channel;

/// What servers are started with, unless a test says otherwise.
const DEFAULTS: [&str; 9] = [
    "--http-port=0",
    "--grpc-port=0",
    "--rest-port=0",
    "--metrics-port=0",
    "--http-address=127.0.0.1",
    "--grpc-address=127.0.0.1",
    "--rest-address=127.0.0.1",
    "--metrics-address=127.0.0.1",
    "--drain-delay-secs=0",
];

const PATIENCE: Duration = Duration::from_secs(60);

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_aiops-inference-pod"))
}

pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

/// A model repository in a folder, filled from `tests/models`.
pub struct Repository {
    pub folder: tempfile::TempDir,
}

impl Repository {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// With one version of each model, named after its file.
    pub fn of(names: &[&str]) -> Self {
        let repository = Self::new();
        for name in names {
            repository.add(name, 1, name);
        }
        repository
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn uri(&self) -> String {
        self.path().display().to_string()
    }

    pub fn add(&self, model: &str, version: u64, file: &str) {
        let folder = self.path().join(model).join(version.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(models().join(format!("{file}.onnx")), folder.join("model.onnx")).unwrap();
    }

    pub fn config(&self, model: &str, text: &str) {
        std::fs::write(self.path().join(model).join("config.pbtxt"), text).unwrap();
    }
}

/// A running server. It is killed when dropped.
pub struct Server {
    process: Child,
    pub http: String,
    pub grpc: String,
    pub rest: String,
    pub metrics: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Started, and its models loaded.
    pub async fn start(repository: &str, arguments: &[&str]) -> Self {
        let server = Self::start_unready(repository, arguments);
        server.wait_until_ready().await;
        server
    }

    pub fn start_unready(repository: &str, arguments: &[&str]) -> Self {
        Self::start_with_environment(repository, arguments, &[])
    }

    pub fn start_with_environment(
        repository: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let mut process = program()
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .args(["--model-repository", repository, "--log-format=json"])
            .args(DEFAULTS.iter().filter(|default| {
                let flag = default.split('=').next().unwrap_or(default);
                !arguments.iter().any(|argument| argument.starts_with(flag))
            }))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut addresses = std::collections::HashMap::new();
        while addresses.len() < 4 {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("the server ended: {:?}", log.lock().unwrap()))
                .unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some(front), Some(address)) = (event["front"].as_str(), event["address"].as_str()) {
                addresses.insert(front.to_owned(), format!("http://{address}"));
            }
            log.lock().unwrap().push(line);
        }
        let lines_seen = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                lines_seen.lock().unwrap().push(line);
            }
        });
        let mut address = |front: &str| addresses.remove(front).unwrap();
        let (http, grpc, rest, metrics) = (
            address("http"),
            address("grpc"),
            address("rest"),
            address("metrics"),
        );
        Self {
            process,
            http,
            grpc,
            rest,
            metrics,
            log,
        }
    }

    /// Threads of the process.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.process.id()))
            .unwrap()
            .count()
    }

    /// Files, sockets and the like that the process has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id()))
            .unwrap()
            .count()
    }

    /// Bytes of memory of the process, by a field of /proc/<pid>/status.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let kibibytes = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().unwrap() * 1024
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub async fn is_ready(&self) -> bool {
        let answer = client()
            .get(format!("{}/v2/health/ready", self.http))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    pub async fn wait_until_ready(&self) {
        eventually("the server to become ready", || async { self.is_ready().await }).await;
    }

    pub async fn get(&self, url: String) -> Value {
        client().get(url).send().await.unwrap().json().await.unwrap()
    }

    pub async fn plan(&self) -> Value {
        self.get(format!("{}/serving-plan", self.metrics)).await
    }

    pub async fn metric(&self, line: &str) -> f64 {
        let text = client()
            .get(format!("{}/metrics", self.metrics))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line));
        found
            .unwrap_or_else(|| panic!("no metric {line} in\n{text}"))
            .trim()
            .parse()
            .unwrap()
    }

    /// JSON inference over HTTP: the status and the body.
    pub async fn infer(&self, path: &str, body: &Value) -> (u16, Value) {
        post(&format!("{}/v2/models/{path}/infer", self.http), body).await
    }

    pub async fn grpc(&self) -> GrpcInferenceServiceClient<Channel> {
        let channel = Channel::from_shared(self.grpc.clone())
            .unwrap()
            .connect()
            .await
            .unwrap();
        GrpcInferenceServiceClient::new(channel)
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to end by itself.
    pub async fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the server did not end\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, as some tests want it to.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
    reqwest::Client::new()
}

pub async fn post(url: &str, body: &Value) -> (u16, Value) {
    let answer = client().post(url).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The answer of `publish`: its output, and the termination message.
pub fn publish(arguments: &[&str], environment: &[(&str, String)]) -> (Output, Value) {
    let message = tempfile::NamedTempFile::new().unwrap();
    let output = program()
        .arg("publish")
        .args(arguments)
        .arg("--termination-log")
        .arg(message.path())
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .output()
        .unwrap();
    let text = std::fs::read_to_string(message.path()).unwrap();
    assert!(text.len() <= 4096);
    let message = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?} {output:?}"));
    (output, message)
}

/// A folder of `tests/models`, copied, as the converter leaves it.
pub fn converted(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(models().join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// Publishes a folder of `tests/models` into a repository in a folder; answers its digest.
pub fn publish_into(repository: &Repository, name: &str, model: &str, version: u64) -> String {
    let input = converted(name);
    let arguments = [
        "--input",
        input.path().to_str().unwrap(),
        "--model-repository",
        &repository.uri(),
        "--model",
        model,
        "--version",
        &version.to_string(),
    ];
    let (output, message) = publish(&arguments, &[]);
    assert!(output.status.success(), "{message}");
    message["digest"].as_str().unwrap().to_owned()
}

/// A row for the model `slow`, over gRPC.
pub fn slow_message() -> proto::ModelInferRequest {
    let input = proto::model_infer_request::InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![1, 1],
        ..Default::default()
    };
    proto::ModelInferRequest {
        model_name: "slow".into(),
        inputs: vec![input],
        raw_input_contents: vec![vec![0; 4].into()],
        ..Default::default()
    }
}

/// A row for the model `dense_1` with the binary tensor extension: the JSON before it, which asks for a binary answer, and its
/// bytes.
pub fn binary_row() -> (String, Vec<u8>) {
    let header = json!({
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let row: Vec<u8> = [1_f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    (header, row)
}
