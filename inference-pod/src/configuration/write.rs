//! From a `ModelConfig` to the text of `config.pbtxt`, by Triton's rules, so that Triton itself can serve the model.

use std::fmt::Write as _;

use super::{
    DEFAULT_MODEL_FILE, DynamicBatching, EnsembleScheduling, GraphOptimization, InstanceGroup, ModelConfig,
    Priorities, QueuePolicy, SessionSettings, TensorConfig, TimeoutAction, VersionPolicy, WarmUp, WarmUpData,
};
use crate::tensor::DataType;

/// The name that `config.pbtxt` has for an element type.
pub fn datatype_name(datatype: DataType) -> &'static str {
    match datatype {
        DataType::Bool => "TYPE_BOOL",
        DataType::Uint8 => "TYPE_UINT8",
        DataType::Uint16 => "TYPE_UINT16",
        DataType::Uint32 => "TYPE_UINT32",
        DataType::Uint64 => "TYPE_UINT64",
        DataType::Int8 => "TYPE_INT8",
        DataType::Int16 => "TYPE_INT16",
        DataType::Int32 => "TYPE_INT32",
        DataType::Int64 => "TYPE_INT64",
        DataType::Fp16 => "TYPE_FP16",
        DataType::Bf16 => "TYPE_BF16",
        DataType::Fp32 => "TYPE_FP32",
        DataType::Fp64 => "TYPE_FP64",
        DataType::Bytes => "TYPE_STRING",
    }
}

/// The text of a configuration.
pub fn write(config: &ModelConfig) -> String {
    let runs = match &config.ensemble {
        Some(_) => "platform: \"ensemble\"",
        None => "backend: \"onnxruntime\"",
    };
    let mut text = format!(
        "name: {}\n{runs}\nmax_batch_size: {}\n",
        quoted(&config.name),
        config.max_batch_size
    );
    if config.model_file != DEFAULT_MODEL_FILE {
        line(
            &mut text,
            format_args!("default_model_filename: {}", quoted(&config.model_file)),
        );
    }
    for (role, tensors) in [("input", &config.inputs), ("output", &config.outputs)] {
        for tensor in tensors {
            line(&mut text, format_args!("{role} {}", self::tensor(tensor)));
        }
    }
    if config.instance_groups != [InstanceGroup::default()] {
        for group in &config.instance_groups {
            line(
                &mut text,
                format_args!("instance_group {}", instance_group(group)),
            );
        }
    }
    if let Some(batching) = &config.dynamic_batching {
        line(
            &mut text,
            format_args!("dynamic_batching {{ {}}}", dynamic_batching(batching)),
        );
    }
    let optimization = optimization(&config.session);
    if !optimization.is_empty() {
        line(&mut text, format_args!("optimization {{ {optimization}}}"));
    }
    if let Some(ensemble) = &config.ensemble {
        line(
            &mut text,
            format_args!("ensemble_scheduling {}", self::ensemble(ensemble)),
        );
    }
    if config.response_cache {
        line(&mut text, format_args!("response_cache {{ enable: true }}"));
    }
    match &config.version_policy {
        VersionPolicy::Latest(1) => {}
        VersionPolicy::Latest(count) => {
            line(
                &mut text,
                format_args!("version_policy {{ latest {{ num_versions: {count} }} }}"),
            );
        }
        VersionPolicy::All => line(&mut text, format_args!("version_policy {{ all {{ }} }}")),
        VersionPolicy::Specific(versions) => {
            line(
                &mut text,
                format_args!("version_policy {{ specific {{ versions: {versions:?} }} }}"),
            );
        }
    }
    for (key, value) in &config.parameters {
        let (key, value) = (quoted(key), quoted(value));
        line(
            &mut text,
            format_args!("parameters {{ key: {key} value {{ string_value: {value} }} }}"),
        );
    }
    for (key, value) in &config.metric_tags {
        let (key, value) = (quoted(key), quoted(value));
        line(
            &mut text,
            format_args!("metric_tags {{ key: {key} value: {value} }}"),
        );
    }
    for sample in &config.warm_ups {
        line(&mut text, format_args!("model_warmup {}", warm_up(sample)));
    }
    text
}

fn instance_group(group: &InstanceGroup) -> String {
    let gpus = if group.gpus.is_empty() {
        String::new()
    } else {
        format!("gpus: {:?} ", group.gpus)
    };
    format!("{{ count: {} kind: {} {gpus}}}", group.count, group.kind.name())
}

