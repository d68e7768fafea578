//! Judges a run's metrics by the rules of `spec.validation` (pure).

use aiops_crds::ValidationVerdict;
use aiops_mlflow_client::Run;

use super::metrics::text;
use super::validate::Threshold;

/// One verdict a rule, in the rules' order.
pub fn judge(rules: &[Threshold], run: &Run) -> Vec<ValidationVerdict> {
    rules
        .iter()
        .map(|rule| verdict(rule, run.metric(&rule.metric)))
        .collect()
}

/// Whether nothing stands against the model.
pub fn all_passed(verdicts: &[ValidationVerdict]) -> bool {
    verdicts.iter().all(|verdict| verdict.passed)
}

fn verdict(rule: &Threshold, value: Option<f64>) -> ValidationVerdict {
    let (passed, detail) = match value {
        None => (false, format!("the run has no metric {}", rule.metric)),
        Some(value) if value.is_nan() => (false, format!("{} is NaN, which keeps no bound", rule.metric)),
        Some(value) => match (rule.min, rule.max) {
            (Some(min), _) if value < min => (false, format!("{} < min {}", text(value), text(min))),
            (_, Some(max)) if value > max => (false, format!("{} > max {}", text(value), text(max))),
            _ => (true, within(rule, value)),
        },
    };
    ValidationVerdict {
        metric: rule.metric.clone(),
        value: value.map(text),
        passed,
        detail,
    }
}

fn within(rule: &Threshold, value: f64) -> String {
    let low = rule
        .min
        .map(|min| format!(" >= min {}", text(min)))
        .unwrap_or_default();
    let high = rule
        .max
        .map(|max| format!(" <= max {}", text(max)))
        .unwrap_or_default();
    format!("{}{low}{high}", text(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(min: Option<f64>, max: Option<f64>) -> Threshold {
        Threshold {
            metric: "accuracy".into(),
            min,
            max,
        }
    }

    #[test]
    fn a_value_on_its_bound_passes() {
        assert!(verdict(&rule(Some(0.93), None), Some(0.93)).passed);
        assert!(verdict(&rule(None, Some(0.93)), Some(0.93)).passed);
    }

    #[test]
    fn a_value_outside_its_bounds_says_by_how_much() {
        assert_eq!(
            verdict(&rule(Some(0.93), None), Some(0.91)).detail,
            "0.91 < min 0.93"
        );
        assert_eq!(
            verdict(&rule(None, Some(10.0)), Some(12.5)).detail,
            "12.5 > max 10"
        );
    }

    /// A verdict that the schema does not take would keep the whole status from being written, again and again.
    #[test]
    fn a_verdict_on_the_longest_name_is_one_that_the_schema_takes() {
        let crd = serde_json::to_value(&aiops_crds::all_crds()[0]).unwrap();
        let verdicts =
            "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/validation/items";
        let limit = crd
            .pointer(&format!("{verdicts}/properties/detail/maxLength"))
            .unwrap();
        let longest = Threshold {
            metric: "m".repeat(250),
            min: Some(-f64::MAX),
            max: Some(f64::MAX),
        };
        for value in [
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(-1.234_567_890_123_456_7e-300),
        ] {
            let detail = verdict(&longest, value).detail;
            assert!(detail.len() as u64 <= limit.as_u64().unwrap(), "{detail}");
        }
    }

    #[test]
    fn a_missing_or_undefined_metric_fails() {
        assert_eq!(
            verdict(&rule(Some(0.0), None), None).detail,
            "the run has no metric accuracy"
        );
        let undefined = verdict(&rule(Some(0.0), None), Some(f64::NAN));
        assert!(!undefined.passed);
        assert_eq!(undefined.value.as_deref(), Some("NaN"));
    }
}
