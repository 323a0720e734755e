//! What fails, and how it ends.

use crate::failover::{
    climate::Fault,
    clock::{MS, SECOND, Time},
    event::Event,
    instance::{Data, Instance, id},
    judge::ENDS,
    network::End,
    world::World,
    wrong::Wrong,
};

impl World {
    /// Something fails, or somebody wants something.
    pub fn fault(&mut self) -> Result<(), String> {
        if self.calm {
            return Ok(());
        }
        let next = self.now + self.climate.pause / 2 + self.chance.below(self.climate.pause);
        self.queue.at(next, Event::Fault);
        let which = self.chance.place(self.climate.faults.len());
        let fault = self.climate.faults[which];
        let node = self.victim();
        self.say(|| format!("{fault:?} at {node}"));
        if self.asks_of_users(fault) {
            self.count.wishes += 1;
            return self.users_want(fault, node);
        }
        self.count.faults += 1;
        let lasts = 50 * MS + self.chance.below(self.climate.longest);
        self.fails(fault, node, lasts);
        Ok(())
    }

    /// Whom it hits.
    fn victim(&mut self) -> usize {
        let holder = self.node(self.api.record.holder);
        if self.instances[holder].exists && self.chance.happens(self.climate.at_holder) {
            return holder;
        }
        let all = 0..self.instances.len();
        let all: Vec<usize> = all.filter(|node| self.instances[*node].exists).collect();
        all[self.chance.place(all.len())]
    }

    fn fails(&mut self, fault: Fault, node: usize, lasts: Time) {
        let until = self.now + lasts;
        match fault {
            Fault::ServerKilled => self.server_crashes(node),
            Fault::AgentKilled => self.agent_dies(node, 300 * MS),
            Fault::PodKilled => self.pod_dies(node, lasts / 2),
            Fault::NodeRestarted => {
                self.pod_dies(node, lasts / 2);
                let now = self.now;
                self.instances[node].clock.restart(now);
            }
            Fault::AgentStopped => {
                self.instances[node].stopped = true;
                self.queue.at(until, Event::AgentGoesOn(node));
            }
            Fault::NodeFrozen => {
                self.instances[node].frozen = true;
                self.queue.at(until, Event::Thaws(node));
            }
            Fault::VolumeHangs => self.volume_hangs(node, until),
            Fault::ServerBroken => {
                self.instances[node].broken = true;
                self.server_crashes(node);
                self.queue.at(until, Event::Mends(node));
            }
            Fault::Cut => self.cut(node, until),
            Fault::CutForLessThanT => self.blip(node),
            Fault::BadNetwork => {
                self.network.delay.1 = self.chance.below(800 * MS);
                self.network.lost = self.chance.below(400);
                self.queue.at(until, Event::NetworkIsCalm);
            }
            Fault::ApiStalls => {
                self.api.stalls = true;
                self.queue.at(until, Event::ApiGoesOn);
            }
            Fault::WallStepped => {
                let chance = &mut self.chance;
                self.instances[node].clock.step_wall(chance);
            }
            _ => {}
        }
    }

    /// The agent's process ends: process 1 ends the servers, and begins another.
    fn agent_dies(&mut self, node: usize, rests: Time) {
        let wait = 50 * MS + self.chance.below(rests + 1);
        let instance = &mut self.instances[node];
        instance.process += 1;
        instance.job += 1;
        instance.driver = None;
        instance.copied_from = None;
        instance.stopped = false;
        instance.guard.deadline = None;
        instance.guard.planned = None;
        let begins = Event::Begins(node, instance.process);
        if let Some(server) = &instance.server
            && self.wrong != Some(Wrong::ServerOutlivesAgent)
        {
            let dead = self.now + self.chance.below(40 * MS);
            self.queue.at(dead, Event::Killed(node, server.number));
        }
        self.disconnect(node);
        self.queue.at(self.now + wait, begins);
    }

    /// Everything in the pod ends at once.
    pub fn pod_dies(&mut self, node: usize, away: Time) {
        self.agent_dies(node, away);
        self.server_crashes(node);
    }

    fn volume_hangs(&mut self, node: usize, until: Time) {
        self.numbers += 1;
        let which = self.numbers;
        self.instances[node].hangs = Some(which);
        self.queue.at(until, Event::VolumeAnswers(node));
        let silent = self.now + self.climate.volume_deadline;
        self.queue.at(silent, Event::VolumeSilent(node, which));
    }

    /// Nothing that was written to a volume has come to an end for too long.
    pub fn volume_silent(&mut self, node: usize, which: u64) -> Result<(), String> {
        let instance = &mut self.instances[node];
        if instance.hangs != Some(which) {
            return Ok(());
        }
        let Some(driver) = &mut instance.driver else {
            return Ok(());
        };
        driver.fitness.answers(false);
        self.judge_fitness(node)
    }

    /// A volume answers again: what waited for it goes on.
    pub fn volume_answers(&mut self, node: usize) -> Result<(), String> {
        let instance = &mut self.instances[node];
        instance.hangs = None;
        let stuck = instance.driver.as_mut().and_then(|driver| {
            driver.fitness.answers(true);
            driver.stuck.take()
        });
        self.wakes(node);
        if let Some(effects) = stuck {
            self.carry_out_all(node, effects)?;
        }
        Ok(())
    }

