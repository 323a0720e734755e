//! PostgreSQL and its supervisor: what the protocol wants of a server is done after a while, and told.

use pgo_ha::{Effect, Input, Path, Position, Server, Synchronous, path};

use crate::failover::{
    clock::{MS, SECOND, Time},
    driver::KILL,
    event::{Event, Job},
    instance::{Course, Data, Primary, Rec, id},
    world::World,
    wrong::Wrong,
};

/// Tries in a row after which a server counts as one that does not come up.
const DOWN: u32 = 2;

impl World {
    /// What PostgreSQL is to do from now on.
    pub fn steer(&mut self, node: usize, effect: Effect) {
        self.say(|| format!("{node}: {effect:?}"));
        match effect {
            Effect::Serve {
                start, synchronous, ..
            } => {
                let rule = synchronous;
                self.turn(node, Course::Lead { start, rule });
                self.disconnect(node);
                self.look_at_course(node);
            }
            Effect::KillServers => self.kill_servers(node),
            Effect::ShutDown => {
                self.turn(node, Course::End);
                self.busy(node, false);
                self.shut_down(node);
            }
            Effect::StopReceiver => {
                if let Some(driver) = &mut self.instances[node].driver {
                    driver.holds += 1;
                    driver.course = Course::Hold(driver.holds);
                }
                self.look_at_course(node);
            }
            Effect::Follow { holder, .. } => {
                let instance = &self.instances[node];
                let seen = instance.driver.as_ref().and_then(|d| d.agent.seen.clone());
                let Some(seen) = seen else { return };
                let course = Course::Follow {
                    holder: self.node(holder),
                    record: Box::new(seen.record),
                    copy: false,
                };
                self.turn(node, course);
                self.look_at_course(node);
            }
            Effect::Copy { .. } => {
                let driver = self.instances[node].driver.as_mut();
                if let Some(Course::Follow { copy, .. }) = driver.map(|d| &mut d.course) {
                    *copy = true;
                    self.look_at_course(node);
                }
            }
            Effect::Configure(wanted) => {
                let instance = &mut self.instances[node];
                let driver = instance.driver.as_mut();
                if let Some(Course::Lead { rule, .. }) = driver.map(|d| &mut d.course) {
                    *rule = wanted.clone();
                    // A server that is not there yet, or is to come after one that shuts down, begins with it.
                    if let Some(server) = instance.server.as_mut().filter(|s| s.accepts) {
                        server.nobody = wanted.k > 0;
                        self.work(node, (10 * MS, 150 * MS), Job::Configure);
                    }
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, node: usize, course: Course) {
        if let Some(driver) = &mut self.instances[node].driver {
            driver.course = course;
        }
    }

    /// The supervisor sees what is wanted now, where it is at nothing that lasts: of what is wanted while it is, only the newest.
    fn look_at_course(&mut self, node: usize) {
        let Some(driver) = self.instances[node].driver.as_mut().filter(|d| !d.busy) else {
            return;
        };
        let (pause, job) = match &driver.course {
            Course::Wait | Course::End => return,
            Course::Lead { .. } => ((20 * MS, 500 * MS), Job::Lead),
            Course::Follow { copy: true, .. } => ((MS, 10 * MS), Job::Attach),
            Course::Follow { .. } => ((20 * MS, 300 * MS), Job::Attach),
            Course::Hold(order) => ((5 * MS, 200 * MS), Job::TellReceiver(Some(*order))),
        };
        driver.busy = matches!(job, Job::TellReceiver(_));
        self.work(node, pause, job);
    }

    /// Whether the supervisor is at something that it brings to its end.
    fn busy(&mut self, node: usize, busy: bool) {
        if let Some(driver) = &mut self.instances[node].driver {
            driver.busy = busy;
        }
    }

    /// The supervisor does this after a while, unless something else is wanted by then.
    pub fn work(&mut self, node: usize, (least, most): (Time, Time), job: Job) {
        let instance = &mut self.instances[node];
        instance.job += 1;
        let number = instance.job;
        let at = self.now + least + self.chance.below(most - least + 1);
        self.queue.at(at, Event::Work(node, number, job));
    }

    fn kill_servers(&mut self, node: usize) {
        self.turn(node, Course::End);
        self.busy(node, false);
        let server = self.instances[node]
            .server
            .as_ref()
            .map(|server| server.number);
        if self.wrong == Some(Wrong::KillIsSlow) {
            if let Some(server) = server {
                self.queue
                    .at(self.now + 4 * SECOND, Event::Killed(node, server));
            }
            self.work(node, (MS, 10 * MS), Job::TellStopped);
            return;
        }
        match server {
            Some(server) => {
                let dead = self.now + self.chance.below(KILL);
                self.queue.at(dead, Event::Killed(node, server));
                // Whatever was under way is void.
                self.instances[node].job += 1;
            }
            None => self.work(node, (MS, KILL), Job::TellStopped),
        }
    }

    fn shut_down(&mut self, node: usize) {
        self.ends_in_order(node);
        self.work(node, (20 * MS, 100 * MS), Job::ShutDown);
    }

    /// A fast shutdown begins: clients that wait are told that their commit may not be replicated.
    pub fn ends_in_order(&mut self, node: usize) {
        if let Some(server) = &mut self.instances[node].server {
            server.accepts = false;
            server.waiting.clear();
            let timeline = server.timeline;
            self.instances[node].wal.push(Rec {
                timeline,
                commit: 0,
            });
            self.pump(node);
        }
    }

    /// Every process of a server is dead.
    pub fn killed(&mut self, node: usize, number: u64) {
        if self.dies(node, number) && self.instances[node].driver.is_some() {
            self.work(node, (5 * MS, 60 * MS), Job::TellStopped);
        }
    }

    /// Whether this server lived until now.
    pub fn dies(&mut self, node: usize, number: u64) -> bool {
        let instance = &mut self.instances[node];
        let Some(server) = instance.server.take_if(|server| server.number == number) else {
            return false;
        };
        self.say(|| format!("{node}: its server is dead"));
        for sender in server.senders {
            let soon = if self.network.connects(node, sender.to) {
                20 * MS
            } else {
                2 * SECOND
            };
            let broken = Event::Broken {
                to: sender.to,
                connection: sender.connection,
            };
            self.queue.at(self.now + self.chance.below(soon), broken);
        }
        true
    }

    /// The supervisor goes on.
    pub fn works(&mut self, node: usize, number: u64, job: Job) -> Result<(), String> {
        let instance = &self.instances[node];
        if instance.job != number || instance.driver.is_none() {
            return Ok(());
        }
        // Each of these needs the volume, but that a server is dead: that is told unless something before it waits for it.
        let waits = |hang: u64| job != Job::TellStopped || hang.is_multiple_of(2);
        if instance.hangs.is_some_and(waits) {
            self.work(node, (50 * MS, 50 * MS), job);
            return Ok(());
        }
        match job {
            Job::Lead => self.lead(node),
            Job::TellStopped => self.tell_stopped(node),
            Job::ShutDown => self.look_at_shutdown(node),
            Job::Restart => self.look_at_restart(node),
            Job::TellReceiver(order) => self.tell_receiver(node, order),
            Job::Attach => self.attach(node),
            Job::Copied => self.copied(node),
            Job::Configure => self.configure(node),
        }
    }

    fn tell_stopped(&mut self, node: usize) -> Result<(), String> {
        self.turn(node, Course::Wait);
        self.step(node, Input::ServersStopped(None))?;
        let driver = self.instances[node].driver.as_ref();
        if driver.is_some_and(|driver| matches!(driver.course, Course::Wait)) {
            self.work(node, (SECOND, 1500 * MS), Job::TellReceiver(None));
        }
        Ok(())
    }

    fn look_at_shutdown(&mut self, node: usize) -> Result<(), String> {
        let instance = &self.instances[node];
        let end = instance.wal.len();
        let Some(server) = &instance.server else {
            // It ended by itself, or had not begun.
            return self.tell_stopped(node);
        };
        let waits = server.senders.iter().any(|sender| sender.flushed < end);
        if waits && self.chance.happens(900) {
            self.work(node, (50 * MS, 100 * MS), Job::ShutDown);
        } else {
            let number = server.number;
            self.killed(node, number);
        }
        Ok(())
    }

    fn tell_receiver(&mut self, node: usize, order: Option<u64>) -> Result<(), String> {
        self.busy(node, false);
        self.disconnect(node);
        let instance = &self.instances[node];
        if instance.data == Data::There && (order.is_some() || instance.of_primary) {
            let heard = self.now + self.chance.below(20 * MS);
            let told = Event::Told(node, instance.process, order, instance.position());
            self.queue.at(heard, told);
        }
        // Something else may have been wanted meanwhile.
        let looks_alike = self.wrong == Some(Wrong::OrdersLookAlike);
        match instance.driver.as_ref().map(|driver| &driver.course) {
            Some(Course::Hold(newest)) if looks_alike || Some(*newest) == order => {}
            _ => self.look_at_course(node),
        }
        Ok(())
    }

    /// An agent hears that nothing is received. What answers a former order may be old by now.
    pub fn told_receiver(
        &mut self,
        node: usize,
        process: u64,
        order: Option<u64>,
        position: Position,
    ) -> Result<(), String> {
        let instance = &self.instances[node];
        let driver = instance.driver.as_ref();
        let driver = driver.filter(|_| instance.process == process);
        if driver.is_some_and(|driver| order.is_none_or(|order| order == driver.holds)) {
            return self.step(node, Input::ReceiverStopped(position));
        }
        Ok(())
    }

    fn starts(&mut self, node: usize, starts: bool) -> Result<(), String> {
        let now = self.moment(node);
        let Some(driver) = &mut self.instances[node].driver else {
            return Ok(());
        };
        if starts {
            driver.vain = 0;
        } else {
            driver.vain += 1;
        }
        let is_news = starts || driver.vain >= DOWN;
        if !is_news {
            return Ok(());
        }
        driver.fitness.starts(starts, now);
        self.judge_fitness(node)
    }

    /// Runs as primary of the timeline that the Lease records.
    fn lead(&mut self, node: usize) -> Result<(), String> {
        if self.instances[node].broken {
            self.work(node, (250 * MS, SECOND), Job::Lead);
            return self.starts(node, false);
        }
        let Some(Course::Lead { start, rule }) = self.instances[node]
            .driver
            .as_ref()
            .map(|driver| driver.course.clone())
        else {
            return Ok(());
        };
        let instance = &mut self.instances[node];
        let (from, timeline) = (instance.position(), start.timeline.0);
        if instance.data != Data::There || from.timeline > start.timeline {
            return Err(format!(
                "{node} is to lead on timeline {timeline} with {:?} and {from:?}",
                instance.data
            ));
        }
        let promotes = from.timeline < start.timeline;
        if promotes {
            let commit = 0;
            instance.wal.push(Rec { timeline, commit });
        }
        let late_rule = self.wrong == Some(Wrong::RuleComesLate);
        let at_first = if late_rule {
            Synchronous::default()
        } else {
            rule.clone()
        };
        self.begin_server(node, timeline, at_first);
        self.judge_woken(node);
        self.judge_primary(node, timeline)?;
        if promotes {
            self.step(node, Input::Promoted(from))?;
        }
        self.starts(node, true)?;
        // A guard whose deadline has passed meanwhile goes on killing.
        let (moment, instance) = (self.moment(node), &mut self.instances[node]);
        if instance
            .guard
            .deadline
            .is_some_and(|deadline| deadline <= moment)
        {
            let process = instance.process;
            self.queue
                .at(self.now + 20 * MS, Event::Guard(node, process));
        }
        if late_rule {
            self.work(node, (200 * MS, 400 * MS), Job::Configure);
            return Ok(());
        }
        self.in_force(node, rule)
    }

    /// A server runs as primary of this timeline.
    fn begin_server(&mut self, node: usize, timeline: u32, rule: Synchronous) {
        self.numbers += 1;
        let number = self.numbers;
        let instance = &mut self.instances[node];
        instance.server = Some(Primary {
            number,
            timeline,
            rule,
            nobody: false,
            accepts: true,
            mark: None,
            senders: Vec::new(),
            waiting: Vec::new(),
            late: false,
        });
        instance.of_primary = true;
    }

    fn configure(&mut self, node: usize) -> Result<(), String> {
        let driver = self.instances[node].driver.as_ref();
        let Some(Course::Lead { rule, .. }) = driver.map(|driver| driver.course.clone()) else {
            return Ok(());
        };
        self.in_force(node, rule)
    }

    /// A rule is in force: the end of WAL is noted.
    fn in_force(&mut self, node: usize, rule: Synchronous) -> Result<(), String> {
        self.judge_in_force(node, rule.k)?;
        let instance = &mut self.instances[node];
        let end = instance.wal.len();
        let Some(server) = &mut instance.server else {
            return Ok(());
        };
        server.nobody = false;
        server.rule = rule.clone();
        server.mark = (rule.k > 0).then_some(end);
        self.step(node, Input::Configured(rule))?;
        self.look_at_answers(node)
    }

    /// Enough may have flushed: commits are acknowledged, and the rule holds for what was before it.
    pub fn look_at_answers(&mut self, node: usize) -> Result<(), String> {
        let Some(mut server) = self.instances[node].server.take() else {
            return Ok(());
        };
        let mut acknowledged = Vec::new();
        let waiting = std::mem::take(&mut server.waiting);
        for (commit, end) in waiting {
            if server.is_flushed(end) && server.accepts {
                acknowledged.push(commit);
            } else {
                server.waiting.push((commit, end));
            }
        }
        let held = server.mark.is_some_and(|mark| server.is_flushed(mark));
        if held {
            server.mark = None;
        }
        self.instances[node].server = Some(server);
        for commit in acknowledged {
            self.acknowledge(node, commit)?;
        }
        if held {
            self.step(node, Input::Held)?;
        }
        Ok(())
    }

    /// A standby begins to receive, if what it has fits.
    fn attach(&mut self, node: usize) -> Result<(), String> {
        self.disconnect(node);
        let Some(Course::Follow {
            holder,
            record,
            copy,
        }) = self.instances[node]
            .driver
            .as_ref()
            .map(|driver| driver.course.clone())
        else {
            return Ok(());
        };
        let source = &self.instances[holder];
        let timeline = record.start().timeline.0;
        let serves = source.answers()
            && source
                .server
                .as_ref()
                .is_some_and(|server| server.timeline == timeline);
        if !serves || !self.network.connects(node, holder) || self.instances[node].broken {
            self.work(node, (100 * MS, 400 * MS), Job::Attach);
            return Ok(());
        }
        let instance = &self.instances[node];
        if instance.server.is_some() {
            return Err(format!(
                "{node} is to follow {holder} while its server lives"
            ));
        }
        let way = path(&record, instance.position());
        if instance.data == Data::There && way == Path::Streams {
            return self.connect(node, holder);
        }
        if !copy {
            let at = match way {
                Path::Left { at } => usize::try_from(at.0).unwrap_or(0),
                _ => 0,
            };
            self.judge_lost(node, holder, at)?;
            let source = self.instances[holder].position();
            return self.step(node, Input::CopyNeeded { source });
        }
        self.count.copies += 1;
        let number = source.server.as_ref().map_or(0, |server| server.number);
        let instance = &mut self.instances[node];
        instance.data = Data::Copying;
        instance.wal.clear();
        instance.copied_from = Some((holder, number));
        self.busy(node, true);
        self.work(node, (100 * MS, 1500 * MS), Job::Copied);
        Ok(())
    }

    fn copied(&mut self, node: usize) -> Result<(), String> {
        let Some((holder, number)) = self.instances[node].copied_from.take() else {
            return Ok(());
        };
        self.busy(node, false);
        let source = &self.instances[holder];
        let same = source
            .server
            .as_ref()
            .is_some_and(|server| server.number == number);
        if !same || !source.answers() || !self.network.connects(node, holder) {
            // It begins again, by the promise that it has given, unless something else is wanted by now.
            self.look_at_course(node);
            return Ok(());
        }
        let mut wal = source.wal.clone();
        if self.chance.happens(500) {
            // The rest comes by the stream, as after pg_rewind.
            wal.truncate(self.chance.place(wal.len() + 1));
        }
        let instance = &mut self.instances[node];
        instance.wal = wal;
        instance.data = Data::There;
        instance.of_primary = false;
        if let Some(Course::Follow {
            copy, holder: now, ..
        }) = instance.driver.as_mut().map(|d| &mut d.course)
        {
            // The next time needs another promise.
            *copy = false;
            if *now == holder {
                return self.connect(node, holder);
            }
        }
        self.look_at_course(node);
        Ok(())
    }

    /// Every process of PostgreSQL at an instance dies.
    pub fn server_crashes(&mut self, node: usize) {
        match &self.instances[node].server {
            Some(server) => {
                let number = server.number;
                self.killed(node, number);
            }
            None => {
                self.disconnect(node);
                if self.instances[node].copied_from.is_none() {
                    // A copy goes on; anything else is done again by the server that comes next.
                    self.busy(node, false);
                    self.look_at_course(node);
                }
            }
        }
    }

    /// Whether the protocol of an instance has it serve.
    pub fn is_primary(&self, node: usize) -> bool {
        let driver = self.instances[node].driver.as_ref();
        driver.is_some_and(|driver| driver.agent.server == Server::Primary)
            && self.instances[node].writes()
            && self.api.record.holder == id(node)
    }
}
