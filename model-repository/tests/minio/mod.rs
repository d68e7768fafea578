//! A real MinIO for tests, started from the binary that `AIOPS_MINIO` names.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aiops_model_repository::{Repository, S3Settings};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};

pub mod proxy;

const USER: &str = "aiops-test";
const PASSWORD: &str = "aiops-test-password";

/// A MinIO with the bucket `models`. It stops when dropped.
pub struct Minio {
    process: Option<Child>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Minio {
    pub async fn start() -> Self {
        let mut minio = Self::stopped();
        minio.run();
        minio.wait_until_ready().await;
        minio
    }

    /// With a certificate for `localhost`, which its settings trust.
    pub async fn start_with_tls(certificate_pem: &str, key_pem: &str) -> Self {
        let mut minio = Self::stopped();
        std::fs::create_dir(minio.certificates()).unwrap();
        std::fs::write(minio.certificates().join("public.crt"), certificate_pem).unwrap();
        std::fs::write(minio.certificates().join("private.key"), key_pem).unwrap();
        minio.run();
        minio.wait_until_ready().await;
        minio
    }

    fn certificates(&self) -> PathBuf {
        self.folder.path().join("certificates")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Not running yet, on a port of its own.
    pub fn stopped() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            process: None,
            port,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn run(&mut self) {
        let binary = std::env::var_os("AIOPS_MINIO")
            .expect("set AIOPS_MINIO to the path of a minio binary (`make test` builds one and does so)");
        // MinIO keeps a bucket as a folder, so this is one from the start.
        std::fs::create_dir_all(self.data().join("models")).unwrap();
        let process = Command::new(PathBuf::from(binary))
            .args(["server", "--quiet", "--address"])
            .arg(format!("127.0.0.1:{}", self.port))
            .arg("--certs-dir")
            .arg(self.certificates())
            .arg(self.data())
            .env("MINIO_ROOT_USER", USER)
            .env("MINIO_ROOT_PASSWORD", PASSWORD)
            .env("MINIO_BROWSER", "off")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("AIOPS_MINIO names a program");
        self.process = Some(process);
    }

    pub async fn wait_until_ready(&self) {
        let location = "s3://models".parse().unwrap();
        let repository = Repository::open_with(location, Some(&self.settings())).unwrap();
        let start = Instant::now();
        while let Err(error) = repository.models().await {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "MinIO did not become ready within 30 s: {error}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn endpoint(&self) -> String {
        match self.ca_bundle() {
            Some(_) => format!("https://localhost:{}", self.port),
            None => format!("http://127.0.0.1:{}", self.port),
        }
    }

    /// The settings of a client that goes through a proxy.
    pub fn settings_through(&self, proxy: &proxy::Proxy) -> S3Settings {
        S3Settings {
            endpoint: Some(proxy.endpoint()),
            ..self.settings()
        }
    }

    fn ca_bundle(&self) -> Option<PathBuf> {
        Some(self.certificates().join("public.crt")).filter(|path| path.exists())
    }

    pub fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: Some(self.endpoint()),
            region: "us-east-1".into(),
            path_style: true,
            access_key_id: USER.into(),
            secret_access_key: PASSWORD.into(),
            session_token: None,
            ca_bundle: self.ca_bundle(),
        }
    }

    pub fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(USER, PASSWORD, None, None, "test"))
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .endpoint_url(self.endpoint())
            .build();
        Client::from_conf(config)
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        self.stop();
    }
}
