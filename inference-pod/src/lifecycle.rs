//! Whether this pod wants requests: not before the declared models can serve, and not once it was told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Readiness of the process. Loading one more model later never changes it.
pub struct Lifecycle {
    models_serve: AtomicBool,
    stopping: AtomicBool,
    ready: watch::Sender<bool>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            models_serve: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            ready: watch::Sender::new(false),
        }
    }
}

impl Lifecycle {
    /// All models that were declared first can serve.
    pub fn declared_models_serve(&self) {
        self.models_serve.store(true, Ordering::SeqCst);
        self.publish();
    }

    /// The process was told to end; there is no way back.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.publish();
    }

    /// Whether new requests are wanted.
    pub fn is_ready(&self) -> bool {
        self.models_serve.load(Ordering::SeqCst) && !self.is_stopping()
    }

    /// Whether the process is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Tells every change of readiness.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn publish(&self) {
        self.ready.send_replace(self.is_ready());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_ready_between_its_models_and_its_end() {
        let lifecycle = Lifecycle::default();
        assert!(!lifecycle.is_ready());
        lifecycle.declared_models_serve();
        assert!(lifecycle.is_ready());
        lifecycle.stop();
        lifecycle.declared_models_serve();
        assert!(!lifecycle.is_ready() && lifecycle.is_stopping());
        assert!(!*lifecycle.watch().borrow());
    }
}
