//! Changes of the primary. Agents decide and do them, also while nobody watches; who was elected is in the cluster's Lease,
//! written with the election itself, and that it takes writes says its agent.
//!
//! ```text
//! Lease: elected ─► begun, unless it was asked for; progress ─► agent: serves, and the Service leads there ─► completed
//!                                                           ├─► Lease: another one was elected ───────────► failed
//!                                                           └─► nothing comes of it in time ──────────────► failed
//! ```

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Draft, EventType, Field};
use pgo_ids::{InstanceName, OperationId, Term};
use serde::{Deserialize, Serialize};

use crate::{
    AgentFacts, AgentPhase, Cluster, ClusterStatus, Kind, LastTakeover, Lost, Observed, Operation,
    Outcome, Role,
    journal::{Details, Notice, Subject},
    silence,
    wal::place,
};

/// How long a new primary that says nothing, or fails, may take until it takes writes: an agent that starts anew and one try
/// after another of PostgreSQL take less.
const WRITES_DEADLINE: SignedDuration = SignedDuration::from_secs(60);

/// The same of one that is at work: it replays what it has received.
const REPLAY_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// Why another instance became the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakeoverCause {
    /// The former one had given up in order.
    Released,
    /// The former one was not heard any more.
    Lost,
}

/// A change of the primary, as its agent wrote it down, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The term that began with it.
    pub term: Term,
    /// Name of the former primary.
    pub from: String,
    /// Name of the new one.
    pub to: String,
    /// Why.
    pub cause: TakeoverCause,
    /// Timeline that the new primary had come on; a record of an older agent has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_timeline: Option<u32>,
    /// Timeline that began.
    pub timeline: u32,
    /// Place in the WAL where it began, as PostgreSQL writes it.
    pub lsn: String,
    /// How many bytes of the WAL of one that had given up in order the new one lacks, if that could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Why PostgreSQL could not serve there, if that is why it gave up or was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
    /// When the new primary had heard of the former one last, if it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// When the new primary was recorded.
    pub at: Timestamp,
}

/// A new primary that was elected and was not seen to take writes yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The operation that it is part of.
    pub operation: OperationId,
    /// How it was elected.
    pub takeover: Takeover,
    /// When that was noted.
    pub since: Timestamp,
    /// Whether it was seen to serve where the Service did not lead to it.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub unreached: bool,
}

impl Takeover {
    /// Whether somebody wanted it: a primary whose PostgreSQL cannot serve gives up because it must.
    fn is_planned(&self) -> bool {
        self.cause == TakeoverCause::Released && self.unfit.is_none()
    }

    fn kind(&self) -> Kind {
        if self.is_planned() {
            Kind::SwitchoverCluster
        } else {
            Kind::FailoverCluster
        }
    }

    fn cause(&self) -> String {
        let from = &self.from;
        match (self.cause, &self.unfit) {
            (TakeoverCause::Released, None) => format!("{from} gave up in order"),
            (TakeoverCause::Released, Some(why)) => format!("{from} gave up: {why}"),
            (TakeoverCause::Lost, None) => format!("{from} was not heard any more"),
            (TakeoverCause::Lost, Some(why)) => format!("{from} was not heard any more: {why}"),
        }
    }

    /// With what the agent of the former primary says, which may be heard here: one whose servers wait for a volume that hangs,
    /// so that not even SIGKILL ends them, has nothing to release.
    fn explained(&self, observed: &Observed) -> Self {
        let mut agents = observed.agents.iter();
        let former = agents.find(|(name, _)| name.as_str() == self.from);
        let hangs = former.is_some_and(|(_, agent)| agent.volume_hangs);
        let why = (hangs && self.cause == TakeoverCause::Lost)
            .then(|| "its data volume hangs".to_owned());
        Self {
            unfit: self.unfit.clone().or(why),
            ..self.clone()
        }
    }

