//! Runs: made once per UID, logged to, found again, closed.

use aiops_mlflow_client::{
    Client, ErrorKind, Filter, LogBatch, Metric, NewRun, Param, RunSearch, RunStatus, Tag, UID_TAG,
};

use crate::network::{Losses, LossyProxy};
use crate::server::{client, unique};

async fn experiment(client: &Client) -> String {
    client
        .get_or_create_experiment(&unique("runs"), &[])
        .await
        .unwrap()
        .experiment_id
}

fn new_run(experiment_id: &str, start_time_milliseconds: i64) -> NewRun {
    let run_name = "tumour-forest \"a\"".to_owned();
    NewRun {
        experiment_id: experiment_id.to_owned(),
        run_name,
        start_time_milliseconds,
        ..NewRun::default()
    }
}

fn all_of(experiment_id: &str) -> RunSearch {
    RunSearch {
        experiment_ids: vec![experiment_id.to_owned()],
        ..RunSearch::default()
    }
}

fn metric(key: &str, value: f64, step: i64) -> Metric {
    Metric {
        key: key.to_owned(),
        value,
        timestamp_milliseconds: 1_700_000_000_000,
        step,
    }
}

#[tokio::test]
async fn a_run_is_made_logged_to_and_closed() {
    let client = client();
    let experiment_id = experiment(&client).await;
    let run = client
        .create_run(&new_run(&experiment_id, 1_700_000_000_000))
        .await
        .unwrap();
    assert_eq!(run.info.status, RunStatus::Running);
    assert_eq!(run.info.run_name, "tumour-forest \"a\"");
    assert_eq!(run.info.end_time_milliseconds, None);

    let run_id = run.info.run_id;
    let batch = LogBatch {
        metrics: vec![metric("accuracy", 0.5, 0), metric("accuracy", 0.95, 1)],
        params: vec![Param::new("n_estimators", "200")],
        tags: vec![Tag::new("note", "größer als \"vorher\" 'und' 測試")],
    };
    client.log_batch(&run_id, &batch).await.unwrap();
    client
        .set_run_tag(&run_id, "aiops.dev/phase", "Trained")
        .await
        .unwrap();
    client
        .update_run(&run_id, RunStatus::Failed, Some(1_700_000_060_000))
        .await
        .unwrap();

    let run = client.get_run(&run_id).await.unwrap();
    assert_eq!(run.info.status, RunStatus::Failed);
    assert!(run.info.status.is_ended());
    assert_eq!(run.info.start_time_milliseconds, 1_700_000_000_000);
    assert_eq!(run.info.end_time_milliseconds, Some(1_700_000_060_000));
    assert_eq!(run.metric("accuracy"), Some(0.95));
    assert_eq!(run.metric("f1"), None);
    assert_eq!(run.data.params, [Param::new("n_estimators", "200")]);
    assert_eq!(run.tag("note"), Some("größer als \"vorher\" 'und' 測試"));
    assert_eq!(run.tag("aiops.dev/phase"), Some("Trained"));
}

#[tokio::test]
async fn a_metric_that_is_not_a_number_stays_one_that_is_not() {
    let client = client();
    let experiment_id = experiment(&client).await;
    let run_id = client
        .create_run(&new_run(&experiment_id, 1))
        .await
        .unwrap()
        .info
        .run_id;
    let metrics = vec![
        metric("loss", f64::NAN, 0),
        metric("up", f64::INFINITY, 0),
        metric("down", f64::NEG_INFINITY, 0),
    ];
    client
        .log_batch(
            &run_id,
            &LogBatch {
                metrics,
                ..LogBatch::default()
            },
        )
        .await
        .unwrap();
    let run = client.get_run(&run_id).await.unwrap();
    assert!(run.metric("loss").unwrap().is_nan());
    // MLflow's SQL store keeps infinities as the largest numbers there are.
    assert!(run.metric("up").unwrap() >= f64::MAX);
    assert!(run.metric("down").unwrap() <= f64::MIN);
}

#[tokio::test]
async fn more_than_one_call_takes_is_logged_in_several() {
    let client = client();
    let experiment_id = experiment(&client).await;
    let run_id = client
        .create_run(&new_run(&experiment_id, 1))
        .await
        .unwrap()
        .info
        .run_id;
    let batch = LogBatch {
        metrics: (0..1500)
            .map(|step| metric("loss", f64::from(step), i64::from(step)))
            .collect(),
        params: (0..150)
            .map(|number| Param::new(format!("p{number}"), "1"))
            .collect(),
        tags: (0..150)
            .map(|number| Tag::new(format!("t{number}"), "1"))
            .collect(),
    };
    client.log_batch(&run_id, &batch).await.unwrap();
    let run = client.get_run(&run_id).await.unwrap();
    assert_eq!(run.metric("loss"), Some(1499.0));
    assert_eq!(run.data.params.len(), 150);
    assert!(run.data.tags.len() >= 150);

    client
        .log_batch(&run_id, &batch)
        .await
        .expect("the same batch again is no error");
    let other = LogBatch {
        params: vec![Param::new("p0", "2")],
        ..LogBatch::default()
    };
    let changed = client.log_batch(&run_id, &other).await.unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::InvalidRequest, "{changed}");
}

