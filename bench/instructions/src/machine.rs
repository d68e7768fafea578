//! What the counts depend on besides the code.

use std::process::Command;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What counted. Valgrind shows programs a processor of its own, the same on every machine that has AVX2, so that those which
/// look for faster instructions find the same ones everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor that Valgrind shows. Another one counts otherwise, and has a baseline of its own.
    pub processor: String,
    /// The C library. Another one is not counted.
    pub c_library: String,
    /// The compiler.
    pub compiler: String,
    /// Valgrind.
    pub valgrind: String,
}

impl Machine {
    /// This one.
    pub fn this() -> anyhow::Result<Self> {
        Ok(Self {
            processor: processor(),
            c_library: answer("getconf", "GNU_LIBC_VERSION")?,
            compiler: answer("rustc", "--version")?,
            valgrind: answer("valgrind", "--version")
                .context("valgrind counts the instructions; install Debian's package valgrind")?,
        })
    }

    /// Name of the file with its baseline.
    pub fn file_name(&self) -> String {
        format!("{}.json", self.processor)
    }

    /// What is not as it was there, for messages.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        [
            (&self.compiler, &other.compiler),
            (&self.valgrind, &other.valgrind),
            (&self.c_library, &other.c_library),
        ]
        .into_iter()
        .filter(|(one, two)| one != two)
        .map(|(one, two)| format!("{one} instead of {two}"))
        .collect()
    }
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
    format!("x86_64-{}", if has_avx2 { "avx2" } else { "without-avx2" })
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}

fn answer(program: &str, argument: &str) -> anyhow::Result<String> {
    let ran = Command::new(program).arg(argument).output();
    let ran = ran.with_context(|| format!("{program} {argument}"))?;
    let text = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    anyhow::ensure!(!text.is_empty(), "{program} {argument} says nothing");
    Ok(text)
}