    /// Whether it is what an operation asked for. One that was to lose nothing is not answered by one that may.
    fn is_answer_to(&self, asked: &Operation) -> bool {
        let may_lose = asked.kind == Kind::FailoverCluster;
        let is_target = asked.instance.as_ref().map(InstanceName::as_str) == Some(&self.to);
        is_target && (may_lose || self.is_planned())
    }

    /// Its operation, where nobody has asked for it.
    fn operation(&self, subject: Subject<'_>) -> OperationId {
        let about = format!("takeover in term {}", self.term);
        OperationId::derived(subject.stream, &about)
    }

    fn summary(&self, operation: &Operation, served: Timestamp) -> LastTakeover {
        let took = served.duration_since(operation.started);
        LastTakeover {
            planned: self.is_planned(),
            from: self.from.clone(),
            to: self.to.clone(),
            cause: self.cause(),
            actor: operation.actor.clone(),
            timeline: self.timeline,
            lsn: self.lsn.clone(),
            at: served,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or_default(),
        }
    }

    fn progress(&self, subject: Subject<'_>, of: &Operation, event_type: EventType) -> Draft {
        let step = format!("{} was elected in term {}", self.to, self.term);
        Draft {
            event_type,
            time: self.at,
            namespace: subject.namespace.clone(),
            cluster: subject.cluster.cloned(),
            operation: of.id,
            actor: of.actor.clone(),
            step: Some(step),
            cause: None,
            duration_ms: None,
            details: [(Field::Target, Datum::Text(self.to.clone()))]
                .into_iter()
                .chain(self.place())
                .collect(),
        }
    }

    /// From whom, on which timeline and from where on.
    fn place(&self) -> Details {
        vec![
            (Field::FormerPrimary, Datum::Text(self.from.clone())),
            (Field::Timeline, Datum::Number(u64::from(self.timeline))),
            (Field::Lsn, Datum::Text(self.lsn.clone())),
        ]
    }

    /// The same as it was before: up to where the new primary had come, on which timeline.
    fn place_before(&self) -> Details {
        let before = self.former_timeline.map(u64::from).map(Datum::Number);
        let told = self.place().into_iter();
        told.filter_map(|(field, datum)| match field {
            Field::Timeline => Some((field, before.clone()?)),
            _ => Some((field, datum)),
        })
        .collect()
    }

    /// What is told at its end.
    fn details(&self) -> Details {
        let mut details = self.place();
        // Of one that was lost nothing is known before it is back and was compared ([`tell_lost`]).
        details.extend(
            self.lost
                .map(|lost| (Field::LostBytes, Datum::Number(lost))),
        );
        details
    }
}

/// Tells each election that was not told yet, as it was, the oldest one first.
pub(crate) fn tell(
    next: &mut ClusterStatus,
    subject: Subject<'_>,
    observed: &Observed,
    now: Timestamp,
) {
    for takeover in &observed.takeovers {
        if next.term < takeover.term {
            tell_one(next, subject, &takeover.explained(observed), now);
        }
    }
}

/// Tells an election; the operation that asked for it, if any did, goes on with it.
fn tell_one(next: &mut ClusterStatus, subject: Subject<'_>, takeover: &Takeover, now: Timestamp) {
    next.term = takeover.term;
    let became = format!(
        "{} became the primary in term {}",
        takeover.to, takeover.term
    );
    if let Some(former) = &next.promotion {
        let elected = &former.takeover.to;
        let cause = format!("{elected} was not seen to take writes; {became}");
        fail(next, subject, cause, now);
    }
    let running = next.journal.running_change().cloned();
    let operation = match running {
        Some(asked) if takeover.is_answer_to(&asked) => asked,
        Some(asked) => {
            let cause = format!("{}; {became}", takeover.cause());
            let failed = (Outcome::Failed, Some(cause));
            let details = takeover.details();
            next.journal
                .finish_one_with(subject, asked.id, failed, &details, now);
            alone(next, subject, takeover)
        }
        None => alone(next, subject, takeover),
    };
    if let Some(event_type) = operation.kind.progress() {
        let progress = takeover.progress(subject, &operation, event_type);
        next.journal.outbox.push(subject.stream, progress);
    }
    next.promotion = Some(Promotion {
        operation: operation.id,
        takeover: takeover.clone(),
        since: now,
        unreached: false,
    });
}

