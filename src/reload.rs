//! A changed configuration, taken under way: on SIGHUP, and when its file or one of a tenant's passwords is another. All of it is taken or none.
//!
//! Owns when it is looked for and what is said of it. What may change is `config::diff`'s to say.

use crate::app::Running;
use crate::config::{Config, ConfigError, diff};
use crate::logging;
use crate::metrics::Reload;
use blake2::{Blake2b512, Digest};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the file is looked at: a mounted ConfigMap changes once a minute at the most.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration anew, from where it came at the start.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError>>;

/// See the module.
pub struct Reloader {
    reread: Reread,
    file: Option<PathBuf>,
    /// What the files held when they were last read.
    seen: Option<Sum>,
    /// What they held at the last look, where that was something else: they may be half written still.
    pending: Option<Sum>,
    /// What the files of passwords held that are in force.
    words: Option<Sum>,
    /// The files of tenants' passwords, as the last configuration names them that could be read.
    secrets: Vec<PathBuf>,
    current: Config,
    hangup: Signal,
}

impl Reloader {
    /// `current` is what was read from `file`.
    ///
    /// # Errors
    /// Where no signal can be waited for.
    pub fn new(current: Config, file: Option<PathBuf>, reread: Reread) -> std::io::Result<Self> {
        let secrets = secrets(&current);
        let (seen, words) = (sum(main(file.as_deref()), &secrets), sum(Some(Vec::new()), &secrets));
        Ok(Self { reread, file, seen, pending: None, words, secrets, current, hangup: signal(SignalKind::hangup())? })
    }

    /// Takes changes as they come, until it is dropped.
    pub async fn run(&mut self, running: &Running) {
        loop {
            let asked = tokio::select! {
                _ = self.hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            if asked || self.has_changed() {
                self.pending = None;
                self.take(running);
            }
        }
    }

    /// Another content, and the same at two looks: by contents and not by times, for a mounted file is a link that moves.
    fn has_changed(&mut self) -> bool {
        let now = sum(main(self.file.as_deref()), &self.secrets);
        if now == self.seen || now.is_none() {
            self.pending = None;
            return false;
        }
        let settled = self.pending == now;
        self.pending = now;
        settled
    }

    fn take(&mut self, running: &Running) {
        match self.try_take(running) {
            Ok(changes) if changes.is_empty() => {
                tracing::info!("the configuration was read again: nothing has changed");
            }
            Ok(changes) => {
                tracing::info!(changes = changes.join("; "), "the changed configuration is in force");
            }
            Err(faults) => {
                tracing::error!(faults, "the changed configuration is not taken; the one before stays in force");
                running.metrics.config_reload[Reload::Failed].increment(1);
                return;
            }
        }
        running.metrics.config_reload[Reload::Ok].increment(1);
    }

    /// What has changed, in words.
    fn try_take(&mut self, running: &Running) -> Result<Vec<String>, String> {
        // What is looked at first may be another by the time it is read, and is seen at the next look then.
        let main = main(self.file.as_deref());
        self.seen = sum(main.clone(), &self.secrets);
        let new = (self.reread)().map_err(|error| error.to_string())?;
        self.secrets = secrets(&new);
        self.seen = sum(main, &self.secrets);
        let words = sum(Some(Vec::new()), &self.secrets);
        let changes = diff(&self.current, &new);
        let fixed: Vec<String> =
            changes.iter().filter(|change| change.needs_restart).map(ToString::to_string).collect();
        if !fixed.is_empty() {
            return Err(fixed.join("; "));
        }
        // The one step that can fail comes first. A password file may be another though the configuration is not.
        running.change_tenants(&new)?;
        if new.log != self.current.log {
            logging::set_level(&new.log);
        }
        let same_files = secrets(&self.current) == self.secrets;
        self.current = new;
        let mut said: Vec<String> = changes.iter().map(ToString::to_string).collect();
        if same_files && words != self.words {
            said.push("a password in a file: changed".to_owned());
        }
        self.words = words;
        Ok(said)
    }
}

/// Of what files hold: they are not kept, for passwords are among them.
type Sum = Vec<u8>;

fn main(path: Option<&Path>) -> Option<Vec<u8>> {
    std::fs::read(path?).ok()
}

fn secrets(config: &Config) -> Vec<PathBuf> {
    let files = config.tenants.iter().flat_map(|tenant| [&tenant.password_file, &tenant.upstream_password_file]);
    files.flatten().cloned().collect()
}

/// None: there is no configuration's file, or it is not there now.
fn sum(main: Option<Vec<u8>>, secrets: &[PathBuf]) -> Option<Sum> {
    let mut sum = Blake2b512::new();
    let secrets = secrets.iter().map(|path| std::fs::read(path).ok());
    for contents in std::iter::once(Some(main?)).chain(secrets) {
        sum.update(contents.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
        sum.update(contents.unwrap_or_default());
    }
    Some(sum.finalize().to_vec())
}
