//! The logging and trace extensions over HTTP.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::Context;
use crate::error::{InferenceError, Result};
use crate::protocol::access::{Api, Caller};
use crate::protocol::intake::ROW_EXPANSION;
use crate::protocol::settings::{LogValue, change_log_settings, check_model, log_settings};
use crate::protocol::{Service, body};
use crate::traces::TraceValues;

pub(super) async fn logging() -> Json<Value> {
    let value = |value| match value {
        LogValue::Switch(on) => json!(on),
        LogValue::Number(number) => json!(number),
        LogValue::Text(text) => json!(text),
    };
    let settings = log_settings().into_iter();
    Json(
        settings
            .map(|(name, setting)| (name.to_owned(), value(setting)))
            .collect::<Map<_, _>>()
            .into(),
    )
}

pub(super) async fn change_logging(
    State(service): Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    let given = settings(&service, Api::Logging, &headers, body).await?;
    let value = |(name, value): (String, Value)| {
        let setting = match value {
            Value::Bool(on) => LogValue::Switch(on),
            Value::Number(number) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .map_or_else(|| LogValue::Text(number.to_string()), LogValue::Number),
            Value::String(text) => LogValue::Text(text),
            other => LogValue::Text(other.to_string()),
        };
        (name, setting)
    };
    change_log_settings(&given.into_iter().map(value).collect::<Vec<_>>())?;
    Ok(logging().await)
}

pub(super) async fn trace(State(service): Context) -> Json<Value> {
    written(service.trace.get(None))
}

pub(super) async fn model_trace(State(service): Context, Path(model): Path<String>) -> Result<Json<Value>> {
    check_model(&service, &model)?;
    Ok(written(service.trace.get(Some(&model))))
}

pub(super) async fn change_trace(
    State(service): Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    let given = trace_settings(settings(&service, Api::Trace, &headers, body).await?)?;
    service.trace.change(None, given)?;
    Ok(written(service.trace.get(None)))
}

pub(super) async fn change_model_trace(
    State(service): Context,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>> {
    check_model(&service, &model)?;
    let given = trace_settings(settings(&service, Api::Trace, &headers, body).await?)?;
    service.trace.change(Some(&model), given)?;
    Ok(written(service.trace.get(Some(&model))))
}

/// Levels are a list, everything else is one string.
fn written(values: TraceValues) -> Json<Value> {
    let value = |name: &str, values: Vec<String>| match name {
        "trace_level" => json!(values),
        _ => json!(values.concat()),
    };
    let all = values
        .into_iter()
        .map(|(name, values)| (name.to_owned(), value(name, values)));
    Json(Value::Object(all.collect()))
}

fn trace_settings(given: BTreeMap<String, Value>) -> Result<Vec<(String, Vec<String>)>> {
    let wrong = |name: &str| {
        InferenceError::invalid(format!(
            "setting '{name}' must be a string, a list of strings or null"
        ))
    };
    given
        .into_iter()
        .map(|(name, value)| {
            let values = match value {
                Value::Null => Vec::new(),
                Value::String(text) => vec![text],
                Value::Array(list) => list
                    .into_iter()
                    .map(|item| match item {
                        Value::String(text) => Ok(text),
                        _ => Err(wrong(&name)),
                    })
                    .collect::<Result<_>>()?,
                _ => return Err(wrong(&name)),
            };
            Ok((name, values))
        })
        .collect()
}

/// What is to be changed, by somebody who may.
async fn settings(
    service: &Service,
    api: Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<BTreeMap<String, Value>> {
    let received = body::read(&service.intake, headers, body, ROW_EXPANSION).await?;
    let given: BTreeMap<_, _> = serde_json::from_slice(&received.bytes).map_err(|error| {
        InferenceError::invalid(format!("failed to parse the request JSON buffer: {error}"))
    })?;
    if !given.is_empty() {
        service.access.may_change(Caller::Http, api)?;
    }
    Ok(given)
}
