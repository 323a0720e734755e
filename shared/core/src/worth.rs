//! Whether a status is worth a write.

use jiff::{SignedDuration, Timestamp};
use pgo_events::Eventing;

use crate::{ClusterStatus, Kind};

/// Confirmed events stay this long after the last write where nothing else is to be written.
const TRIM_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Confirmed events alone are no reason for a write while more may come: they go with the next one, or after a while.
#[must_use]
pub fn worth_writing(
    status: &ClusterStatus,
    next: &ClusterStatus,
    eventing: Eventing,
    now: Timestamp,
) -> bool {
    if status == next {
        return false;
    }
    let mut trimmed = status.clone();
    if let Eventing::On { confirmed, .. } = eventing {
        trimmed.journal.outbox.confirm(confirmed);
    }
    if trimmed != *next {
        return true;
    }
    let newest = status.journal.outbox.entries.last();
    newest.is_none_or(|event| now.duration_since(event.eventheader.timestamp) > TRIM_AFTER)
        || status.journal.newest(Kind::DeleteCluster).is_some()
}
