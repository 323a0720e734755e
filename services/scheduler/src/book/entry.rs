//! One schedule: what its ConfigMap says, and what follows from it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use pgo_crd::RunNote;
use pgo_ids::StreamId;

use super::{About, AtWork, Busy, GRACE, Key, Make, Note, Run, Step, Tell};
use crate::{
    around::{Around, Hindrance, version},
    run::{
        self, CLAIMED_RUN, Claim, LAST_MISSED, LAST_RUN, LAST_SKIPPED, LastRun, Missed, NEXT_RUN,
        Progress, SCHEDULE_ERROR, Skipped, UNTOLD_RUNS, Untold,
    },
    schedule::{Schedule, Work},
};

/// Most runs that are counted one by one after a time without a scheduler.
const MOST_MISSED: u64 = 10_000;

/// A run that was claimed in time may still begin so much after its [`GRACE`].
const TO_BEGIN: SignedDuration = SignedDuration::from_mins(10);

/// And it is given up after this, when what was asked of the API server before has come or will not.
const TO_GIVE_UP: SignedDuration = SignedDuration::from_mins(15);

/// A run of which neither task nor cluster know anything has gone, so long after it was due.
const GONE_AFTER: SignedDuration = SignedDuration::from_hours(2);

/// A record this far in the future was made when the clock was wrong.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// Nothing is postponed for longer; one that seems to be was before the clock was set back.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

type Annotations = BTreeMap<&'static str, Option<String>>;

/// A schedule.
#[derive(Debug)]
pub(super) struct Entry {
    version: String,
    number: u64,
    uid: Option<StreamId>,
    pub(super) schedule: Result<Schedule, String>,
    /// When it was made.
    since: Timestamp,
    /// Up to when it is decided what was due.
    recorded: Timestamp,
    /// When it is due after that.
    upcoming: Option<Timestamp>,
    claimed: Option<Claim>,
    last: Option<LastRun>,
    skipped: Option<Skipped>,
    missed: Option<Missed>,
    untold: Untold,
    /// The complaint that is in the annotations.
    complaint: Option<String>,
    /// What the annotations say of the next run.
    next: Option<String>,
    /// Why Kubernetes does not take the task of the run that is claimed.
    pub(super) refused: Option<String>,
    /// Not before, after something that failed.
    pub(super) postponed: Option<Timestamp>,
}

/// What is decided about a run that is due.
pub(super) enum Verdict {
    /// It waits for another one, since it was due.
    Waits(Timestamp),
    /// It is not known yet whether it can be run.
    Unknown,
    /// It is skipped or missed.
    Decided(Note),
    /// It begins, on this cluster.
    Claimed(Key, Claim, Note),
}

/// What was due since the last record.
struct Dues {
    /// The last time.
    last: Timestamp,
    /// The one before it.
    before: Option<Timestamp>,
    /// How many.
    runs: u64,
}

impl Entry {
    pub(super) fn of(key: &Key, map: &ConfigMap) -> Self {
        let annotations = map.metadata.annotations.as_ref();
        let annotation = |name: &str| annotations.and_then(|all| all.get(name)).cloned();
        let schedule = Schedule::parse(&key.namespace, &map.data.clone().unwrap_or_default());
        let created = map.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let since = created.unwrap_or(Timestamp::UNIX_EPOCH);
        let claimed = annotation(CLAIMED_RUN).and_then(|text| Claim::read(&text));
        let last = annotation(LAST_RUN).and_then(|text| LastRun::read(&text));
        let skipped = annotation(LAST_SKIPPED).and_then(|text| Skipped::read(&text));
        let missed = annotation(LAST_MISSED).and_then(|text| Missed::read(&text));
        let records = [
            changed(map),
            claimed.map(|claim| claim.due),
            last.map(|last| last.due),
            skipped.as_ref().map(|skipped| skipped.due),
            missed.map(|missed| missed.due),
        ];
        let recorded = records.into_iter().flatten().max();
        let untold = annotation(UNTOLD_RUNS).map(|text| Untold::read(&text));
        let mut entry = Self {
            version: map.metadata.resource_version.clone().unwrap_or_default(),
            number: version(&map.metadata),
            uid: uid(map),
            schedule: schedule.map_err(|error| error.to_string()),
            since,
            recorded: recorded.map_or(since, |recorded| recorded.max(since)),
            upcoming: None,
            claimed,
            last,
            skipped,
            missed,
            untold: untold.unwrap_or_default(),
            complaint: annotation(SCHEDULE_ERROR),
            next: annotation(NEXT_RUN),
            refused: None,
            postponed: None,
        };
        // Each change of anything asks all schedules: that is computed once.
        entry.upcoming = entry.next_due(entry.recorded);
        entry
    }

