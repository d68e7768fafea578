//! Free-form parameters, and those of them that are ONNX Runtime's.

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{ModelConfig, SessionSettings};

const MOST_THREADS: usize = 1024;

/// Parameters of Triton's ONNX Runtime backend that go to its CUDA provider, with the values that stand for a number.
const OF_CUDA: [(&str, &[&str]); 6] = [
    ("arena_extend_strategy", &["kNextPowerOfTwo", "kSameAsRequested"]),
    ("cudnn_conv_algo_search", &["EXHAUSTIVE", "HEURISTIC", "DEFAULT"]),
    ("cudnn_conv_use_max_workspace", &["0", "1"]),
    ("cudnn_conv1d_pad_to_nc1d", &["0", "1"]),
    ("do_copy_in_default_stream", &["0", "1"]),
    ("enable_cuda_graph", &["0", "1"]),
];

/// Takes an entry of `parameters` into the configuration.
pub(super) fn read(setting: &Setting, config: &mut ModelConfig) -> Result<()> {
    let (key, value) = setting.entry();
    let value = value.first().map_or("", Setting::text);
    if key.is_empty() {
        return Err(error_at(setting.line, "parameters lacks its key"));
    }
    config.parameters.insert(key.to_owned(), value.to_owned());
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
fn apply(key: &str, value: &str, session: &mut SessionSettings) -> std::result::Result<(), String> {
    if let Some((_, choices)) = OF_CUDA.into_iter().find(|(name, _)| *name == key) {
        session.gpu.cuda.insert(key.to_owned(), choice(value, choices)?);
        return Ok(());
    }
    match key {
        "gpu_mem_limit" => drop(session.gpu.cuda.insert(key.to_owned(), bytes(value)?)),
        "intra_op_thread_count" => session.intra_op_threads = threads(value)?,
        "inter_op_thread_count" => session.inter_op_threads = threads(value)?,
        "execution_mode" => session.parallel = switch(value, "0 (one after another) or 1 (in parallel)")?,
        "enable_mem_arena" => session.memory_arena = switch(value, "0 or 1")?,
        "enable_mem_pattern" => session.memory_pattern = switch(value, "0 or 1")?,
        "memory.enable_memory_arena_shrinkage" => session.shrink_arena = shrinks(value)?,
        "session.use_device_allocator_for_initializers" => {
            session.initializers_outside_arena = switch(value, "0 or 1")?;
        }
        // Not ONNX Runtime's: read by the REST front.
        "missing_values" if value != "NaN" => {
            return Err("\"NaN\", which null stands for in rows over REST".to_owned());
        }
        _ => {}
    }
    Ok(())
}

/// 0 leaves the number to the server.
fn threads(value: &str) -> std::result::Result<Option<usize>, String> {
    match value.trim().parse() {
        Ok(0) => Ok(None),
        Ok(count) if count <= MOST_THREADS => Ok(Some(count)),
        _ => Err("a number of threads from 0 to 1024".to_owned()),
    }
}

fn switch(value: &str, expected: &str) -> std::result::Result<bool, String> {
    match value.trim() {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(expected.to_owned()),
    }
}

/// Of the arenas named, only that of the CPU can be told to shrink.
fn shrinks(value: &str) -> std::result::Result<bool, String> {
    let arenas: Vec<_> = value
        .split(';')
        .map(str::trim)
        .filter(|arena| !arena.is_empty())
        .collect();
    match arenas.as_slice() {
        [] => Ok(false),
        ["cpu:0" | "cpu"] => Ok(true),
        _ => Err("\"cpu:0\": the CPU's arena alone is shrunk".to_owned()),
    }
}

/// One of the choices, by its name or its number.
fn choice(value: &str, choices: &[&str]) -> std::result::Result<String, String> {
    let value = value.trim();
    let by_number = value.parse::<usize>().ok().and_then(|number| choices.get(number));
    let found = by_number.or_else(|| choices.iter().find(|choice| **choice == value));
    found
        .map(|choice| (*choice).to_owned())
        .ok_or_else(|| format!("one of {}", choices.join(", ")))
}

fn bytes(value: &str) -> std::result::Result<String, String> {
    match value.trim().parse::<u64>() {
        Ok(count) if count > 0 => Ok(count.to_string()),
        _ => Err("a number of bytes".to_owned()),
    }
}
