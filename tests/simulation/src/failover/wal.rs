//! WAL: what clients commit, who receives it, and how far they say that they have it.

use crate::failover::{
    clock::{MS, SECOND, Time},
    event::{Event, Job},
    instance::{Course, Rec, Receiver, Sender},
    network::End,
    world::World,
};

impl World {
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
    pub fn pump(&mut self, node: usize) {
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

    /// A standby begins to receive what this one writes.
    pub fn connect(&mut self, node: usize, source: usize) -> Result<(), String> {
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
    pub fn reattach(&mut self, node: usize) {
        let driver = self.instances[node].driver.as_ref();
        let follows = |course: &Course| matches!(course, Course::Follow { .. });
        if driver.is_some_and(|driver| !driver.busy && follows(&driver.course)) {
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

    /// Whether an instance receives what this one writes now.
    pub fn streams_from(&self, node: usize, source: usize) -> bool {
        let receiver = self.instances[node].receiver;
        let server = self.instances[source].server.as_ref();
        receiver.is_some_and(|receiver| {
            let is_it = |sender: &Sender| sender.connection == receiver.connection;
            server.is_some_and(|server| server.senders.iter().any(is_it))
        })
    }
}
