//! Traces in files of Triton's form, which its `trace_summary.py` reads.
//!
//! The schema: <https://github.com/triton-inference-server/server/blob/main/docs/user_guide/trace.md#json-trace-output>

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// All traces of the process.
pub(super) struct TraceFile {
    path: PathBuf,
    next_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<BufWriter<File>>,
    traces: usize,
    index: usize,
    failed: bool,
}

/// One of them.
pub(super) struct FileTrace {
    file: Arc<TraceFile>,
    frequency: usize,
    stamps: Mutex<Vec<(&'static str, SystemTime)>>,
}

impl TraceFile {
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            anyhow::ensure!(
                folder.is_dir(),
                "--trace-config=triton,file={}: there is no folder {}; make it, or name another file",
                path.display(),
                folder.display()
            );
        }
        Ok(Self {
            path: path.to_owned(),
            next_id: AtomicU64::new(1),
            state: Mutex::default(),
        })
    }

    /// Adds a trace; after `frequency` of them a new file begins, unless it is 0.
    fn write(&self, trace: &[serde_json::Value], frequency: usize) {
        let mut state = self.state();
        let written = self.append(&mut state, trace, frequency);
        if let Err(error) = written
            && !std::mem::replace(&mut state.failed, true)
        {
            tracing::warn!(file = %self.path.display(), %error, "traces cannot be written; this is said once");
        }
    }

    fn append(&self, state: &mut State, trace: &[serde_json::Value], frequency: usize) -> io::Result<()> {
        let begins = state.open.is_none();
        let mut open = match state.open.take() {
            Some(open) => open,
            None if frequency == 0 => BufWriter::new(File::create(&self.path)?),
            None => {
                let mut path = self.path.clone().into_os_string();
                path.push(format!(".{}", state.index));
                BufWriter::new(File::create(path)?)
            }
        };
        open.write_all(if begins { b"[\n" } else { b",\n" })?;
        let entries: Vec<String> = trace.iter().map(ToString::to_string).collect();
        open.write_all(entries.join(",\n").as_bytes())?;
        state.traces += 1;
        if frequency > 0 && state.traces >= frequency {
            finish(open)?;
            state.traces = 0;
            state.index += 1;
        } else {
            state.open = Some(open);
        }
        Ok(())
    }

    pub(super) fn end(&self) {
        let open = self.state().open.take();
        if let Some(open) = open
            && let Err(error) = finish(open)
        {
            tracing::warn!(file = %self.path.display(), %error, "the file of traces is not whole");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finish(mut open: BufWriter<File>) -> io::Result<()> {
    open.write_all(b"\n]\n")?;
    open.flush()
}

impl FileTrace {
    pub(super) fn new(file: Arc<TraceFile>, frequency: usize) -> Self {
        Self {
            file,
            frequency,
            stamps: Mutex::default(),
        }
    }

    pub(super) fn stamp(&self, name: &'static str, at: SystemTime) {
        self.stamps().push((name, at));
    }

    /// The same, unless it is there: `trace_summary.py` takes the last of each name, and ends where those are out of order.
    pub(super) fn stamp_once(&self, name: &'static str, at: SystemTime) {
        let mut stamps = self.stamps();
        if stamps.iter().all(|(known, _)| *known != name) {
            stamps.push((name, at));
        }
    }

    pub(super) fn write(&self, model: &str, version: u64, request_id: &str) {
        let id = self.file.next_id.fetch_add(1, Ordering::Relaxed);
        let mut head = json!({"id": id, "model_name": model, "model_version": version});
        if !request_id.is_empty() {
            head["request_id"] = json!(request_id);
        }
        let stamp = |(name, at): (&str, SystemTime)| {
            let nanoseconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            json!({"id": id, "timestamps": [{"name": name, "ns": u64::try_from(nanoseconds).unwrap_or(u64::MAX)}]})
        };
        let stamps = std::mem::take(&mut *self.stamps());
        let trace: Vec<_> = std::iter::once(head)
            .chain(stamps.into_iter().map(stamp))
            .collect();
        self.file.write(&trace, self.frequency);
    }

    fn stamps(&self) -> MutexGuard<'_, Vec<(&'static str, SystemTime)>> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stamped_once_leaves_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(TraceFile::new(&folder.path().join("t.json")).unwrap());
        let trace = FileTrace::new(file, 0);
        trace.stamp_once("QUEUE_START", UNIX_EPOCH);
        trace.stamp_once("QUEUE_START", SystemTime::now());
        assert_eq!(*trace.stamps(), [("QUEUE_START", UNIX_EPOCH)]);
    }

    #[test]
    fn files_are_whole_after_so_many_traces_and_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| -> serde_json::Value {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let file = Arc::new(TraceFile::new(&folder.path().join("t.json")).unwrap());
        for _ in 0..3 {
            let trace = FileTrace::new(Arc::clone(&file), 2);
            trace.stamp("REQUEST_START", SystemTime::now());
            trace.write("m", 2, "mine");
        }
        file.end();
        assert_eq!(read("t.json.0").as_array().unwrap().len(), 4);
        let rest = read("t.json.1");
        assert_eq!(
            rest[0],
            json!({"id": 3, "model_name": "m", "model_version": 2, "request_id": "mine"})
        );
        assert_eq!(rest[1]["timestamps"][0]["name"], "REQUEST_START");
    }
}
