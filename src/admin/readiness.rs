//! Whether the sidecar can serve now, and why not.
//!
//! Owns that one word. Never finds it out: who watches the upstream sets it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Ready, or not and why. Shared between those who know and those who tell; starts not ready with `starting`.
#[derive(Debug)]
pub struct Readiness {
    state: Mutex<ReadinessSnapshot>,
}

/// Readiness at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessSnapshot {
    /// Whether the sidecar can serve.
    pub ready: bool,
    /// Why not; empty where it is ready.
    pub reasons: Vec<String>,
    /// Since when it has been so (ready or not; another reason does not count).
    pub since: Instant,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Not ready: `starting`.
    #[must_use]
    pub fn new() -> Self {
        let reasons = vec!["starting".to_owned()];
        Self { state: Mutex::new(ReadinessSnapshot { ready: false, reasons, since: Instant::now() }) }
    }

    /// From now on the sidecar can serve.
    pub fn set_ready(&self) {
        self.set(true, Vec::new());
    }

    /// From now on it cannot, for this reason: `upstream 127.0.0.1:6379: connection refused`.
    pub fn set_not_ready(&self, reason: String) {
        self.set(false, vec![reason]);
    }

    /// How it stands.
    #[must_use]
    pub fn snapshot(&self) -> ReadinessSnapshot {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, ready: bool, reasons: Vec<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ready != ready {
            state.since = Instant::now();
        }
        state.ready = ready;
        state.reasons = reasons;
    }
}
