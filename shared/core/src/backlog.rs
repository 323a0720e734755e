//! What becomes of events that are not stored as they come, and of those of a time without eventing: each has an event at
//! its beginning or end, and the condition EventBacklog while it lasts.

use jiff::Timestamp;
use pgo_events::{EventType, Eventing, Field, Outbox};

use crate::{
    ConditionStatus, Journal,
    journal::{Notice, Subject},
    status::RESULT_BACKLOG,
};

/// Before anything is told: takes over what was stored and whether events are published.
pub(crate) fn open(
    journal: &mut Journal,
    subject: Subject<'_>,
    eventing: Eventing,
    now: Timestamp,
) {
    let outbox = &mut journal.outbox;
    let Eventing::On { confirmed, .. } = eventing else {
        return outbox.switch_off();
    };
    outbox.confirm(confirmed);
    let (off, dropped) = (outbox.switch_on(), outbox.end_dropping());
    for (count, why) in [
        (
            dropped,
            "neither were they stored nor had they room to wait",
        ),
        (off, "eventing was switched off"),
    ] {
        if let Some(count) = count {
            tell_cut(journal, subject, (count, why), now);
        }
    }
    if off.or(dropped).is_some() {
        return;
    }
    let outbox = &mut journal.outbox;
    if let Some(ended) = outbox.end_backlog() {
        let omitted = ended.omitted;
        let notice = Notice {
            event_type: EventType::EventBacklogCleared,
            about: about(ended.since),
            time: None,
            cause: format!("all that waited is stored; {omitted} steps were left out"),
            since: Some(ended.since),
            details: vec![(Field::Skipped, omitted.into())],
        };
        journal.tell(subject, notice, now);
    }
}

/// Tells that events before the next one were not published.
fn tell_cut(
    journal: &mut Journal,
    subject: Subject<'_>,
    (unpublished, why): (u64, &str),
    now: Timestamp,
) {
    let before = journal.outbox.last.next();
    let notice = Notice {
        event_type: EventType::HistoryCut,
        about: format!("history cut before {before}"),
        time: None,
        cause: format!("{why}; {unpublished} events were not published"),
        since: None,
        details: vec![(Field::Unpublished, unpublished.into())],
    };
    journal.tell(subject, notice, now);
}

/// After everything is told: whether too much waits now.
pub(crate) fn close(
    journal: &mut Journal,
    subject: Subject<'_>,
    eventing: Eventing,
    now: Timestamp,
) {
    let Eventing::On { since, .. } = eventing else {
        return;
    };
    let waiting = journal.outbox.entries.len();
    let Some(begun) = journal.outbox.begin_backlog(since, now) else {
        return;
    };
    let since = begun.since;
    let notice = Notice {
        event_type: EventType::EventBacklog,
        about: about(since),
        time: None,
        cause: format!("{waiting} events wait to be stored, and none was since {since}"),
        since: None,
        details: vec![(
            Field::Waiting,
            u64::try_from(waiting).unwrap_or(u64::MAX).into(),
        )],
    };
    journal.tell(subject, notice, now);
}

/// Begin and end of a backlog belong together.
fn about(since: Timestamp) -> String {
    format!("backlog since {since}")
}

/// The condition: name and status, reason, message.
pub(crate) fn condition(
    outbox: &Outbox,
) -> ((&'static str, ConditionStatus), &'static str, String) {
    let (status, reason, message) = if outbox.unpublished.is_some() {
        let off = "eventing is switched off: nothing is published";
        (ConditionStatus::False, "EventingDisabled", off.to_owned())
    } else if outbox.dropped > 0 {
        let message = format!(
            "{} events wait to be stored, and {} after them had no room and will not be told: see that nsqd and the event \
             service run, and why Kubernetes takes no PgEventPage; work goes on",
            outbox.entries.len(),
            outbox.dropped,
        );
        (ConditionStatus::True, "Dropped", message)
    } else if let Some(backlog) = &outbox.backlog {
        let more = if outbox.paged.0 > 0 {
            ", and more in pages"
        } else {
            ""
        };
        let message = format!(
            "{} events{more} wait to be stored, and none was since {}: see that nsqd and the event service run; work goes \
             on, steps are left out",
            outbox.entries.len(),
            backlog.since,
        );
        (ConditionStatus::True, "NotConfirmed", message)
    } else {
        let stored = "events are stored as they come";
        (ConditionStatus::False, "Confirmed", stored.to_owned())
    };
    ((RESULT_BACKLOG, status), reason, message)
}
