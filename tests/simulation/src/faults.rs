//! What is killed, and what begins again.

use jiff::{SignedDuration, Timestamp};

use crate::{
    reader::Reader,
    reconciler::{Reconciler, Seen},
    world::{Process, World},
};

/// How long a watch may show nothing new, in seconds: through most of a schedule.
const HANGS: usize = 60;

impl World {
    /// A process begins.
    pub fn start(&mut self, process: Process) {
        self.say(|| format!("{process:?} begins"));
        match process {
            Process::Reconciler(which) => {
                let reconciler = &mut self.reconcilers[which];
                *reconciler = Reconciler {
                    up: true,
                    began: self.now,
                    ..Reconciler::default()
                };
                self.elect();
            }
            Process::Event => self.event.start(),
            Process::Nsqd => self.broker.up = true,
            Process::Apiserver => {}
        }
    }

    /// Somebody leads if anybody can.
    fn elect(&mut self) {
        for which in 0..self.reconcilers.len() {
            let is_led = self.reconcilers.iter().any(|r| r.up && r.leads);
            let reconciler = &mut self.reconcilers[which];
            if !reconciler.up || reconciler.leads || (is_led && !self.climate.two_leaders) {
                continue;
            }
            reconciler.leads = true;
            reconciler.paged.clear();
            reconciler.seen.clear();
            for kept in &self.store.clusters {
                let mut seen = Seen::default();
                // A list may come from an API server that is behind.
                if !self.chance.happens(self.climate.stale_caches) {
                    seen.object = kept.objects.len() - 1;
                    seen.ground = kept.grounds.len() - 1;
                    seen.tasks = seen.ground;
                }
                reconciler.seen.push(seen);
            }
        }
    }

    /// Something fails.
    pub fn fault(&mut self) -> Result<(), String> {
        let kills = &self.climate.kills;
        let (reconciler, event) = (kills.reconciler, kills.reconciler + kills.event);
        let nsqd = event + kills.nsqd;
        let apiserver = nsqd + kills.apiserver;
        let drawn = self.chance.below(apiserver + kills.connection);
        if drawn < reconciler {
            let which = self.chance.place(2);
            self.kill(Process::Reconciler(which))
        } else if drawn < event {
            self.kill(Process::Event)
        } else if drawn < nsqd {
            self.kill(Process::Nsqd)
        } else if drawn < apiserver {
            self.kill(Process::Apiserver)
        } else {
            self.break_connection();
            Ok(())
        }
    }

    fn kill(&mut self, process: Process) -> Result<(), String> {
        let seconds = if self.chance.happens(self.climate.long_outages) {
            self.chance.between(60, 1200)
        } else {
            self.chance.between(0, 5)
        };
        let until = self.now + SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        self.kill_until(process, until)
    }

    pub fn kill_until(&mut self, process: Process, until: Timestamp) -> Result<(), String> {
        if self.away.iter().any(|(away, _)| *away == process) {
            return Ok(());
        }
        self.say(|| format!("{process:?} is killed"));
        self.count.kills += 1;
        self.away.push((process, until));
        match process {
            Process::Apiserver => self.readers.iter_mut().for_each(Reader::interrupt),
            Process::Reconciler(which) => {
                self.reconcilers[which] = Reconciler::default();
                self.event.listeners[which] = None;
                self.elect();
            }
            Process::Event => {
                let written = self.event.kill(&mut self.chance);
                for record in &written {
                    self.ledger.appended(record, &self.store)?;
                }
            }
            Process::Nsqd => {
                self.broker.kill(&mut self.chance);
                self.event.disconnect();
                for reconciler in &mut self.reconcilers {
                    reconciler.publishing.disconnect();
                }
            }
        }
        Ok(())
    }

    fn break_connection(&mut self) {
        match self.chance.below(5) {
            0 => self.event.disconnect(),
            1 => {
                let which = self.chance.place(2);
                self.reconcilers[which].publishing.disconnect();
            }
            2 => {
                let which = self.chance.place(2);
                self.event.listeners[which] = None;
            }
            3 => {
                let (which, seconds) = (self.chance.place(2), self.chance.between(1, HANGS));
                let seconds = i64::try_from(seconds).unwrap_or(0);
                self.reconcilers[which].hangs_until = self.now + SignedDuration::from_secs(seconds);
            }
            _ => {
                let which = self.chance.place(self.readers.len());
                self.readers[which].interrupt();
            }
        }
    }
}
