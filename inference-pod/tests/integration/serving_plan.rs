//! Following a serving plan: switching under load, and plans that cannot be carried out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::{Repository, Server, client, eventually, publish_into};

/// A plan file, replaced as the kubelet does: a link to another folder.
struct Plan {
    folder: tempfile::TempDir,
}

impl Plan {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/plan.json")
    }

    fn write(&self, text: &str) {
        let content = self.folder.path().join(format!(
            "..{}",
            std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()
        ));
        std::fs::create_dir(&content).unwrap();
        std::fs::write(content.join("plan.json"), text).unwrap();
        let link = self.folder.path().join("new-link");
        std::os::unix::fs::symlink(&content, &link).unwrap();
        std::fs::rename(link, self.folder.path().join("data")).unwrap();
    }

    fn serve(&self, default: u64, versions: &[(u64, &str, u64)]) {
        let versions: Vec<_> = versions
            .iter()
            .map(|(version, digest, weight)| json!({"version": version, "digest": digest, "weight": weight}))
            .collect();
        let model = json!({"name": "iris", "defaultVersion": default, "versions": versions});
        self.write(&json!({"formatVersion": 1, "models": [model]}).to_string());
    }
}

async fn wait_for(server: &Server, state: &str, versions: &[u64]) {
    eventually(&format!("the plan to be {state}"), || async {
        let plan = server.plan().await;
        let ready: Vec<_> = plan["models"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|model| model["state"] == "READY")
            .map(|model| model["version"].as_u64().unwrap())
            .collect();
        plan["state"] == state && ready == versions
    })
    .await;
}

fn start(repository: &Repository, plan: &Path) -> Server {
    let plan = plan.display().to_string();
    Server::start_unready(&repository.uri(), &["--serving-plan", &plan])
}

