//! A run's metrics as status shows them (pure).

use aiops_crds::MetricValue;
use aiops_mlflow_client::Run;

/// How many metrics status holds.
const LIMIT: usize = 64;

/// The latest value of each metric, sorted by name.
pub fn values(run: &Run) -> Vec<MetricValue> {
    let mut values: Vec<MetricValue> = run
        .data
        .metrics
        .iter()
        .map(|metric| MetricValue {
            name: metric.key.clone(),
            value: text(metric.value),
        })
        .collect();
    values.sort_by(|one, other| one.name.cmp(&other.name));
    values.dedup_by(|one, other| one.name == other.name);
    values.truncate(LIMIT);
    values
}

/// The shortest text that reads back as the same number; `NaN`, `Infinity`, `-Infinity` as MLflow writes them.
pub fn text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    let plain = format!("{value}");
    if plain.len() <= 24 {
        plain
    } else {
        format!("{value:e}")
    }
}

/// One figure that sums up a run: the first validated metric, or accuracy, or R².
pub fn result(metrics: &[MetricValue], first_rule: Option<&str>) -> Option<String> {
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name);
    let metric = first_rule
        .and_then(find)
        .or_else(|| find("accuracy"))
        .or_else(|| find("r2"))?;
    let value = metric
        .value
        .parse()
        .map_or_else(|_| metric.value.clone(), |value| rounded(value, &metric.value));
    Some(format!("{}={value}", metric.name))
}

/// Four digits behind the point, where that says something; a number beyond them stays as it is written.
fn rounded(value: f64, text: &str) -> String {
    if value == 0.0 || (1e-4..1e9).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_they_were() {
        for value in [0.1 + 0.2, 1e-300, -5.0, f64::MAX, f64::INFINITY] {
            let text = text(value);
            assert!(text.len() <= 32, "{text}");
            assert_eq!(text.parse::<f64>().unwrap(), value);
        }
    }

    #[test]
    fn the_first_rule_decides_what_sums_up_the_run() {
        let metric = |name: &str, value: &str| MetricValue {
            name: name.into(),
            value: value.into(),
        };
        let metrics = [metric("accuracy", "0.96503"), metric("f1", "0.9")];
        assert_eq!(result(&metrics, Some("f1")).unwrap(), "f1=0.9000");
        assert_eq!(result(&metrics, None).unwrap(), "accuracy=0.9650");
        assert_eq!(result(&[], None), None);
    }

    #[test]
    fn a_diverged_or_tiny_figure_still_fits_and_says_something() {
        let result_of = |value: f64| {
            let metric = MetricValue {
                name: "r2".into(),
                value: text(value),
            };
            result(&[metric], None).unwrap()
        };
        assert_eq!(result_of(-1e300), "r2=-1e300");
        assert_eq!(result_of(0.000_02), "r2=0.00002");
        assert_eq!(result_of(0.0), "r2=0.0000");
        assert_eq!(result_of(f64::NAN), "r2=NaN");
    }
}
