//! One reconciler: its caches, its relay, and the reconcile it is in the middle of.
//!
//! `look → commit → make room → write → offer → plan → carry out, step by step`, the order of `services/reconciler/src/reconcile.rs`,
//! each a step after which it may be killed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    Cluster, ClusterStatus, Condition, ConditionStatus, Observed, Phase, Plan, Step, commit, plan,
    unrecorded, worth_writing,
};
use pgo_events::Eventing;
use pgo_ids::{OperationId, Seq};

use crate::{
    agents::Heard,
    asked::{differ, surely, with_requests},
    chance::Chance,
    climate::Climate,
    ground,
    publishing::Publishing,
    store::{Ground, Object, PageName, Refused, Slot},
    world::World,
    wrong::Wrong,
};

/// A cluster on its way is looked at again after this, besides being woken by each change.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// A cluster at rest is looked at again after this.
const LATER: SignedDuration = SignedDuration::from_secs(300);

/// What a cache shows of a cluster: places in the store's histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Of the Pgcluster.
    pub object: usize,
    /// Of what is around it.
    pub ground: usize,
    /// Of the Pgtasks among that.
    pub tasks: usize,
    /// When it is looked at again.
    pub due: Timestamp,
}

/// A reconcile on its way.
#[derive(Debug)]
pub struct Working {
    slot: Slot,
    cluster: Rc<Cluster>,
    observed: Rc<Observed>,
    object: Rc<Object>,
    next: Rc<ClusterStatus>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    MakeRoom,
    Write,
    Offer,
    CarryOut(VecDeque<Step>),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done, and answered.
    Done,
    /// It is done, and the answer is lost.
    Unanswered,
    /// It is not done.
    Failed,
}

impl Fate {
    /// Draws one.
    pub fn draw(climate: &Climate, chance: &mut Chance) -> Self {
        match chance.below(1000) {
            drawn if drawn < climate.lost_answers / 2 => Self::Unanswered,
            drawn if drawn < climate.lost_answers => Self::Failed,
            _ => Self::Done,
        }
    }
}

/// The process.
#[derive(Debug, Default)]
pub struct Reconciler {
    /// Whether it runs.
    pub up: bool,
    /// Whether it believes that it leads.
    pub leads: bool,
    /// When it began.
    pub began: Timestamp,
    /// Its caches, by cluster.
    pub seen: Vec<Seen>,
    /// Until when its watch of Pgtasks shows nothing new.
    pub hangs_until: Timestamp,
    /// Its relay.
    pub publishing: Publishing,
    /// Whether it has asked for the watermarks since it listens.
    pub asked: bool,
    /// Pages that it relays.
    pub paged: BTreeSet<PageName>,
    /// What the agents answered that it asked, by cluster.
    pub heard: BTreeMap<Slot, Heard>,
    /// What it is in the middle of.
    pub working: Option<Working>,
}

impl World {
    /// A step of a reconcile: the one that is on its way, or the beginning of one.
    pub fn reconcile(&mut self, process: usize) -> Result<(), String> {
        if self.reconcilers[process].working.is_some() {
            return self.go_on(process);
        }
        if self.store.clusters.is_empty() {
            return Ok(());
        }
        self.look_around(process);
        let seen = &self.reconcilers[process].seen;
        let now = self.now;
        let due: Vec<Slot> = (0..seen.len()).filter(|s| seen[*s].due <= now).collect();
        let slot = if due.is_empty() || self.chance.happens(50) {
            self.chance.place(self.store.clusters.len())
        } else {
            due[self.chance.place(due.len())]
        };
        self.begin(process, slot)
    }

    /// The caches hear of changes, of some later.
    pub fn look_around(&mut self, process: usize) {
        let reconciler = &mut self.reconcilers[process];
        let clusters = &self.store.clusters;
        let hangs = self.now < reconciler.hangs_until;
        reconciler.seen.resize(clusters.len(), Seen::default());
        for (seen, kept) in reconciler.seen.iter_mut().zip(clusters) {
            for (at, newest) in [
                (&mut seen.object, kept.objects.len() - 1),
                (&mut seen.ground, kept.grounds.len() - 1),
            ] {
                if *at < newest && !self.chance.happens(self.climate.stale_caches) {
                    *at = newest;
                    seen.due = self.now;
                }
            }
            if !hangs && seen.tasks != seen.ground {
                seen.tasks = seen.ground;
                seen.due = self.now;
            }
        }
    }

