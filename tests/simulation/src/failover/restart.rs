//! A restart in place, as somebody asked for it: `services/agent/src/supervise/restart.rs`, and `Turn` of its neighbour for
//! a standby.

use crate::failover::{
    clock::MS,
    event::Job,
    instance::{Course, Data},
    world::World,
    wrong::Wrong,
};

impl World {
    /// The server stops in order, to begin again under the authority that it has; a standby comes back as one.
    pub fn restarts(&mut self, node: usize) -> Result<(), String> {
        let instance = &self.instances[node];
        let Some(driver) = instance.driver.as_ref().filter(|driver| !driver.busy) else {
            return Ok(());
        };
        let serves = instance
            .server
            .as_ref()
            .is_some_and(|server| server.accepts);
        match driver.course {
            Course::Lead { .. } if serves => {
                self.count.restarts += 1;
                self.acknowledges_too_early(node)?;
                self.ends_in_order(node);
                self.work(node, (20 * MS, 100 * MS), Job::Restart);
            }
            Course::Follow { .. }
                if instance.data == Data::There && instance.receiver.is_some() =>
            {
                self.count.restarts += 1;
                self.disconnect(node);
                self.work(node, (100 * MS, 1000 * MS), Job::Attach);
            }
            _ => {}
        }
        Ok(())
    }

    fn acknowledges_too_early(&mut self, node: usize) -> Result<(), String> {
        let server = self.instances[node].server.as_ref();
        let waiting = server.map(|server| server.waiting.clone());
        if self.wrong == Some(Wrong::RestartAcknowledges) {
            for (commit, _) in waiting.unwrap_or_default() {
                self.acknowledge(node, commit)?;
            }
        }
        Ok(())
    }

    /// Once those that receive its WAL have it all, or do not say so for too long, the server is gone and the next one begins.
    pub fn look_at_restart(&mut self, node: usize) -> Result<(), String> {
        let instance = &self.instances[node];
        let end = instance.wal.len();
        if let Some(server) = &instance.server {
            let waits = server.senders.iter().any(|sender| sender.flushed < end);
            if waits && self.chance.happens(900) {
                self.work(node, (50 * MS, 100 * MS), Job::Restart);
                return Ok(());
            }
            let number = server.number;
            self.dies(node, number);
        }
        self.work(node, (100 * MS, 800 * MS), Job::Lead);
        Ok(())
    }
}
