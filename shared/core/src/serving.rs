//! A cluster that was ready and does not answer any more, and one that answers again: each is told once.

use jiff::Timestamp;
use pgo_events::EventType;
use pgo_ids::InstanceName;

use crate::{
    Condition, ConditionStatus, Journal, Observed, Phase,
    journal::{Notice, Subject},
    wal,
};

/// Tells a change of condition Ready, from what was told last. `was_ready` says whether the cluster was made before: its
/// creation has events of its own, and so has its deletion. `primary` is who served last as was told.
pub(crate) fn tell(
    journal: &mut Journal,
    subject: Subject<'_>,
    (former, was_ready): (Option<&Condition>, bool),
    (phase, message): (Phase, &str),
    (primary, observed): (Option<&InstanceName>, &Observed),
    now: Timestamp,
) {
    let Some(former) = former.filter(|_| was_ready) else {
        return;
    };
    let about = |since: Timestamp| format!("primary not ready since {since}");
    let notice = match (former.status, phase) {
        (ConditionStatus::True, Phase::NotReady) => Notice {
            event_type: EventType::PrimaryNotReady,
            about: about(now),
            time: None,
            cause: message.to_owned(),
            since: None,
            details: primary.map(wal::is_primary).into_iter().collect(),
        },
        (ConditionStatus::False, Phase::Ready) => Notice {
            event_type: EventType::PrimaryReady,
            about: about(former.last_transition_time),
            time: None,
            cause: message.to_owned(),
            since: Some(former.last_transition_time),
            details: wal::primary_and_timeline(observed),
        },
        _ => return,
    };
    journal.tell(subject, notice, now);
}
