//! Groups of sessions.

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{InstanceGroup, InstanceKind};

const MOST_INSTANCES: u32 = 64;

/// Adds a group to those before it.
pub(super) fn add(setting: &Setting, groups: &mut Vec<InstanceGroup>) -> Result<()> {
    let mut group = InstanceGroup::default();
    let mut count: i64 = 1;
    for inner in setting.inner() {
        match inner.schema.name {
            // As in Triton, 0 is what a count that is absent is.
            "count" => {
                count = inner
                    .whole::<i64>()
                    .map(|count| if count == 0 { 1 } else { count })?;
            }
            "kind" => group.kind = kind(inner)?,
            "gpus" => group.gpus.push(inner.whole()?),
            _ => {}
        }
    }
    if group.kind == InstanceKind::Cpu && !group.gpus.is_empty() {
        return Err(error_at(
            setting.line,
            "instance_group has kind KIND_CPU and names gpus; remove them, or use KIND_GPU",
        ));
    }
    let before: u32 = groups.iter().map(|group| group.count).sum();
    match u32::try_from(count) {
        Ok(count) if count > 0 && before + count <= MOST_INSTANCES => group.count = count,
        _ => {
            return Err(error_at(
                setting.line,
                format!(
                    "instance_group count {count} is not between 1 and {MOST_INSTANCES}, other groups counted in"
                ),
            ));
        }
    }
    groups.push(group);
    Ok(())
}

fn kind(setting: &Setting) -> Result<InstanceKind> {
    let name = setting.text();
    let found = InstanceKind::NAMES.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, kind)| kind).ok_or_else(|| {
        error_at(
            setting.line,
            format!("kind {name} of instance_group is not supported; use KIND_CPU or KIND_GPU"),
        )
    })
}
