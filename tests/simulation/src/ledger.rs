//! What must hold at every moment, and what must hold at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pgo_core::{ClusterStatus, Operation};
use pgo_events::{Event, EventType, Stage};
use pgo_ids::{OperationId, Seq};

use crate::{
    event_service::Record,
    store::{Page, PageName, Slot, Store},
    world::Count,
};

/// The truth: everything that was ever told, and what was asked for.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Events of each cluster as they were written, the first at 0.
    told: Vec<Vec<Arc<Event>>>,
    /// How many of them are in the log.
    logged: Vec<u64>,
    /// What users asked for, and were told that it is accepted.
    accepted: Vec<(Slot, OperationId)>,
}

/// Fails with this text where the condition does not hold.
fn hold(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Ledger {
    /// A cluster is made.
    pub fn begin(&mut self) {
        self.told.push(Vec::new());
        self.logged.push(0);
    }

    /// An operation is accepted.
    pub fn accept(&mut self, slot: Slot, operation: OperationId) {
        self.accepted.push((slot, operation));
    }

    /// Nothing is owed of an operation: who asked for it took that back, perhaps before anybody saw it.
    pub fn withdraw(&mut self, slot: Slot, operation: OperationId) {
        self.accepted.retain(|one| *one != (slot, operation));
    }

    /// Whether nothing was told of a cluster.
    pub fn is_silent(&self, slot: Slot) -> bool {
        self.told[slot].is_empty()
    }

    /// Nothing is owed of a cluster of which nothing was told: it went before anybody could begin.
    pub fn release(&mut self, slot: Slot) {
        self.accepted.retain(|(of, _)| *of != slot);
    }

    /// Events told so far, and operations accepted.
    pub fn counts(&self) -> (usize, usize) {
        (self.told.iter().map(Vec::len).sum(), self.accepted.len())
    }

    /// Adds what has been told as done.
    pub fn add_up(&self, count: &mut Count) {
        for event in self.told.iter().flatten() {
            count.failed += usize::from(event.stage == Stage::Failed);
            let of = match event.event_type() {
                EventType::ScaleClusterCompleted => &mut count.added,
                EventType::ScaleDownClusterCompleted => &mut count.removed,
                EventType::SwitchoverClusterCompleted | EventType::FailoverClusterCompleted => {
                    &mut count.changes
                }
                EventType::ReloadCluster => &mut count.reloads,
                EventType::RestartClusterCompleted => &mut count.restarts,
                EventType::UpgradeClusterCompleted => &mut count.upgrades,
                EventType::UpdateClusterCompleted | EventType::TestCluster => &mut count.noted,
                _ => continue,
            };
            *of += 1;
        }
    }

    /// How many events of a cluster are in the log.
    pub fn logged(&self, slot: Slot) -> u64 {
        self.logged[slot]
    }

    /// A status was written: an event exists exactly when its change does, and what is dropped is safe.
    ///
    /// # Errors
    /// What was broken.
    pub fn written(
        &mut self,
        slot: Slot,
        (before, after): (&ClusterStatus, &ClusterStatus),
        pages: &BTreeMap<PageName, Page>,
    ) -> Result<(), String> {
        let (old, new) = (&before.journal.outbox, &after.journal.outbox);
        let told = &mut self.told[slot];
        hold(old.last.0 == told.len() as u64, || {
            format!(
                "cluster {slot}: the write begins at {} of {} events",
                old.last,
                told.len()
            )
        })?;
        let fresh: Vec<&Event> = new.entries.iter().filter(|e| e.seq > old.last).collect();
        let seqs = fresh.iter().map(|event| event.seq.0);
        hold(seqs.eq(old.last.0 + 1..=new.last.0), || {
            format!(
                "cluster {slot}: events after {} are not contiguous up to {}",
                old.last, new.last
            )
        })?;
        one_write(slot, before, after, &fresh)?;
        told.extend(fresh.into_iter().cloned().map(Arc::new));
        let kept: BTreeSet<Seq> = new.entries.iter().map(|event| event.seq).collect();
        for entry in &old.entries {
            let is_safe = kept.contains(&entry.seq)
                || entry.seq.0 <= self.logged[slot]
                || in_a_page(slot, entry.seq, pages);
            hold(is_safe, || {
                format!(
                    "cluster {slot}: event {} left the outbox and is not stored",
                    entry.seq
                )
            })?;
        }
        Ok(())
    }

    /// A cluster is gone.
    ///
    /// # Errors
    /// What went with it.
    pub fn gone(
        &self,
        slot: Slot,
        status: &ClusterStatus,
        pages: &BTreeMap<PageName, Page>,
    ) -> Result<(), String> {
        for event in &status.journal.outbox.entries {
            let is_safe = event.seq.0 <= self.logged[slot] || in_a_page(slot, event.seq, pages);
            hold(is_safe, || {
                format!("cluster {slot}: event {} went with the cluster", event.seq)
            })?;
        }
        Ok(())
    }

    /// A page is removed.
    ///
    /// # Errors
    /// What went with it.
    pub fn page_removed(&self, page: &Page) -> Result<(), String> {
        let newest = page.events.last().map_or(0, |event| event.seq.0);
        hold(newest <= self.logged[page.slot], || {
            format!("cluster {}: event {newest} went with its page", page.slot)
        })
    }

    /// A record is in the log.
    ///
    /// # Errors
    /// It is a repeat, or too early, or was never told.
    pub fn appended(&mut self, record: &Record, store: &Store) -> Result<(), String> {
        let found = store
            .clusters
            .iter()
            .position(|c| c.stream == record.stream);
        let slot = found.ok_or("an event of no cluster is in the log")?;
        let next = self.logged[slot] + 1;
        hold(record.seq.0 == next, || {
            format!(
                "cluster {slot}: {} is appended where {next} is the next one",
                record.seq
            )
        })?;
        self.logged[slot] = next;
        let told = usize::try_from(next - 1)
            .ok()
            .and_then(|place| self.told[slot].get(place));
        hold(told.is_some_and(|told| **told == *record.event), || {
            format!(
                "cluster {slot}: what is logged as {next} was never in an outbox: {:?} instead of {:?}",
                record.event.event_type(),
                told.map(|told| told.event_type())
            )
        })
    }

    /// The end: everything told is in the log, and every operation has exactly one beginning and one end.
    ///
    /// # Errors
    /// What is missing, or too much.
    pub fn settled(&self) -> Result<(), String> {
        let mut ends: BTreeMap<(Slot, OperationId), (usize, usize)> = BTreeMap::new();
        for (slot, told) in self.told.iter().enumerate() {
            hold(self.logged[slot] == told.len() as u64, || {
                format!(
                    "cluster {slot}: {} of {} events are in the log",
                    self.logged[slot],
                    told.len()
                )
            })?;
            for event in told {
                let (begun, ended) = match event.stage {
                    Stage::Started => (1, 0),
                    Stage::Completed | Stage::Failed => (0, 1),
                    Stage::Progress => (0, 0),
                    // A fact by itself.
                    Stage::Notice => continue,
                };
                let count = ends.entry((slot, event.operationid)).or_default();
                *count = (count.0 + begun, count.1 + ended);
            }
        }
        for (slot, operation) in &self.accepted {
            ends.entry((*slot, *operation)).or_default();
        }
        for ((slot, operation), (begun, ended)) in ends {
            hold((begun, ended) == (1, 1), || {
                format!(
                    "cluster {slot}: operation {operation} began {begun} times and ended {ended} times"
                )
            })?;
        }
        Ok(())
    }
}

fn in_a_page(slot: Slot, seq: Seq, pages: &BTreeMap<PageName, Page>) -> bool {
    let mut of_cluster = pages.values().filter(|page| page.slot == slot);
    of_cluster.any(|page| page.events.iter().any(|event| event.seq == seq))
}

/// The changes of operations and the events that tell of them are the same.
fn one_write(
    slot: Slot,
    before: &ClusterStatus,
    after: &ClusterStatus,
    fresh: &[&Event],
) -> Result<(), String> {
    let of = |operation: &Operation, wanted: fn(Stage) -> bool| {
        let of_it = fresh.iter().filter(|e| e.operationid == operation.id);
        of_it.filter(|event| wanted(event.stage)).count()
    };
    let mut accounted = 0;
    for operation in &after.journal.operations {
        let mut known = before.journal.operations.iter();
        let known = known.find(|known| known.id == operation.id);
        let begins = known.is_none();
        let ends = operation.outcome.is_some() && known.is_none_or(Operation::is_running);
        let started = of(operation, |stage| stage == Stage::Started);
        let ended = of(operation, |stage| {
            matches!(stage, Stage::Completed | Stage::Failed)
        });
        let progress = of(operation, |stage| {
            matches!(stage, Stage::Progress | Stage::Notice)
        });
        accounted += started + ended + progress;
        let told = (started, ended) == (usize::from(begins), usize::from(ends));
        hold(told, || {
            format!(
                "cluster {slot}: operation {} begins: {begins}, ends: {ends}; told {started} and {ended} times",
                operation.id
            )
        })?;
    }
    let is_remembered = |id| after.journal.operations.iter().any(|one| one.id == id);
    let rest: Vec<&&Event> = fresh
        .iter()
        .filter(|event| !is_remembered(event.operationid))
        .collect();
    hold(accounted + rest.len() == fresh.len(), || {
        format!("cluster {slot}: two operations of the status have the same id")
    })?;
    forgotten(slot, before, after, &rest)
}

/// What a status does not remember any more has ended: one that ran is told to its end as it is forgotten, and one that
/// nobody was told of is told from its beginning to its end at once.
fn forgotten(
    slot: Slot,
    before: &ClusterStatus,
    after: &ClusterStatus,
    rest: &[&&Event],
) -> Result<(), String> {
    let ran = before.journal.operations.iter();
    let ran = ran.filter(|one| one.is_running() && !after.journal.knows(one.id));
    let ran: BTreeSet<OperationId> = ran.map(|one| one.id).collect();
    let told = rest.iter().filter(|event| event.stage != Stage::Notice);
    let told: BTreeSet<OperationId> = told.map(|event| event.operationid).collect();
    for id in ran.union(&told) {
        let of = |wanted: &[Stage]| {
            let of_it = rest.iter().filter(|event| event.operationid == *id);
            of_it.filter(|event| wanted.contains(&event.stage)).count()
        };
        let (started, ended) = (
            of(&[Stage::Started]),
            of(&[Stage::Completed, Stage::Failed]),
        );
        hold(
            (started, ended) == (usize::from(!ran.contains(id)), 1),
            || {
                format!(
                    "cluster {slot}: operation {id} is not in the status any more; told {started} and {ended} times"
                )
            },
        )?;
    }
    Ok(())
}
