//! Once the faults stop: everything comes to rest.

use std::time::Duration;

use pgo_core::Notes;

use crate::{
    asked::{has_unseen, is_to_go},
    reconciler::Reconciler,
    world::World,
};

/// Rounds without faults until everything must be at rest; time passes by two seconds in each. Deadlines of five minutes
/// are among what is waited for.
const ROUNDS: usize = 600;

/// Rounds until somebody mends the spec by which something does not come to its end.
const MENDED_AFTER: usize = 100;

impl World {
    /// Nothing fails any more: in the end everything is done, told and stored.
    pub fn settle(&mut self) -> Result<(), String> {
        self.say(|| "the faults stop".to_owned());
        self.climate.calm();
        let away = std::mem::take(&mut self.away);
        for (process, _) in away {
            self.start(process);
        }
        // One lets go of the Lease.
        let leader = usize::from(!self.reconcilers[0].leads);
        self.reconcilers[1 - leader] = Reconciler::default();
        self.event.listeners[1 - leader] = None;
        self.reconcilers[leader].hangs_until = self.now;
        let mut seen = String::new();
        for round in 0..ROUNDS {
            self.pass(Duration::from_secs(2))?;
            if round == MENDED_AFTER {
                self.mend()?;
            }
            self.round(leader)?;
            match self.unsettled(leader) {
                None => {
                    self.ledger.settled()?;
                    return self.readers_have_all();
                }
                Some(what) => seen = what,
            }
        }
        Err(format!("it does not come to rest: {seen}"))
    }

    /// Everybody does what there is to do.
    pub fn round(&mut self, leader: usize) -> Result<(), String> {
        for _ in 0..2 {
            self.grounds_go_on();
        }
        self.look_around(leader);
        for _ in 0..40 {
            let reconciler = &self.reconcilers[leader];
            let is_due = reconciler.seen.iter().any(|seen| seen.due <= self.now);
            if reconciler.working.is_none() && !is_due {
                break;
            }
            self.reconcile(leader)?;
        }
        for _ in 0..self.store.pages.len().min(8) {
            self.relay_page(leader)?;
        }
        for _ in 0..4 {
            self.relay(leader)?;
            self.deliver();
            self.store_events()?;
            self.hear(leader);
        }
        self.read()
    }

    /// What is not at rest.
    fn unsettled(&self, leader: usize) -> Option<String> {
        let reconciler = &self.reconcilers[leader];
        let unconfirmed = reconciler.publishing.backlog.unconfirmed();
        if unconfirmed > 0 || reconciler.publishing.is_busy() {
            return Some(format!("{unconfirmed} events are unconfirmed"));
        }
        if !self.store.pages.is_empty() {
            return Some(format!("{} pages are there", self.store.pages.len()));
        }
        if !(self.event.is_idle() && self.broker.is_empty()) {
            return Some("messages are on their way".to_owned());
        }
        if self.readers.iter().any(|r| r.cursor < self.event.head) {
            return Some("a reader has not come to the end".to_owned());
        }
        self.store.present().into_iter().find_map(|slot| {
            let object = self.store.clusters[slot].object()?;
            let (cluster, status) = (&object.cluster, &object.status);
            let around = self.store.clusters[slot].ground();
            let wants = is_to_go(cluster, around);
            let unanswered = around
                .asked
                .iter()
                .find(|(_, one)| !one.is_answered(status));
            if let Some(unanswered) = unanswered {
                return Some(format!("cluster {slot}: no answer to {unanswered:?}"));
            }
            let running = status.journal.operations.iter();
            let running = running.filter(|one| one.is_running());
            let running = running.map(|one| (one.kind, &one.instance, one.started));
            let running: Vec<_> = running.collect();
            let at_rest = !wants
                && !has_unseen(status, &around.replicas)
                && cluster.notes == Notes::default()
                && status.promotion.is_none()
                && status.observed_generation == cluster.generation
                && (status.is_ready() || cluster.desired.is_err())
                && !status.journal.outbox.waits()
                && status.journal.outbox.backlog.is_none()
                && running.is_empty()
                && !status.journal.operations.is_empty();
            (!at_rest).then(|| {
                format!(
                    "cluster {slot}: {:?}, {}, {} events, finalizer {}, asked to go {wants}, running {running:?}, {:?}, {:?}",
                    status.phase,
                    status.reason,
                    status.journal.outbox.entries.len(),
                    object.finalizer,
                    cluster.notes,
                    status.promotion,
                )
            })
        })
    }

    fn readers_have_all(&self) -> Result<(), String> {
        for (slot, kept) in self.store.clusters.iter().enumerate() {
            let (last, logged) = (self.readers[0].last(&kept.stream), self.ledger.logged(slot));
            if last != logged {
                return Err(format!(
                    "cluster {slot}: the first reader was shown {last} of {logged} events"
                ));
            }
        }
        Ok(())
    }
}
