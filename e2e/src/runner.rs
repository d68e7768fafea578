//! Runs scenarios, a few at a time, each in a namespace of its own, and sums up as cargo does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use rand::Rng as _;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::diagnosis::diagnose;
use crate::namespace;
use crate::programs::Programs;
use crate::progress::{Progress, print_line};
use crate::scenario::{Context, Ended, Scenario};
use crate::scenarios;

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
    name: &'static str,
    context: Context,
    verdict: Verdict,
    seconds: u64,
    kept: bool,
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
    let interrupted = listen_for_interruption();
    let one = |scenario: Scenario| {
        run_one(
            scenario,
            cluster.clone(),
            programs.clone(),
            options.keep,
            interrupted.clone(),
        )
    };
    let mut reports: Vec<Report> = stream::iter(together)
        .map(one)
        .buffer_unordered(options.jobs.max(1))
        .collect()
        .await;
    // Namespaces go away while others work, but not while a part is away that finalizers need.
    join_all(reports.iter_mut().map(Report::see_namespace_gone)).await;
    let first_alone = reports.len();
    for scenario in alone {
        reports.push(one(scenario).await);
    }
    join_all(reports[first_alone..].iter_mut().map(Report::see_namespace_gone)).await;
    Ok(sum_up(&reports, started.elapsed()))
}

async fn run_one(
    scenario: Scenario,
    cluster: Arc<Cluster>,
    programs: Arc<Programs>,
    keep: bool,
    interrupted: Interrupted,
) -> Report {
    let progress = Progress::start(scenario.name);
    progress.say(scenario.claim);
    let context = Context {
        namespace: format!("e2e-{}-{:04x}", scenario.name, rand::rng().random::<u16>()),
        cluster,
        programs,
        progress: progress.clone(),
    };
    let verdict = match to_its_end(&scenario, &context, interrupted).await {
        Ok(Ended::Passed) => Verdict::Passed,
        Ok(Ended::Skipped(why)) => Verdict::Skipped(why),
        Err(error) => {
            progress.say(&format!("FAILED: {error:#}"));
            print_line(&diagnose(&context.cluster, &context.namespace).await);
            Verdict::Failed(format!("{error:#}"))
        }
    };
    progress.say(match &verdict {
        Verdict::Passed => "passed",
        Verdict::Skipped(_) => "skipped",
        Verdict::Failed(_) => "failed",
    });
    let kept = keep && matches!(verdict, Verdict::Failed(_));
    let mut report = Report {
        seconds: progress.seconds(),
        name: scenario.name,
        context,
        verdict,
        kept,
    };
    if kept {
        progress.say(&format!("namespace {} is kept", report.context.namespace));
    } else {
        let deleted = namespace::delete(&report.context).await;
        report.fail_unless(deleted);
    }
    report
}

impl Report {
    /// The end of a scenario is a failure where its namespace stays.
    async fn see_namespace_gone(&mut self) {
        if !self.kept {
            let gone = namespace::until_gone(&self.context).await;
            self.fail_unless(gone);
        }
    }

    /// The first failure is the one that is told.
    fn fail_unless(&mut self, result: Result<()>) {
        if let (Err(error), false) = (result, matches!(self.verdict, Verdict::Failed(_))) {
            self.verdict = Verdict::Failed(format!("{error:#}"));
        }
    }
}

/// Whether somebody pressed Ctrl-C: then scenarios end early, and tidy up.
type Interrupted = watch::Receiver<bool>;

fn listen_for_interruption() -> Interrupted {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            print_line("interrupted: tidying up; kill -KILL ends it at once");
            sender.send_replace(true);
        }
        // A sender that is gone would count as an interruption.
        sender.closed().await;
    });
    receiver
}

/// What a scenario took away is brought back where it was not let do so itself.
async fn to_its_end(scenario: &Scenario, context: &Context, mut interrupted: Interrupted) -> Result<Ended> {
    let ended = tokio::select! {
        biased;
        _ = interrupted.wait_for(|interrupted| *interrupted) => Err(anyhow!("interrupted")),
        ended = in_namespace(scenario, context) => ended,
    };
    if scenario.alone
        && ended.is_err()
        && let Err(error) = context.bring_all_back().await
    {
        context.progress.say(&format!("{error:#}"));
    }
    ended
}

async fn in_namespace(scenario: &Scenario, context: &Context) -> Result<Ended> {
    namespace::create(context).await?;
    tokio::time::timeout(LIMIT, (scenario.run)(context))
        .await
        .with_context(|| format!("stuck: not at its end after {} s", LIMIT.as_secs()))?
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
            report.name, report.seconds
        ));
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    print_line(&format!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {skipped} ignored; finished in {:.0}s\n\n{passed} passed, {failed} failed",
        took.as_secs_f64()
    ));
    failed == 0
}
