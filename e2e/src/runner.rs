//! Runs scenarios, a few at a time, each in a namespace of its own, and sums up as cargo does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use rand::Rng as _;

use crate::cluster::{Cluster, OBJECT_STORE_SECRET};
use crate::diagnosis::diagnose;
use crate::programs::Programs;
use crate::progress::{Progress, print_line};
use crate::scenario::{Context, Ended, Scenario};
use crate::scenarios;
use crate::wait::{Seen, until};

/// How long one scenario may take before it counts as stuck.
const LIMIT: Duration = Duration::from_secs(900);

/// What to run, and how.
#[derive(Args)]
pub struct Options {
    /// Runs only the scenarios whose name contains one of these; all without any.
    filters: Vec<String>,
    /// How many scenarios run at the same time.
    #[arg(long, env = "AIOPS_E2E_JOBS", default_value_t = 2)]
    jobs: usize,
    /// Keeps the namespace of a scenario that failed.
    #[arg(long)]
    keep: bool,
}

/// Prints the names and claims.
pub fn list() {
    for scenario in scenarios::all() {
        print_line(&format!("{:<22} {}", scenario.name, scenario.claim));
    }
}

/// What became of one scenario.
enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

struct Report {
    scenario: Scenario,
    verdict: Verdict,
    seconds: u64,
}

/// Runs what the options ask for; true if none failed.
pub async fn run(options: &Options) -> Result<bool> {
    let started = Instant::now();
    let chosen: Vec<Scenario> = scenarios::all()
        .into_iter()
        .filter(|scenario| {
            options.filters.is_empty()
                || options
                    .filters
                    .iter()
                    .any(|filter| scenario.name.contains(filter.as_str()))
        })
        .collect();
    anyhow::ensure!(
        !chosen.is_empty(),
        "no scenario has a name with {}",
        options.filters.join(" or ")
    );
    let cluster = Arc::new(Cluster::connect().await?);
    cluster.require_release().await?;
    let programs = Arc::new(Programs::new(cluster.kubeconfig()));

    let (alone, together): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|scenario| scenario.alone);
    let one = |scenario: Scenario| run_one(scenario, cluster.clone(), programs.clone(), options.keep);
    let mut reports: Vec<Report> = stream::iter(together)
        .map(one)
        .buffer_unordered(options.jobs.max(1))
        .collect()
        .await;
    for scenario in alone {
        reports.push(one(scenario).await);
    }
    Ok(sum_up(&reports, started.elapsed()))
}

async fn run_one(scenario: Scenario, cluster: Arc<Cluster>, programs: Arc<Programs>, keep: bool) -> Report {
    let progress = Progress::start(scenario.name);
    progress.say(scenario.claim);
    let context = Context {
        namespace: format!("e2e-{}-{:04x}", scenario.name, rand::rng().random::<u16>()),
        cluster,
        programs,
        progress: progress.clone(),
    };
    let verdict = match in_namespace(&scenario, &context).await {
        Ok(Ended::Passed) => Verdict::Passed,
        Ok(Ended::Skipped(why)) => Verdict::Skipped(why),
        Err(error) => {
            progress.say(&format!("FAILED: {error:#}"));
            print_line(&diagnose(&context.cluster, &context.namespace).await);
            Verdict::Failed(format!("{error:#}"))
        }
    };
    let failed = matches!(verdict, Verdict::Failed(_));
    let verdict = match delete_namespace(&context, failed && keep).await {
        Err(error) if !failed => Verdict::Failed(format!("{error:#}")),
        _ => verdict,
    };
    let seconds = progress.seconds();
    progress.say(match &verdict {
        Verdict::Passed => "passed",
        Verdict::Skipped(_) => "skipped",
        Verdict::Failed(_) => "failed",
    });
    Report {
        scenario,
        verdict,
        seconds,
    }
}

async fn in_namespace(scenario: &Scenario, context: &Context) -> Result<Ended> {
    create_namespace(context).await?;
    tokio::time::timeout(LIMIT, (scenario.run)(context))
        .await
        .with_context(|| format!("stuck: not at its end after {} s", LIMIT.as_secs()))?
}

/// Makes the namespace with the object store's credentials, as the chart does for its `workloadNamespaces`.
async fn create_namespace(context: &Context) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(context.cluster.client.clone());
    let labels = BTreeMap::from([("aiops.dev/e2e".to_owned(), "true".to_owned())]);
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(context.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .context("the scenario's namespace cannot be created")?;
    let source = context
        .cluster
        .api::<Secret>(&context.cluster.release_namespace)
        .get(OBJECT_STORE_SECRET)
        .await;
    let copy = Secret {
        metadata: ObjectMeta {
            name: Some(OBJECT_STORE_SECRET.into()),
            ..ObjectMeta::default()
        },
        data: source
            .with_context(|| format!("Secret {OBJECT_STORE_SECRET} of the release cannot be read"))?
            .data,
        ..Secret::default()
    };
    context
        .api::<Secret>()
        .create(&PostParams::default(), &copy)
        .await
        .context("the Secret cannot be copied")?;
    Ok(())
}

/// Deletes the namespace; what keeps it from going away, such as a finalizer that nobody removes, is a failure.
async fn delete_namespace(context: &Context, keep: bool) -> Result<()> {
    if keep {
        context
            .progress
            .say(&format!("namespace {} is kept", context.namespace));
        return Ok(());
    }
    let namespaces: Api<Namespace> = Api::all(context.cluster.client.clone());
    let name = &context.namespace;
    match namespaces.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        deleted => deleted.with_context(|| format!("namespace {name} cannot be deleted"))?,
    };
    until(
        &context.progress,
        &format!("namespace {name} is gone"),
        Duration::from_secs(120),
        async || {
            Ok(match namespaces.get_opt(name).await? {
                None => Seen::Done(()),
                Some(namespace) => {
                    let conditions = namespace
                        .status
                        .and_then(|status| status.conditions)
                        .unwrap_or_default();
                    let left: Vec<_> = conditions
                        .into_iter()
                        .filter(|condition| condition.status == "True")
                        .filter_map(|condition| condition.message)
                        .collect();
                    Seen::NotYet(left.join("; "))
                }
            })
        },
    )
    .await
}

fn sum_up(reports: &[Report], took: Duration) -> bool {
    print_line("");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for report in reports {
        let (word, detail) = match &report.verdict {
            Verdict::Passed => (&mut passed, "ok".to_owned()),
            Verdict::Skipped(why) => (&mut skipped, format!("ignored, {why}")),
            Verdict::Failed(why) => (&mut failed, format!("FAILED\n    {why}")),
        };
        *word += 1;
        print_line(&format!(
            "test {} ... {} s, {detail}",
            report.scenario.name, report.seconds
        ));
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    print_line(&format!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {skipped} ignored; finished in {:.0}s\n\n{passed} passed, {failed} failed",
        took.as_secs_f64()
    ));
    failed == 0
}
