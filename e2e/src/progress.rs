//! What a person reads while it runs: one line a step, with the seconds since its scenario began.

use std::io::Write as _;
use std::time::Instant;

/// The voice of one scenario.
#[derive(Clone, Debug)]
pub struct Progress {
    who: String,
    since: Instant,
}

impl Progress {
    /// Begins to count seconds.
    pub fn start(who: &str) -> Self {
        Self {
            who: who.into(),
            since: Instant::now(),
        }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    /// Says one thing.
    pub fn say(&self, text: &str) {
        print_line(&format!("{:<22} {:>4} s  {text}", self.who, self.seconds()));
    }
}

/// Writes a line at once, so that lines of scenarios that run together stay whole. A closed pipe is nobody's error.
pub fn print_line(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}
