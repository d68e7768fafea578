//! What is told of the counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::baseline::{Baseline, Change, Counts, MOST_RISE_PERCENT};
use crate::callgrind::profile;
use crate::machine::Machine;

const UPDATE: &str = "make instructions UPDATE=1";

/// A line for each case.
pub fn table(changes: &[Change]) -> String {
    let mut text = line("case", "before", "now", "change");
    for change in changes {
        let percent = change.percent().map_or_else(
            || {
                let word = if change.now.is_some() { "new" } else { "gone" };
                word.to_owned()
            },
            |percent| format!("{percent:+.1} %"),
        );
        text += &line(
            &change.name,
            &number(change.before),
            &number(change.now),
            &percent,
        );
    }
    text
}

fn line(name: &str, before: &str, now: &str, change: &str) -> String {
    format!("{name:<32}{before:>12}{now:>12}{change:>10}\n")
}

/// With commas between thousands.
fn number(count: Option<u64>) -> String {
    let Some(count) = count else {
        return "-".to_owned();
    };
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Counts of a processor that has no baseline, with which nothing can be compared.
pub fn uncompared(counts: &BTreeMap<String, Counts>, path: &Path) -> String {
    let mut text = String::new();
    for (name, Counts { program, libraries }) in counts {
        text += &line(name, "-", &number(Some(program + libraries)), "");
    }
    let _ = writeln!(
        text,
        "Nothing is compared: there is no {}. Counts of other processors say nothing about this one; {UPDATE} makes these the \
         baseline.",
        path.display()
    );
    text
}

/// What is wrong, and what to do; empty where nothing is.
pub fn complaints(
    changes: &[Change],
    before: &Baseline,
    machine: &Machine,
    path: &Path,
    profiles: &Path,
) -> String {
    let mut text = String::new();
    for change in changes {
        let name = &change.name;
        if change.rose() {
            let _ = writeln!(
                text,
                "\n{name} takes {:.1} % more instructions than {} has: {} instead of {}, and {MOST_RISE_PERCENT} % are the most.\n\
                 Where they are: callgrind_annotate {}",
                change.percent().unwrap_or_default(),
                path.display(),
                number(change.now),
                number(change.before),
                profile(profiles, name).display(),
            );
        } else if change.before.is_none() {
            let _ = writeln!(text, "\n{name} is not in {}.", path.display());
        } else if change.now.is_none() {
            let _ = writeln!(text, "\n{name} is in {} and is no case any more.", path.display());
        }
    }
    if !text.is_empty() {
        let differences = machine.differences(&before.machine);
        if !differences.is_empty() {
            let _ = writeln!(
                text,
                "\nThis was counted with {}, which alone may be the reason.",
                differences.join(" and ")
            );
        }
        let _ = writeln!(
            text,
            "\nMake it as cheap as it was. If it has to be so, write the baseline anew with {UPDATE} and commit it with the \
             reason."
        );
    }
    text
}

/// What became cheaper and should stay so; empty where nothing did.
pub fn gains(changes: &[Change]) -> String {
    let fallen: Vec<_> = changes
        .iter()
        .filter(|change| change.fell())
        .map(|change| change.name.as_str())
        .collect();
    if fallen.is_empty() {
        return String::new();
    }
    format!(
        "\nCheaper by more than {MOST_RISE_PERCENT} %: {}. {UPDATE} keeps them there.\n",
        fallen.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::tests::{baseline, counts, machine};

    fn complaints_about(now: &[(&str, u64, u64)], c_library: &str) -> String {
        let (before, machine) = (baseline(), machine(c_library));
        let changes = before.compare(&machine, &counts(now), |_| true);
        complaints(
            &changes,
            &before,
            &machine,
            Path::new("bench/baseline/x.json"),
            Path::new("/profiles"),
        )
    }

    #[test]
    fn nothing_is_said_where_nothing_rose_by_more_than_may_be() {
        assert_eq!(
            complaints_about(&[("codec/a", 1090, 1000), ("router/b", 500, 0)], "glibc 2.36"),
            ""
        );
    }

    #[test]
    fn a_rise_is_told_with_its_size_its_place_and_what_to_do() {
        let text = complaints_about(&[("codec/a", 1120, 1000), ("router/b", 1000, 0)], "glibc 2.36");
        for part in [
            "codec/a takes 6.0 % more instructions than bench/baseline/x.json has: 2,120 instead of 2,000, and 5 % are the most",
            "callgrind_annotate /profiles/codec.a.callgrind",
            "make instructions UPDATE=1",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(
            !text.contains("router/b") && !text.contains("may be the reason"),
            "{text}"
        );
    }

    #[test]
    fn what_else_is_not_as_it_was_is_told_with_a_rise() {
        let text = complaints_about(&[("codec/a", 1120, 0), ("router/b", 1000, 0)], "glibc 2.41");
        assert!(
            text.contains("counted with glibc 2.41 instead of glibc 2.36"),
            "{text}"
        );
    }

    #[test]
    fn a_case_without_a_baseline_and_a_baseline_without_a_case_are_complaints() {
        let text = complaints_about(&[("codec/a", 1000, 1000), ("codec/c", 1, 0)], "glibc 2.36");
        assert!(text.contains("codec/c is not in bench/baseline/x.json"), "{text}");
        assert!(
            text.contains("router/b is in bench/baseline/x.json and is no case"),
            "{text}"
        );
    }
}
