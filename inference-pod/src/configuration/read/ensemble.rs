//! The steps of an ensemble, and what only models with a graph may have.

use super::{Result, error_at};
use crate::configuration::checked::{Setting, Settings};
use crate::configuration::{EnsembleScheduling, EnsembleStep, ModelConfig};

pub(super) use crate::configuration::ENSEMBLE_PLATFORM as PLATFORM;

/// Fields that say how a graph is run, each with what to do instead.
const OF_GRAPHS: [(&str, &str); 5] = [
    ("instance_group", "set it for the models of its steps"),
    ("optimization", "set it for the models of its steps"),
    ("model_warmup", "set it for the models of its steps"),
    ("backend", "an ensemble runs nothing itself"),
    ("default_model_filename", "an ensemble has no graph"),
];

pub(super) fn read(setting: &Setting) -> Result<EnsembleScheduling> {
    let mut scheduling = EnsembleScheduling::default();
    for inner in setting.inner() {
        match inner.schema.name {
            "step" => scheduling.steps.push(step(inner)?),
            "max_inflight_requests" => scheduling.max_inflight_requests = inner.whole()?,
            _ => {}
        }
    }
    Ok(scheduling)
}

fn step(setting: &Setting) -> Result<EnsembleStep> {
    let mut step = EnsembleStep {
        line: setting.line,
        ..EnsembleStep::default()
    };
    let mut version = 0;
    for inner in setting.inner() {
        match inner.schema.name {
            "model_name" => inner.text().clone_into(&mut step.model),
            "model_version" => version = inner.whole::<i64>()?,
            "input_map" => add(&mut step.inputs, inner),
            "output_map" => add(&mut step.outputs, inner),
            _ => {}
        }
    }
    step.version = match version {
        -1 => None,
        // Triton takes it and finds no version 0 when the first request comes.
        0 => {
            return Err(error_at(
                setting.line,
                format!(
                    "step of model '{}' lacks its model_version; write -1 for the one that a request without a version gets",
                    step.model
                ),
            ));
        }
        number => Some(
            u64::try_from(number)
                .map_err(|_| error_at(setting.line, format!("model_version cannot be {number}")))?,
        ),
    };
    Ok(step)
}

fn add(map: &mut std::collections::BTreeMap<String, String>, entry: &Setting) {
    let (key, value) = entry.texts();
    map.insert(key.to_owned(), value.to_owned());
}

/// Platform and scheduling go together, and what says how a graph is run belongs to the models of the steps.
pub(super) fn check(settings: &Settings) -> Result<()> {
    let find = |name: &str| {
        settings
            .settings
            .iter()
            .find(|setting| setting.schema.name == name)
    };
    let platform = find("platform");
    let is_ensemble = platform.is_some_and(|platform| platform.text() == PLATFORM);
    match (find("ensemble_scheduling"), platform) {
        (Some(scheduling), _) if !is_ensemble => Err(error_at(
            scheduling.line,
            format!(
                "ensemble_scheduling cannot be set for a model whose platform is not {PLATFORM}; add platform: \"{PLATFORM}\""
            ),
        )),
        (None, Some(platform)) if is_ensemble => Err(error_at(
            platform.line,
            format!("platform \"{PLATFORM}\" needs ensemble_scheduling with the steps of the ensemble"),
        )),
        (Some(_), _) => OF_GRAPHS
            .iter()
            .find_map(|(name, remedy)| Some((find(name).filter(|setting| !setting.is_default())?, remedy)))
            .map_or(Ok(()), |(setting, remedy)| {
                Err(error_at(
                    setting.line,
                    format!(
                        "{} should not be specified for an ensemble; {remedy}",
                        setting.schema.name
                    ),
                ))
            }),
        (None, _) => Ok(()),
    }
}

/// As in Triton, an ensemble's own answers are not kept, those of its models are.
pub(super) fn drop_cache(settings: &Settings, config: &mut ModelConfig) {
    let cache = settings
        .settings
        .iter()
        .find(|setting| setting.schema.name == "response_cache");
    let (Some(cache), true, Some(_)) = (cache, config.response_cache, &config.ensemble) else {
        return;
    };
    config.response_cache = false;
    config.warnings.push(format!(
        "config.pbtxt line {}: response_cache has no effect here: enable it for the models of the ensemble's steps",
        cache.line
    ));
}
