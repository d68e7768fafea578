//! What is traced and where to, from `--trace-config` and OpenTelemetry's own variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{bail, ensure};

use crate::arguments::TraceConfig;

/// What is traced.
#[derive(Clone, Debug)]
pub struct TraceConfiguration {
    /// Where to.
    pub mode: Mode,
    /// The first values of the settings that clients may change: levels, rate, count, frequency.
    pub settings: BTreeMap<&'static str, Vec<String>>,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// A file of Triton's form, if there is one.
    Triton(Option<PathBuf>),
    /// An OpenTelemetry collector.
    OpenTelemetry(OpenTelemetrySettings),
}

/// What `--trace-config=opentelemetry,…` says; the rest comes from `OTEL_…`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenTelemetrySettings {
    /// Where spans go, instead of where the variables say.
    pub url: Option<String>,
    /// Attributes of this process.
    pub resource: Vec<(String, String)>,
    /// Most spans that wait to be sent.
    pub max_queue_size: Option<usize>,
    /// Most spans that are sent at once.
    pub max_export_batch_size: Option<usize>,
    /// Milliseconds between two sendings.
    pub schedule_delay: Option<u64>,
}

impl Default for TraceConfiguration {
    fn default() -> Self {
        Self {
            mode: Mode::Triton(None),
            settings: BTreeMap::new(),
        }
    }
}

impl TraceConfiguration {
    /// From the flags and the environment. A flag that cannot be honoured is an error.
    pub fn new(flags: &[TraceConfig], variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut mode = None;
        let mut file = None;
        let mut settings: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut collector = OpenTelemetrySettings::default();
        for TraceConfig { scope, name, value } in flags {
            match (scope.as_deref(), name.as_str()) {
                (None, "mode") => mode = Some(value.as_str()),
                (None, "level") => settings.entry("trace_level").or_default().push(value.clone()),
                (None, "rate") => drop(settings.insert("trace_rate", vec![value.clone()])),
                (None, "count") => drop(settings.insert("trace_count", vec![value.clone()])),
                (Some("triton"), "file") => file = Some(PathBuf::from(value)),
                (Some("triton"), "log-frequency") => {
                    settings.insert("log_frequency", vec![value.clone()]);
                }
                (Some("opentelemetry"), name) => collector.set(name, value)?,
                (None, _) => bail!("--trace-config={name}: there are level, rate, count and mode"),
                (Some("triton"), _) => {
                    bail!("--trace-config=triton,{name}: there are file and log-frequency")
                }
                (Some(scope), _) => bail!("--trace-config={scope},…: there are triton and opentelemetry"),
            }
        }
        let by_environment = mode.is_none() && file.is_none() && is_asked_for(variable)?;
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mode = match mode {
            Some("opentelemetry") if is_off => Mode::Triton(None),
            Some("opentelemetry") => Mode::OpenTelemetry(collector),
            None if by_environment => {
                // Who sets the variables wants traces; how many, the sampler of the variables says.
                for (name, value) in [("trace_level", "TIMESTAMPS"), ("trace_rate", "1")] {
                    settings.entry(name).or_insert_with(|| vec![value.to_owned()]);
                }
                Mode::OpenTelemetry(collector)
            }
            None | Some("triton") => {
                ensure!(
                    collector == OpenTelemetrySettings::default(),
                    "--trace-config=opentelemetry,… needs --trace-config=mode=opentelemetry"
                );
                Mode::Triton(file)
            }
            Some(other) => bail!("--trace-config=mode={other}: there are triton and opentelemetry"),
        };
        Ok(Self { mode, settings })
    }
}

/// Whether the variables ask for traces: by saying where they go.
fn is_asked_for(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<bool> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref() {
        Some("none") => return Ok(false),
        Some("otlp") | None => {}
        Some(other) => bail!("OTEL_TRACES_EXPORTER={other} is not supported: there are otlp and none"),
    }
    Ok([
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ]
    .into_iter()
    .any(|name| variable(name).is_some()))
}

impl OpenTelemetrySettings {
    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let wrong = || {
            anyhow::anyhow!("--trace-config=opentelemetry,{name}={value}: it must be a whole number above 0")
        };
        let number = || {
            value
                .parse::<usize>()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(wrong)
        };
        match name {
            "url" if value.contains("://") => self.url = Some(value.to_owned()),
            "url" => self.url = Some(format!("http://{value}")),
            "resource" => {
                let Some((key, value)) = value.split_once('=') else {
                    bail!("--trace-config=opentelemetry,resource={value}: it must be key=value");
                };
                self.resource.push((key.to_owned(), value.to_owned()));
            }
            "bsp_max_queue_size" => self.max_queue_size = Some(number()?),
            "bsp_max_export_batch_size" => self.max_export_batch_size = Some(number()?),
            "bsp_schedule_delay" => self.schedule_delay = Some(number()? as u64),
            _ => bail!(
                "--trace-config=opentelemetry,{name}: there are url, resource, bsp_max_queue_size, bsp_max_export_batch_size and bsp_schedule_delay"
            ),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configure(flags: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<TraceConfiguration> {
        let flags: Vec<TraceConfig> = flags.iter().map(|flag| flag.parse().unwrap()).collect();
        TraceConfiguration::new(&flags, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_are_those_of_tritonserver() {
        let configuration = configure(
            &[
                "mode=opentelemetry",
                "level=TIMESTAMPS",
                "rate=100",
                "count=5",
                "opentelemetry,url=collector:4318/v1/traces",
                "opentelemetry,resource=service.name=fraud",
                "opentelemetry,bsp_schedule_delay=100",
            ],
            &[],
        )
        .unwrap();
        let Mode::OpenTelemetry(settings) = configuration.mode else {
            panic!("{:?}", configuration.mode)
        };
        assert_eq!(settings.url.as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(settings.resource, [("service.name".into(), "fraud".into())]);
        assert_eq!(settings.schedule_delay, Some(100));
        assert_eq!(configuration.settings["trace_rate"], ["100"]);
        let triton = configure(&["triton,file=/tmp/t.json", "triton,log-frequency=50"], &[]).unwrap();
        assert_eq!(triton.mode, Mode::Triton(Some("/tmp/t.json".into())));
        assert_eq!(triton.settings["log_frequency"], ["50"]);
    }

    #[test]
    fn variables_alone_turn_traces_on_and_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let on = configure(&[], &[endpoint]).unwrap();
        assert!(matches!(on.mode, Mode::OpenTelemetry(_)));
        assert_eq!(on.settings["trace_level"], ["TIMESTAMPS"]);
        assert_eq!(on.settings["trace_rate"], ["1"]);
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(configure(&[], &[endpoint, off]).unwrap().mode, Mode::Triton(None));
        }
        assert_eq!(configure(&[], &[]).unwrap().mode, Mode::Triton(None));
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_there_is() {
        for (flags, part) in [
            (&["colour=red"][..], "there are level, rate, count and mode"),
            (&["mode=jaeger"], "triton and opentelemetry"),
            (&["zipkin,url=x"], "triton and opentelemetry"),
            (&["triton,url=x"], "file and log-frequency"),
            (
                &["opentelemetry,url=x"],
                "needs --trace-config=mode=opentelemetry",
            ),
            (
                &["mode=opentelemetry", "opentelemetry,bsp_max_queue_size=0"],
                "above 0",
            ),
            (&["mode=opentelemetry", "opentelemetry,file=x"], "there are url"),
        ] {
            let error = configure(flags, &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = configure(&[], &[("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err();
        assert!(error.to_string().contains("otlp and none"));
    }
}
