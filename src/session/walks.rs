//! Walks through the upstream's whole table, a page at a time, for what isolated tenants ask of their keys.
//!
//! A page takes the upstream a tenth of a millisecond in which it does nothing else. So of all tenants together a few pages are
//! under way at once, of one tenant a single one: however many clients ask, others wait behind so much and no more. Whoever waits
//! is served in the order of coming: a tenant's clients among each other, and tenants among each other, page by page.

use super::own_keys::ask_watched;
use crate::tenant::{Live, Walk};
use crate::upstream::link::state::Watch;
use crate::upstream::links::SharedLink;
use bytes::BytesMut;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pages under way at once, of all workers and tenants.
const PAGES_AT_ONCE: usize = 2;

/// The turns of all workers.
#[derive(Clone)]
pub struct Pages(Arc<Semaphore>);

impl Default for Pages {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PAGES_AT_ONCE)))
    }
}

/// What asks for pages of one tenant's.
pub(super) struct Walker {
    pub link: SharedLink,
    pub live: Arc<Live>,
    pub pages: Pages,
    /// Counts it among those of its tenant that walk or wait.
    pub _counted: Walk,
}

impl Walker {
    /// To be held for the whole of a walk: a tenant does one at a time.
    pub async fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.live.walk).acquire_owned().await.ok()
    }

    /// Asks in its turn. The turn is over when the reply is here, whether or not somebody still waits for it.
    pub async fn ask(&self, frame: &[u8]) -> BytesMut {
        let own = Arc::clone(&self.live.page).acquire_owned().await.ok();
        let all = Arc::clone(&self.pages.0).acquire_owned().await.ok();
        let watch = Watch::rewrite(move |reply, _| {
            drop((own, all));
            BytesMut::from(reply)
        });
        ask_watched(&self.link, frame, watch).await
    }
}