    /// The first steps: observe and commit.
    fn begin(&mut self, process: usize, slot: Slot) -> Result<(), String> {
        let reconciler = &mut self.reconcilers[process];
        let seen = &mut reconciler.seen[slot];
        let kept = &self.store.clusters[slot];
        let Some(object) = kept.objects[seen.object].clone() else {
            seen.due = Timestamp::MAX;
            return Ok(());
        };
        let around = &kept.grounds[seen.ground];
        let tasks = &kept.grounds[seen.tasks];
        let mut observed = as_shown((around, tasks), &object);
        if let Some(heard) = reconciler.heard.get(&slot) {
            let observed = Rc::make_mut(&mut observed);
            observed.unwilling.clone_from(&heard.unwilling);
            observed.reloads.clone_from(&heard.reloads);
        }
        if self.chance.happens(self.climate.silent_agents) {
            let observed = Rc::make_mut(&mut observed);
            let silent = std::mem::take(&mut observed.agents).into_keys();
            observed.silent = silent.map(|name| (name, reconciler.began)).collect();
        }
        // As `services/reconciler/src/observe.rs` asks Kubernetes itself.
        let replicas = match differ(&object.status, &around.replicas) {
            true => &kept.ground().replicas,
            false => &around.replicas,
        };
        let eventing = Eventing::On {
            confirmed: reconciler.publishing.confirmed(&kept.stream),
            since: reconciler.began,
        };
        let shown = (&tasks.asked, replicas.as_slice());
        let commit =
            |cluster: &Cluster| commit(&object.status, cluster, &observed, eventing, self.now);
        let (cluster, committed) = surely(kept, &object, shown, commit, self.wrong);
        let next = if worth_writing(&object.status, &committed, eventing, self.now) {
            Rc::new(committed)
        } else {
            object.status.clone()
        };
        if self.wrong == Some(Wrong::PublishedBeforeWrite) {
            let events = next.journal.outbox.entries.clone();
            reconciler.publishing.backlog.offer(&cluster.stream, events);
        }
        let working = Working {
            slot,
            cluster,
            observed,
            object,
            next,
            stage: Stage::MakeRoom,
        };
        if self.wrong == Some(Wrong::NotedBeforeWrite) {
            self.project(process, &working);
        }
        self.reconcilers[process].working = Some(working);
        Ok(())
    }

    fn go_on(&mut self, process: usize) -> Result<(), String> {
        let Some(working) = self.reconcilers[process].working.take() else {
            return Ok(());
        };
        match working.stage {
            Stage::MakeRoom => {
                self.make_room(process, working);
                Ok(())
            }
            Stage::Write => self.write(process, working),
            Stage::Offer => {
                self.offer(process, working);
                Ok(())
            }
            Stage::CarryOut(_) => self.carry_out(process, working),
        }
    }

    /// A reconcile ends here; it is tried again.
    fn give_up(&mut self, process: usize, slot: Slot) {
        self.reconcilers[process].seen[slot].due = self.now + SOON;
    }

    /// What the status has no room for goes to a page, as in `services/reconciler/src/publishing.rs`; where that fails, the
    /// status grows.
    fn make_room(&mut self, process: usize, mut working: Working) {
        let written = working.object.status.journal.outbox.last;
        let events = working.next.journal.outbox.overflow(written).to_vec();
        let fate = Fate::draw(&self.climate, &mut self.chance);
        if let Some(last) = events.last().map(|event| event.seq)
            && fate != Fate::Failed
        {
            self.count.overflows += 1;
            self.store_page(working.slot, &events);
            if fate == Fate::Done {
                let backlog = &mut self.reconcilers[process].publishing.backlog;
                let (stream, next) = (&working.cluster.stream, Rc::make_mut(&mut working.next));
                let outbox = &mut next.journal.outbox;
                if outbox.paged == Seq(0) || backlog.knows(stream, outbox.paged) {
                    backlog.offer(stream, events);
                }
                outbox.leave_to_pages(last);
            }
        }
        working.stage = Stage::Write;
        self.reconcilers[process].working = Some(working);
    }

    fn write(&mut self, process: usize, mut working: Working) -> Result<(), String> {
        let slot = working.slot;
        working.stage = Stage::Offer;
        if Rc::ptr_eq(&working.next, &working.object.status)
            || working.next == working.object.status
        {
            self.reconcilers[process].working = Some(working);
            return Ok(());
        }
        let fate = Fate::draw(&self.climate, &mut self.chance);
        if fate == Fate::Failed {
            self.give_up(process, slot);
            return Ok(());
        }
        let compares = self.wrong != Some(Wrong::StoreWithoutCompare);
        let version = compares.then_some(working.object.version);
        let before = self.store.clusters[slot].object().map(|o| o.status.clone());
        let next = working.next.clone();
        let written = self
            .store
            .change(slot, version, |object| object.status = next);
        let (Ok(object), Some(before)) = (written, before) else {
            self.count.conflicts += 1;
            self.give_up(process, slot);
            return Ok(());
        };
        self.count.writes += 1;
        // No two of them are at the same moment.
        self.now += Duration::from_micros(1);
        let mut conditions = working.next.conditions.iter();
        let is_backlog =
            |c: &Condition| c.name == "EventBacklog" && c.status == ConditionStatus::True;
        self.count.backlogs += usize::from(conditions.any(is_backlog));
        self.ledger
            .written(slot, (&before, &working.next), &self.store.pages)?;
        if fate == Fate::Unanswered {
            self.give_up(process, slot);
            return Ok(());
        }
        working.object = object;
        self.remember(process, slot);
        self.reconcilers[process].working = Some(working);
        Ok(())
    }

