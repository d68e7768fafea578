//! Versions, batches and queues.

use std::time::Duration;

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{DynamicBatching, Priorities, QueuePolicy, TimeoutAction, VersionPolicy};

/// Each has a queue of its own.
const MOST_PRIORITY_LEVELS: u64 = 1000;

pub(super) fn dynamic_batching(setting: &Setting) -> Result<DynamicBatching> {
    let mut batching = DynamicBatching::default();
    for inner in setting.inner() {
        match inner.schema.name {
            "preferred_batch_size" => batching.preferred_batch_sizes.push(inner.whole()?),
            "max_queue_delay_microseconds" => {
                batching.max_queue_delay = Duration::from_micros(inner.whole()?);
            }
            "preserve_ordering" => batching.preserve_ordering = inner.flag(),
            "default_queue_policy" => batching.queue = queue_policy(inner.inner())?,
            _ => {}
        }
    }
    batching.priorities = priorities(setting)?;
    if batching.preserve_ordering {
        check_ordering(setting, &batching)?;
    }
    Ok(batching)
}

/// A field of a message, where it says something.
fn said<'a>(setting: &'a Setting, name: &str) -> Option<&'a Setting> {
    setting
        .inner()
        .iter()
        .find(|inner| inner.schema.name == name && !inner.is_default())
}

fn priorities(setting: &Setting) -> Result<Priorities> {
    let Some(levels) = said(setting, "priority_levels") else {
        let needy = ["default_priority_level", "priority_queue_policy"];
        return match needy.into_iter().find_map(|name| said(setting, name)) {
            Some(stray) => Err(error_at(
                stray.line,
                format!("{} needs priority_levels", stray.schema.name),
            )),
            None => Ok(Priorities::default()),
        };
    };
    let count: u64 = levels.whole()?;
    if count > MOST_PRIORITY_LEVELS {
        return Err(error_at(
            levels.line,
            format!("priority_levels {count} is more than {MOST_PRIORITY_LEVELS}"),
        ));
    }
    let level = |setting: &Setting, number: u64| match u32::try_from(number) {
        Ok(level) if (1..=count).contains(&number) => Ok(level),
        _ => Err(error_at(
            setting.line,
            format!(
                "level {number} of {} is not between 1 and the {count} of priority_levels",
                setting.schema.name
            ),
        )),
    };
    let default_level = match said(setting, "default_priority_level") {
        Some(default) => level(default, default.whole()?)?,
        None => {
            return Err(error_at(
                levels.line,
                format!("priority_levels needs a default_priority_level between 1 and {count}"),
            ));
        }
    };
    let mut priorities = Priorities {
        levels: count as u32,
        default_level,
        ..Priorities::default()
    };
    for entry in setting.inner() {
        if entry.schema.name == "priority_queue_policy" {
            let key = said(entry, "key").map_or(Ok(0), Setting::whole)?;
            let (_, value) = entry.entry();
            priorities
                .policies
                .insert(level(entry, key)?, queue_policy(value)?);
        }
    }
    Ok(priorities)
}

/// As in Triton, nothing may overtake where the order of answers is kept: they would all wait for it.
fn check_ordering(setting: &Setting, batching: &DynamicBatching) -> Result<()> {
    let line = said(setting, "preserve_ordering").map_or(setting.line, |ordering| ordering.line);
    let Priorities { levels, policies, .. } = &batching.priorities;
    if *levels > 1 {
        return Err(error_at(
            line,
            format!("preserve_ordering allows one of priority_levels, not {levels}; remove one of the two"),
        ));
    }
    let mut policies = policies.values().chain([&batching.queue]);
    if policies.any(|policy| policy.timeout_action == TimeoutAction::Delay) {
        return Err(error_at(
            line,
            "preserve_ordering excludes timeout_action DELAY, which lets requests overtake; use REJECT",
        ));
    }
    Ok(())
}

fn queue_policy(settings: &[Setting]) -> Result<QueuePolicy> {
    let mut policy = QueuePolicy::default();
    for inner in settings {
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