/// Begins the operation of a change that nobody has asked for: when the former primary was heard last.
fn alone(next: &mut ClusterStatus, subject: Subject<'_>, takeover: &Takeover) -> Operation {
    let to = takeover.to.parse().ok();
    let of = (takeover.kind(), to.as_ref());
    let began = takeover.heard.unwrap_or(takeover.at).min(takeover.at);
    let id = takeover.operation(subject);
    let operation = Operation::begun(of, id, "", next.observed_generation, began);
    let cause = Some(takeover.cause());
    let details = takeover.place_before();
    next.journal
        .begin_with(subject, operation.clone(), cause, details);
    operation
}

/// Ends a change of the primary once the new one takes writes, or when that does not come.
pub(crate) fn conclude(
    next: &mut ClusterStatus,
    subject: Subject<'_>,
    observed: &Observed,
    now: Timestamp,
) {
    let Some(promotion) = next.promotion.clone() else {
        return;
    };
    let takeover = &promotion.takeover;
    let to = takeover.to.parse::<InstanceName>().ok();
    let agent = to.as_ref().and_then(|to| observed.agent(to));
    // What it has said of itself under an earlier term is no word about this one.
    let is_primary = |agent: &&AgentFacts| {
        agent.phase == AgentPhase::Running
            && agent.role == Some(Role::Primary)
            && agent.term >= takeover.term
    };
    let Some(leads) = agent.filter(is_primary) else {
        let at_work = agent.is_some_and(|agent| agent.phase != AgentPhase::Failed);
        let deadline = if at_work {
            REPLAY_DEADLINE
        } else {
            WRITES_DEADLINE
        };
        let is_over = now.duration_since(promotion.since) >= deadline;
        if is_over && !silence::is_brief(observed, now) {
            fail(next, subject, overdue(takeover, agent, deadline), now);
        }
        return;
    };
    if observed.serving_primary() != to.as_ref() {
        // Clients have not reached it until the Service leads there, whenever that will be.
        if let Some(promotion) = &mut next.promotion {
            promotion.unreached = true;
        }
        return;
    }
    let since = leads.running_since.filter(|since| *since >= takeover.at);
    let served = since.filter(|_| !promotion.unreached).unwrap_or(now);
    complete(next, subject, &promotion, served);
}

fn overdue(takeover: &Takeover, agent: Option<&AgentFacts>, deadline: SignedDuration) -> String {
    let why = match agent.map(|agent| agent.error.as_deref()) {
        None => ": its agent does not answer".to_owned(),
        Some(Some(error)) => format!(": {error}"),
        Some(None) => String::new(),
    };
    format!(
        "{} was elected in term {} and does not take writes after {} s{why}",
        takeover.to,
        takeover.term,
        deadline.as_secs()
    )
}

fn complete(
    next: &mut ClusterStatus,
    subject: Subject<'_>,
    promotion: &Promotion,
    served: Timestamp,
) {
    next.promotion = None;
    let mut operations = next.journal.operations.iter();
    let Some(operation) = operations.find(|one| one.id == promotion.operation) else {
        return;
    };
    let takeover = &promotion.takeover;
    let served = served.max(operation.started);
    next.last_takeover = Some(takeover.summary(operation, served));
    let (mut cause, details) = (takeover.cause(), takeover.details());
    if takeover.lost.is_none() {
        let from = &takeover.from;
        let unknown = format!("; whether it had more is not known until {from} is back");
        cause.push_str(&unknown);
    }
    next.journal
        .complete(subject, promotion.operation, (&cause, &details), served);
    forget(next, subject, promotion);
}