    /// A reconciler knows its own last write before its cache shows it.
    fn remember(&mut self, process: usize, slot: Slot) {
        let newest = self.store.clusters[slot].objects.len() - 1;
        self.reconcilers[process].seen[slot].object = newest;
    }

    fn offer(&mut self, process: usize, mut working: Working) {
        self.offer_outbox(process, &working);
        let plan = plan(&working.next, &working.cluster, &working.observed, self.now);
        let due = self.now + pause(&working.next, &plan);
        self.reconcilers[process].seen[working.slot].due = due;
        working.stage = Stage::CarryOut(plan.steps.into());
        self.reconcilers[process].working = Some(working);
    }

    /// As `services/reconciler/src/publishing.rs` offers: nothing before what is older.
    fn offer_outbox(&mut self, process: usize, working: &Working) {
        let outbox = &working.next.journal.outbox;
        let stream = &working.cluster.stream;
        if !outbox.waits() {
            return;
        }
        let backlog = &mut self.reconcilers[process].publishing.backlog;
        if outbox.paged > Seq(0) && !backlog.knows(stream, outbox.paged) {
            if Fate::draw(&self.climate, &mut self.chance) != Fate::Done {
                return;
            }
            backlog.offer(stream, self.store.in_pages(stream));
        }
        backlog.offer(stream, outbox.entries.clone());
    }

    fn carry_out(&mut self, process: usize, mut working: Working) -> Result<(), String> {
        let Stage::CarryOut(steps) = &mut working.stage else {
            return Ok(());
        };
        let Some(step) = steps.pop_front() else {
            self.project(process, &working);
            return Ok(());
        };
        let slot = working.slot;
        let fate = Fate::draw(&self.climate, &mut self.chance);
        if fate == Fate::Failed {
            self.give_up(process, slot);
            return Ok(());
        }
        self.say(|| format!("reconciler {process}, cluster {slot}: {step:?} {fate:?}"));
        let done = self.one(process, &step, &mut working)?;
        if fate == Fate::Unanswered || done.is_err() {
            self.give_up(process, slot);
            return Ok(());
        }
        self.reconcilers[process].working = Some(working);
        Ok(())
    }

    fn one(
        &mut self,
        process: usize,
        step: &Step,
        working: &mut Working,
    ) -> Result<Result<(), Refused>, String> {
        let slot = working.slot;
        match step {
            Step::AddFinalizer | Step::RemoveFinalizer => {
                let add = *step == Step::AddFinalizer;
                if !add && self.is_asked_anew(slot, &working.cluster, &working.next) {
                    return Ok(Err(Refused::Conflict));
                }
                let version = Some(working.object.version);
                let changed = self.store.change(slot, version, |o| o.finalizer = add);
                match changed {
                    Ok(object) => {
                        working.object = object;
                        self.remember(process, slot);
                        self.look_for_the_end(slot)?;
                    }
                    Err(Refused::Gone) if !add => {}
                    Err(refused) => return Ok(Err(refused)),
                }
            }
            Step::RemoveCluster => {
                let removed = self.store.change(slot, None, |object| {
                    Rc::make_mut(&mut object.cluster).deleting = true;
                });
                if removed.is_ok() {
                    self.look_for_the_end(slot)?;
                }
            }
            Step::CopyEvents => self.copy_events(working),
            Step::Switchover { .. }
            | Step::Failover { .. }
            | Step::Reload { .. }
            | Step::Restart { .. } => self.ask_agents(process, step, slot),
            _ if self.store.clusters[slot].object().is_none() => {}
            _ => {
                let (now, made) = (self.now, &mut self.made);
                let wanted = (&*working.cluster, &*working.next);
                self.store.shape(slot, |ground| {
                    ground::carry_out(ground, step, wanted, made, now);
                });
            }
        }
        Ok(Ok(()))
    }