fn request() -> Value {
    json!({"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}],
           "outputs": [{"name": "probabilities"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_switched_under_load_without_a_failed_request() {
    let repository = Repository::new();
    let first = publish_into(&repository, "iris", "iris", 1);
    let second = publish_into(&repository, "iris_names", "iris", 2);
    let plan = Plan::new();
    plan.serve(1, &[(1, &first, 100)]);
    let server = Arc::new(start(&repository, &plan.path()));
    server.wait_until_ready().await;

    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (server, stop, answered) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&answered));
            let client = client();
            tokio::spawn(async move {
                let url = format!("{}/v2/models/iris/infer", server.http);
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.post(&url).json(&request()).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let answer: Value = answer.json().await.unwrap();
                    let version: usize = answer["model_version"].as_str().unwrap().parse().unwrap();
                    answered[version - 1].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..6 {
        let (version, digest) = if round % 2 == 0 { (2, &second) } else { (1, &first) };
        plan.serve(version, &[(version, digest, 100)]);
        wait_for(&server, "Applied", &[version]).await;
        let (_, answer) = server.infer("iris", &request()).await;
        assert_eq!(
            answer["model_version"],
            version.to_string(),
            "an applied plan is what answers"
        );
        assert!(server.is_ready().await);
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let counts = [
        answered[0].load(Ordering::SeqCst),
        answered[1].load(Ordering::SeqCst),
    ];
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    let unloaded = "model version is unloaded";
    eventually("the old versions to be unloaded", || async {
        server.log().matches(unloaded).count() == 6
    })
    .await;
}

#[tokio::test]
async fn weights_split_requests_that_name_no_version() {
    let repository = Repository::new();
    let first = publish_into(&repository, "iris", "iris", 1);
    let second = publish_into(&repository, "iris_names", "iris", 2);
    let plan = Plan::new();
    plan.serve(1, &[(1, &first, 75), (2, &second, 25)]);
    let server = start(&repository, &plan.path());
    server.wait_until_ready().await;
    let mut canary = 0;
    for _ in 0..100 {
        let (_, answer) = server.infer("iris", &request()).await;
        canary += u32::from(answer["model_version"] == "2");
    }
    assert!((23..=27).contains(&canary), "{canary}");
    let (_, answer) = server.infer("iris/versions/2", &request()).await;
    assert_eq!(answer["model_version"], "2");
}

#[tokio::test]
async fn a_plan_that_cannot_be_carried_out_leaves_what_served() {
    let repository = Repository::new();
    let first = publish_into(&repository, "iris", "iris", 1);
    publish_into(&repository, "iris_names", "iris", 2);
    let plan = Plan::new();
    plan.serve(1, &[(1, &first, 100)]);
    let server = start(&repository, &plan.path());
    server.wait_until_ready().await;

    plan.serve(2, &[(2, &first, 100)]);
    wait_for(&server, "Failed", &[1]).await;
    let status = server.plan().await;
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("version 2 of model iris cannot be loaded"),
        "{status}"
    );
    assert!(
        status["message"].as_str().unwrap().contains("expected sha256:"),
        "{status}"
    );

    plan.serve(9, &[(9, &first, 100)]);
    wait_for(&server, "Failed", &[1]).await;
    plan.write("{\"formatVersion\": 1, \"models\": 5}");
    eventually("the broken plan to be told", || async {
        server.plan().await["message"]
            .as_str()
            .unwrap()
            .contains("not valid")
    })
    .await;
    let (status, answer) = server.infer("iris", &request()).await;
    assert_eq!((status, &answer["model_version"]), (200, &json!("1")));
    assert!(server.is_ready().await);

    plan.serve(1, &[(1, &first, 100)]);
    wait_for(&server, "Applied", &[1]).await;
}

#[tokio::test]
async fn a_pod_waits_for_its_plan_and_for_its_models() {
    let repository = Repository::new();
    let plan = Plan::new();
    let server = start(&repository, &plan.path());
    let status = server.plan().await;
    assert_eq!(
        (&status["state"], &status["planSha256"]),
        (&json!("Loading"), &json!(""))
    );
    assert!(!server.is_ready().await);
    let live = client()
        .get(format!("{}/v2/health/live", server.http))
        .send()
        .await
        .unwrap();
    assert_eq!(live.status(), 200);

    // The plan names a version that is published only later.
    let elsewhere = Repository::new();
    let digest = publish_into(&elsewhere, "iris", "iris", 1);
    plan.serve(1, &[(1, &digest, 100)]);
    wait_for(&server, "Failed", &[]).await;
    assert!(!server.is_ready().await);
    publish_into(&repository, "iris", "iris", 1);
    wait_for(&server, "Applied", &[1]).await;
    assert!(server.is_ready().await);
    let text = std::fs::read(plan.path()).unwrap();
    let sha256 = aiops_inference_pod::models::serving_plan::plan_sha256(&text);
    assert_eq!(server.plan().await["planSha256"], sha256);

    plan.write(r#"{"formatVersion": 1, "models": []}"#);
    wait_for(&server, "Applied", &[]).await;
    assert_eq!(server.infer("iris", &request()).await.0, 404);
}

#[tokio::test]
async fn an_upload_that_stalls_does_not_keep_an_old_version() {
    let repository = Repository::new();
    let first = publish_into(&repository, "iris", "iris", 1);
    let second = publish_into(&repository, "iris_names", "iris", 2);
    let plan = Plan::new();
    plan.serve(1, &[(1, &first, 100)]);
    let server = start(&repository, &plan.path());
    server.wait_until_ready().await;
    let _uploads = [
        (&server.http, "/v2/models/iris/infer"),
        (&server.rest, "/predict/iris"),
    ]
    .map(|(front, path)| {
        let mut connection = std::net::TcpStream::connect(front.strip_prefix("http://").unwrap()).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{");
        std::io::Write::write_all(&mut connection, head.as_bytes()).unwrap();
        connection
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    plan.serve(2, &[(2, &second, 100)]);
    wait_for(&server, "Applied", &[2]).await;
    let since = std::time::Instant::now();
    eventually("the old version to be unloaded", || async {
        server.log().contains("model version is unloaded")
    })
    .await;
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_plan_that_is_replaced_while_it_loads_leaves_no_version_behind() {
    let repository = Repository::new();
    let first = publish_into(&repository, "iris", "iris", 1);
    let second = publish_into(&repository, "iris_names", "iris", 2);
    add_with_endless_warm_up(&repository, "zoo");
    let plan = Plan::new();
    plan.serve(1, &[(1, &first, 100)]);
    let server = start(&repository, &plan.path());
    server.wait_until_ready().await;

    let iris = json!({"name": "iris", "defaultVersion": 2, "versions": [{"version": 2, "digest": second}]});
    let zoo = json!({"name": "zoo", "defaultVersion": 1, "versions": [{"version": 1}]});
    plan.write(&json!({"formatVersion": 1, "models": [iris, zoo]}).to_string());
    eventually("the first model of the plan to be switched", || async {
        server.infer("iris", &request()).await.1["model_version"] == "2"
    })
    .await;
    assert_eq!(server.plan().await["state"], "Loading");
    plan.serve(2, &[(2, &second, 100)]);
    wait_for(&server, "Applied", &[2]).await;
    eventually("the first version to be unloaded", || async {
        server.log().contains("model version is unloaded")
    })
    .await;
    let known = server.plan().await["models"].as_array().unwrap().len();
    assert_eq!(known, 1);
}

/// A plan of any version 1 of these models.
fn write_models(plan: &Plan, names: &[&str]) {
    let model = |name: &&str| json!({"name": name, "defaultVersion": 1, "versions": [{"version": 1}]});
    let models: Vec<_> = names.iter().map(model).collect();
    plan.write(&json!({"formatVersion": 1, "models": models}).to_string());
}

async fn wait_until_ready(server: &Server, model: &str, ready: bool) {
    let url = format!("{}/v2/models/{model}/ready", server.http);
    eventually(&format!("{model} to be ready: {ready}"), || async {
        client().get(&url).send().await.unwrap().status().is_success() == ready
    })
    .await;
}

/// A repository with the model `slow` whose warm-up takes far longer than a test, on threads of its own.
fn repository_with_endless_warm_up(others: &[&str]) -> Repository {
    let repository = Repository::of(others);
    add_with_endless_warm_up(&repository, "slow");
    repository
}

/// It goes on for minutes, on a thread of the model's own.
fn add_with_endless_warm_up(repository: &Repository, model: &str) {
    repository.add(model, 1, "slow");
    repository.config(
        model,
        r#"model_warmup [{ name: "w" batch_size: 1 count: 1000
            inputs { key: "x" value { data_type: TYPE_FP32 dims: [1, 1] zero_data: true } } }]
        parameters { key: "intra_op_thread_count" value { string_value: "1" } }"#,
    );
}

#[tokio::test]
async fn a_plan_whose_model_does_not_fit_makes_room_for_it() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    let padding = std::fs::File::create(repository.path().join("dense_2/1/weights.bin")).unwrap();
    padding.set_len(200 << 20).unwrap();
    let plan = Plan::new();
    write_models(&plan, &["dense_1"]);
    let path = plan.path().display().to_string();
    let server = Server::start_unready(
        &repository.uri(),
        &["--serving-plan", &path, "--max-model-memory=536870912"],
    );
    server.wait_until_ready().await;
    write_models(&plan, &["dense_2"]);
    // It never fits, but what the plan does not name has to make room for it.
    wait_until_ready(&server, "dense_1", false).await;
    eventually("the memory to be given back", || async {
        server.log().contains("model version is unloaded")
    })
    .await;
}

#[tokio::test]
async fn a_broken_model_keeps_no_removed_one_serving() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    repository.add("broken", 1, "dense_1");
    std::fs::write(repository.path().join("broken/1/model.onnx"), "nonsense").unwrap();
    let plan = Plan::new();
    write_models(&plan, &["dense_1", "dense_2"]);
    let server = start(&repository, &plan.path());
    server.wait_until_ready().await;
    write_models(&plan, &["dense_1", "broken"]);
    wait_until_ready(&server, "dense_2", false).await;
    assert_eq!(server.plan().await["state"], "Failed");
    wait_until_ready(&server, "dense_1", true).await;
}

#[tokio::test]
async fn a_plan_that_is_not_valid_does_not_end_the_one_under_way() {
    let repository = Repository::of(&["dense_1"]);
    let plan = Plan::new();
    write_models(&plan, &["dense_1", "dense_2"]);
    let server = start(&repository, &plan.path());
    eventually("the plan to fail", || async {
        server.plan().await["state"] == "Failed"
    })
    .await;
    plan.write("{}");
    eventually("the broken plan to be told", || async {
        server.log().contains("the serving plan is not valid")
    })
    .await;
    repository.add("dense_2", 1, "dense_2");
    wait_until_ready(&server, "dense_2", true).await;
    let told = server.plan().await;
    assert!(
        told["state"] == "Failed" && told["message"].as_str().unwrap().contains("not valid"),
        "{told}"
    );
}

#[tokio::test]
async fn a_plan_that_is_missing_is_told_once_in_the_log() {
    let repository = Repository::new();
    let server = start(&repository, std::path::Path::new("/nope/plan"));
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let waits = "the serving plan (--serving-plan) cannot be read";
    assert_eq!(server.log().matches(waits).count(), 1, "{}", server.log());
}

#[tokio::test]
async fn a_model_that_warms_up_on_threads_of_its_own_does_not_hold_up_the_end() {
    let repository = repository_with_endless_warm_up(&[]);
    let mut server = Server::start_unready(&repository.uri(), &[]);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    server.signal("TERM");
    let since = std::time::Instant::now();
    assert!(server.end().await.success());
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
}

#[tokio::test]
async fn an_open_that_goes_on_after_its_plan_was_replaced_keeps_its_place() {
    let repository = repository_with_endless_warm_up(&["dense_1"]);
    let plan = Plan::new();
    write_models(&plan, &["slow"]);
    let path = plan.path().display().to_string();
    let arguments = ["--serving-plan", &path, "--model-load-thread-count=1"];
    let server = Server::start_unready(&repository.uri(), &arguments);
    eventually("the plan to be read", || async {
        server.log().contains("a serving plan is there")
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    write_models(&plan, &["dense_1"]);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let log = server.log();
    assert_eq!(log.matches("a serving plan is there").count(), 2, "{log}");
    assert!(!log.contains("model version is loaded"), "{log}");
}
