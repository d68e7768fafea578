//! A real MinIO for tests, started from the binary that `AIOPS_MINIO` names.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aiops_model_repository::S3Settings;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};

const USER: &str = "aiops-test";
const PASSWORD: &str = "aiops-test-password";

/// A MinIO with the bucket `models`. It stops when dropped.
pub struct Minio {
    process: Option<Child>,
    port: u16,
    data: tempfile::TempDir,
}

impl Minio {
    pub async fn start() -> Self {
        let minio = Self::stopped();
        let mut minio = minio;
        minio.run();
        minio.wait_until_ready().await;
        minio
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
            data: tempfile::tempdir().unwrap(),
        }
    }

    pub fn run(&mut self) {
        let binary = std::env::var_os("AIOPS_MINIO")
            .expect("set AIOPS_MINIO to the path of a minio binary (`make test` builds one and does so)");
        // MinIO keeps a bucket as a folder, so this is one from the start.
        std::fs::create_dir_all(self.data.path().join("models")).unwrap();
        let process = Command::new(PathBuf::from(binary))
            .args(["server", "--quiet", "--address"])
            .arg(format!("127.0.0.1:{}", self.port))
            .arg(self.data.path())
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
        let start = Instant::now();
        while self
            .client()
            .list_objects_v2()
            .bucket("models")
            .send()
            .await
            .is_err()
        {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "MinIO did not become ready within 30 s"
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
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: Some(self.endpoint()),
            region: "us-east-1".into(),
            path_style: true,
            access_key_id: USER.into(),
            secret_access_key: PASSWORD.into(),
            session_token: None,
            ca_bundle: None,
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