    /// As `services/reconciler/src/execute.rs` asks before a cluster goes: whether there are requests that no cache has shown.
    fn is_asked_anew(&self, slot: Slot, cluster: &Cluster, status: &ClusterStatus) -> bool {
        if self.wrong == Some(Wrong::RequestsFromCachesOnly) {
            return false;
        }
        let kept = &self.store.clusters[slot];
        let Some(object) = kept.object() else {
            return false;
        };
        let newest = kept.ground();
        let asked = with_requests(&object.cluster, &newest.asked, &newest.replicas);
        if self.wrong == Some(Wrong::OnlyDeletionsAskedAnew) {
            let asked = Cluster {
                delete_requests: asked.delete_requests.clone(),
                ..cluster.clone()
            };
            return unrecorded(status, &asked).is_some();
        }
        unrecorded(status, &asked).is_some()
    }

    /// As `services/reconciler/src/project.rs` notes how far all is: tasks that are over, notes that are told, the number of
    /// replicas. What fails is done by a later reconcile.
    fn project(&mut self, process: usize, working: &Working) {
        let (slot, status) = (working.slot, &working.next);
        let kept = &self.store.clusters[slot];
        if kept.object().is_none() {
            return;
        }
        let shown = self.reconcilers[process].seen.get(slot);
        let shown = shown.and_then(|seen| kept.grounds.get(seen.tasks));
        let tasks = shown.into_iter().flat_map(|around| &around.asked);
        let over = tasks.filter(|(_, asked)| asked.is_over(status));
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        let notes = &working.cluster.notes;
        let told = |id: &OperationId| status.told_notes.contains(id);
        let is_noted = notes.tests.iter().any(|note| told(&note.operation))
            || notes.runs.iter().any(|run| told(&run.operation))
            || notes.schedules.iter().any(|note| told(&note.operation))
            || notes.updates.iter().any(|note| told(&note.operation));
        let count = status.replica_count.map(|count| count.wanted);
        let count = count.filter(|count| *count != working.cluster.replica_count);
        if over.is_empty() && !is_noted && count.is_none() {
            return;
        }
        let fate = Fate::draw(&self.climate, &mut self.chance);
        if fate == Fate::Failed {
            return;
        }
        if !over.is_empty() {
            self.store.shape(slot, |around| {
                around.asked.retain(|name, _| !over.contains(name));
            });
        }
        if !is_noted && count.is_none() {
            return;
        }
        let changed = self.store.change(slot, None, |object| {
            let cluster = Rc::make_mut(&mut object.cluster);
            cluster.notes.tests.retain(|note| !told(&note.operation));
            cluster.notes.runs.retain(|run| !told(&run.operation));
            cluster
                .notes
                .schedules
                .retain(|note| !told(&note.operation));
            cluster.notes.updates.retain(|note| !told(&note.operation));
            if let Some(count) = count {
                cluster.replica_count = count;
                cluster.generation += 1;
            }
        });
        if changed.is_ok() && fate == Fate::Done {
            self.remember(process, slot);
        }
    }

    fn copy_events(&mut self, working: &Working) {
        if self.wrong != Some(Wrong::LastEventsNotCopied) {
            let events = &working.object.status.journal.outbox.entries;
            self.store_page(working.slot, events);
        }
    }

    /// Whether a change was a cluster's last.
    pub fn look_for_the_end(&mut self, slot: Slot) -> Result<(), String> {
        let kept = &self.store.clusters[slot];
        if kept.object().is_some() {
            return Ok(());
        }
        if self.ledger.is_silent(slot) {
            self.ledger.release(slot);
        }
        let before = kept.objects.iter().rev().flatten().next();
        let status = before.map(|object| object.status.clone());
        self.ledger
            .gone(slot, &status.unwrap_or_default(), &self.store.pages)
    }
}

/// What caches show of what is around a cluster, one of them the Pgtasks.
fn as_shown((around, tasks): (&Ground, &Ground), object: &Object) -> Rc<Observed> {
    let mut observed = around.observed.clone();
    if observed.tasks != tasks.observed.tasks {
        let shown = &mut Rc::make_mut(&mut observed).tasks;
        shown.clone_from(&tasks.observed.tasks);
    }
    if observed.finalizer != object.finalizer {
        Rc::make_mut(&mut observed).finalizer = object.finalizer;
    }
    observed
}

/// How long until the next look, if nothing wakes it.
fn pause(status: &ClusterStatus, plan: &Plan) -> SignedDuration {
    let restless = !plan.steps.is_empty() || plan.waiting_for.is_some();
    let at_rest = matches!(status.phase, Phase::Ready | Phase::Failed) && !restless;
    if at_rest && !status.journal.outbox.waits() {
        LATER
    } else {
        SOON
    }
}
