//! The ModelVersion controller: dereference, validate, register, publish, decide the stage, show it in MLflow, write
//! status.

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
mod turns;
mod validate;

use std::sync::Arc;

use aiops_crds::{Experiment, ModelVersion, ModelVersionStatus, PublishedModel};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::runtime::{Controller, watcher};
use tokio_util::sync::CancellationToken;

use self::progress::{Progress, Publication, Registered};
use self::registration::RegistryLocks;
use self::source::Origin;
use self::stage::Rival;
use self::turns::Turns;
use self::validate::ValidatedModelVersion;
use crate::build::labels;
use crate::framework::apply::Applier;
use crate::framework::context::Context;
use crate::framework::controller::{Settings, drive};
use crate::framework::error::Error;

/// The field manager of this controller.
pub const FIELD_MANAGER: &str = "aiops-model-version";

type Versions = Store<DeserializeGuard<ModelVersion>>;

/// What the reconciles of all versions share.
struct Shared {
    versions: Versions,
    registry: RegistryLocks,
    turns: Turns,
}

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
    let shared = Arc::new(Shared {
        versions: store,
        registry: RegistryLocks::default(),
        turns: Turns::default(),
    });
    let reconcile = move |version, context| reconcile(version, context, shared.clone());
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
    shared: Arc<Shared>,
) -> Result<Action, Error> {
    if version.metadata.deletion_timestamp.is_some() {
        return cleanup::finish(&version, &context, &shared.registry).await; // network
    }
    let mut progress = Progress::from_status(version.status.as_ref());
    let validated = validate::validate(&version);
    let result = advance(&version, &validated, &shared, &context, &mut progress).await; // network
    let status = status::status(&version, &progress, result.as_ref().err(), Timestamp::now());
    write_status(&version, &status, &context).await?; // network
    result.map(|()| Action::requeue(progress.look_again_after(&validated)))
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
    shared: &Shared,
    context: &Context,
    progress: &mut Progress,
) -> Result<(), Error> {
    cleanup::follow_policy(version, validated.deletion_policy, context).await?; // network
    if progress.registered.is_none() {
        register(version, validated, shared, context, progress).await?; // network
    }
    let Some(registered) = progress.registered.clone() else {
        return Ok(());
    };
    if !matches!(progress.publication, Some(Publication::Done(_))) {
        progress.publication = Some(publish(version, validated, &registered, context).await?); // network
    }
    let Some(Publication::Done(published)) = progress.publication.clone() else {
        return Ok(());
    };
    settle_stage(
        version,
        validated,
        (&registered, &published),
        shared,
        context,
        progress,
    )
    .await // network
}

/// Registers the source's model in MLflow, where the source has one that belongs to nobody else.
async fn register(
    version: &ModelVersion,
    validated: &ValidatedModelVersion,
    shared: &Shared,
    context: &Context,
    progress: &mut Progress,
) -> Result<(), Error> {
    let origin = source::resolve(validated, context).await?; // network
    let others = match &origin {
        // Live, since a store may still have a holder that is gone, or not yet have one that is new.
        Ok(Origin::RegistryVersion { .. }) => {
            dereference::live_versions(validated, &context.client).await? // network
        }
        _ => Vec::new(),
    };
    let origin = origin.and_then(|origin| registration::refuse_taken(version, origin, &others));
    match origin {
        Ok(origin) => {
            let registered = registration::ensure(validated, &origin, &context.mlflow, &shared.registry); // network
            progress.registered = Some(registered.await?);
        }
        Err(problem) => progress.source_problem = Some(problem),
    }
    Ok(())
}

/// Creates the publish Job where there is none, and reads how it stands.
async fn publish(
    version: &ModelVersion,
    validated: &ValidatedModelVersion,
    registered: &Registered,
    context: &Context,
) -> Result<Publication, Error> {
    let configuration = &context.configuration;
    let observed = dereference::job(validated, context).await?;
    if observed.job.is_none() {
        let job = build::job(validated, registered, configuration);
        Applier::new(context, FIELD_MANAGER, version).apply(job).await?;
    }
    Ok(publication::read(&observed, validated, registered, configuration))
}

/// Decides the stage, and shows it in MLflow once status has it. The object holds the truth: its status comes first, and that it is
/// written brings the version here again, so that an MLflow that is away holds up neither a promotion nor a roll-back.
async fn settle_stage(
    version: &ModelVersion,
    validated: &ValidatedModelVersion,
    (registered, published): (&Registered, &PublishedModel),
    shared: &Shared,
    context: &Context,
    progress: &mut Progress,
) -> Result<(), Error> {
    let (client, number) = (&context.client, registered.number());
    let rivals = dereference::rivals(&shared.versions, version, client).await?; // network where one cannot be read
    let holder = |rivals: &[Rival]| stage::unconfirmed_holder(number, rivals).map(Rival::name);
    let rivals = dereference::confirmed(rivals, holder, validated, client).await?; // network
    let decision = stage::decide(validated, &published.digest, number, progress.stage, &rivals);
    let decided = decision.stage;
    progress.decision = Some(decision);

    if version.status.as_ref().and_then(|status| status.stage) == Some(decided) {
        let in_the_way =
            |rivals: &[Rival]| mirror::unconfirmed_in_the_way(decided, number, rivals).map(Rival::name);
        let rivals = dereference::confirmed(rivals, in_the_way, validated, client).await?; // network
        let (mlflow, turns) = (&context.mlflow, &shared.turns);
        let mirror = mirror::mirror(registered, published, decided, &rivals, mlflow, turns).await; // network
        progress.mirror = Some(mirror);
    }
    Ok(())
}
