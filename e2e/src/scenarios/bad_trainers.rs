//! Trainers that die: each says why, and its run in MLflow is closed.

use aiops_crds::Experiment;
use aiops_mlflow_client::RunStatus;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::specs;
use crate::scenario::{Context, Ended, JOB};
use crate::wait::Seen;

pub async fn run(context: &Context) -> Result<Ended> {
    let mut endless = specs::long_training(1_000_000);
    // A pod that died may have been unlucky, so that it is started again by default; here its first death counts.
    endless["backoffLimit"] = json!(0);
    let with = |field: &str, value: Value| {
        let mut spec = endless.clone();
        spec[field] = value;
        spec
    };
    let small = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}});
    context
        .create::<Experiment>("too-small", with("resources", small))
        .await?;
    context.create::<Experiment>("crashing", endless.clone()).await?;
    crash(context, "crashing").await?;
    context
        .until_refused::<Experiment>(
            "too-small",
            "OutOfMemory",
            &["64Mi", "spec.resources.limits.memory"],
        )
        .await?;
    context
        .until_refused::<Experiment>(
            "crashing",
            "TrainerCrashed",
            &["137", "kubectl logs job/crashing-train"],
        )
        .await?;

    context
        .create::<Experiment>("too-slow", with("activeDeadlineSeconds", json!(20)))
        .await?;
    context
        .until_refused::<Experiment>(
            "too-slow",
            "DeadlineExceeded",
            &["20 s", "spec.activeDeadlineSeconds"],
        )
        .await?;
    for name in ["too-small", "crashing", "too-slow"] {
        let status = context.only_run_of(name).await?.info.status;
        ensure!(
            status == RunStatus::Failed,
            "the run of {name} is {status:?} in MLflow, not FAILED"
        );
    }
    Ok(Ended::Passed)
}

/// Kills the trainer as the kernel kills a process: without a last word.
///
/// The first process of a container cannot be killed from inside of it, but it can be given a limit of processor time
/// that it has used up already; the kernel then sends it SIGKILL.
async fn crash(context: &Context, experiment: &str) -> Result<()> {
    const KILL: &str = "import resource; resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))";
    // Three seconds of processor time: enough that the limit is exceeded, and that the training has begun.
    const USED: &str = "import os; ticks = open('/proc/1/stat').read().rsplit(')', 1)[1].split(); \
        print(int(ticks[11]) // os.sysconf('SC_CLK_TCK'))";
    let selector = format!("aiops.dev/experiment={experiment}");
    let name = context
        .until("the trainer has worked for 3 s", JOB, async || {
            let pods = context.pods(&selector).await?;
            let name = pods
                .first()
                .and_then(|pod| pod.metadata.name.clone())
                .context("there is no pod yet")?;
            let seconds = python_in(context, &name, USED).await?;
            let worked = seconds.trim().parse::<u64>()? >= 3;
            Ok(if worked {
                Seen::Done(name)
            } else {
                Seen::NotYet(format!("{} s", seconds.trim()))
            })
        })
        .await?;
    python_in(context, &name, KILL).await?;
    context
        .progress
        .say(&format!("the trainer in pod {name} was killed"));
    Ok(())
}

async fn python_in(context: &Context, pod: &str, code: &str) -> Result<String> {
    context
        .programs
        .kubectl(&["-n", &context.namespace, "exec", pod, "--", "python", "-c", code])
        .await
}
