//! The counts that were accepted, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Most that a case may rise, in per cent.
pub const MOST_RISE_PERCENT: u64 = 5;

/// Instructions of one run of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Those of the program.
    pub program: u64,
    /// Those of the C library, most of them copies of memory.
    pub libraries: u64,
}

/// A file of `bench/baseline`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Where it was counted.
    pub machine: Machine,
    /// By name.
    pub cases: BTreeMap<String, Counts>,
}

/// A case before and now.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub before: Option<u64>,
    pub now: Option<u64>,
}

impl Baseline {
    /// Nothing where there is no such file.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("{} cannot be read", path.display()))?,
        };
        let baseline = serde_json::from_str(&text);
        baseline.map(Some).with_context(|| {
            format!(
                "{} is no baseline; write it anew with make instructions UPDATE=1",
                path.display()
            )
        })
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.text()?).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// A line for each case, so that a change shows what rose and what fell.
    fn text(&self) -> anyhow::Result<String> {
        let mut text = format!("{{\n  \"machine\": {},\n", serde_json::to_string(&self.machine)?);
        text += "  \"cases\": {\n";
        for (index, (name, Counts { program, libraries })) in self.cases.iter().enumerate() {
            let comma = if index + 1 < self.cases.len() { "," } else { "" };
            writeln!(
                text,
                r#"    "{name}": {{"program": {program}, "libraries": {libraries}}}{comma}"#
            )?;
        }
        text += "  }\n}\n";
        Ok(text)
    }

    /// All cases of here and of there whose name is wanted. Libraries count where they are the same.
    pub fn compare(
        &self,
        machine: &Machine,
        now: &BTreeMap<String, Counts>,
        is_wanted: impl Fn(&String) -> bool,
    ) -> Vec<Change> {
        let with_libraries = self.machine.c_library == machine.c_library;
        let compared = |counts: &Counts| {
            let libraries = if with_libraries { counts.libraries } else { 0 };
            counts.program + libraries
        };
        let names: BTreeSet<_> = self.cases.keys().chain(now.keys()).collect();
        names
            .into_iter()
            .filter(|name| is_wanted(name))
            .map(|name| Change {
                name: name.clone(),
                before: self.cases.get(name).map(compared),
                now: now.get(name).map(compared),
            })
            .collect()
    }
}

impl Change {
    /// Whether it rose by more than may be.
    pub fn rose(&self) -> bool {
        match (self.before, self.now) {
            (Some(before), Some(now)) => now * 100 > before * (100 + MOST_RISE_PERCENT),
            _ => false,
        }
    }

    /// Whether it fell by so much that it could rise again unseen.
    pub fn fell(&self) -> bool {
        match (self.before, self.now) {
            (Some(before), Some(now)) => now * 100 < before * (100 - MOST_RISE_PERCENT),
            _ => false,
        }
    }

    /// In per cent, where there is something to compare.
    pub fn percent(&self) -> Option<f64> {
        let (before, now) = (self.before? as f64, self.now? as f64);
        Some((now - before) / before * 100.0)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn machine(c_library: &str) -> Machine {
        Machine {
            processor: "x86_64-avx2".to_owned(),
            c_library: c_library.to_owned(),
            compiler: "rustc 1.95.0".to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
        }
    }

    pub fn counts(cases: &[(&str, u64, u64)]) -> BTreeMap<String, Counts> {
        let counts = cases
            .iter()
            .map(|&(name, program, libraries)| (name.to_owned(), Counts { program, libraries }));
        counts.collect()
    }

    pub fn baseline() -> Baseline {
        Baseline {
            machine: machine("glibc 2.36"),
            cases: counts(&[("codec/a", 1000, 1000), ("router/b", 1000, 0)]),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let baseline = baseline();
        let text = baseline.text().unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), baseline);
        assert!(text.contains("\n    \"codec/a\": {\"program\": 1000, \"libraries\": 1000},\n"));
    }

    #[test]
    fn five_per_cent_more_are_let_through_and_one_instruction_above_them_is_not() {
        let change = |now| Change {
            name: "a".to_owned(),
            before: Some(1000),
            now: Some(now),
        };
        assert!(!change(1050).rose() && change(1051).rose());
        assert!(!change(950).fell() && change(949).fell());
    }

    #[test]
    fn instructions_of_another_c_library_are_left_out() {
        let now = counts(&[("codec/a", 1000, 2000), ("router/b", 1000, 0)]);
        let rises = |c_library| {
            let changes = baseline().compare(&machine(c_library), &now, |_| true);
            changes.iter().filter(|change| change.rose()).count()
        };
        assert_eq!(rises("glibc 2.36"), 1);
        assert_eq!(rises("glibc 2.41"), 0);
    }

    #[test]
    fn cases_on_one_side_alone_are_among_the_changes() {
        let now = counts(&[("codec/a", 1000, 1000), ("codec/c", 1, 0)]);
        let changes = baseline().compare(&machine("glibc 2.36"), &now, |_| true);
        let sides: Vec<_> = changes
            .iter()
            .map(|change| {
                (
                    change.name.as_str(),
                    change.before.is_some(),
                    change.now.is_some(),
                )
            })
            .collect();
        assert_eq!(
            sides,
            [
                ("codec/a", true, true),
                ("codec/c", false, true),
                ("router/b", true, false)
            ]
        );
    }
}
