//! The API server with the Lease.

use pgo_ha::{Input, Record, Version};

use crate::failover::{
    clock::{MS, SECOND},
    event::{Asks, Event, Wishes},
    instance::id,
    network::End,
    world::World,
    wrong::Wrong,
};

/// The API server.
#[derive(Debug)]
pub struct Api {
    /// What the Lease records.
    pub record: Record,
    /// How often it was written.
    pub version: u64,
    /// What is wanted of the instances.
    pub wishes: Wishes,
    /// It does not get on.
    pub stalls: bool,
    /// Requests that wait meanwhile.
    pub held: Vec<Event>,
    /// How many requests in a thousand fail at once, and how many are done and their answer is lost.
    pub fails: (u64, u64),
}

impl Api {
    /// A Lease whose first holder is instance 0.
    pub fn new(record: Record, wishes: Wishes, fails: (u64, u64)) -> Self {
        Self {
            record,
            version: 1,
            wishes,
            stalls: false,
            held: Vec::new(),
            fails,
        }
    }

    /// The Lease's version.
    pub fn version(&self) -> Version {
        Version::from(self.version.to_string().as_str())
    }
}

impl World {
    /// An agent asks the API server.
    pub fn ask_api(&mut self, node: usize, asks: Asks) {
        self.numbers += 1;
        let call = self.numbers;
        let instance = &mut self.instances[node];
        let process = instance.process;
        if let Some(driver) = &mut instance.driver {
            driver.call = Some(call);
        }
        let late = instance.clock.later(self.now, SECOND);
        let to = (node, process);
        self.queue.at(late, Event::Late { to, call });
        let way = (End::Instance(node), End::Api);
        if let Some(at) = self.network.send(way, self.now, &mut self.chance) {
            self.queue.at(at, Event::Asked { by: to, call, asks });
        }
    }

    /// A request has come to the API server.
    pub fn asked_api(&mut self, by: (usize, u64), call: u64, asks: Asks) -> Result<(), String> {
        if self.api.stalls {
            // What was sent meanwhile may be done much later.
            if self.chance.happens(700) {
                self.api.held.push(Event::Asked { by, call, asks });
            }
            return Ok(());
        }
        let (fails, unanswered) = self.api.fails;
        let input = if self.chance.happens(fails) {
            Some(Input::LeaseUnknown)
        } else {
            let done = self.serve_request(by.0, asks)?;
            (!self.chance.happens(unanswered)).then_some(done)
        };
        let way = (End::Api, End::Instance(by.0));
        let at = self.network.send(way, self.now, &mut self.chance);
        if let (Some(input), Some(at)) = (input, at) {
            let wishes = matches!(input, Input::LeaseRead { .. }).then_some(self.api.wishes);
            let answer = Event::Answered {
                to: by,
                call,
                input,
                wishes,
            };
            self.queue.at(at + self.chance.below(2 * MS), answer);
        }
        Ok(())
    }

    fn serve_request(&mut self, by: usize, asks: Asks) -> Result<Input, String> {
        match asks {
            Asks::Read => Ok(Input::LeaseRead {
                version: self.api.version(),
                record: self.api.record.clone(),
            }),
            Asks::Write(expected, record) => {
                let is_newest = expected == self.api.version();
                if !is_newest && self.wrong != Some(Wrong::LeaseWithoutCompare) {
                    return Ok(Input::LeaseConflict);
                }
                self.say(|| {
                    let voters = record.voters.len();
                    format!(
                        "{by} writes the Lease: term {}, {voters} vote, k {}",
                        record.term, record.synchronous.k
                    )
                });
                self.lands(by, &record)?;
                self.api.version += 1;
                self.api.record = *record;
                Ok(Input::LeaseWritten {
                    version: self.api.version(),
                })
            }
        }
    }

    /// The Lease is about to be another one.
    fn lands(&mut self, by: usize, record: &Record) -> Result<(), String> {
        let former = self.node(self.api.record.holder);
        if record.term < self.api.record.term {
            return Err(format!(
                "{by} lowers the term from {} to {}",
                self.api.record.term, record.term
            ));
        }
        if record.holder != self.api.record.holder {
            self.judge_takeover(by, former)?;
        }
        self.judge_rule(record)
    }

    /// Which instance has this identity.
    pub fn node(&self, voter: pgo_ha::VoterId) -> usize {
        let known = (0..self.instances.len()).find(|node| id(*node) == voter);
        known.unwrap_or_default()
    }

    /// An answer of the API server, or none in time.
    pub fn answered_by_api(
        &mut self,
        (node, process): (usize, u64),
        call: u64,
        input: Input,
        wishes: Option<Wishes>,
    ) -> Result<(), String> {
        let instance = &mut self.instances[node];
        let is_its = instance.process == process;
        let Some(driver) = instance.driver.as_mut().filter(|_| is_its) else {
            return Ok(());
        };
        if driver.call != Some(call) {
            return Ok(());
        }
        driver.call = None;
        if let Some(wishes) = wishes {
            self.wished(node, wishes)?;
        }
        self.step(node, input)
    }

    /// What is wanted of the instances is heard.
    pub fn wished(&mut self, node: usize, wishes: Wishes) -> Result<(), String> {
        let Some(driver) = &mut self.instances[node].driver else {
            return Ok(());
        };
        driver.wishes = wishes;
        let preferred = wishes.preferred.into_iter().map(id).collect();
        if driver.agent.preferred != preferred {
            self.step(node, Input::Preferred(preferred))?;
        }
        let Some(driver) = &self.instances[node].driver else {
            return Ok(());
        };
        if driver.agent.autofail == wishes.autofail {
            return Ok(());
        }
        self.step(node, Input::Autofail(wishes.autofail))
    }
}
