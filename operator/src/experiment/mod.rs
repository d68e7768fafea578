//! The Experiment controller: dereference, validate, advance the training by what was observed, write status.

mod build;
mod cleanup;
mod failure;
mod metrics;
mod progress;
mod registration;
mod status;
#[cfg(test)]
mod status_tests;
mod thresholds;
mod tracking;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use aiops_crds::{Experiment, ModelVersion};
use aiops_mlflow_client::Run;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Api, Resource as _};
use tokio_util::sync::CancellationToken;

use self::progress::{Progress, Training};
use self::tracking::KnownRun;
use self::validate::ValidatedExperiment;
use crate::build::labels;
use crate::framework::apply::Applier;
use crate::framework::context::Context;
use crate::framework::controller::{Settings, drive};
use crate::framework::error::{Error, RESYNC};
use crate::framework::job_outcome::{JobOutcome, job_outcome};
use crate::framework::observed_job::observe_job;
use crate::framework::stop_job::delete_job;

/// The field manager of this controller.
pub const FIELD_MANAGER: &str = "aiops-experiment";
/// How soon a running training is looked at again: a pod that cannot start changes nothing on its Job.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs the controller until `shutdown`.
pub async fn control(context: Arc<Context>, concurrency: u16, shutdown: CancellationToken) {
    let experiments: Api<DeserializeGuard<Experiment>> = Api::all(context.client.clone());
    let ours = watcher::Config::default().labels(labels::EXPERIMENT);
    let controller = Controller::new(experiments, watcher::Config::default())
        .owns(Api::<Job>::all(context.client.clone()), ours.clone())
        .watches(
            // Guarded: one version that cannot be read must not end the watch of all.
            Api::<DeserializeGuard<ModelVersion>>::all(context.client.clone()),
            ours,
            |version| {
                let name = version.meta().labels.as_ref()?.get(labels::EXPERIMENT)?;
                Some(ObjectRef::new(name).within(version.meta().namespace.as_deref()?))
            },
        );
    drive(
        controller,
        Settings {
            kind: "Experiment",
            concurrency,
        },
        context,
        reconcile,
        shutdown,
    )
    .await;
}

async fn reconcile(experiment: Arc<Experiment>, context: Arc<Context>) -> Result<Action, Error> {
    if experiment.metadata.deletion_timestamp.is_some() {
        return cleanup::finish(&experiment, &context).await; // network
    }
    if status::is_complete(&experiment) {
        return Ok(Action::await_change());
    }
    let mut progress = Progress::default();
    let result = match validate::validate(&experiment) {
        Ok(validated) => advance(&experiment, &validated, &context, &mut progress).await, // network
        Err(invalid) => {
            progress.invalid = Some(invalid.to_string());
            Ok(())
        }
    };
    let status = status::status(&experiment, &progress, result.as_ref().err(), Timestamp::now());
    crate::framework::status::write(
        &context,
        FIELD_MANAGER,
        &*experiment,
        experiment.status.as_ref(),
        &status,
    )
    .await?; // network
    result.map(|()| match progress.training {
        Some(Training::Active { .. }) => Action::requeue(LOOK_AGAIN),
        _ => Action::requeue(RESYNC),
    })
}

/// The Experiment of the samples, for tests.
#[cfg(test)]
pub fn sample() -> Experiment {
    validate::tests::experiment(validate::tests::sample())
}

/// Takes the Experiment as far as it goes now; what was reached is noted in `progress`, also where an error ends it.
async fn advance(
    experiment: &Experiment,
    validated: &ValidatedExperiment,
    context: &Context,
    progress: &mut Progress,
) -> Result<(), Error> {
    let Some(run_id) = train(experiment, validated, context, progress).await? else {
        return Ok(());
    };
    if matches!(progress.training, Some(Training::Active { .. })) {
        return Ok(());
    }
    cleanup::release(experiment, context).await?;
    if !matches!(progress.training, Some(Training::Succeeded)) {
        return Ok(());
    }
    let run = context.mlflow.get_run(&run_id).await?;
    progress.metrics = metrics::values(&run);
    progress.verdicts = thresholds::judge(&validated.rules, &run);
    if let (true, Some(registration)) = (
        thresholds::all_passed(&progress.verdicts),
        &validated.registration,
    ) {
        progress.registration = Some(registration::ensure(registration, validated, &run_id, context).await?);
    }
    Ok(())
}

/// Takes the training as far as it goes now; returns its run, where it has one that is not deleted.
async fn train(
    experiment: &Experiment,
    validated: &ValidatedExperiment,
    context: &Context,
    progress: &mut Progress,
) -> Result<Option<String>, Error> {
    let observed = observe_job(
        &validated.namespace,
        &validated.job_name(),
        &validated.uid,
        context,
    )
    .await?;
    let (job, status) = (observed.job.as_ref(), experiment.status.as_ref());
    let known = tracking::known_run(job, status, &context.mlflow).await?;
    if let KnownRun::Deleted(run_id) = &known {
        if status::has_ended(experiment) {
            progress.lost_run = Some(run_id.clone());
            cleanup::release(experiment, context).await?;
            return Ok(None);
        }
        if let Some(job) = job {
            // What it logs goes nowhere. Once it is gone, the training starts again with a run of its own.
            delete_job(job, context).await?;
            progress.training = Some(Training::starts_again(run_id));
            return Ok(None);
        }
    }
    if job.is_none() && !known.has_ended() {
        // Before the run: whatever is made in MLflow from here on is closed with the Experiment.
        cleanup::require(experiment, context).await?;
    }
    let run = match known {
        KnownRun::Active(run) => *run,
        KnownRun::Deleted(_) | KnownRun::None => tracking::ensure_run(validated, &context.mlflow).await?,
    };
    progress.run = Some(tracking::reference(&run));
    let outcome = job.map(|job| job_outcome(job, &observed.pods, observed.read_at));
    progress.training = Some(follow(outcome, &run, experiment, validated, context).await?);
    Ok(Some(run.info.run_id))
}

/// Brings the run to what became of its Job, and starts the Job where there is none.
async fn follow(
    outcome: Option<JobOutcome>,
    run: &Run,
    experiment: &Experiment,
    validated: &ValidatedExperiment,
    context: &Context,
) -> Result<Training, Error> {
    match outcome {
        Some(JobOutcome::Active { trouble }) => return Ok(Training::Active { trouble }),
        Some(JobOutcome::Succeeded { .. }) => return tracking::close_finished(run, context).await,
        Some(JobOutcome::Failed(failure)) => {
            return tracking::close_failed(run, failure::explained(failure, experiment), context).await;
        }
        None => {}
    }
    if let Some(training) = tracking::ended(run) {
        return Ok(training);
    }
    let job = build::job(validated, &run.info.run_id, &context.configuration);
    Applier::new(context, FIELD_MANAGER, experiment)
        .apply(job)
        .await?;
    Ok(Training::Active { trouble: None })
}
