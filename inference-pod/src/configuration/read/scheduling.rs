//! Versions, sessions, batches and queues.

use std::time::Duration;

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{DynamicBatching, QueuePolicy, TimeoutAction, VersionPolicy};

const MOST_INSTANCES: u32 = 64;

/// Adds the sessions of a group to those of the groups before it.
pub(super) fn add_instances(setting: &Setting, instances: &mut u32) -> Result<()> {
    let mut count: i64 = 1;
    for inner in setting.inner() {
        match inner.schema.name {
            "count" => count = inner.whole()?,
            "kind" if matches!(inner.text(), "KIND_GPU" | "KIND_MODEL") => {
                return Err(error_at(
                    inner.line,
                    format!(
                        "kind {} of instance_group is not supported; use KIND_CPU",
                        inner.text()
                    ),
                ));
            }
            _ => {}
        }
    }
    let total = i64::from(*instances) + count;
    match u32::try_from(total) {
        Ok(total) if count > 0 && total <= MOST_INSTANCES => *instances = total,
        _ => {
            return Err(error_at(
                setting.line,
                format!(
                    "instance_group count {count} is not between 1 and {MOST_INSTANCES}, other groups counted in"
                ),
            ));
        }
    }
    Ok(())
}

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
