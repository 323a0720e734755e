//! Between who meets damaged records and who gets them back from the other replica.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};

use super::Log;

/// What both know.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Whether there is somebody who gets records back.
    possible: AtomicBool,
    wanted: Notify,
    /// How often it was tried.
    tried: watch::Sender<u64>,
}

impl Log {
    /// Says that damaged records are got back from another replica when that is asked for.
    pub fn set_mendable(&self) {
        self.mending.possible.store(true, Ordering::Relaxed);
    }

    /// Asks for damaged records and returns when it was tried to get them back; false where nobody does that. May take as long as
    /// the other replica does.
    pub async fn ask_to_mend(&self) -> bool {
        if !self.mending.possible.load(Ordering::Relaxed) {
            return false;
        }
        let mut tried = self.mending.tried.subscribe();
        self.mending.wanted.notify_one();
        tried.changed().await.is_ok()
    }

    /// Returns once somebody asks for damaged records.
    pub async fn mending_wanted(&self) {
        self.mending.wanted.notified().await;
    }

    /// Says that it was tried to get damaged records back.
    pub fn mending_tried(&self) {
        self.mending.tried.send_modify(|tried| *tried += 1);
    }
}