    /// A stopped agent goes on.
    pub fn agent_goes_on(&mut self, node: usize) {
        if self.instances[node].stopped {
            self.instances[node].stopped = false;
            self.wakes(node);
        }
    }

    /// A frozen node goes on.
    pub fn thaws(&mut self, node: usize) -> Result<(), String> {
        if !self.instances[node].frozen {
            return Ok(());
        }
        let instance = &mut self.instances[node];
        instance.frozen = false;
        instance.thawed = self.now;
        if let Some(number) = self.judge_thawed(node)? {
            let ended = self.now + ENDS;
            self.queue.at(ended, Event::MustHaveEnded(node, number));
        }
        self.wakes(node);
        Ok(())
    }

    fn cut(&mut self, node: usize, until: Time) {
        let end = End::Instance(node);
        let others = (0..self.instances.len()).filter(|other| *other != node);
        let peers: Vec<End> = others.map(End::Instance).collect();
        let both = self.chance.happens(700);
        match self.chance.below(4) {
            0 => self.network.cut(end, peers.into_iter(), both),
            1 => self.network.cut(end, [End::Api].into_iter(), both),
            2 => {
                let one = peers[self.chance.place(peers.len())];
                self.network.cut(end, [one].into_iter(), both);
            }
            _ => {
                let all = peers.into_iter().chain([End::Api]);
                self.network.cut(end, all, both);
            }
        }
        self.break_connections();
        self.queue.at(until, Event::Mended(node));
    }

    /// Takes an instance away from everything for less than T. Where the one before is hardly over nothing happens: together
    /// they would be longer.
    fn blip(&mut self, node: usize) {
        if self.now < self.network.rests_until {
            return;
        }
        let until = self.now + 50 * MS + self.chance.below(1900 * MS);
        self.network.rests_until = until + SECOND;
        let others = (0..self.instances.len()).filter(|other| *other != node);
        let all = others.map(End::Instance).chain([End::Api]);
        self.network.cut(End::Instance(node), all, true);
        self.break_connections();
        self.queue.at(until, Event::Mended(node));
    }

    /// Connections over what is cut do not outlive it.
    fn break_connections(&mut self) {
        for node in 0..self.instances.len() {
            let Some(receiver) = self.instances[node].receiver else {
                continue;
            };
            if !self.network.connects(node, receiver.from) {
                let noticed = self.now + 500 * MS + self.chance.below(SECOND);
                let connection = receiver.connection;
                self.queue.at(
                    noticed,
                    Event::Broken {
                        to: node,
                        connection,
                    },
                );
            }
        }
    }

    /// A cut is mended.
    pub fn mended(&mut self, node: usize) {
        self.network.mend(End::Instance(node));
    }

    /// The API server goes on, with what it was asked meanwhile.
    pub fn api_goes_on(&mut self) {
        self.api.stalls = false;
        for held in std::mem::take(&mut self.api.held) {
            let at = self.now + self.chance.below(50 * MS);
            self.queue.at(at, held);
        }
    }

    /// Nothing fails any more.
    pub fn faults_stop(&mut self) {
        self.say(|| "the faults stop".to_owned());
        self.calm = true;
        self.network.calm();
        self.api.fails = (0, 0);
        self.climate.delay = self.network.delay;
        self.climate.lost = 0;
        self.api.wishes.autofail = true;
        self.queue.at(self.now, Event::ApiGoesOn);
        self.unable = self.needless();
        for node in 0..self.instances.len() {
            let now = self.now;
            self.queue.at(now, Event::AgentGoesOn(node));
            self.queue.at(now, Event::Thaws(node));
            self.is_able(node);
        }
    }

    /// A holder whose PostgreSQL does not start or whose volume hangs, where the others can do without it: all of them vote,
    /// have their data, and are enough for what commits wait for when one of them is primary. It stays as it is until
    /// somebody can write.
    fn needless(&self) -> Option<usize> {
        let record = &self.api.record;
        let holder = self.node(record.holder);
        let is_unable = self.instances[holder].broken || self.instances[holder].hangs.is_some();
        let all = self.instances.iter().enumerate();
        let others = all.filter(|(node, instance)| *node != holder && instance.exists);
        let can_vote = |instance: &Instance| {
            record.voters.contains(&instance.id)
                && instance.data == Data::There
                && instance.promise.no_vote.is_none()
        };
        let able = others.clone().all(|(_, instance)| can_vote(instance));
        let most = others.count();
        let k = record.synchronous.k.max(self.api.wishes.k);
        (is_unable && able && record.voters.len() == most && k < most).then_some(holder)
    }

    /// What is broken at an instance is mended, unless it is to stay so.
    fn is_able(&mut self, node: usize) {
        if self.unable != Some(node) {
            self.queue.at(self.now, Event::Mends(node));
            self.queue.at(self.now, Event::VolumeAnswers(node));
        }
    }

    /// Somebody can write: nothing needs to stay broken.
    pub fn all_are_able(&mut self) {
        if let Some(node) = self.unable.take() {
            self.is_able(node);
        }
    }

    /// An instance goes for good, its volume with it.
    pub fn goes(&mut self, node: usize) {
        self.pod_dies(node, 0);
        let instance = &mut self.instances[node];
        instance.exists = false;
        instance.data = Data::Nothing;
        instance.wal.clear();
        self.say(|| format!("{node} is no more: {}", id(node)));
    }
}
