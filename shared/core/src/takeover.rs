//! Changes of the primary. Agents decide and do them, also while nobody watches; what happened is in the cluster's Lease,
//! written with the change itself, and is told from there.

use jiff::Timestamp;
use pgo_events::{Datum, Draft, EventType, Field};
use pgo_ids::{OperationId, Term};
use serde::Deserialize;

use crate::{
    ClusterStatus, Kind, Lost, Observed,
    journal::{Notice, Subject},
};

/// Why another instance became the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakeoverCause {
    /// The former one had given up in order.
    Released,
    /// The former one was not heard any more.
    Lost,
}

/// A change of the primary, as its agent wrote it down, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Takeover {
    /// The term that began with it.
    pub term: Term,
    /// Name of the former primary.
    pub from: String,
    /// Name of the new one.
    pub to: String,
    /// Why.
    pub cause: TakeoverCause,
    /// Timeline that began.
    pub timeline: u32,
    /// Place in the WAL where it began, as PostgreSQL writes it.
    pub lsn: String,
    /// When the new primary had heard of the former one last, if it had.
    pub heard: Option<Timestamp>,
    /// When the new primary was recorded.
    pub at: Timestamp,
}

impl Takeover {
    fn kind(&self) -> Kind {
        match self.cause {
            TakeoverCause::Released => Kind::SwitchoverCluster,
            TakeoverCause::Lost => Kind::FailoverCluster,
        }
    }

    fn cause(&self) -> String {
        match self.cause {
            TakeoverCause::Released => format!("{} gave up in order", self.from),
            TakeoverCause::Lost => format!("{} was not heard any more", self.from),
        }
    }
}

/// Tells a change of the primary that was not told yet: its beginning, how it went and its end, as they were.
///
/// Only the last change is in the Lease. Where several happened meanwhile, the terms between say so.
pub(crate) fn tell(next: &mut ClusterStatus, subject: Subject<'_>, seen: Option<&Takeover>) {
    let Some(takeover) = seen.filter(|seen| next.term < seen.term) else {
        return;
    };
    next.term = takeover.term;
    let kind = takeover.kind();
    let began = takeover
        .heard
        .map_or(takeover.at, |heard| heard.min(takeover.at));
    let target = (Field::Target, Datum::Text(takeover.to.clone()));
    let draft = |event_type: EventType, time: Timestamp| Draft {
        event_type,
        time,
        namespace: subject.namespace.clone(),
        cluster: subject.cluster.cloned(),
        operation: OperationId::derived(
            subject.stream,
            &format!("takeover in term {}", takeover.term),
        ),
        actor: String::new(),
        step: None,
        cause: Some(takeover.cause()),
        duration_ms: None,
        details: [target.clone()].into(),
    };
    let mut events = vec![draft(kind.started(), began)];
    if let Some(progress) = kind.progress() {
        let step = format!(
            "{} was elected in term {}; timeline {} begins at {}",
            takeover.to, takeover.term, takeover.timeline, takeover.lsn
        );
        events.push(Draft {
            step: Some(step),
            cause: None,
            ..draft(progress, takeover.at)
        });
    }
    let mut completed = draft(kind.completed(), takeover.at);
    completed.duration_ms = u64::try_from(takeover.at.duration_since(began).as_millis()).ok();
    completed.details.extend([
        (Field::FormerPrimary, Datum::Text(takeover.from.clone())),
        (Field::Timeline, Datum::Number(u64::from(takeover.timeline))),
        (Field::Lsn, Datum::Text(takeover.lsn.clone())),
    ]);
    if takeover.cause == TakeoverCause::Released {
        // All that it had written had reached its replicas before it stopped.
        completed.details.insert(Field::LostBytes, Datum::Number(0));
    }
    events.push(completed);
    for event in events {
        next.journal.outbox.push(subject.stream, event);
    }
}

/// Tells how a former primary compares with its successor, once for each change of the primary, when it is back.
pub(crate) fn tell_lost(
    next: &mut ClusterStatus,
    subject: Subject<'_>,
    observed: &Observed,
    now: Timestamp,
) {
    let compared = observed.agents.iter().filter_map(|(former, agent)| {
        let lost = agent.lost.filter(|lost| next.compared < lost.term);
        lost.map(|lost| (former, lost))
    });
    let Some((former, lost)) = compared.min_by_key(|(_, lost)| lost.term) else {
        return;
    };
    next.compared = lost.term;
    let bytes = lost.end.saturating_sub(lost.fork);
    let (event_type, cause) = lost.verdict();
    let notice = Notice {
        event_type,
        about: format!("takeover in term {}", lost.term),
        time: None,
        cause: format!(
            "{cause}; its WAL on timeline {} ends at {}, and the history of the primary in term {} leaves it at {}",
            lost.timeline,
            place(lost.end),
            lost.term,
            place(lost.fork)
        ),
        since: None,
        details: vec![
            (Field::FormerPrimary, Datum::Text(former.to_string())),
            (Field::LostBytes, Datum::Number(bytes)),
            (Field::Lsn, Datum::Text(place(lost.fork))),
        ],
    };
    next.journal.tell(subject, notice, now);
}

impl Lost {
    fn verdict(&self) -> (EventType, String) {
        let nothing = EventType::NoCommitsLost;
        match self.commits {
            _ if self.end <= self.fork => {
                (nothing, "the former primary had nothing more".to_owned())
            }
            Some(0) => (nothing, "the former primary had no commit more".to_owned()),
            _ if self.synchronous => (
                nothing,
                "what the former primary had more was never acknowledged".to_owned(),
            ),
            Some(commits) => (
                EventType::CommitsLost,
                format!("the former primary had {commits} commits more"),
            ),
            None => (
                EventType::CommitsLost,
                "the former primary had more, and its commits could not be counted".to_owned(),
            ),
        }
    }
}

/// A place in the WAL as PostgreSQL writes it.
fn place(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}