fn optimization(session: &SessionSettings) -> String {
    let mut settings = String::new();
    if session.optimization != GraphOptimization::default() {
        settings += &format!("graph {{ level: {} }} ", session.optimization.level());
    }
    if session.gpu.graphs {
        settings += "cuda { graphs: true } ";
    }
    if let Some(options) = &session.gpu.tensorrt {
        settings += "execution_accelerators { gpu_execution_accelerator { name: \"tensorrt\" ";
        for (key, value) in options {
            let (key, value) = (quoted(key), quoted(value));
            settings += &format!("parameters {{ key: {key} value: {value} }} ");
        }
        settings += "} } ";
    }
    settings
}

fn ensemble(scheduling: &EnsembleScheduling) -> String {
    let mut text = "{\n".to_owned();
    if scheduling.max_inflight_requests > 0 {
        text += &format!("  max_inflight_requests: {}\n", scheduling.max_inflight_requests);
    }
    for step in &scheduling.steps {
        let version = step
            .version
            .map_or_else(|| "-1".to_owned(), |version| version.to_string());
        text += &format!(
            "  step {{\n    model_name: {}\n    model_version: {version}\n",
            quoted(&step.model)
        );
        for (field, map) in [("input_map", &step.inputs), ("output_map", &step.outputs)] {
            for (key, value) in map {
                text += &format!(
                    "    {field} {{ key: {} value: {} }}\n",
                    quoted(key),
                    quoted(value)
                );
            }
        }
        text += "  }\n";
    }
    text + "}"
}

fn dynamic_batching(batching: &DynamicBatching) -> String {
    let mut settings = String::new();
    if !batching.preferred_batch_sizes.is_empty() {
        settings += &format!("preferred_batch_size: {:?} ", batching.preferred_batch_sizes);
    }
    if !batching.max_queue_delay.is_zero() {
        settings += &format!(
            "max_queue_delay_microseconds: {} ",
            batching.max_queue_delay.as_micros()
        );
    }
    if batching.preserve_ordering {
        settings += "preserve_ordering: true ";
    }
    let Priorities {
        levels,
        default_level,
        policies,
    } = &batching.priorities;
    if *levels > 0 {
        settings += &format!("priority_levels: {levels} default_priority_level: {default_level} ");
    }
    for (level, policy) in policies {
        let policy = queue_policy(policy);
        settings += &format!("priority_queue_policy {{ key: {level} value {{ {policy}}} }} ");
    }
    if batching.queue != QueuePolicy::default() {
        settings += &format!("default_queue_policy {{ {}}} ", queue_policy(&batching.queue));
    }
    settings
}

fn queue_policy(policy: &QueuePolicy) -> String {
    let mut settings = String::new();
    if policy.timeout_action == TimeoutAction::Delay {
        settings += "timeout_action: DELAY ";
    }
    if !policy.default_timeout.is_zero() {
        settings += &format!(
            "default_timeout_microseconds: {} ",
            policy.default_timeout.as_micros()
        );
    }
    if policy.allow_timeout_override {
        settings += "allow_timeout_override: true ";
    }
    if policy.max_queue_size > 0 {
        settings += &format!("max_queue_size: {} ", policy.max_queue_size);
    }
    settings
}

fn warm_up(sample: &WarmUp) -> String {
    let mut text = format!(
        "{{\n  name: {}\n  batch_size: {}\n  count: {}\n",
        quoted(&sample.name),
        sample.batch_size,
        sample.count
    );
    for (name, input) in &sample.inputs {
        let data = match &input.data {
            WarmUpData::Zero => "zero_data: true".to_owned(),
            WarmUpData::Random => "random_data: true".to_owned(),
            WarmUpData::File(file) => format!("input_data_file: {}", quoted(file)),
        };
        text += &format!(
            "  inputs {{ key: {} value {{ data_type: {} dims: {:?} {data} }} }}\n",
            quoted(name),
            datatype_name(input.datatype),
            input.dims
        );
    }
    text + "}"
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a string does not fail");
}

fn tensor(tensor: &TensorConfig) -> String {
    let mut text = format!(
        "{{\n  name: {}\n  data_type: {}\n  dims: {:?}\n",
        quoted(&tensor.name),
        datatype_name(tensor.datatype),
        tensor.dims
    );
    if let Some(reshape) = &tensor.reshape {
        text += &format!("  reshape {{ shape: {reshape:?} }}\n");
    }
    if let Some(file) = &tensor.label_filename {
        text += &format!("  label_filename: {}\n", quoted(file));
    }
    text + "}"
}

