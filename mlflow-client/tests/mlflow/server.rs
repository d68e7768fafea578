//! Starts the MLflow server, and ends it with the process of the tests however that ends.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aiops_mlflow_client::{Client, Config};
use url::Url;

const START_LIMIT: Duration = Duration::from_secs(120);

/// Runs the server until standard input ends, which it does when the process of the tests does, be it killed. The shell
/// leads a process group of its own, so `kill 0` reaches the server's workers and nothing else.
const KEEPER: &str = r#"
folder=$1; shift
"$@" >"$folder/log" 2>&1 </dev/null &
read -r _
rm -rf "$folder"
kill 0
"#;

struct Server {
    port: u16,
    _keeper: Child,
}

/// Port of the server, which is started by the first call and listens on 127.0.0.1.
pub fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start).port
}

/// Address of the server.
pub fn tracking_uri() -> Url {
    format!("http://127.0.0.1:{}", port()).parse().unwrap()
}

/// A client of the server.
pub fn client() -> Client {
    Client::new(Config::new(tracking_uri())).unwrap()
}

/// A name that no other test and no other call has.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{name} {}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn start() -> Server {
    let executable = std::env::var("AIOPS_MLFLOW").expect(
        "AIOPS_MLFLOW is not set: install mlflow==3.17.2 into a virtual environment and set AIOPS_MLFLOW to the path \
         of its `mlflow` executable",
    );
    assert!(
        Path::new(&executable).exists(),
        "AIOPS_MLFLOW names {executable}, which does not exist"
    );
    // The keeper removes it.
    let folder = tempfile::tempdir().unwrap().keep();
    let database = format!("sqlite:///{}/mlflow.db", folder.display());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let keeper = Command::new("sh")
        .args(["-c", KEEPER, "keeper"])
        .arg(&folder)
        .args([
            &executable,
            "server",
            "--host",
            "127.0.0.1",
            "--workers",
            "1",
            "--port",
            &port.to_string(),
        ])
        .args(["--backend-store-uri", &database, "--allowed-hosts", "127.0.0.1:*"])
        .args([
            "--artifacts-destination",
            &folder.join("artifacts").display().to_string(),
        ])
        .env("MLFLOW_TRACKING_URI", &database)
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(File::create(folder.join("keeper.log")).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until_it_answers(port, &folder);
    Server {
        port,
        _keeper: keeper,
    }
}

/// Blocking, and on a thread and a runtime of its own: the caller may be inside a runtime.
fn wait_until_it_answers(port: u16, folder: &Path) {
    let answers = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client =
                Client::new(Config::new(format!("http://127.0.0.1:{port}").parse().unwrap())).unwrap();
            let started = Instant::now();
            while started.elapsed() < START_LIMIT {
                if client.server_info().await.is_ok() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            false
        })
    });
    if !answers.join().unwrap() {
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("MLflow did not answer within {START_LIMIT:?}:\n{log}");
    }
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let client = client();
    let information = client.server_info().await.unwrap();
    assert_eq!(information.store_type.as_deref(), Some("SqlStore"));
    assert!(!information.workspaces_enabled);
    assert_eq!(client.server_version().await.unwrap(), "3.17.2");
}
