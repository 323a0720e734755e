//! PostgreSQL and its supervisor: what the protocol wants of a server is done after a while, and told.

use pgo_ha::{Effect, Input, Path, Server, path};

use crate::failover::{
    clock::{MS, SECOND, Time},
    driver::KILL,
    event::{Event, Job},
    instance::{Course, Data, Primary, Rec, Receiver, Sender, id},
    network::End,
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
                self.work(node, (20 * MS, 500 * MS), Job::Lead);
            }
            Effect::KillServers => self.kill_servers(node),
            Effect::ShutDown => {
                self.turn(node, Course::End);
                self.shut_down(node);
            }
            Effect::StopReceiver => {
                self.turn(node, Course::Hold);
                self.work(node, (5 * MS, 200 * MS), Job::TellReceiver);
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
                self.disconnect(node);
                self.work(node, (20 * MS, 300 * MS), Job::Attach);
            }
            Effect::Copy { .. } => {
                let driver = self.instances[node].driver.as_mut();
                if let Some(Course::Follow { copy, .. }) = driver.map(|d| &mut d.course) {
                    *copy = true;
                    self.work(node, (MS, 10 * MS), Job::Attach);
                }
            }
            Effect::Configure(wanted) => {
                let instance = &mut self.instances[node];
                let driver = instance.driver.as_mut();
                if let Some(Course::Lead { rule, .. }) = driver.map(|d| &mut d.course) {
                    *rule = wanted.clone();
                    // A server that is not there yet begins with it.
                    if let Some(server) = &mut instance.server {
                        server.nobody = wanted.k > 0 && self.wrong != Some(Wrong::RuleIsNotQuiet);
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

    /// The supervisor does this after a while, unless something else is wanted by then.
    fn work(&mut self, node: usize, (least, most): (Time, Time), job: Job) {
        let instance = &mut self.instances[node];
        instance.job += 1;
        let number = instance.job;
        let at = self.now + least + self.chance.below(most - least + 1);
        self.queue.at(at, Event::Work(node, number, job));
    }

    fn kill_servers(&mut self, node: usize) {
        self.turn(node, Course::End);
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
        if let Some(server) = &mut self.instances[node].server {
            server.accepts = false;
            // Clients that wait are told that their commit may not be replicated.
            server.waiting.clear();
            let timeline = server.timeline;
            self.instances[node].wal.push(Rec {
                timeline,
                commit: 0,
            });
            self.pump(node);
        }
        self.work(node, (20 * MS, 100 * MS), Job::ShutDown);
    }

    /// Every process of a server is dead.
    pub fn killed(&mut self, node: usize, number: u64) {
        let instance = &mut self.instances[node];
        let Some(server) = instance.server.take_if(|server| server.number == number) else {
            return;
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
        if self.instances[node].driver.is_some() {
            self.work(node, (5 * MS, 60 * MS), Job::TellStopped);
        }
    }

    /// The supervisor goes on.
    pub fn works(&mut self, node: usize, number: u64, job: Job) -> Result<(), String> {
        let instance = &self.instances[node];
        if instance.job != number || instance.driver.is_none() {
            return Ok(());
        }
        if instance.hangs.is_some() {
            // Each of these needs the volume.
            self.work(node, (50 * MS, 50 * MS), job);
            return Ok(());
        }
        match job {
            Job::Lead => self.lead(node),
            Job::TellStopped => self.tell_stopped(node),
            Job::ShutDown => self.look_at_shutdown(node),
            Job::TellReceiver => self.tell_receiver(node),
            Job::Attach => self.attach(node),
            Job::Copied => self.copied(node),
            Job::Configure => self.configure(node),
        }
    }

    fn tell_stopped(&mut self, node: usize) -> Result<(), String> {
        self.turn(node, Course::Wait);
        let position = self.instances[node].position();
        self.step(node, Input::ServersStopped(Some(position)))
    }

    fn look_at_shutdown(&mut self, node: usize) -> Result<(), String> {
        let instance = &self.instances[node];
        let end = instance.wal.len();
        let Some(server) = &instance.server else {
            return Ok(());
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

    fn tell_receiver(&mut self, node: usize) -> Result<(), String> {
        if self.wrong != Some(Wrong::ReceiverGoesOn) {
            self.disconnect(node);
        }
        let instance = &self.instances[node];
        if instance.data != Data::There {
            return Ok(());
        }
        let position = instance.position();
        self.step(node, Input::ReceiverStopped(position))
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
        self.numbers += 1;
        let number = self.numbers;
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
        instance.server = Some(Primary {
            number,
            timeline,
            rule: if late_rule {
                Default::default()
            } else {
                rule.clone()
            },
            nobody: false,
            accepts: true,
            mark: None,
            senders: Vec::new(),
            waiting: Vec::new(),
            late: false,
        });
        instance.of_primary = true;
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

    fn configure(&mut self, node: usize) -> Result<(), String> {
        let driver = self.instances[node].driver.as_ref();
        let Some(Course::Lead { rule, .. }) = driver.map(|driver| driver.course.clone()) else {
            return Ok(());
        };
        self.in_force(node, rule)
    }

    /// A rule is in force: the end of WAL is noted.
    fn in_force(&mut self, node: usize, rule: pgo_ha::Synchronous) -> Result<(), String> {
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
            self.acknowledge(node, commit);
        }
        if held {
            self.step(node, Input::Held)?;
        }
        Ok(())
    }

    /// A client commits here.
    pub fn commit(&mut self, node: usize) -> Result<(), String> {
        self.commits += 1;
        let commit = self.commits;
        let instance = &mut self.instances[node];
        let Some(server) = &mut instance.server else {
            return Ok(());
        };
        let timeline = server.timeline;
        instance.wal.push(Rec { timeline, commit });
        server.waiting.push((commit, instance.wal.len()));
        self.pump(node);
        self.look_at_answers(node)
    }

    /// Whoever receives WAL from here is sent what is new.
    fn pump(&mut self, node: usize) {
        let Some(mut server) = self.instances[node].server.take() else {
            return;
        };
        let end = self.instances[node].wal.len();
        server.senders.retain_mut(|sender| {
            if sender.sent == end {
                return true;
            }
            let Some(at) = self.stream(node, sender.to) else {
                let after = self.now + 500 * MS + self.chance.below(SECOND);
                let (to, connection) = (sender.to, sender.connection);
                self.queue.at(after, Event::Broken { to, connection });
                return false;
            };
            sender.arrives = sender.arrives.max(at);
            let records = self.instances[node].wal[sender.sent..end].to_vec();
            let wal = Event::Wal {
                to: sender.to,
                connection: sender.connection,
                from: sender.sent,
                records,
            };
            self.queue.at(sender.arrives, wal);
            sender.sent = end;
            true
        });
        self.instances[node].server = Some(server);
    }

    /// When a part of a stream arrives: what is lost is sent again, and what is cut breaks it.
    fn stream(&mut self, from: usize, to: usize) -> Option<Time> {
        if !self.network.connects(from, to) {
            return None;
        }
        let way = (End::Instance(from), End::Instance(to));
        let at = self.network.send(way, self.now, &mut self.chance);
        Some(at.unwrap_or(self.now + 250 * MS))
    }

    /// A standby begins to receive, if what it has fits.
    fn attach(&mut self, node: usize) -> Result<(), String> {
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
        self.work(node, (100 * MS, 1500 * MS), Job::Copied);
        Ok(())
    }

    fn copied(&mut self, node: usize) -> Result<(), String> {
        let Some((holder, number)) = self.instances[node].copied_from.take() else {
            return Ok(());
        };
        let source = &self.instances[holder];
        let same = source
            .server
            .as_ref()
            .is_some_and(|server| server.number == number);
        if !same || !source.answers() || !self.network.connects(node, holder) {
            // It begins again, by the promise that it has given.
            self.work(node, (100 * MS, 400 * MS), Job::Attach);
            return Ok(());
        }
        let wal = source.wal.clone();
        let instance = &mut self.instances[node];
        instance.wal = wal;
        instance.data = Data::There;
        instance.of_primary = false;
        if let Some(Course::Follow { copy, .. }) = instance.driver.as_mut().map(|d| &mut d.course) {
            // The next time needs another promise.
            *copy = false;
        }
        self.connect(node, holder)
    }

    fn connect(&mut self, node: usize, source: usize) -> Result<(), String> {
        self.disconnect(node);
        self.numbers += 1;
        let connection = self.numbers;
        let (instance, from) = (&self.instances[node], &self.instances[source]);
        if !from.wal.starts_with(&instance.wal) {
            return Err(format!(
                "{node} is to stream from {source}, and what it has is not a part of what that has"
            ));
        }
        let end = instance.wal.len();
        let instance = &mut self.instances[node];
        instance.receiver = Some(Receiver {
            connection,
            from: source,
        });
        instance.of_primary = false;
        if let Some(server) = &mut self.instances[source].server {
            server.senders.push(Sender {
                to: node,
                connection,
                sent: end,
                arrives: self.now,
                flushed: 0,
            });
        }
        self.say(|| format!("{node} streams from {source} from {end} on"));
        self.flushed(node);
        self.pump(source);
        Ok(())
    }

    /// A standby says how far it has flushed.
    fn flushed(&mut self, node: usize) {
        let instance = &self.instances[node];
        let Some(Receiver { connection, from }) = instance.receiver else {
            return;
        };
        let end = instance.wal.len();
        if let Some(at) = self.stream(node, from) {
            let flushed = Event::Flushed {
                to: from,
                connection,
                by: node,
                end,
            };
            self.queue.at(at, flushed);
        }
    }

    /// WAL arrives.
    pub fn wal(
        &mut self,
        to: usize,
        connection: u64,
        from: usize,
        records: Vec<Rec>,
    ) -> Result<(), String> {
        let instance = &mut self.instances[to];
        let is_its = instance
            .receiver
            .is_some_and(|receiver| receiver.connection == connection);
        if !is_its {
            return Ok(());
        }
        let end = instance.wal.len();
        if from > end {
            // What was deferred before it comes first.
            let wal = Event::Wal {
                to,
                connection,
                from,
                records,
            };
            self.queue.at(self.now + 5 * MS, wal);
            return Ok(());
        }
        if from < end {
            return Err(format!("{to} receives WAL from {from} on at {end}"));
        }
        instance.wal.extend(records);
        self.flushed(to);
        Ok(())
    }

    /// A standby has flushed so much.
    pub fn heard_flushed(
        &mut self,
        to: usize,
        connection: u64,
        by: usize,
        end: usize,
    ) -> Result<(), String> {
        let Some(server) = &mut self.instances[to].server else {
            return Ok(());
        };
        let mut senders = server.senders.iter_mut();
        if let Some(sender) = senders.find(|s| (s.to, s.connection) == (by, connection)) {
            sender.flushed = sender.flushed.max(end);
            return self.look_at_answers(to);
        }
        Ok(())
    }

    /// A receiver has lost its connection.
    pub fn broken(&mut self, to: usize, connection: u64) {
        let instance = &mut self.instances[to];
        if instance
            .receiver
            .is_some_and(|receiver| receiver.connection == connection)
        {
            self.disconnect(to);
            self.reattach(to);
        }
    }

    /// A standby without a connection makes another one.
    fn reattach(&mut self, node: usize) {
        let driver = self.instances[node].driver.as_ref();
        if driver.is_some_and(|driver| matches!(driver.course, Course::Follow { .. })) {
            self.work(node, (100 * MS, 500 * MS), Job::Attach);
        }
    }

    /// A standby receives nothing any more.
    pub fn disconnect(&mut self, node: usize) {
        let Some(receiver) = self.instances[node].receiver.take() else {
            return;
        };
        if let Some(server) = &mut self.instances[receiver.from].server {
            server
                .senders
                .retain(|sender| sender.connection != receiver.connection);
        }
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
                self.reattach(node);
            }
        }
    }

    /// Whether an instance receives what this one writes now.
    pub fn streams_from(&self, node: usize, source: usize) -> bool {
        let receiver = self.instances[node].receiver;
        let server = self.instances[source].server.as_ref();
        receiver.is_some_and(|receiver| {
            let is_it = |sender: &Sender| sender.connection == receiver.connection;
            server.is_some_and(|server| server.senders.iter().any(is_it))
        })
    }

    /// Whether the protocol of an instance has it serve.
    pub fn is_primary(&self, node: usize) -> bool {
        let driver = self.instances[node].driver.as_ref();
        driver.is_some_and(|driver| driver.agent.server == Server::Primary)
            && self.instances[node].writes()
            && self.api.record.holder == id(node)
    }
}
