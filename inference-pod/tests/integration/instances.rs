//! Several sessions of one model: the same answers, and one copy of the weights.

use std::io::Write as _;

use futures::future::join_all;
use serde_json::json;

use crate::support::{Repository, Server};

const SIZE: usize = 4096;
const WEIGHT_BYTES: u64 = (SIZE * SIZE * 4) as u64;

/// The model `wide`, whose weights double what comes in.
fn repository(instances: usize) -> Repository {
    let repository = Repository::of(&["wide"]);
    repository.config(
        "wide",
        &format!("max_batch_size: 8 instance_group {{ count: {instances} kind: KIND_CPU }}"),
    );
    let file = std::fs::File::create(repository.path().join("wide/1/weights.bin")).unwrap();
    let mut file = std::io::BufWriter::new(file);
    for line in 0..SIZE {
        let mut weights = vec![0_f32; SIZE];
        weights[line] = 2.0;
        let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        file.write_all(&bytes).unwrap();
    }
    file.flush().unwrap();
    repository
}

#[tokio::test]
async fn four_instances_answer_alike_and_share_their_weights() {
    let repository = repository(4);
    let server = Server::start(&repository.uri(), &[]).await;
    let row: Vec<f32> = (0..SIZE).map(|index| index as f32).collect();
    let request = json!({"inputs": [{"name": "x", "shape": [1, SIZE], "datatype": "FP32", "data": row}]});
    let answers = join_all((0..8).map(|_| server.infer("wide", &request))).await;
    for (status, answer) in answers {
        assert_eq!(status, 200, "{answer}");
        let doubled: Vec<f64> = row.iter().map(|value| f64::from(*value) * 2.0).collect();
        assert_eq!(answer["outputs"][0]["data"], json!(doubled));
    }
    // The weights as they are in the file, and as the kernels want them; not four times that.
    let memory = server.memory("RssAnon");
    assert!(
        memory < 3 * WEIGHT_BYTES,
        "{memory} bytes for weights of {WEIGHT_BYTES} bytes"
    );
}

#[tokio::test]
async fn weights_that_are_not_all_there_are_named() {
    let repository = repository(2);
    let weights = repository.path().join("wide/1/weights.bin");
    std::fs::File::options()
        .write(true)
        .open(weights)
        .unwrap()
        .set_len(1000)
        .unwrap();
    let mut server = Server::start_unready(&repository.uri(), &[]);
    assert!(!server.end().await.success());
    let log = server.log();
    assert!(
        log.contains("weight weights in weights.bin: 1000 bytes are there of 67108864"),
        "{log}"
    );
}
