//! The loop around a reconcile: one object at a time, timed, counted, under a deadline, with backoff after errors.

use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::core::{ApiResource, DeserializeGuard};
use kube::runtime::controller::{Action, Config, Error as ControllerError};
use kube::runtime::{Controller, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::backoff::{Backoff, WatchBackoff};
use super::context::Context;
use super::error::{Disposition, Error, RESYNC};
use super::metrics::{ErrorLabels, KindLabels, ReconcileLabels};
use super::unreadable;

/// A reconcile that has not ended by then is given up and tried again.
const DEADLINE: Duration = Duration::from_secs(120);
/// Changes of one object within this time are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// A controller's name and limits.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The kind, as metrics and logs name it.
    pub kind: &'static str,
    /// How many objects are worked on at the same time.
    pub concurrency: u16,
}

struct Loop<Object: Resource<DynamicType = ()>, Reconcile> {
    settings: Settings,
    context: Arc<Context>,
    reconcile: Reconcile,
    backoff: Backoff<Key>,
    kind: PhantomData<fn(Object)>,
}

/// Namespace and name of an object.
type Key = (Option<String>, String);

fn key<Object: Resource<DynamicType = ()>>(guard: &DeserializeGuard<Object>) -> Key {
    let metadata = guard.meta();
    (
        metadata.namespace.clone(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// Runs `reconcile` for each object that `controller` triggers, until `shutdown`.
pub async fn drive<Object, Reconcile, Running>(
    controller: Controller<DeserializeGuard<Object>>,
    settings: Settings,
    context: Arc<Context>,
    reconcile: Reconcile,
    shutdown: CancellationToken,
) where
    Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    Reconcile: Fn(Arc<Object>, Arc<Context>) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let state = Arc::new(Loop {
        settings,
        context,
        reconcile,
        backoff: Backoff::default(),
        kind: PhantomData,
    });
    let watching = state.clone();
    controller
        .trigger_backoff(WatchBackoff::default())
        .with_config(
            Config::default()
                .concurrency(settings.concurrency)
                .debounce(DEBOUNCE),
        )
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(attempt, after_error, state)
        .for_each(|result| {
            if let Err(error) = result {
                notice(&error, settings.kind, &watching.backoff);
            }
            std::future::ready(())
        })
        .await;
}

/// Errors of reconciles are logged where they happen; what is left are errors of watches, and objects that are gone.
fn notice(error: &ControllerError<Error, watcher::Error>, kind: &'static str, backoff: &Backoff<Key>) {
    match error {
        ControllerError::QueueError(_) => {
            tracing::warn!(kind, "a watch failed and is started again: {error}");
        }
        // Deleted while it waited: nobody else would forget its failures.
        ControllerError::ObjectNotFound(gone) => {
            backoff.succeeded(&(gone.namespace.clone(), gone.name.clone()));
        }
        _ => {}
    }
}

async fn attempt<Object, Reconcile, Running>(
    guard: Arc<DeserializeGuard<Object>>,
    state: Arc<Loop<Object, Reconcile>>,
) -> Result<Action, Error>
where
    Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    Reconcile: Fn(Arc<Object>, Arc<Context>) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let kind = state.settings.kind;
    let span = tracing::info_span!("reconcile", kind, object = %name(guard.as_ref()));
    async {
        let started = Instant::now();
        let result = match &guard.0 {
            Ok(object) => {
                let running = (state.reconcile)(Arc::new(object.clone()), state.context.clone());
                tokio::time::timeout(DEADLINE, running)
                    .await
                    .unwrap_or(Err(Error::Timeout(DEADLINE)))
            }
            Err(invalid) => {
                let resource = ApiResource::erase::<Object>(&());
                if let Err(error) = unreadable::tell(invalid, &resource, &state.context.client).await {
                    tracing::warn!("its status does not say that it cannot be read: {error}");
                }
                Err(Error::InvalidObject(invalid.error.clone()))
            }
        };
        let metrics = &state.context.metrics;
        metrics
            .seconds
            .get_or_create(&KindLabels { kind })
            .observe(started.elapsed().as_secs_f64());
        let outcome = if result.is_ok() { "success" } else { "error" };
        metrics
            .reconciles
            .get_or_create(&ReconcileLabels {
                kind,
                result: outcome,
            })
            .inc();
        if result.is_ok() {
            state.backoff.succeeded(&key(guard.as_ref()));
        }
        metrics
            .in_backoff
            .get_or_create(&KindLabels { kind })
            .set(state.backoff.waiting() as i64);
        result
    }
    .instrument(span)
    .await
}

fn after_error<Object, Reconcile>(
    guard: Arc<DeserializeGuard<Object>>,
    error: &Error,
    state: Arc<Loop<Object, Reconcile>>,
) -> Action
where
    Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = state.settings.kind;
    let labels = ErrorLabels {
        kind,
        category: error.category(),
    };
    state.context.metrics.errors.get_or_create(&labels).inc();
    let wait = match error.disposition() {
        Disposition::AwaitChange => RESYNC,
        Disposition::Retry => state.backoff.failed(key(guard.as_ref())),
    };
    tracing::warn!(kind, object = %name(guard.as_ref()), retry_seconds = wait.as_secs_f64(), "reconcile failed: {error}");
    Action::requeue(wait)
}

fn name<Object: Resource<DynamicType = ()>>(guard: &DeserializeGuard<Object>) -> String {
    format!("{}/{}", guard.namespace().unwrap_or_default(), guard.name_any())
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;

    use super::*;

    #[test]
    fn an_object_that_is_deleted_while_it_waits_is_forgotten() {
        let backoff = Backoff::default();
        backoff.failed((Some("team".into()), "gone".into()));
        backoff.failed((Some("team".into()), "there".into()));
        let gone = ObjectRef::<k8s_openapi::api::batch::v1::Job>::new("gone").within("team");
        notice(
            &ControllerError::ObjectNotFound(Box::new(gone.erase())),
            "Job",
            &backoff,
        );
        assert_eq!(backoff.waiting(), 1);
    }
}