    /// Whether it is this version of the same object, or a later one.
    pub(super) fn is_as_new_as(&self, map: &ConfigMap) -> bool {
        let is_same = map.metadata.resource_version.as_ref() == Some(&self.version);
        self.uid == uid(map) && (is_same || self.number > version(&map.metadata))
    }

    /// Whether nothing is to be done about it yet, after something that failed.
    pub(super) fn is_postponed(&self, now: Timestamp) -> bool {
        self.postponed
            .is_some_and(|until| until > now && until.duration_since(now) <= LONGEST_PAUSE)
    }

    fn next_due(&self, after: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref().ok();
        schedule?.timetable.next_due(self.since, after)
    }

    /// When there may be something to do after `now` that no change brings.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match self.postponed {
            Some(until) if self.is_postponed(now) => Some(until),
            _ if self.upcoming.is_some_and(|due| due <= now) => self.next_due(now),
            _ => self.upcoming,
        }
    }

    /// The cluster on which a run of this schedule works, and which.
    pub(super) fn at_work(&self, key: &Key, around: &Around) -> Option<(Key, AtWork)> {
        let schedule = self.schedule.as_ref().ok()?;
        let cluster = Key::new(&key.namespace, &schedule.cluster);
        if let Some(claim) = self.claimed {
            let at_work = AtWork {
                operation: Some(claim.operation),
                claimed: Some(claim.due),
            };
            return Some((cluster, at_work));
        }
        let last = self.last?;
        let runs = last.progress == Progress::Running
            && around
                .progress(&key.namespace, &schedule.cluster, last.operation)
                .is_none_or(|progress| progress == Progress::Running);
        let at_work = AtWork {
            operation: Some(last.operation),
            claimed: None,
        };
        runs.then_some((cluster, at_work))
    }

    /// What was decided before and is to be done, or has come to its end.
    pub(super) fn pending(
        &self,
        key: &Key,
        now: Timestamp,
        around: &Around,
        busy: &Busy,
    ) -> Option<Step> {
        match self.claimed {
            Some(claim) => self.begin(key, claim, now, around, busy),
            None if self.untold.is_some() => Some(Step::Tell(self.tell(key, around, None, now))),
            None => self.end(key, now, around).map(Step::Note),
        }
    }

    /// Carries on with a run that is claimed.
    fn begin(
        &self,
        key: &Key,
        claim: Claim,
        now: Timestamp,
        around: &Around,
        busy: &Busy,
    ) -> Option<Step> {
        let cluster = self.schedule.as_ref().map(|schedule| &schedule.cluster);
        let cluster = cluster.map_or("", String::as_str);
        let made = around.progress(&key.namespace, cluster, claim.operation);
        if made.is_some() {
            return Some(Step::Tell(self.tell(key, around, Some(claim), now)));
        }
        let skip = |reason: String| {
            let due = claim.due;
            Some(Step::Note(self.skip(key, Skipped { due, reason }, now)))
        };
        let schedule = match &self.schedule {
            Ok(_) if self.refused.is_some() => {
                return skip(self.refused.clone().unwrap_or_default());
            }
            Ok(schedule) => schedule,
            Err(error) => return skip(format!("the schedule cannot be kept any more: {error}")),
        };
        let late = now.duration_since(claim.due);
        // Of two runs that were claimed, by two who believed that they lead, the first one goes on.
        let own = (claim.due, Some(claim.operation));
        let is_blocked = at_work_with(busy, key, schedule).any(|other| {
            let is_before = other.claimed.is_none_or(|due| (due, other.operation) < own);
            other.operation != own.1 && is_before
        });
        match hindrance(key, schedule, around) {
            Some(Hindrance::Final(reason)) => return skip(reason),
            Some(Hindrance::Unknown) => return None,
            None if late > GRACE + TO_GIVE_UP && is_blocked => {
                return skip(WAITED.to_owned());
            }
            None if late > GRACE + TO_GIVE_UP => {
                let (due, runs) = (claim.due, 1);
                let missed = Missed { due, runs };
                return Some(Step::Note(self.miss(key, schedule, missed, now)));
            }
            None if late > GRACE + TO_BEGIN || is_blocked => return None,
            None => {}
        }
        let uid = &around.cluster(&key.namespace, &schedule.cluster)?.uid;
        Some(Step::Make(Make {
            key: key.clone(),
            claim,
            work: schedule.work.clone(),
            cluster: schedule.cluster.clone(),
            cluster_uid: uid.clone(),
        }))
    }

    /// What the Pgcluster is to be told, and what is recorded then; with the run whose task was made.
    fn tell(&self, key: &Key, around: &Around, begun: Option<Claim>, now: Timestamp) -> Tell {
        let run = self.schedule.as_ref().ok().map(Run::of);
        let cluster = run.as_ref().and_then(|run| {
            let cluster = around.cluster(&key.namespace, &run.cluster)?;
            let uid = cluster.has_room.then(|| cluster.uid.clone())?;
            Some((run.cluster.clone(), uid))
        });
        let note = |due, skipped, missed| {
            let note = RunNote {
                schedule: key.name.clone(),
                uid: self.uid.as_ref()?.to_string(),
                due,
                skipped,
                missed,
            };
            Some((run::operation(self.uid.as_ref()?, due), note))
        };
        let skipped = self.skipped.as_ref().filter(|_| self.untold.skipped);
        let missed = self.missed.filter(|_| self.untold.missed);
        let notes = [
            missed.and_then(|missed| note(missed.due, None, Some(missed.runs))),
            skipped.and_then(|skipped| note(skipped.due, Some(skipped.reason.clone()), None)),
            begun.and_then(|claim| note(claim.due, None, None)),
        ];
        let mut annotations = Annotations::from([(UNTOLD_RUNS, None)]);
        let mut about = None;
        if let Some(claim) = begun {
            let last = LastRun {
                due: claim.due,
                progress: Progress::Running,
                operation: claim.operation,
            };
            annotations.insert(CLAIMED_RUN, None);
            annotations.insert(LAST_RUN, Some(last.to_string()));
            about = run.map(|run| About::Begun(run, claim));
        }
        Tell {
            cluster,
            notes: notes.into_iter().flatten().collect(),
            then: self.note(key, annotations, about, (self.recorded, now)),
        }
    }

    /// Records the end of the last run.
    fn end(&self, key: &Key, now: Timestamp, around: &Around) -> Option<Note> {
        let last = self
            .last
            .filter(|last| last.progress == Progress::Running)?;
        let schedule = self.schedule.as_ref().ok()?;
        let (namespace, cluster) = (&key.namespace, &schedule.cluster);
        let known = around.progress(namespace, cluster, last.operation);
        let is_forgotten = now.duration_since(last.due) > GONE_AFTER
            || around.cluster(namespace, cluster).is_none();
        let progress = match known {
            Some(Progress::Running) => return None,
            Some(progress) => progress,
            None if is_forgotten => Progress::Gone,
            None => return None,
        };
        let last = LastRun { progress, ..last };
        let annotations = Annotations::from([(LAST_RUN, Some(last.to_string()))]);
        let about = About::Ended(Run::of(schedule), last);
        Some(self.note(key, annotations, Some(about), (self.recorded, now)))
    }

    /// In which order it is looked at where others are due, too; none where it is not.
    pub(super) fn due(&self, now: Timestamp) -> Option<(Option<Work>, Timestamp)> {
        if self.claimed.is_some() {
            return None;
        }
        let due = self.upcoming.filter(|due| *due <= now)?;
        let work = self.schedule.as_ref().ok().map(|s| s.work.clone());
        Some((work, due))
    }

    fn dues(&self, now: Timestamp) -> Option<Dues> {
        let next = |after| self.next_due(after).filter(|due| *due <= now);
        let mut dues = Dues {
            last: next(self.recorded)?,
            before: None,
            runs: 1,
        };
        while dues.runs < MOST_MISSED
            && let Some(later) = next(dues.last)
        {
            dues.before = Some(dues.last);
            dues.last = later;
            dues.runs += 1;
        }
        Some(dues)
    }

    /// Decides about what is due. `waits` is when the run was due that has waited for its turn.
    pub(super) fn verdict(
        &self,
        key: &Key,
        now: Timestamp,
        around: &Around,
        (busy, waits): (&Busy, Option<Timestamp>),
    ) -> Verdict {
        let (Ok(schedule), Some(dues)) = (&self.schedule, self.dues(now)) else {
            return Verdict::Unknown;
        };
        let skip =
            |due, reason: String| Verdict::Decided(self.skip(key, Skipped { due, reason }, now));
        let miss =
            |due, runs| Verdict::Decided(self.miss(key, schedule, Missed { due, runs }, now));
        let is_late = now.duration_since(dues.last) > GRACE;
        match waits.filter(|due| *due > self.recorded) {
            Some(due) if due < dues.last || is_late => return skip(due, WAITED.to_owned()),
            None if is_late => return miss(dues.last, dues.runs),
            _ => {}
        }
        if let Some(before) = dues.before {
            return miss(before, dues.runs - 1);
        }
        let due = dues.last;
        match hindrance(key, schedule, around) {
            Some(Hindrance::Final(reason)) => return skip(due, reason),
            Some(Hindrance::Unknown) => return Verdict::Unknown,
            None => {}
        }
        let Some(uid) = &self.uid else {
            return skip(due, "its ConfigMap has no uid".to_owned());
        };
        let mut others = at_work_with(busy, key, schedule);
        let last = self.last.map(|last| (last.due, Some(last.operation)));
        if let Some((former, _)) =
            last.filter(|(_, operation)| others.any(|other| other.operation == *operation))
        {
            let reason = format!("the run that was due at {former} has not ended");
            return skip(due, reason);
        }
        if at_work_with(busy, key, schedule).next().is_some() {
            return Verdict::Waits(due);
        }
        let operation = run::operation(uid, due);
        let claim = Claim { due, operation };
        let annotations = Annotations::from([(CLAIMED_RUN, Some(claim.to_string()))]);
        let cluster = Key::new(&key.namespace, &schedule.cluster);
        Verdict::Claimed(
            cluster,
            claim,
            self.note(key, annotations, None, (due, now)),
        )
    }

    fn skip(&self, key: &Key, skipped: Skipped, now: Timestamp) -> Note {
        let annotations = Annotations::from([
            (LAST_SKIPPED, Some(skipped.to_string())),
            (UNTOLD_RUNS, Some("skipped".to_owned())),
            (CLAIMED_RUN, None),
        ]);
        let recorded = self.recorded.max(skipped.due);
        let run = self.schedule.as_ref().ok().map(Run::of);
        let about = run.map(|run| About::Skipped(run, skipped));
        self.note(key, annotations, about, (recorded, now))
    }

    fn miss(&self, key: &Key, schedule: &Schedule, missed: Missed, now: Timestamp) -> Note {
        let annotations = Annotations::from([
            (LAST_MISSED, Some(missed.to_string())),
            (UNTOLD_RUNS, Some("missed".to_owned())),
            (CLAIMED_RUN, None),
        ]);
        let recorded = self.recorded.max(missed.due);
        let about = About::Missed(Run::of(schedule), missed);
        self.note(key, annotations, Some(about), (recorded, now))
    }

    /// What is wrong with the annotations besides.
    pub(super) fn correction(&self, key: &Key, now: Timestamp) -> Option<Note> {
        let complaint = self.complaint_at(now);
        let about = match &complaint {
            None if self.complaint.is_some() => Some(About::Mended),
            Some(reason) if self.complaint.as_ref() != Some(reason) => {
                Some(About::Wrong(reason.clone()))
            }
            _ => None,
        };
        let note = self.note(key, Annotations::new(), about, (self.recorded, now));
        (!note.annotations.is_empty()).then_some(note)
    }

    fn complaint_at(&self, now: Timestamp) -> Option<String> {
        if let Err(reason) = &self.schedule {
            return Some(reason.clone());
        }
        let is_ahead = self.recorded.duration_since(now) > AHEAD;
        is_ahead.then(|| {
            let recorded = self.recorded;
            format!(
                "it is decided up to {recorded} what is due, which is in the future: the clock was set back. Nothing is due until \
                 then; make the schedule anew to have it kept from now on"
            )
        })
    }

    /// A change of the annotations, with the next run and what is wrong as they are once it is decided up to `recorded`.
    fn note(
        &self,
        key: &Key,
        mut annotations: Annotations,
        about: Option<About>,
        (recorded, now): (Timestamp, Timestamp),
    ) -> Note {
        let next = match recorded == self.recorded {
            true => self.upcoming,
            false => self.next_due(recorded),
        };
        let next = next.map(|due| due.to_string());
        if next != self.next {
            annotations.insert(NEXT_RUN, next);
        }
        let complaint = self.complaint_at(now);
        if complaint != self.complaint {
            annotations.insert(SCHEDULE_ERROR, complaint);
        }
        Note {
            key: key.clone(),
            version: self.version.clone(),
            annotations,
            about,
        }
    }
}

