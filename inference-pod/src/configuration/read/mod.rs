//! From the text of `config.pbtxt` to a checked `ModelConfig`.

mod ensemble;
mod instances;
mod optimization;
mod parameters;
mod scheduling;
mod tensors;
mod warm_up;

use super::checked::{Setting, check};
use super::schema::MessageSchema;
use super::text_format::{ConfigError, error_at, parse};
use super::{DEFAULT_MODEL_FILE, InstanceGroup, ModelConfig, support};

type Result<T> = std::result::Result<T, ConfigError>;

/// Reads `config.pbtxt`.
pub fn read(text: &str) -> Result<ModelConfig> {
    let settings = check(parse(text)?, MessageSchema::root())?;
    let mut config = ModelConfig {
        model_file: DEFAULT_MODEL_FILE.to_owned(),
        warnings: support::judge(&settings)?,
        ..ModelConfig::default()
    };
    for setting in &settings.settings {
        match setting.schema.name {
            "name" => setting.text().clone_into(&mut config.name),
            "backend" => only(setting, "onnxruntime")?,
            "platform" => platform(setting)?,
            "max_batch_size" => config.max_batch_size = setting.whole()?,
            "input" => config.inputs.push(tensors::tensor(setting)?),
            "output" => config.outputs.push(tensors::tensor(setting)?),
            "default_model_filename" => config.model_file = file_name(setting)?,
            "instance_group" => instances::add(setting, &mut config.instance_groups)?,
            "dynamic_batching" => config.dynamic_batching = Some(scheduling::dynamic_batching(setting)?),
            "version_policy" => config.version_policy = scheduling::version_policy(setting)?,
            "optimization" => optimization::read(setting, &mut config.session)?,
            "ensemble_scheduling" => config.ensemble = Some(ensemble::read(setting)?),
            "response_cache" => config.response_cache = setting.inner().iter().any(Setting::flag),
            "parameters" => parameters::read(setting, &mut config)?,
            "metric_tags" => parameters::read_tag(setting, &mut config)?,
            "model_warmup" => config.warm_ups.push(warm_up::read(setting)?),
            // What is left says what an absent field says, or was warned of.
            _ => {}
        }
    }
    if config.instance_groups.is_empty() {
        config.instance_groups.push(InstanceGroup::default());
    }
    ensemble::check(&settings)?;
    ensemble::drop_cache(&settings, &mut config);
    if config.session.inter_op_threads.is_some() && !config.session.parallel {
        let warning =
            "config.pbtxt: parameter \"inter_op_thread_count\" has no effect without \"execution_mode\" 1";
        config.warnings.push(warning.to_owned());
    }
    Ok(config)
}

fn platform(setting: &Setting) -> Result<()> {
    let (text, ensemble) = (setting.text(), ensemble::PLATFORM);
    if matches!(text, "" | "onnxruntime_onnx") || text == ensemble {
        return Ok(());
    }
    Err(error_at(
        setting.line,
        format!("platform \"{text}\" is not supported, only \"onnxruntime_onnx\" and \"{ensemble}\" are"),
    ))
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

#[cfg(test)]
mod bad_texts;
#[cfg(test)]
mod tests;
