//! The scenarios, one file each, in the order in which they start: long ones first.

mod api_server_away;
mod bad_datasets;
mod bad_metrics;
mod bad_models;
mod bad_trainers;
mod chart_test;
mod contradictory_specs;
mod deletion;
mod kubectl_views;
mod main_job;
mod mlflow_away;
mod object_store_away;
mod promotion_under_load;
mod regression;
mod specs;
mod waiting_service;

use crate::scenario::Scenario;

/// Declares a scenario: its name, its claim and the function that does the work.
macro_rules! scenario {
    ($module:ident, $name:literal, $claim:literal) => {
        scenario!($module, $name, $claim, false)
    };
    ($module:ident, $name:literal, $claim:literal, $alone:literal) => {
        Scenario {
            name: $name,
            claim: $claim,
            alone: $alone,
            run: |context| Box::pin($module::run(context)),
        }
    };
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    vec![
        scenario!(
            main_job,
            "main-job",
            "breast-cancer goes from an Experiment to the same predictions over every front"
        ),
        scenario!(
            bad_trainers,
            "bad-trainers",
            "a trainer that crashes, runs out of memory or time says so, and its run is closed"
        ),
        scenario!(
            promotion_under_load,
            "promotion-under-load",
            "a service follows promotions and roll-backs without one failed request"
        ),
        scenario!(
            regression,
            "regression",
            "a sample that predicts a number ends in the same predictions over every front"
        ),
        scenario!(deletion, "deletion", "deleting each kind leaves nothing behind"),
        scenario!(
            bad_datasets,
            "bad-datasets",
            "a dataset that cannot be trained on is named, with what to do"
        ),
        scenario!(
            bad_metrics,
            "bad-metrics",
            "a metric below its threshold or missing registers nothing"
        ),
        scenario!(
            bad_models,
            "bad-models",
            "a file that is not ONNX, has an opset the runtime lacks, or is not there, is not published"
        ),
        scenario!(
            waiting_service,
            "waiting-service",
            "a service that names what does not exist yet waits, and starts when it appears"
        ),
        scenario!(
            kubectl_views,
            "kubectl-views",
            "explain, get, wait, top and the autoscaler show what they should"
        ),
        scenario!(
            contradictory_specs,
            "contradictory-specs",
            "a spec that contradicts itself is refused with a sentence"
        ),
        scenario!(chart_test, "chart-test", "helm test passes"),
        scenario!(
            mlflow_away,
            "mlflow-away",
            "MLflow is away for a minute, and work goes on without duplicates",
            true
        ),
        scenario!(
            object_store_away,
            "object-store-away",
            "the object store is away for a minute, and work goes on without duplicates",
            true
        ),
        scenario!(
            api_server_away,
            "api-server-away",
            "the API server is away for a minute: services answer, and work goes on without duplicates",
            true
        ),
    ]
}