pub(super) fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::{SessionSettings, WarmUpInput, read};
    use super::*;
    use crate::configuration::{GpuSettings, InstanceKind};

    #[test]
    fn what_is_written_is_read_back() {
        let tensor = |name: &str, datatype, dims: &[i64], reshape: Option<&[i64]>| TensorConfig {
            name: name.into(),
            datatype,
            dims: dims.to_vec(),
            reshape: reshape.map(<[i64]>::to_vec),
            label_filename: (name == "label").then(|| "labels.txt".into()),
        };
        let input = |data| WarmUpInput {
            datatype: DataType::Fp32,
            dims: vec![1, 3],
            data,
        };
        let config = ModelConfig {
            name: "to\"mour".into(),
            max_batch_size: 64,
            inputs: DataType::ALL
                .iter()
                .map(|kind| tensor(kind.name(), *kind, &[-1, 3], None))
                .collect(),
            outputs: vec![tensor("label", DataType::Bytes, &[1], Some(&[]))],
            model_file: "graph.onnx".into(),
            instance_groups: vec![
                InstanceGroup {
                    kind: InstanceKind::Cpu,
                    count: 2,
                    gpus: vec![],
                },
                InstanceGroup {
                    kind: InstanceKind::Gpu,
                    count: 1,
                    gpus: vec![0, 2],
                },
            ],
            dynamic_batching: Some(DynamicBatching {
                preferred_batch_sizes: vec![8, 16],
                max_queue_delay: Duration::from_micros(50),
                queue: QueuePolicy {
                    timeout_action: TimeoutAction::Delay,
                    default_timeout: Duration::from_millis(7),
                    allow_timeout_override: true,
                    max_queue_size: 100,
                },
                priorities: Priorities {
                    levels: 5,
                    default_level: 3,
                    policies: BTreeMap::from([
                        (1, QueuePolicy::default()),
                        (
                            5,
                            QueuePolicy {
                                max_queue_size: 2,
                                ..QueuePolicy::default()
                            },
                        ),
                    ]),
                },
                preserve_ordering: false,
            }),
            ensemble: None,
            response_cache: true,
            version_policy: VersionPolicy::Specific(vec![3]),
            parameters: BTreeMap::from([
                ("run".into(), "line\nbreak".into()),
                ("intra_op_thread_count".into(), "2".into()),
                ("gpu_mem_limit".into(), "1000".into()),
            ]),
            metric_tags: BTreeMap::from([("team".into(), "a \"b\"".into())]),
            session: SessionSettings {
                intra_op_threads: Some(2),
                optimization: GraphOptimization::Basic,
                gpu: GpuSettings {
                    cuda: BTreeMap::from([("gpu_mem_limit".into(), "1000".into())]),
                    graphs: true,
                    tensorrt: Some(BTreeMap::from([("trt_fp16_enable".into(), "1".into())])),
                },
                ..SessionSettings::default()
            },
            warm_ups: vec![WarmUp {
                name: "sample".into(),
                batch_size: 2,
                inputs: BTreeMap::from([
                    ("FP32".into(), input(WarmUpData::Random)),
                    ("BOOL".into(), input(WarmUpData::File("x".into()))),
                ]),
                count: 3,
            }],
            warnings: vec![],
        };
        assert_eq!(read(&write(&config)).unwrap(), config);
        let ordered = ModelConfig {
            dynamic_batching: Some(DynamicBatching {
                preserve_ordering: true,
                ..DynamicBatching::default()
            }),
            ..config.clone()
        };
        assert_eq!(read(&write(&ordered)).unwrap(), ordered);
        let plain = ModelConfig {
            dynamic_batching: None,
            version_policy: VersionPolicy::All,
            ..config
        };
        assert_eq!(read(&write(&plain)).unwrap(), plain);
    }

    #[test]
    fn an_ensemble_is_written_and_read_back() {
        let text = r#"name: "chain" platform: "ensemble" max_batch_size: 4
            input { name: "IN" data_type: TYPE_FP32 dims: 4 } output { name: "OUT" data_type: TYPE_FP32 dims: 3 }
            ensemble_scheduling { max_inflight_requests: 2 step [
                { model_name: "a" model_version: -1 input_map { key: "x" value: "IN" } output_map { key: "y" value: "t" } },
                { model_name: "b" model_version: 7 input_map { key: "x" value: "t" } output_map { key: "y" value: "OUT" } } ] }"#;
        let read = |text: &str| {
            let mut config = read(text).unwrap();
            // Lines are where the text has them.
            for step in config
                .ensemble
                .iter_mut()
                .flat_map(|ensemble| &mut ensemble.steps)
            {
                step.line = 0;
            }
            config
        };
        let config = read(text);
        assert_eq!(config.ensemble.as_ref().unwrap().steps[1].version, Some(7));
        assert_eq!(read(&write(&config)), config);
    }
}
