//! The two texts that scrapers take: OpenMetrics, which has exemplars, and the one before it.
//!
//! prometheus-client writes OpenMetrics, in which a counter's name ends in `_total`. Triton's do not, so there they are of
//! unknown type: names come before types.

/// A text that a scraper takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a scraper wants by its `Accept` header.
    pub fn of(accept: Option<&str>) -> Self {
        let wants = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if wants { Self::OpenMetrics } else { Self::Classic }
    }

    /// For the header of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn finish(self, written: &str) -> String {
        let mut text = String::with_capacity(written.len());
        match self {
            Self::Classic => classic(written, &mut text),
            Self::OpenMetrics => {
                open_metrics(written, &mut text);
                text.push_str("# EOF\n");
            }
        }
        text
    }
}

fn open_metrics(written: &str, text: &mut String) {
    for line in written.lines() {
        match line
            .strip_suffix(" counter")
            .filter(|line| line.starts_with("# TYPE nv_"))
        {
            Some(name) => {
                text.push_str(name);
                text.push_str(" unknown");
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
}

/// Without units and exemplars; a counter's type is that of its whole name.
fn classic(written: &str, text: &mut String) {
    let lines = written.lines().filter(|line| !line.starts_with("# UNIT "));
    let mut help: Option<&str> = None;
    for line in lines {
        if line.starts_with("# HELP ") {
            help = Some(line);
            continue;
        }
        let suffix = if line.starts_with("# TYPE aiops_") && line.ends_with(" counter") {
            "_total"
        } else {
            ""
        };
        for described in help.take().into_iter().chain(Some(line)) {
            if described.starts_with('#') {
                describe(described, suffix, text);
            } else {
                text.push_str(
                    described
                        .rsplit_once(" # {")
                        .map_or(described, |(sample, _)| sample),
                );
            }
            text.push('\n');
        }
    }
}

/// `# HELP name text` or `# TYPE name type`, with more after the name.
fn describe(line: &str, suffix: &str, text: &mut String) {
    let mut parts = line.splitn(4, ' ');
    for (index, part) in parts.by_ref().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(part);
        if index == 2 {
            text.push_str(suffix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "# HELP nv_x Xs.\n# TYPE nv_x counter\nnv_x{model=\"a # b\"} 3\n\
        # HELP aiops_b_seconds Bs.\n# TYPE aiops_b_seconds counter\n# UNIT aiops_b_seconds seconds\naiops_b_seconds_total 1.5\n\
        # HELP aiops_h Hs.\n# TYPE aiops_h histogram\naiops_h_bucket{le=\"1\"} 1 # {trace_id=\"ab\"} 0.5\n";

    #[test]
    fn the_classic_text_has_no_exemplars_and_whole_names() {
        let text = Format::of(Some("text/plain")).finish(WRITTEN);
        let expected = "# HELP nv_x Xs.\n# TYPE nv_x counter\nnv_x{model=\"a # b\"} 3\n\
            # HELP aiops_b_seconds_total Bs.\n# TYPE aiops_b_seconds_total counter\naiops_b_seconds_total 1.5\n\
            # HELP aiops_h Hs.\n# TYPE aiops_h histogram\naiops_h_bucket{le=\"1\"} 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn open_metrics_has_triton_counters_of_unknown_type_and_an_end() {
        let text = Format::of(Some(
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        ))
        .finish(WRITTEN);
        assert!(text.contains("# TYPE nv_x unknown\n"), "{text}");
        assert!(text.contains("# TYPE aiops_b_seconds counter\n# UNIT aiops_b_seconds seconds\n"));
        assert!(text.ends_with("aiops_h_bucket{le=\"1\"} 1 # {trace_id=\"ab\"} 0.5\n# EOF\n"));
    }
}
