//! Versions, batches and queues.

use std::time::Duration;

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{DynamicBatching, QueuePolicy, TimeoutAction, VersionPolicy};

pub(super) fn dynamic_batching(setting: &Setting) -> Result<DynamicBatching> {
    let mut batching = DynamicBatching::default();
    for inner in setting.inner() {
        match inner.schema.name {
            "preferred_batch_size" => batching.preferred_batch_sizes.push(inner.whole()?),
            "max_queue_delay_microseconds" => {
                batching.max_queue_delay = Duration::from_micros(inner.whole()?);
            }
            "default_queue_policy" => batching.queue = queue_policy(inner)?,
            _ => {}
        }
    }
    Ok(batching)
}

fn queue_policy(setting: &Setting) -> Result<QueuePolicy> {
    let mut policy = QueuePolicy::default();
    for inner in setting.inner() {
        match inner.schema.name {
            "timeout_action" if inner.text() == "DELAY" => policy.timeout_action = TimeoutAction::Delay,
            "default_timeout_microseconds" => {
                policy.default_timeout = Duration::from_micros(inner.whole()?);
            }
            "allow_timeout_override" => policy.allow_timeout_override = inner.flag(),
            "max_queue_size" => policy.max_queue_size = inner.whole()?,
            _ => {}
        }
    }
    Ok(policy)
}

pub(super) fn version_policy(setting: &Setting) -> Result<VersionPolicy> {
    let [choice] = setting.inner() else {
        return Err(error_at(
            setting.line,
            "version_policy must hold one of latest, all and specific",
        ));
    };
    match choice.schema.name {
        "all" => Ok(VersionPolicy::All),
        "latest" => latest(choice),
        _ => specific(choice),
    }
}

fn latest(setting: &Setting) -> Result<VersionPolicy> {
    let mut count = 1;
    for inner in setting.inner() {
        count = inner.whole()?;
        if count == 0 {
            return Err(error_at(inner.line, "num_versions of latest must be at least 1"));
        }
    }
    Ok(VersionPolicy::Latest(count))
}

fn specific(setting: &Setting) -> Result<VersionPolicy> {
    let versions: Vec<u64> = setting
        .inner()
        .iter()
        .map(Setting::whole)
        .collect::<Result<_>>()?;
    if versions.is_empty() {
        return Err(error_at(
            setting.line,
            "specific must name at least one of versions",
        ));
    }
    Ok(VersionPolicy::Specific(versions))
}
