//! From the text of `config.pbtxt` to a checked `ModelConfig`.

mod parameters;
mod scheduling;
mod tensors;
mod warm_up;

use super::checked::{Setting, check};
use super::schema::MessageSchema;
use super::text_format::{ConfigError, error_at, parse};
use super::{DEFAULT_MODEL_FILE, GraphOptimization, ModelConfig, support};

type Result<T> = std::result::Result<T, ConfigError>;

/// Reads `config.pbtxt`.
pub fn read(text: &str) -> Result<ModelConfig> {
    let settings = check(parse(text)?, MessageSchema::root())?;
    let mut config = ModelConfig {
        model_file: DEFAULT_MODEL_FILE.to_owned(),
        instances: 0,
        warnings: support::judge(&settings)?,
        ..ModelConfig::default()
    };
    for setting in &settings.settings {
        match setting.schema.name {
            "name" => setting.text().clone_into(&mut config.name),
            "backend" => only(setting, "onnxruntime")?,
            "platform" => only(setting, "onnxruntime_onnx")?,
            "max_batch_size" => config.max_batch_size = setting.whole()?,
            "input" => config.inputs.push(tensors::tensor(setting)?),
            "output" => config.outputs.push(tensors::tensor(setting)?),
            "default_model_filename" => config.model_file = file_name(setting)?,
            "instance_group" => scheduling::add_instances(setting, &mut config.instances)?,
            "dynamic_batching" => config.dynamic_batching = Some(scheduling::dynamic_batching(setting)?),
            "version_policy" => config.version_policy = scheduling::version_policy(setting)?,
            "optimization" => config.session.optimization = graph_optimization(setting)?,
            "parameters" => parameters::read(setting, &mut config)?,
            "metric_tags" => parameters::read_tag(setting, &mut config)?,
            "model_warmup" => config.warm_ups.push(warm_up::read(setting)?),
            // What is left says what an absent field says, or was warned of.
            _ => {}
        }
    }
    config.instances = config.instances.max(1);
    if config.session.inter_op_threads.is_some() && !config.session.parallel {
        let warning =
            "config.pbtxt: parameter \"inter_op_thread_count\" has no effect without \"execution_mode\" 1";
        config.warnings.push(warning.to_owned());
    }
    Ok(config)
}

/// A string that has one value besides the empty one.
fn only(setting: &Setting, supported: &str) -> Result<()> {
    let (name, text) = (setting.schema.name, setting.text());
    if text.is_empty() || text == supported {
        return Ok(());
    }
    Err(error_at(
        setting.line,
        format!("{name} \"{text}\" is not supported, only \"{supported}\" is"),
    ))
}

fn file_name(setting: &Setting) -> Result<String> {
    let name = setting.text();
    if name.is_empty() {
        return Ok(DEFAULT_MODEL_FILE.to_owned());
    }
    if !is_file_name(name) {
        return Err(error_at(
            setting.line,
            format!(
                "{} must be the name of a file in the version's folder",
                setting.schema.name
            ),
        ));
    }
    Ok(name.to_owned())
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != ".." && name != "."
}

fn graph_optimization(setting: &Setting) -> Result<GraphOptimization> {
    let graphs = setting
        .inner()
        .iter()
        .filter(|inner| inner.schema.name == "graph");
    let Some(level) = graphs.flat_map(Setting::inner).next() else {
        return Ok(GraphOptimization::default());
    };
    let number: i32 = level.whole()?;
    GraphOptimization::from_level(number).ok_or_else(|| {
        error_at(
            level.line,
            format!(
                "level {number} of graph is not known; it is -1 (basic), 0 (all), 1 (extended) or 2 (none)"
            ),
        )
    })
}

#[cfg(test)]
mod bad_texts;
#[cfg(test)]
mod tests;
