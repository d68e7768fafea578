//! The chart's own test: every part of the release answers.

use anyhow::{Result, ensure};

use crate::cluster::RELEASE;
use crate::scenario::{Context, Ended};

pub async fn run(context: &Context) -> Result<Ended> {
    let told = context
        .programs
        .helm(&[
            "test",
            RELEASE,
            "-n",
            &context.cluster.release_namespace,
            "--timeout",
            "5m",
        ])
        .await?;
    ensure!(
        told.contains("Phase:          Succeeded"),
        "helm test does not say that it succeeded: {told}"
    );
    Ok(Ended::Passed)
}
