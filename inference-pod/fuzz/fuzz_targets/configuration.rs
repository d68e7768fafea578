//! `config.pbtxt`, or the JSON of a load: what is accepted and written out is read as the same configuration.
#![no_main]

use aiops_inference_pod::configuration::{
    GraphTensor, ModelConfig, TensorConfig, complete, complete_ensemble, from_json, read, write,
};
use libfuzzer_sys::{Corpus, fuzz_target};

/// What a written configuration keeps: neither lines of the text nor what was only warned of.
fn kept(mut config: ModelConfig) -> ModelConfig {
    config.warnings.clear();
    for step in config
        .ensemble
        .iter_mut()
        .flat_map(|ensemble| &mut ensemble.steps)
    {
        step.line = 0;
    }
    config
}

fuzz_target!(|text: &str| -> Corpus {
    // No text in Protocol Buffers' format begins with a brace.
    let from_json = text.starts_with('{').then(|| from_json(text));
    let text = match &from_json {
        Some(Ok(text)) => text,
        Some(Err(_)) => return Corpus::Keep,
        None => text,
    };
    let config = match read(text) {
        Ok(config) => config,
        Err(error) => {
            assert!(error.line > 0, "an error without its line: {error}");
            return Corpus::Keep;
        }
    };
    let written = write(&config);
    let again = read(&written).unwrap_or_else(|error| panic!("{error} in what was written:\n{written}"));
    assert_eq!(kept(again), kept(config.clone()), "written as\n{written}");
    check_completion(config);
    Corpus::Keep
});

/// What is completed once is complete: the graph is the one that the configuration tells of.
fn check_completion(config: ModelConfig) {
    let name = if config.name.is_empty() {
        "model".to_owned()
    } else {
        config.name.clone()
    };
    if config.ensemble.is_some() {
        let _ = complete_ensemble(config, &name);
        return;
    }
    let graph = |tensors: &[TensorConfig]| -> Vec<GraphTensor> {
        let tensor = |tensor: &TensorConfig| GraphTensor {
            name: tensor.name.clone(),
            datatype: tensor.datatype,
            shape: tensor.graph_shape(config.max_batch_size),
        };
        tensors.iter().map(tensor).collect()
    };
    let (inputs, outputs) = (graph(&config.inputs), graph(&config.outputs));
    if let Ok(completed) = complete(Some(config), &name, &inputs, &outputs) {
        assert_eq!(
            complete(Some(completed.clone()), &name, &inputs, &outputs),
            Ok(completed)
        );
    }
}
