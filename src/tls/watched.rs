//! What is made of files, and made anew when they change.

use super::files::{Contents, Files};
use crate::metrics::{Metrics, Reload};
use arc_swap::ArcSwap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the files are looked at. What changed is taken at the second look that finds it, for a file may be half written
/// at the first, or a certificate be there before its key.
const LOOK: Duration = Duration::from_millis(500);

/// Makes it of the files' contents; `Err` names key, file and reason.
type Make<T> = fn(&Files, &Contents) -> Result<T, String>;

/// The last that could be made. Whoever took it before keeps what was then.
pub struct Watched<T> {
    now: ArcSwap<T>,
    make: Make<T>,
    hasher: RandomState,
    looked: Mutex<Looked>,
}

struct Looked {
    files: Files,
    /// Of the contents that were taken or refused last.
    settled: u64,
    /// Of the contents at the last look.
    seen: u64,
}

/// What is made of other files, and not in force yet.
pub struct Loaded<T> {
    files: Files,
    made: Arc<T>,
    stamp: u64,
}

impl<T> Watched<T> {
    pub(super) fn new(files: Files, make: Make<T>) -> Result<Self, String> {
        let hasher = RandomState::new();
        let Loaded { files, made, stamp } = load(files, make, &hasher)?;
        let looked = Mutex::new(Looked { files, settled: stamp, seen: stamp });
        Ok(Self { now: ArcSwap::new(made), make, hasher, looked })
    }

    /// For a new connection.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.now.load_full()
    }

    /// Reads other files, for [`install`](Self::install).
    ///
    /// # Errors
    /// The key, the file and the reason.
    pub fn load(&self, files: Files) -> Result<Loaded<T>, String> {
        load(files, self.make, &self.hasher)
    }

    /// From here on new connections use these, and these files are looked at.
    pub fn install(&self, loaded: Loaded<T>) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let Loaded { files, made, stamp } = loaded;
        *looked = Looked { files, settled: stamp, seen: stamp };
        self.now.store(made);
    }

    /// Takes what changed and then stayed so for two looks; None where that is nothing. `Err` once for each change that is of
    /// no use: what was before stays.
    pub(super) fn look(&self) -> Option<Result<(), String>> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = looked.files.read();
        let stamp = contents.stamp(&self.hasher);
        let stayed = std::mem::replace(&mut looked.seen, stamp) == stamp;
        if !stayed || stamp == looked.settled {
            return None;
        }
        looked.settled = stamp;
        Some((self.make)(&looked.files, &contents).map(|made| self.now.store(Arc::new(made))))
    }

    fn files(&self) -> Files {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).files.clone()
    }
}

fn load<T>(files: Files, make: Make<T>, hasher: &RandomState) -> Result<Loaded<T>, String> {
    let contents = files.read();
    let made = Arc::new(make(&files, &contents)?);
    Ok(Loaded { stamp: contents.stamp(hasher), files, made })
}

/// Looks at the files until it is dropped. On another thread than the caller's: a file system may be slow.
pub async fn keep_fresh<T: Send + Sync + 'static>(watched: Arc<Watched<T>>, metrics: Metrics) {
    loop {
        tokio::time::sleep(LOOK).await;
        let looking = Arc::clone(&watched);
        let Ok(Some(change)) = tokio::task::spawn_blocking(move || looking.look()).await else { continue };
        let Files { side, cert, ca, .. } = watched.files();
        match change {
            Ok(()) => {
                tracing::info!(?side, cert = %cert.display(), ca = %ca.display(), "the files of TLS changed: new connections use them");
                metrics.tls_reload[side][Reload::Ok].increment(1);
            }
            Err(error) => {
                tracing::error!(?side, %error, "the files of TLS changed and are of no use: what was before stays");
                metrics.tls_reload[side][Reload::Failed].increment(1);
            }
        }
    }
}
