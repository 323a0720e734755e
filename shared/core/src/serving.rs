//! A cluster that was ready and does not answer any more, and one that answers again: each is told once.

use jiff::Timestamp;
use pgo_events::EventType;

use crate::{
    Condition, ConditionStatus, Journal, Phase,
    journal::{Notice, Subject},
};

/// Tells a change of condition Ready, from what was told last. `was_ready` says whether the cluster was made before: its
/// creation has events of its own, and so has its deletion.
pub(crate) fn tell(
    journal: &mut Journal,
    subject: Subject<'_>,
    (former, was_ready): (Option<&Condition>, bool),
    (phase, message): (Phase, &str),
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
            details: Vec::new(),
        },
        (ConditionStatus::False, Phase::Ready) => Notice {
            event_type: EventType::PrimaryReady,
            about: about(former.last_transition_time),
            time: None,
            cause: message.to_owned(),
            since: Some(former.last_transition_time),
            details: Vec::new(),
        },
        _ => return,
    };
    journal.tell(subject, notice, now);
}
