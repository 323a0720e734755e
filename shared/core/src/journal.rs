//! Operations and their events: begun once, told step by step, ended once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgo_events::{Datum, Draft, EventType, Field, Outbox, shortened, without_secrets};
use pgo_ids::{ClusterName, InstanceName, Namespace, OperationId, StreamId};
use serde::{Deserialize, Serialize};

use crate::PolicyPlace;

/// What an operation does; each kind has its events in the catalogue.
pub use pgo_events::OperationKind as Kind;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did what was asked.
    Completed,
    /// It did not.
    Failed,
}

impl Outcome {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Completed, Self::Failed];
}

/// What to remove with a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteOptions {
    /// Volumes with data, and the Secrets that open them.
    pub data: bool,
    /// Volumes with backups, and the Secret that opens them.
    pub backups: bool,
}

impl DeleteOptions {
    /// What both together remove.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            data: self.data || other.data,
            backups: self.backups || other.backups,
        }
    }

    /// Whether nothing is left for `other` to remove.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.with(other) == self
    }
}

/// An operation, running or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Equal in all its events.
    pub id: OperationId,
    /// What it does.
    pub kind: Kind,
    /// With which of the cluster's instances, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceName>,
    /// Who asked; empty where nobody did.
    pub actor: String,
    /// Name of the Pgtask that asked for it, where one did: before it is forgotten that one is looked at
    /// ([`crate::rests_on`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// With a policy that is applied: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// With a policy that runs elsewhere than policies do: where and as whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PolicyPlace>,
    /// With a load: the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What it gave that users are to see: of a benchmark what pgbench printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// With a backup that is tried: pgBackRest's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// With a backup that pgBackRest does not make: the program that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How many of its steps were told.
    #[serde(default)]
    pub steps: usize,
    /// `metadata.generation` it works for.
    #[serde(default)]
    pub generation: i64,
    /// With a deletion: what to remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<DeleteOptions>,
}

impl Operation {
    /// Whether it goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// One that begins now.
    pub(crate) fn begun(
        (kind, instance): Of<'_>,
        id: OperationId,
        actor: &str,
        generation: i64,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            instance: instance.cloned(),
            actor: actor.to_owned(),
            task: None,
            policy: None,
            place: None,
            table: None,
            result: None,
            backup: None,
            tool: None,
            started: now,
            finished: None,
            outcome: None,
            cause: None,
            steps: 0,
            generation,
            delete: None,
        }
    }
}

/// How an operation ends: with what outcome and why.
pub(crate) type Ending = (Outcome, Option<String>);

/// Further fields of an event.
pub(crate) type Details = Vec<(Field, Datum)>;

/// Which operations: of a kind, and of an instance where they are about one.
pub(crate) type Of<'a> = (Kind, Option<&'a InstanceName>);

impl Operation {
    /// Whether it makes another instance the primary: `instance` is the one.
    #[must_use]
    pub fn changes_primary(&self) -> bool {
        matches!(self.kind, Kind::FailoverCluster | Kind::SwitchoverCluster)
    }

    /// Under which field its events name the instance that it is about.
    fn field(&self) -> Field {
        match self.kind {
            _ if self.changes_primary() => Field::Target,
            Kind::UpgradeInstance => Field::Instance,
            _ => Field::ReplicaName,
        }
    }

    /// Further fields of all its events.
    fn details(&self) -> impl Iterator<Item = (Field, Datum)> {
        let instance = self.instance.iter();
        let instance = instance.map(|name| (self.field(), Datum::Text(name.to_string())));
        let tool = match self.kind {
            _ if self.tool.is_some() => self.tool.as_deref(),
            Kind::CreateBackup | Kind::VerifyRestore => Some("pgbackrest"),
            Kind::CreateDump | Kind::RestoreDump => Some("pgdump"),
            Kind::RestoreBaseBackup => Some(crate::dump::base::TOOL),
            _ => None,
        };
        let tool = tool.map(|tool| (Field::BackupType, Datum::Text(tool.to_owned())));
        let policy = self.policy.iter();
        let policy = policy.map(|name| (Field::PolicyName, Datum::Text(name.clone())));
        let backup = self.backup.iter();
        let backup = backup.map(|label| (Field::Path, Datum::Text(label.clone())));
        let table = self.table.iter();
        let table = table.map(|table| (Field::LoadConfig, Datum::Text(table.clone())));
        let of_what = policy.chain(backup).chain(table);
        instance.chain(tool).chain(of_what)
    }