#[tokio::test]
async fn runs_are_found_by_what_they_have() {
    let client = client();
    let experiment_id = experiment(&client).await;
    for (start, note) in [(1, "it's"), (2, "a \"b\""), (3, "größe 測試; DROP = 1 AND x")] {
        let mut run = new_run(&experiment_id, start);
        run.tags = vec![Tag::new("aiops.dev/note", note)];
        client.create_run(&run).await.unwrap();
    }
    for (start, note) in [(1, "it's"), (2, "a \"b\""), (3, "größe 測試; DROP = 1 AND x")] {
        let filter = Filter::new().tag("aiops.dev/note", note).unwrap();
        let found = client
            .search_runs(&RunSearch {
                filter,
                ..all_of(&experiment_id)
            })
            .await
            .unwrap();
        let starts: Vec<_> = found.iter().map(|run| run.info.start_time_milliseconds).collect();
        assert_eq!(starts, [start], "{note}");
    }
    let filter = Filter::new().attribute("status", "FINISHED").unwrap();
    assert!(
        client
            .search_runs(&RunSearch {
                filter,
                ..all_of(&experiment_id)
            })
            .await
            .unwrap()
            .is_empty()
    );

    let order_by = vec!["attributes.start_time ASC".to_owned()];
    let search = RunSearch {
        order_by,
        limit: Some(2),
        ..all_of(&experiment_id)
    };
    let found = client.search_runs(&search).await.unwrap();
    assert_eq!(
        found
            .iter()
            .map(|run| run.info.start_time_milliseconds)
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn a_run_is_made_once_per_uid() {
    let client = client();
    let experiment_id = experiment(&client).await;
    let first = client
        .ensure_run("uid-1", new_run(&experiment_id, 10))
        .await
        .unwrap();
    assert_eq!(first.tag(UID_TAG), Some("uid-1"));
    let again = client
        .ensure_run("uid-1", new_run(&experiment_id, 20))
        .await
        .unwrap();
    assert_eq!(again.info.run_id, first.info.run_id);
    assert_eq!(again.info.start_time_milliseconds, 10);
    let other = client
        .ensure_run("uid-2", new_run(&experiment_id, 20))
        .await
        .unwrap();
    assert_ne!(other.info.run_id, first.info.run_id);
    assert_eq!(
        client.search_runs(&all_of(&experiment_id)).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn a_run_whose_answer_was_lost_is_found_by_the_next_call() {
    let client = client();
    let experiment_id = experiment(&client).await;
    let proxy = LossyProxy::start(Losses {
        answer_to: "/runs/create",
        then_requests: 0,
    })
    .await;
    let lost = proxy
        .client()
        .ensure_run("uid", new_run(&experiment_id, 1))
        .await
        .unwrap_err();
    assert!(lost.is_retryable(), "{lost}");
    assert_eq!(proxy.lost(), 1);
    let found = proxy
        .client()
        .ensure_run("uid", new_run(&experiment_id, 2))
        .await
        .unwrap();
    assert_eq!(found.info.start_time_milliseconds, 1);
    assert_eq!(
        client.search_runs(&all_of(&experiment_id)).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn of_runs_made_twice_the_later_start_stays_and_an_empty_one_goes() {
    let client = client();
    let experiment_id = experiment(&client).await;
    let mut run = new_run(&experiment_id, 5);
    run.tags = vec![Tag::new(UID_TAG, "uid")];
    let late = client.create_run(&run).await.unwrap();
    run.start_time_milliseconds = 6;
    let in_use = client.create_run(&run).await.unwrap();

    let chosen = client.ensure_run("uid", run.clone()).await.unwrap();
    assert_eq!(chosen.info.run_id, in_use.info.run_id);
    assert_eq!(
        client.search_runs(&all_of(&experiment_id)).await.unwrap().len(),
        1
    );
    assert_eq!(
        client
            .get_run(&late.info.run_id)
            .await
            .unwrap()
            .info
            .lifecycle_stage,
        "deleted"
    );
}

#[tokio::test]
async fn a_run_or_an_experiment_that_does_not_exist_is_not_found() {
    let client = client();
    let run = client
        .get_run("0123456789abcdef0123456789abcdef")
        .await
        .unwrap_err();
    assert_eq!(run.kind(), ErrorKind::NotFound);
    let experiment = client.create_run(&new_run("987654321", 1)).await.unwrap_err();
    assert_eq!(experiment.kind(), ErrorKind::NotFound, "{experiment}");
}
