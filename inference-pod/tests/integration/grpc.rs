//! Open Inference Protocol v2 over gRPC.

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::model_infer_request::InferInputTensor;
use proto::{InferTensorContents, ModelInferRequest};
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::support::{Repository, Server};

fn request(model: &str, raw: bool) -> ModelInferRequest {
    let row = [1_f32, 2.0, 3.0, 4.0];
    let input = InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![1, 4],
        contents: (!raw).then(|| InferTensorContents {
            fp32_contents: row.to_vec(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
    ModelInferRequest {
        model_name: model.into(),
        id: "7".into(),
        inputs: vec![input],
        raw_input_contents: if raw { vec![bytes.into()] } else { vec![] },
        ..Default::default()
    }
}

#[tokio::test]
async fn raw_and_typed_tensors_are_answered_raw() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut client = server.grpc().await;
    for raw in [true, false] {
        let answer = client
            .model_infer(request("dense_1", raw))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((answer.id.as_str(), answer.model_version.as_str()), ("7", "1"));
        assert_eq!(answer.outputs[0].shape, [1, 3]);
        assert!(answer.outputs[0].contents.is_none());
        let values: Vec<f32> = answer.raw_output_contents[0]
            .chunks(4)
            .map(|raw| f32::from_le_bytes(raw.try_into().unwrap()))
            .collect();
        assert_eq!(values, [2.0, 3.0, 4.0]);
    }
}

#[tokio::test]
async fn a_stream_is_answered_in_order_and_survives_errors() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let requests = ["dense_1", "absent", "dense_1"]
        .into_iter()
        .enumerate()
        .map(|(index, model)| {
            let mut request = request(model, true);
            request.id = index.to_string();
            request
        });
    let stream = futures::stream::iter(requests.collect::<Vec<_>>());
    let mut answers = server
        .grpc()
        .await
        .model_stream_infer(stream)
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        seen.push((answer.infer_response.unwrap().id, answer.error_message));
    }
    let unknown = "Request for unknown model: 'absent' is not found".to_owned();
    assert_eq!(
        seen,
        [
            ("0".into(), String::new()),
            ("1".into(), unknown),
            ("2".into(), String::new())
        ]
    );
}

#[tokio::test]
async fn a_model_is_described() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut client = server.grpc().await;
    assert!(
        client
            .server_live(proto::ServerLiveRequest {})
            .await
            .unwrap()
            .into_inner()
            .live
    );
    assert!(
        client
            .server_ready(proto::ServerReadyRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    let ready = |name: &str| proto::ModelReadyRequest {
        name: name.into(),
        version: String::new(),
    };
    assert!(
        client
            .model_ready(ready("dense_1"))
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    assert!(
        !client
            .model_ready(ready("absent"))
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    let metadata = proto::ModelMetadataRequest {
        name: "dense_1".into(),
        version: "1".into(),
    };
    let metadata = client.model_metadata(metadata).await.unwrap().into_inner();
    assert_eq!(
        (
            metadata.inputs[0].shape.as_slice(),
            metadata.inputs[0].datatype.as_str()
        ),
        (&[-1, 4][..], "FP32")
    );
    let config = proto::ModelConfigRequest {
        name: "dense_1".into(),
        version: String::new(),
    };
    let config = client
        .model_config(config)
        .await
        .unwrap()
        .into_inner()
        .config
        .unwrap();
    assert_eq!(
        (config.max_batch_size, config.input[0].data_type()),
        (64, proto::DataType::TypeFp32)
    );
    client.model_infer(request("dense_1", true)).await.unwrap();
    let statistics = client
        .model_statistics(proto::ModelStatisticsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(statistics.model_stats[0].inference_count, 1);
    let index = client
        .repository_index(proto::RepositoryIndexRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(index.models[0].state, "READY");
    let load = client
        .repository_model_load(proto::RepositoryModelLoadRequest::default())
        .await
        .unwrap_err();
    assert_eq!(load.code(), Code::Unavailable);
    let unknown = client.model_infer(request("absent", true)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

/// A client that was cut off cannot say that it is gone.
#[test]
fn a_client_that_says_nothing_is_asked_whether_it_is_there() {
    use std::io::{Read as _, Write as _};
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: u8 = 6;
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start_unready(&repository.uri(), &[]);
    let address = server.grpc.strip_prefix("http://").unwrap();
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    connection.write_all(&SETTINGS).unwrap();
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).expect("a ping comes");
        let [high, middle, low, kind, ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        connection.read_exact(&mut vec![0; length as usize]).unwrap();
        if kind == PING {
            break;
        }
    }
}

#[tokio::test]
async fn health_checks_of_grpc_follow_readiness() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--drain-delay-secs=30"]).await;
    let channel = tonic::transport::Channel::from_shared(server.grpc.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = HealthClient::new(channel);
    let mut status = async || {
        health
            .check(HealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner()
            .status()
    };
    assert_eq!(status().await, ServingStatus::Serving);
    server.signal("TERM");
    let start = std::time::Instant::now();
    while status().await != ServingStatus::NotServing {
        assert!(start.elapsed().as_secs() < 10);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn messages_that_the_memory_does_not_hold_are_refused_and_outputs_are_answered_once() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--max-request-memory=800000"]).await;
    let mut client = server.grpc().await;
    let output = proto::model_infer_request::InferRequestedOutputTensor {
        name: "y".into(),
        ..Default::default()
    };
    let mut message = request("dense_1", true);
    message.outputs = vec![output; 1000];
    let answer = client.model_infer(message.clone()).await.unwrap().into_inner();
    assert_eq!(answer.outputs.len(), 1);
    message.raw_input_contents[0] = vec![0; 200_000].into();
    let error = client.model_infer(message).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("100000 are the most for one"), "{error}");
    // A stream gives back what each message took.
    let messages = futures::stream::iter(vec![request("dense_1", true); 2000]);
    let mut answers = client.model_stream_infer(messages).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.error_message, "");
        count += 1;
    }
    assert_eq!(count, 2000);
    // A later message of a stream that is too large has the same code as a first one.
    let mut large = request("dense_1", true);
    large.raw_input_contents[0] = vec![0; 200_000].into();
    let messages = futures::stream::iter([request("dense_1", true), large]);
    let mut answers = client.model_stream_infer(messages).await.unwrap().into_inner();
    let error = loop {
        match answers.message().await {
            Ok(answer) => assert!(answer.is_some(), "the stream ended without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
}
