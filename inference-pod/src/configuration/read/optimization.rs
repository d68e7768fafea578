//! How the graph is rewritten, and what accelerates it.

use std::collections::BTreeMap;

use super::{Result, error_at};
use crate::configuration::checked::Setting;
use crate::configuration::{GraphOptimization, SessionSettings};

/// Triton's name of an option of TensorRT, and ONNX Runtime's.
const OF_TENSORRT: [(&str, &str); 2] = [
    ("max_workspace_size_bytes", "trt_max_workspace_size"),
    ("int8_calibration_table_name", "trt_int8_calibration_table_name"),
];

/// Takes `optimization` into the settings.
pub(super) fn read(setting: &Setting, session: &mut SessionSettings) -> Result<()> {
    for inner in setting.inner() {
        match inner.schema.name {
            "graph" => session.optimization = graph(inner)?,
            "cuda" => session.gpu.graphs = field(inner, "graphs").is_some_and(Setting::flag),
            "execution_accelerators" => session.gpu.tensorrt = accelerators(inner)?,
            _ => {}
        }
    }
    Ok(())
}

fn field<'a>(setting: &'a Setting, name: &str) -> Option<&'a Setting> {
    setting.inner().iter().find(|inner| inner.schema.name == name)
}

fn graph(setting: &Setting) -> Result<GraphOptimization> {
    let Some(level) = field(setting, "level") else {
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

/// The options of TensorRT where it is asked for: the one accelerator besides CUDA that there is.
fn accelerators(setting: &Setting) -> Result<Option<BTreeMap<String, String>>> {
    let mut tensorrt = None;
    for accelerator in setting.inner() {
        if accelerator.schema.name != "gpu_execution_accelerator" {
            continue;
        }
        let name = field(accelerator, "name").map_or("", Setting::text);
        match name {
            "cuda" => {}
            "tensorrt" => tensorrt = Some(tensorrt_options(accelerator)?),
            _ => {
                return Err(error_at(
                    accelerator.line,
                    format!(
                        "gpu_execution_accelerator \"{name}\" is not known; it is \"tensorrt\" or \"cuda\""
                    ),
                ));
            }
        }
    }
    Ok(tensorrt)
}

fn tensorrt_options(accelerator: &Setting) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    let parameters = accelerator.inner().iter();
    for parameter in parameters.filter(|inner| inner.schema.name == "parameters") {
        let key = field(parameter, "key").map_or("", Setting::text);
        let value = field(parameter, "value").map_or("", Setting::text);
        let renamed = OF_TENSORRT.into_iter().find(|(name, _)| *name == key);
        match (key, value) {
            ("precision_mode", "FP32") => {}
            ("precision_mode", "FP16") => drop(options.insert("trt_fp16_enable".to_owned(), "1".to_owned())),
            ("precision_mode", "INT8") => drop(options.insert("trt_int8_enable".to_owned(), "1".to_owned())),
            ("precision_mode", _) => {
                return Err(error_at(
                    parameter.line,
                    format!("precision_mode \"{value}\" of tensorrt is not known; it is FP32, FP16 or INT8"),
                ));
            }
            _ if renamed.is_some() || key.starts_with("trt_") => {
                let name = renamed.map_or(key, |(_, name)| name);
                options.insert(name.to_owned(), value.to_owned());
            }
            _ => {
                return Err(error_at(
                    parameter.line,
                    format!(
                        "parameter \"{key}\" of tensorrt is not known; it is precision_mode, max_workspace_size_bytes, \
                         int8_calibration_table_name, or an option of ONNX Runtime's TensorRT provider, which begin with trt_"
                    ),
                ));
            }
        }
    }
    Ok(options)
}