/// Why a run is skipped that has waited.
const WAITED: &str = "another run of the cluster went on for too long: this one has waited for its end until the schedule was due \
                      again, or for an hour";

/// What works on the schedule's cluster.
fn at_work_with<'a>(
    busy: &'a Busy,
    key: &Key,
    schedule: &Schedule,
) -> impl Iterator<Item = &'a AtWork> {
    let at_work = busy.get(&Key::new(&key.namespace, &schedule.cluster));
    at_work.into_iter().flatten()
}

/// What keeps a schedule from being run.
fn hindrance(key: &Key, schedule: &Schedule, around: &Around) -> Option<Hindrance> {
    match schedule.work {
        Work::PgBackRest { .. } => around.hindrance(&key.namespace, &schedule.cluster),
        Work::Policy { .. } | Work::PgBaseBackup { .. } => {
            let (namespace, cluster) = (&key.namespace, &schedule.cluster);
            around.absence(namespace, cluster).map(Hindrance::Final)
        }
    }
}

fn uid(map: &ConfigMap) -> Option<StreamId> {
    map.metadata.uid.as_ref()?.parse().ok()
}

/// When the data was written last: what a schedule would have had to do before it said so was not due.
fn changed(map: &ConfigMap) -> Option<Timestamp> {
    let writers = map.metadata.managed_fields.iter().flatten();
    let of_data = writers.filter(|writer| {
        let fields = writer.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.get("f:data").is_some())
    });
    of_data
        .filter_map(|writer| writer.time.as_ref())
        .map(|time| time.0)
        .max()
}
