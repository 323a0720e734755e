//! What users want of a cluster, and who scales it for them.

use pgo_ha::{Input, Server};

use crate::failover::{
    climate::Fault,
    clock::{Clock, MS, SECOND},
    event::Event,
    instance::{Data, Instance, id},
    world::{MOST, World},
    wrong::Wrong,
};

/// Instances that stay.
const LEAST: usize = 2;

impl World {
    /// Whether it is something that somebody wants, and no fault.
    pub fn asks_of_users(&self, fault: Fault) -> bool {
        matches!(
            fault,
            Fault::Switchover
                | Fault::Failover
                | Fault::OtherMode
                | Fault::OtherAutofail
                | Fault::OtherFallback
                | Fault::Restart
                | Fault::ScaledUp
                | Fault::ScaledDown
                | Fault::PodEnds
        )
    }

    /// Somebody wants this.
    pub fn users_want(&mut self, fault: Fault, node: usize) -> Result<(), String> {
        let replicas = self.existing().saturating_sub(1);
        match fault {
            Fault::PodEnds => self.pod_ends(node)?,
            Fault::Switchover => self.switchover(node)?,
            Fault::Failover => self.failover(node)?,
            Fault::OtherMode => self.api.wishes.k = self.chance.place(replicas.min(2) + 1),
            Fault::OtherAutofail => self.api.wishes.autofail = self.chance.happens(500),
            Fault::OtherFallback => self.api.wishes.fallback = self.chance.happens(500),
            Fault::Restart => self.restart(node)?,
            Fault::ScaledUp if self.instances.len() < MOST => self.scale_up(),
            Fault::ScaledDown => self.scale_down(node, replicas),
            _ => {}
        }
        self.ledger.is_wanted(self.api.wishes);
        Ok(())
    }

    fn existing(&self) -> usize {
        self.instances
            .iter()
            .filter(|instance| instance.exists)
            .count()
    }

    /// A primary that ends in order hands over first; the process ends a while later in any case.
    fn pod_ends(&mut self, node: usize) -> Result<(), String> {
        if !self.instances[node].frozen && !self.instances[node].stopped {
            self.orders(node, Input::Switchover(None))?;
        }
        self.queue.at(self.now + 2 * SECOND, Event::PodEnded(node));
        Ok(())
    }

    /// `services/agent/src/ha/driver/asked.rs` refuses what the protocol would not do.
    fn switchover(&mut self, to: usize) -> Result<(), String> {
        let holder = self.node(self.api.record.holder);
        let to = self.chance.happens(500).then(|| id(to));
        self.orders(holder, Input::Switchover(to.filter(|to| *to != id(holder))))
    }

    fn failover(&mut self, node: usize) -> Result<(), String> {
        let driver = self.instances[node].driver.as_ref();
        let may = driver.is_some_and(|driver| {
            let seen = driver.agent.seen.as_ref();
            driver.agent.server != Server::Primary
                && seen.is_some_and(|seen| seen.record.voters.contains(&id(node)))
        });
        if may {
            self.orders(node, Input::Failover)
        } else {
            Ok(())
        }
    }

    /// The agent of an instance stops its server in order and begins another.
    fn restart(&mut self, node: usize) -> Result<(), String> {
        if self.wrong == Some(Wrong::RestartHandsOver) {
            return self.orders(node, Input::Switchover(None));
        }
        if self.hears(node) {
            self.restarts(node)
        } else {
            Ok(())
        }
    }

    /// Whether the agent of an instance takes an order.
    fn hears(&self, node: usize) -> bool {
        let instance = &self.instances[node];
        let driver = instance.driver.as_ref();
        let free = driver.is_some_and(|driver| driver.stuck.is_none());
        free && !instance.frozen && !instance.stopped
    }

    fn orders(&mut self, node: usize, input: Input) -> Result<(), String> {
        if self.hears(node) {
            self.step(node, input)
        } else {
            Ok(())
        }
    }

    fn scale_up(&mut self) {
        let node = self.instances.len();
        let by_wall = self.wrong == Some(Wrong::TimeOfDay);
        let clock = Clock::draw(&mut self.chance, by_wall);
        self.instances
            .push(Instance::new(node, clock, Data::Nothing));
        self.queue.at(self.now + 100 * MS, Event::Begins(node, 0));
    }

    /// The reconciler removes one that is a replica, one at a time, and not below what commits wait for.
    fn scale_down(&mut self, node: usize, replicas: usize) {
        let record = &self.api.record;
        let is_replica = record.holder != id(node);
        let k = self.api.wishes.k.max(record.synchronous.k);
        if is_replica && self.leaving.is_none() && replicas > k && replicas >= LEAST {
            self.goes(node);
            self.leaving = Some(node);
        }
    }

    /// The reconciler tells the primary who is no more, until the Lease says so, too. What was sent before may have made it the
    /// holder meanwhile: then another one has to be primary first.
    pub fn scales(&mut self) {
        self.queue.at(self.now + 500 * MS, Event::Scales);
        let Some(gone) = self.leaving else { return };
        let holder = self.node(self.api.record.holder);
        if holder != gone && !self.api.record.voters.contains(&id(gone)) {
            self.leaving = None;
            return;
        }
        let driver = self.instances[holder].driver.as_mut();
        if let Some(replicas) = driver.and_then(|driver| driver.replicas.as_mut()) {
            replicas.remove(id(gone));
        }
    }
}
