//! The logging and trace extensions as messages.

use super::proto::{self, log_settings_request, log_settings_response, trace_setting_response};
use crate::error::{InferenceError, Result};
use crate::protocol::Service;
use crate::protocol::access::{Api, Caller};
use crate::protocol::settings::{LogValue, change_log_settings, check_model, log_settings};

/// Changes the settings that are given, if there are any, and answers all.
pub(super) fn log(
    service: &Service,
    request: proto::LogSettingsRequest,
) -> Result<proto::LogSettingsResponse> {
    use log_settings_request::setting_value::ParameterChoice as Given;
    use log_settings_response::SettingValue;
    use log_settings_response::setting_value::ParameterChoice;
    let given = request.settings.into_iter().map(|(name, value)| {
        let value = match value.parameter_choice {
            Some(Given::BoolParam(on)) => LogValue::Switch(on),
            Some(Given::Uint32Param(number)) => LogValue::Number(number),
            Some(Given::StringParam(text)) => LogValue::Text(text),
            None => return Err(InferenceError::invalid(format!("setting '{name}' has no value"))),
        };
        Ok((name, value))
    });
    let given = given.collect::<Result<Vec<_>>>()?;
    if !given.is_empty() {
        service.access.may_change(Caller::Grpc, Api::Logging)?;
        change_log_settings(&given)?;
    }
    let settings = log_settings().into_iter().map(|(name, value)| {
        let choice = match value {
            LogValue::Switch(on) => ParameterChoice::BoolParam(on),
            LogValue::Number(number) => ParameterChoice::Uint32Param(number),
            LogValue::Text(text) => ParameterChoice::StringParam(text),
        };
        let value = SettingValue {
            parameter_choice: Some(choice),
        };
        (name.to_owned(), value)
    });
    Ok(proto::LogSettingsResponse {
        settings: settings.collect(),
    })
}

/// The same for trace settings, of a model where one is named.
pub(super) fn trace(
    service: &Service,
    request: proto::TraceSettingRequest,
) -> Result<proto::TraceSettingResponse> {
    let model = Some(request.model_name.as_str()).filter(|name| !name.is_empty());
    if let Some(model) = model {
        check_model(service, model)?;
    }
    let given = request
        .settings
        .into_iter()
        .map(|(name, value)| (name, value.value));
    let given: Vec<_> = given.collect();
    if !given.is_empty() {
        service.access.may_change(Caller::Grpc, Api::Trace)?;
        service.trace.change(model, given)?;
    }
    let settings = service
        .trace
        .get(model)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), trace_setting_response::SettingValue { value }));
    Ok(proto::TraceSettingResponse {
        settings: settings.collect(),
    })
}