/// Ends the change whose new primary was not seen to take writes.
fn fail(next: &mut ClusterStatus, subject: Subject<'_>, cause: String, now: Timestamp) {
    if let Some(promotion) = next.promotion.take() {
        let failed = (Outcome::Failed, Some(cause));
        let details = promotion.takeover.details();
        next.journal
            .finish_one_with(subject, promotion.operation, failed, &details, now);
        forget(next, subject, &promotion);
    }
}

/// Nothing follows from a change that nobody has asked for: it does not push another operation out of what is remembered.
fn forget(next: &mut ClusterStatus, subject: Subject<'_>, promotion: &Promotion) {
    let id = promotion.operation;
    if id == promotion.takeover.operation(subject) {
        next.journal
            .operations
            .retain(|operation| operation.id != id);
    }
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, subject: Subject<'_>, now: Timestamp) {
    fail(
        next,
        subject,
        "the cluster was deleted before".to_owned(),
        now,
    );
}

/// Tells how each former primary compared with the one that followed it, once, when it is back. More than one may be away while
/// the primary changes, and one may have been primary more than once since anybody told of it.
pub(crate) fn tell_lost(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let subject = cluster.subject();
    let first = next.first(&cluster.name);
    let replicas = &next.replicas;
    let belongs = |former: &InstanceName| {
        *former == first || replicas.iter().any(|known| known.name == *former)
    };
    next.formers.retain(|former, _| belongs(former));
    for (former, agent) in observed.agents.iter().filter(|(name, _)| belongs(name)) {
        let told = next.formers.get(former).copied().unwrap_or_default();
        for lost in agent.lost.iter().filter(|lost| told < lost.term) {
            next.formers.insert(former.clone(), lost.term);
            next.journal.tell(subject, lost.notice(former), now);
        }
    }
}

impl Lost {
    /// What a former primary gives up that comes back, where that was compared: from where on, on which timeline, how much.
    pub(crate) fn given_up(&self) -> Details {
        if self.unknown {
            return Vec::new();
        }
        let bytes = self.end.saturating_sub(self.fork);
        vec![
            (Field::Timeline, Datum::Number(u64::from(self.timeline))),
            (Field::Lsn, Datum::Text(place(self.fork))),
            (Field::LostBytes, Datum::Number(bytes)),
        ]
    }

    fn notice(&self, former: &InstanceName) -> Notice {
        let (event_type, mut cause) = self.verdict();
        let mut details = vec![(Field::FormerPrimary, Datum::Text(former.to_string()))];
        if !self.unknown {
            let places = format!(
                "; its WAL on timeline {} ends at {}, and the history of the primary in term {} leaves it at {}",
                self.timeline,
                place(self.end),
                self.term,
                place(self.fork)
            );
            cause.push_str(&places);
        }
        details.extend(self.given_up());
        Notice {
            event_type,
            about: format!("{former} compared in term {}", self.term),
            time: None,
            cause,
            since: None,
            details,
        }
    }

    fn verdict(&self) -> (EventType, String) {
        let nothing = EventType::NoCommitsLost;
        match self.commits {
            _ if self.unknown && !self.synchronous => (
                EventType::CommitsLost,
                "the former primary may have had more, which could not be found out; its agent's log says why".to_owned(),
            ),
            _ if !self.unknown && self.end <= self.fork => {
                (nothing, "the former primary had nothing more".to_owned())
            }
            Some(0) => (nothing, "the former primary had no commit more".to_owned()),
            _ if self.synchronous => (
                nothing,
                "what the former primary had more was not acknowledged, save commits that did not wait until replicas had them on disk: \
                 those with synchronous_commit off, local or remote_write, and those whose wait was cancelled"
                    .to_owned(),
            ),
            Some(1) => (
                EventType::CommitsLost,
                "the former primary had 1 commit more".to_owned(),
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
