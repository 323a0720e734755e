//! Changes of the primary. Agents decide and do them, also while nobody watches; what happened is in the cluster's Lease,
//! written with the change itself, and is told from there.

use jiff::Timestamp;
use pgo_events::{Datum, Draft, EventType, Field};
use pgo_ids::{InstanceName, OperationId, Term};
use serde::Deserialize;

use crate::{
    Cluster, ClusterStatus, Kind, LastTakeover, Lost, Observed, Operation, Outcome,
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

    /// Whether it is what an operation asked for. One that was to lose nothing is not answered by one that may.
    fn is_answer_to(&self, asked: &Operation) -> bool {
        let may_lose = asked.kind == Kind::FailoverCluster;
        let is_target = asked.instance.as_ref().map(InstanceName::as_str) == Some(&self.to);
        is_target && (may_lose || self.cause == TakeoverCause::Released)
    }

    /// When it began: when it was asked for, or when the former primary was heard last.
    fn began(&self, asked: Option<&Operation>) -> Timestamp {
        let began = asked.map(|asked| asked.started).or(self.heard);
        began.unwrap_or(self.at).min(self.at)
    }

    fn summary(&self, asked: Option<&Operation>) -> LastTakeover {
        let took = self.at.duration_since(self.began(asked));
        LastTakeover {
            planned: self.cause == TakeoverCause::Released,
            from: self.from.clone(),
            to: self.to.clone(),
            cause: self.cause(),
            actor: asked.map(|asked| asked.actor.clone()).unwrap_or_default(),
            timeline: self.timeline,
            lsn: self.lsn.clone(),
            at: self.at,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or_default(),
        }
    }

    fn draft(&self, subject: Subject<'_>, event_type: EventType, time: Timestamp) -> Draft {
        let about = format!("takeover in term {}", self.term);
        Draft {
            event_type,
            time,
            namespace: subject.namespace.clone(),
            cluster: subject.cluster.cloned(),
            operation: OperationId::derived(subject.stream, &about),
            actor: String::new(),
            step: None,
            cause: Some(self.cause()),
            duration_ms: None,
            details: [(Field::Target, Datum::Text(self.to.clone()))].into(),
        }
    }

    fn progress(&self, subject: Subject<'_>, event_type: EventType) -> Draft {
        let step = format!(
            "{} was elected in term {}; timeline {} begins at {}",
            self.to, self.term, self.timeline, self.lsn
        );
        Draft {
            step: Some(step),
            cause: None,
            ..self.draft(subject, event_type, self.at)
        }
    }

    /// What is told at its end.
    fn details(&self) -> Vec<(Field, Datum)> {
        let mut details = vec![
            (Field::FormerPrimary, Datum::Text(self.from.clone())),
            (Field::Timeline, Datum::Number(u64::from(self.timeline))),
            (Field::Lsn, Datum::Text(self.lsn.clone())),
        ];
        if self.cause == TakeoverCause::Released {
            // All that it had written had reached its replicas before it stopped.
            details.push((Field::LostBytes, Datum::Number(0)));
        }
        details
    }
}

/// Tells a change of the primary that was not told yet: its beginning, how it went and its end, as they were. The operation
/// that asked for it, if any did, ends with it.
///
/// Only the last change is in the Lease. Where several happened meanwhile, the terms between say so.
pub(crate) fn tell(
    next: &mut ClusterStatus,
    subject: Subject<'_>,
    seen: Option<&Takeover>,
    now: Timestamp,
) {
    let Some(takeover) = seen.filter(|seen| next.term < seen.term) else {
        return;
    };
    next.term = takeover.term;
    let running = next.journal.running_change().cloned();
    let asked = running
        .as_ref()
        .filter(|asked| takeover.is_answer_to(asked));
    next.last_takeover = Some(takeover.summary(asked));
    match running {
        Some(asked) if takeover.is_answer_to(&asked) => answer(next, subject, takeover, &asked),
        Some(asked) => {
            alone(next, subject, takeover);
            let cause = format!(
                "{}; {} became the primary in term {}",
                takeover.cause(),
                takeover.to,
                takeover.term
            );
            let failed = (Outcome::Failed, Some(cause));
            next.journal.finish_one(subject, asked.id, failed, now);
        }
        None => alone(next, subject, takeover),
    }
}

/// It is what an operation asked for.
fn answer(next: &mut ClusterStatus, subject: Subject<'_>, takeover: &Takeover, asked: &Operation) {
    if let Some(event_type) = asked.kind.progress() {
        let progress = Draft {
            operation: asked.id,
            actor: asked.actor.clone(),
            cause: None,
            ..takeover.progress(subject, event_type)
        };
        next.journal.outbox.push(subject.stream, progress);
    }
    let at = takeover.at.max(asked.started);
    let (cause, details) = (takeover.cause(), takeover.details());
    next.journal
        .complete(subject, asked.id, (&cause, &details), at);
}

/// Nobody has asked for it.
fn alone(next: &mut ClusterStatus, subject: Subject<'_>, takeover: &Takeover) {
    let kind = takeover.kind();
    let began = takeover.began(None);
    let mut events = vec![takeover.draft(subject, kind.started(), began)];
    if let Some(progress) = kind.progress() {
        events.push(takeover.progress(subject, progress));
    }
    let mut completed = takeover.draft(subject, kind.completed(), takeover.at);
    completed.duration_ms = u64::try_from(takeover.at.duration_since(began).as_millis()).ok();
    completed.details.extend(takeover.details());
    events.push(completed);
    for event in events {
        next.journal.outbox.push(subject.stream, event);
    }
}

/// Tells how each former primary compares with the one that it follows now, once, when it is back. More than one may be away
/// while the primary changes.
pub(crate) fn tell_lost(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let subject = cluster.subject();
    let first = InstanceName::from(&cluster.name);
    let replicas = &next.replicas;
    let belongs = |former: &InstanceName| {
        *former == first || replicas.iter().any(|known| known.name == *former)
    };
    next.formers.retain(|former, _| belongs(former));
    for (former, agent) in observed.agents.iter().filter(|(name, _)| belongs(name)) {
        let told = next.formers.get(former).copied().unwrap_or_default();
        if let Some(lost) = agent.lost.filter(|lost| told < lost.term) {
            next.formers.insert(former.clone(), lost.term);
            next.journal.tell(subject, lost.notice(former), now);
        }
    }
}

impl Lost {
    fn notice(&self, former: &InstanceName) -> Notice {
        let (event_type, cause) = self.verdict();
        Notice {
            event_type,
            about: format!("{former} compared in term {}", self.term),
            time: None,
            cause: format!(
                "{cause}; its WAL on timeline {} ends at {}, and the history of the primary in term {} leaves it at {}",
                self.timeline,
                place(self.end),
                self.term,
                place(self.fork)
            ),
            since: None,
            details: vec![
                (Field::FormerPrimary, Datum::Text(former.to_string())),
                (
                    Field::LostBytes,
                    Datum::Number(self.end.saturating_sub(self.fork)),
                ),
                (Field::Lsn, Datum::Text(place(self.fork))),
            ],
        }
    }

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
