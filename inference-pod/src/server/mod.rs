//! Starting the server: runtime, models, four fronts; and ending it in order.

mod connections;
mod fronts;
mod parts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arguments::{ModelControlMode, ServeArguments};
use crate::models::Keeper;
use crate::protocol::Accepted;
use crate::shutdown::{self, Signals};
use fronts::Certificates;
use parts::Parts;

/// The operations port is asked for little, and ends last.
const OPERATIONS_END: Duration = Duration::from_secs(1);
/// Removing files is quick; a model that still runs for a request that is lost holds its own.
const CACHE_END: Duration = Duration::from_secs(5);

/// Runs until a signal ends it. An error means that it could not start, or that accepted requests were lost.
pub async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut signals = Signals::listen()?;
    let certificates = Certificates::open(&arguments)?;
    let Parts {
        service,
        keeper,
        operations,
        metrics,
    } = parts::prepare(&arguments)?;
    let stop_accepting = service.intake.stop.clone();
    let mut fronts = fronts::start(&arguments, &certificates, &service, &stop_accepting).await?;

    let _following = certificates.follow(&metrics);
    let stop_operations = CancellationToken::new();
    let mut operations_front = fronts::start_operations(
        &arguments,
        &certificates,
        operations,
        &service.lifecycle,
        &stop_operations,
    )
    .await?;

    let mut loading = JoinSet::new();
    let explicit = arguments.models.model_control_mode == ModelControlMode::Explicit;
    loading.spawn(load(
        Arc::clone(&keeper),
        arguments.models.serving_plan.clone(),
        explicit.then(|| arguments.models.load_model.clone()),
        arguments.models.exit_on_error,
    ));
    let reason = loop {
        tokio::select! {
            reason = signals.next() => break reason,
            Some(ended) = fronts.join_next() => {
                ended??;
                anyhow::bail!("a server ended by itself");
            }
            Some(loaded) = loading.join_next() => {
                loaded??;
                tracing::info!(seconds = start.elapsed().as_secs_f64(), "the models of the repository serve");
            }
        }
    };

    let delay = Duration::from_secs(arguments.shutdown.drain_delay_secs);
    shutdown::drain(reason, &mut signals, delay, &service.lifecycle, &stop_accepting).await;
    let timeout = Duration::from_secs(arguments.shutdown.exit_timeout_secs);
    let ending = Instant::now();
    let finished = finish(&mut fronts, timeout, &service.intake.accepted).await;
    let (traces, left) = (
        Arc::clone(&service.trace),
        timeout.saturating_sub(ending.elapsed()),
    );
    // Sending the last traces blocks.
    let _ = tokio::task::spawn_blocking(move || traces.end(left)).await;
    stop_operations.cancel();
    // A scraper that keeps its connection open should not hold up the end.
    let _ = tokio::time::timeout(OPERATIONS_END, operations_front.join_next()).await;
    let ending = async {
        loading.shutdown().await;
        keeper.end().await;
    };
    if tokio::time::timeout(CACHE_END, ending).await.is_err() {
        tracing::warn!("files of models that served until now may be left in the model cache");
    }
    finished
}

async fn load(
    keeper: Arc<Keeper>,
    plan: Option<std::path::PathBuf>,
    chosen: Option<Vec<String>>,
    exit_on_error: bool,
) -> anyhow::Result<()> {
    if let Some(plan) = plan {
        keeper.follow_plan(plan).await;
        return Ok(());
    }
    match keeper.serve_repository(chosen.as_deref()).await {
        Ok(()) => Ok(()),
        Err(failure) if exit_on_error => Err(anyhow::anyhow!(failure.message)),
        Err(failure) => {
            tracing::error!(
                error = failure.message,
                "some models cannot be loaded; the others serve"
            );
            std::future::pending().await
        }
    }
}

/// Waits for the fronts. A connection that is still open at the end loses nothing unless a request was accepted on it.
async fn finish(
    fronts: &mut JoinSet<anyhow::Result<()>>,
    timeout: Duration,
    accepted: &Accepted,
) -> anyhow::Result<()> {
    let all = async {
        while let Some(ended) = fronts.join_next().await {
            ended??;
        }
        Ok(())
    };
    let seconds = timeout.as_secs();
    match (tokio::time::timeout(timeout, all).await, accepted.count()) {
        (Ok(result), _) => {
            tracing::info!("everything that was accepted is answered");
            result
        }
        (Err(_), 0) => {
            tracing::warn!(
                seconds,
                "connections were still open after --exit-timeout-secs, but everything that was accepted is answered"
            );
            Ok(())
        }
        (Err(_), lost) => anyhow::bail!(
            "{lost} requests were still running after the {seconds} seconds of --exit-timeout-secs; they are lost"
        ),
    }
}
