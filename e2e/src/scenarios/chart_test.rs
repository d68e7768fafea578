//! The chart's own test: every part of the release answers.

use anyhow::{Result, ensure};

use crate::cluster::{RELEASE, RELEASE_NAMESPACE};
use crate::scenario::{Context, Ended};

pub async fn run(context: &Context) -> Result<Ended> {
    let told = context
        .programs
        .helm(&["test", RELEASE, "-n", RELEASE_NAMESPACE, "--timeout", "5m"])
        .await?;
    ensure!(
        told.contains("Phase:          Succeeded"),
        "helm test does not say that it succeeded: {told}"
    );
    Ok(Ended::Passed)
}