    fn is(&self, (kind, instance): Of<'_>) -> bool {
        self.kind == kind && self.instance.as_ref() == instance
    }
}

/// Whom a journal is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub stream: &'a StreamId,
    pub namespace: &'a Namespace,
    pub cluster: Option<&'a ClusterName>,
}

/// A fact to tell.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub event_type: EventType,
    /// What it is about: facts that belong together have the same, and so the same operation id.
    pub about: String,
    /// When it was, where that is not now.
    pub time: Option<Timestamp>,
    pub cause: String,
    /// Since when the state lasted that ends with it.
    pub since: Option<Timestamp>,
    pub details: Details,
}

/// The operations of one object and the events that tell of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// The newest [`Journal::REMEMBERED`], every deletion of a cluster, and what is still asked for, oldest first.
    pub operations: Vec<Operation>,
    /// Events not confirmed yet.
    pub outbox: Outbox,
}

impl Journal {
    /// How many operations a status remembers; the history is in the event log.
    pub const REMEMBERED: usize = 10;

    /// The operations of a kind, oldest first.
    pub fn all(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &Operation> {
        self.operations.iter().filter(move |o| o.kind == kind)
    }

    /// The newest operation of a kind.
    #[must_use]
    pub fn newest(&self, kind: Kind) -> Option<&Operation> {
        self.all(kind).next_back()
    }

    /// The running operation of a kind.
    #[must_use]
    pub fn running(&self, kind: Kind) -> Option<&Operation> {
        self.newest(kind).filter(|o| o.is_running())
    }

    /// The newest operation of a kind with an instance.
    pub(crate) fn newest_of(&self, of: Of<'_>) -> Option<&Operation> {
        self.operations.iter().rev().find(|o| o.is(of))
    }

    /// The newest operation of a kind with an instance that runs; later ones may have been refused.
    pub(crate) fn running_of(&self, of: Of<'_>) -> Option<&Operation> {
        let mut newest_first = self.operations.iter().rev();
        newest_first.find(|o| o.is(of) && o.is_running())
    }

    /// Whether it remembers an operation.
    #[must_use]
    pub fn knows(&self, id: OperationId) -> bool {
        self.operations.iter().any(|operation| operation.id == id)
    }

    /// The change of the primary that runs, as somebody asked for it.
    #[must_use]
    pub fn running_change(&self) -> Option<&Operation> {
        let mut operations = self.operations.iter();
        operations.find(|o| o.changes_primary() && o.is_running())
    }

    /// Begins an operation and tells so.
    pub(crate) fn begin(
        &mut self,
        subject: Subject<'_>,
        operation: Operation,
        cause: Option<String>,
    ) {
        self.begin_with(subject, operation, cause, Vec::new());
    }

    /// The same, with further fields.
    pub(crate) fn begin_with(
        &mut self,
        subject: Subject<'_>,
        operation: Operation,
        cause: Option<String>,
        details: Details,
    ) {
        let mut draft = draft(subject, &operation, operation.kind.started());
        draft.time = operation.started;
        draft.cause = cause;
        draft.details.extend(details);
        self.outbox.push(subject.stream, draft);
        self.operations.push(operation);
    }

    /// Notes of each operation which Pgtask asks for it, by their names.
    pub(crate) fn note_tasks(&mut self, tasks: &BTreeMap<OperationId, String>) {
        for operation in &mut self.operations {
            if operation.task.is_none() {
                operation.task = tasks.get(&operation.id).cloned();
            }
        }
    }

    /// Forgets the oldest operations beyond those to remember, but none that runs, nor the newest of its kind: what the
    /// cluster is follows from those. Deletions stay, and what is asked for: a request whose operation was forgotten would
    /// begin another one.
    pub(crate) fn forget(&mut self, is_asked_for: impl Fn(OperationId) -> bool) {
        let mut surplus = self.operations.len().saturating_sub(Self::REMEMBERED);
        let mut at = 0;
        while surplus > 0 && at < self.operations.len() {
            let (kind, later) = (self.operations[at].kind, &self.operations[at + 1..]);
            let is_newest = later.iter().all(|other| other.kind != kind);
            let stays = is_newest || kind == Kind::DeleteCluster;
            let operation = &self.operations[at];
            if stays || operation.is_running() || is_asked_for(operation.id) {
                at += 1;
            } else {
                self.operations.remove(at);
                surplus -= 1;
            }
        }
    }

    /// Tells a fact.
    pub(crate) fn tell(&mut self, subject: Subject<'_>, notice: Notice, now: Timestamp) {
        let operation = OperationId::derived(subject.stream, &notice.about);
        self.tell_of(subject, operation, notice, now);
    }

    /// Tells a fact about an operation.
    pub(crate) fn tell_of(
        &mut self,
        subject: Subject<'_>,
        operation: OperationId,
        notice: Notice,
        now: Timestamp,
    ) {
        let draft = Draft {
            event_type: notice.event_type,
            time: notice.time.unwrap_or(now),
            namespace: subject.namespace.clone(),
            cluster: subject.cluster.cloned(),
            operation,
            actor: String::new(),
            step: None,
            cause: Some(notice.cause),
            duration_ms: notice.since.map(|since| milliseconds(since, now)),
            details: notice.details.into_iter().collect(),
        };
        self.outbox.push(subject.stream, draft);
    }

    /// Tells the steps of a running operation that were not told yet, with further fields: `texts` from the one after the last
    /// told.
    pub(crate) fn progress(
        &mut self,
        subject: Subject<'_>,
        of: Of<'_>,
        (texts, details): (&[&str], &[(Field, Datum)]),
        now: Timestamp,
    ) {
        let Some(operation) = running_mut(&mut self.operations, of) else {
            return;
        };
        let untold = texts.get(operation.steps..).unwrap_or_default();
        let Some(event_type) = of.0.progress() else {
            return;
        };
        for text in untold {
            let mut draft = draft(subject, operation, event_type);
            draft.time = now;
            draft.step = Some((*text).to_owned());
            draft.details.extend(details.iter().cloned());
            self.outbox.push(subject.stream, draft);
        }
        operation.steps = operation.steps.max(texts.len());
    }

    /// Tells of an operation that is refused: it ends as it begins, and what runs is not touched.
    pub(crate) fn refuse(
        &mut self,
        subject: Subject<'_>,
        operation: Operation,
        cause: &str,
        now: Timestamp,
    ) {
        self.refuse_with(subject, operation, (cause, &[]), now);
    }

    /// The same, with further fields of both events.
    pub(crate) fn refuse_with(
        &mut self,
        subject: Subject<'_>,
        operation: Operation,
        (cause, details): (&str, &[(Field, Datum)]),
        now: Timestamp,
    ) {
        let id = operation.id;
        self.begin_with(subject, operation, None, details.to_vec());
        let how = (Outcome::Failed, Some(cause.to_owned()));
        self.finish_one_with(subject, id, how, details, now);
    }

    /// Ends the running operations of a kind and tells how: there are several where several asked for the same, which all
    /// but the first name as the cause of their success. Nothing happens where none runs, so each ends once.
    pub(crate) fn finish(
        &mut self,
        subject: Subject<'_>,
        of: Of<'_>,
        how: (Outcome, Option<String>),
        now: Timestamp,
    ) {
        self.finish_with(subject, of, how, &[], now);
    }

    /// The same, with further fields.
    pub(crate) fn finish_with(
        &mut self,
        subject: Subject<'_>,
        of: Of<'_>,
        (outcome, cause): (Outcome, Option<String>),
        details: &[(Field, Datum)],
        now: Timestamp,
    ) {
        let running = self.operations.iter();
        let running = running.filter(|o| o.is(of) && o.is_running());
        let all: Vec<OperationId> = running.map(|operation| operation.id).collect();
        for id in &all {
            let first = all.first().filter(|first| *first != id);
            let together = first.map(|first| format!("done together with operation {first}"));
            let how = (outcome, cause.as_deref(), together);
            self.end(subject, *id, how, details, now);
        }
    }

    /// Ends one running operation and tells how.
    pub(crate) fn finish_one(
        &mut self,
        subject: Subject<'_>,
        id: OperationId,
        how: Ending,
        now: Timestamp,
    ) {
        self.finish_one_with(subject, id, how, &[], now);
    }

    /// The same, with further fields.
    pub(crate) fn finish_one_with(
        &mut self,
        subject: Subject<'_>,
        id: OperationId,
        (outcome, cause): Ending,
        details: &[(Field, Datum)],
        now: Timestamp,
    ) {
        self.end(subject, id, (outcome, cause.as_deref(), None), details, now);
    }

    /// Completes one running operation and tells so, with these details.
    pub(crate) fn complete(
        &mut self,
        subject: Subject<'_>,
        id: OperationId,
        (cause, details): (&str, &[(Field, Datum)]),
        now: Timestamp,
    ) {
        let how = (Outcome::Completed, Some(cause), None);
        self.end(subject, id, how, details, now);
    }

    /// Notes what an operation gave.
    pub(crate) fn note_result(&mut self, id: OperationId, result: Option<String>) {
        let mut operations = self.operations.iter_mut();
        if let Some(operation) = operations.find(|operation| operation.id == id) {
            operation.result = result;
        }
    }

    /// Tells of an operation that was over when it was heard of. Nothing follows from it: it is not remembered.
    pub(crate) fn tell_over(
        &mut self,
        subject: Subject<'_>,
        operation: &Operation,
        how: Ending,
        at: Timestamp,
    ) {
        self.tell_over_with(subject, operation, how, &[], at);
    }

    /// The same, with further fields of both events.
    pub(crate) fn tell_over_with(
        &mut self,
        subject: Subject<'_>,
        operation: &Operation,
        (outcome, cause): Ending,
        details: &[(Field, Datum)],
        at: Timestamp,
    ) {
        let mut began = draft(subject, operation, operation.kind.started());
        let mut ended = draft(subject, operation, ending(operation.kind, outcome));
        began.details.extend(details.iter().cloned());
        ended.details.extend(details.iter().cloned());
        ended.time = at;
        ended.cause = cause;
        ended.duration_ms = Some(milliseconds(operation.started, at));
        self.outbox.push(subject.stream, began);
        self.outbox.push(subject.stream, ended);
    }

    fn end(
        &mut self,
        subject: Subject<'_>,
        id: OperationId,
        (outcome, cause, otherwise): (Outcome, Option<&str>, Option<String>),
        details: &[(Field, Datum)],
        now: Timestamp,
    ) {
        let mut running = self.operations.iter_mut();
        let Some(operation) = running.find(|o| o.id == id && o.is_running()) else {
            return;
        };
        operation.finished = Some(now);
        operation.outcome = Some(outcome);
        operation.cause = cause.map(|cause| shortened(&without_secrets(cause)));
        let mut draft = draft(subject, operation, ending(operation.kind, outcome));
        draft.time = now;
        draft.cause = cause.map(str::to_owned).or(otherwise);
        draft.duration_ms = Some(milliseconds(operation.started, now));
        draft.details.extend(details.iter().cloned());
        self.outbox.push(subject.stream, draft);
    }
}

/// The event of an end.
fn ending(kind: Kind, outcome: Outcome) -> EventType {
    match outcome {
        Outcome::Completed => kind.completed(),
        Outcome::Failed => kind.failed(),
    }
}

fn milliseconds(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(since).as_millis()).unwrap_or(0)
}

fn running_mut<'a>(operations: &'a mut [Operation], of: Of<'_>) -> Option<&'a mut Operation> {
    let mut newest_first = operations.iter_mut().rev();
    newest_first.find(|o| o.is(of) && o.is_running())
}

fn draft(subject: Subject<'_>, operation: &Operation, event_type: EventType) -> Draft {
    Draft {
        event_type,
        time: operation.started,
        namespace: subject.namespace.clone(),
        cluster: subject.cluster.cloned(),
        operation: operation.id,
        actor: operation.actor.clone(),
        step: None,
        cause: None,
        duration_ms: None,
        details: operation.details().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_among_all() {
        // Whoever adds one is led here by the compiler.
        let place = |outcome: Outcome| match outcome {
            Outcome::Completed => 0,
            Outcome::Failed => 1,
        };
        assert_eq!(Outcome::ALL.map(place), [0, 1]);
    }
}
