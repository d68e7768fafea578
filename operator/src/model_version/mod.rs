//! The ModelVersion controller: dereference, validate, register, publish, decide the stage, mirror it, write status.

mod build;
mod cleanup;
mod dereference;
mod mirror;
mod progress;
mod publication;
mod registration;
mod source;
mod stage;
mod status;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use aiops_crds::{Experiment, ModelVersion, ModelVersionStatus};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::runtime::{Controller, watcher};
use tokio_util::sync::CancellationToken;

use self::progress::{Progress, Publication};
use self::validate::ValidatedModelVersion;
use crate::build::labels;
use crate::framework::apply::Applier;
use crate::framework::context::Context;
use crate::framework::controller::{Settings, drive};
use crate::framework::error::{Error, RESYNC};

/// The field manager of this controller.
pub const FIELD_MANAGER: &str = "aiops-model-version";
/// How soon a running publication is looked at again: a pod that cannot start changes nothing on its Job.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

type Versions = Store<DeserializeGuard<ModelVersion>>;

/// Runs the controller until `shutdown`.
pub async fn control(context: Arc<Context>, concurrency: u16, shutdown: CancellationToken) {
    let versions: Api<DeserializeGuard<ModelVersion>> = Api::all(context.client.clone());
    let ours = watcher::Config::default().labels(labels::MODEL_VERSION);
    let controller = Controller::new(versions, watcher::Config::default());
    let store = controller.store();
    let (of_experiment, of_model) = (store.clone(), store.clone());
    let controller = controller
        .owns(Api::<Job>::all(context.client.clone()), ours)
        .watches(
            // Guarded, here and below: one object that cannot be read must not end the watch of all.
            Api::<DeserializeGuard<Experiment>>::all(context.client.clone()),
            watcher::Config::default(),
            move |experiment| dereference::versions_of_experiment(&of_experiment, &experiment),
        )
        // Who holds Production is decided among the versions of a model: each is looked at when another one changes.
        .watches(
            Api::<DeserializeGuard<ModelVersion>>::all(context.client.clone()),
            watcher::Config::default(),
            move |version| dereference::references_to_peers(&of_model, &version),
        );
    let reconcile = move |version, context| reconcile(version, context, store.clone());
    drive(
        controller,
        Settings {
            kind: "ModelVersion",
            concurrency,
        },
        context,
        reconcile,
        shutdown,
    )
    .await;
}

async fn reconcile(
    version: Arc<ModelVersion>,
    context: Arc<Context>,
    store: Versions,
) -> Result<Action, Error> {
    if version.metadata.deletion_timestamp.is_some() {
        let result = cleanup::remove(&version, &context).await; // network
        if let Err(error) = &result {
            let status = status::held_up(&version, error, Timestamp::now());
            write_status(&version, &status, &context).await?; // network
        }
        return result;
    }
    let mut progress = Progress::from_status(version.status.as_ref());
    let validated = validate::validate(&version);
    let peers = dereference::peers(&store, &version);
    let result = advance(&version, &validated, &peers, &context, &mut progress).await; // network
    let status = status::status(&version, &progress, result.as_ref().err(), Timestamp::now());
    write_status(&version, &status, &context).await?; // network
    result.map(|()| match progress.publication {
        Some(Publication::Active { .. }) => Action::requeue(LOOK_AGAIN),
        _ => Action::requeue(RESYNC),
    })
}

async fn write_status(
    version: &ModelVersion,
    status: &ModelVersionStatus,
    context: &Context,
) -> Result<(), Error> {
    crate::framework::status::write(context, FIELD_MANAGER, version, version.status.as_ref(), status).await
}

/// Takes the version as far as it goes now; what was reached is noted in `progress`, also where an error ends it.
async fn advance(
    version: &ModelVersion,
    validated: &ValidatedModelVersion,
    peers: &[ModelVersion],
    context: &Context,
    progress: &mut Progress,
) -> Result<(), Error> {
    cleanup::follow_policy(version, validated.deletion_policy, context).await?;

    if progress.registered.is_none() {
        match source::resolve(validated, context).await? {
            Ok(origin) => {
                progress.registered = Some(registration::ensure(validated, &origin, context).await?);
            }
            Err(not_ready) => {
                progress.source_problem = Some(not_ready);
                return Ok(());
            }
        }
    }
    let Some(registered) = progress.registered.clone() else {
        return Ok(());
    };

    if !matches!(progress.publication, Some(Publication::Done(_))) {
        let observed = dereference::job(validated, context).await?;
        if observed.job.is_none() {
            let job = build::job(validated, &registered, &context.configuration);
            Applier::new(context, FIELD_MANAGER, version).apply(job).await?;
        }
        progress.publication = Some(publication::read(
            &observed,
            validated,
            &registered,
            &context.configuration,
        ));
    }
    let Some(Publication::Done(published)) = &progress.publication else {
        return Ok(());
    };

    let rivals = peers.iter().filter_map(stage::Rival::of).collect();
    let rivals =
        dereference::with_confirmed_holder(rivals, registered.number(), validated, &context.client).await?;
    let decision = stage::decide(
        validated,
        &published.digest,
        registered.number(),
        progress.stage,
        &rivals,
    );
    mirror::mirror(&registered, published, decision.stage, &rivals, context).await?;
    progress.decision = Some(decision);
    Ok(())
}
