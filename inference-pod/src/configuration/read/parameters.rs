//! Free-form parameters, and those of them that are ONNX Runtime's.

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{ModelConfig, SessionSettings};

const MOST_THREADS: usize = 1024;

/// Parameters of Triton's ONNX Runtime backend that need a GPU.
const OF_GPUS: [&str; 7] = [
    "arena_extend_strategy",
    "cudnn_conv_algo_search",
    "cudnn_conv_use_max_workspace",
    "cudnn_conv1d_pad_to_nc1d",
    "do_copy_in_default_stream",
    "gpu_mem_limit",
    "enable_cuda_graph",
];

/// Takes an entry of `parameters` into the configuration.
pub(super) fn read(setting: &Setting, config: &mut ModelConfig) -> Result<()> {
    let (key, value) = setting.entry();
    let value = value.first().map_or("", Setting::text);
    if key.is_empty() {
        return Err(error_at(setting.line, "parameters lacks its key"));
    }
    config.parameters.insert(key.to_owned(), value.to_owned());
    if OF_GPUS.contains(&key) {
        config.warnings.push(format!(
            "config.pbtxt line {}: parameter \"{key}\" has no effect here: models run on CPUs",
            setting.line
        ));
    }
    apply(key, value, &mut config.session).map_err(|expected| {
        error_at(
            setting.line,
            format!("parameter \"{key}\" cannot be \"{value}\"; it is {expected}"),
        )
    })
}

/// Labels that metrics have of themselves.
const OWN_LABELS: [&str; 7] = [
    "model", "version", "reason", "phase", "le", "quantile", "gpu_uuid",
];

/// Takes an entry of `metric_tags` into the configuration.
pub(super) fn read_tag(setting: &Setting, config: &mut ModelConfig) -> Result<()> {
    let text = |name: &str| {
        let found = setting.inner().iter().find(|inner| inner.schema.name == name);
        found.map_or("", Setting::text)
    };
    let (key, value) = (text("key"), text("value"));
    let is_name = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !key.starts_with("__");
    if !is_name || OWN_LABELS.contains(&key) {
        return Err(error_at(
            setting.line,
            format!(
                "metric_tags cannot have the key \"{key}\"; it is a label of metrics: letters, digits and _, and none of {}",
                OWN_LABELS.join(", ")
            ),
        ));
    }
    config.metric_tags.insert(key.to_owned(), value.to_owned());
    Ok(())
}

/// Sets what a parameter stands for, if it is one of ONNX Runtime's; an error is what it may be.
fn apply(key: &str, value: &str, session: &mut SessionSettings) -> std::result::Result<(), &'static str> {
    match key {
        "intra_op_thread_count" => session.intra_op_threads = threads(value)?,
        "inter_op_thread_count" => session.inter_op_threads = threads(value)?,
        "execution_mode" => session.parallel = switch(value, "0 (one after another) or 1 (in parallel)")?,
        "enable_mem_arena" => session.memory_arena = switch(value, "0 or 1")?,
        "enable_mem_pattern" => session.memory_pattern = switch(value, "0 or 1")?,
        "memory.enable_memory_arena_shrinkage" => session.shrink_arena = shrinks(value)?,
        "session.use_device_allocator_for_initializers" => {
            session.initializers_outside_arena = switch(value, "0 or 1")?;
        }
        _ => {}
    }
    Ok(())
}

/// 0 leaves the number to the server.
fn threads(value: &str) -> std::result::Result<Option<usize>, &'static str> {
    match value.trim().parse() {
        Ok(0) => Ok(None),
        Ok(count) if count <= MOST_THREADS => Ok(Some(count)),
        _ => Err("a number of threads from 0 to 1024"),
    }
}

fn switch(value: &str, expected: &'static str) -> std::result::Result<bool, &'static str> {
    match value.trim() {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(expected),
    }
}

/// Of the arenas named, that of the CPU is the only one there is.
fn shrinks(value: &str) -> std::result::Result<bool, &'static str> {
    let arenas: Vec<_> = value
        .split(';')
        .map(str::trim)
        .filter(|arena| !arena.is_empty())
        .collect();
    match arenas.as_slice() {
        [] => Ok(false),
        ["cpu:0" | "cpu"] => Ok(true),
        _ => Err("\"cpu:0\", since models run on CPUs"),
    }
}
