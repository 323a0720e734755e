//! Some agents, a Lease, a network and an API server that can be cut, and a clock that a test lets pass.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use pgo_ha::{
    Agent, Effect, Input, Lsn, Moment, Position, Promise, Protocol, Record, Server, Timeline,
    Version, VoterId,
};
use pgo_ids::Term;
use uuid::Uuid;

const PROTOCOL: Protocol = Protocol::PRODUCTION;

/// Between two ticks.
pub const TICK: Duration = Duration::from_millis(200);

pub fn id(node: usize) -> VoterId {
    VoterId::from(Uuid::from_u128(node as u128))
}

fn node(id: VoterId) -> usize {
    (0..9).find(|node| self::id(*node) == id).expect("known")
}

/// The cluster.
pub struct Cluster {
    pub agents: Vec<Option<Agent>>,
    pub record: Record,
    version: u64,
    /// The Lease was made anew with this term, and records nothing.
    pub anew: Option<Term>,
    /// Whether the API server answers.
    pub api: bool,
    /// Whether it says what became of what it was asked.
    pub answers: bool,
    /// Whether a rule comes into force by itself.
    pub configures: bool,
    /// Whether servers that are told to end are known to be dead.
    pub servers_end: bool,
    /// How far each has flushed.
    pub reaches: Vec<Position>,
    /// Instances that nobody reaches, the API server excepted.
    pub cut: BTreeSet<usize>,
    /// Effects in the order in which they were wanted, with who wanted them.
    pub log: Vec<(usize, Effect)>,
    pub writes: usize,
    now: Moment,
}

impl Cluster {
    /// The first is the holder, the others are its voters.
    pub fn of(instances: usize) -> Self {
        let now = Moment::since_boot(Duration::from_secs(1000));
        let agent = |node| Some(Agent::started(&PROTOCOL, id(node), Promise::default(), now));
        let mut record = Record::first(id(0));
        record.voters = (1..instances).map(id).collect();
        let mut cluster = Self {
            agents: (0..instances).map(agent).collect(),
            record,
            version: 1,
            anew: None,
            api: true,
            answers: true,
            configures: true,
            servers_end: true,
            reaches: vec![position(); instances],
            cut: BTreeSet::new(),
            log: Vec::new(),
            writes: 0,
            now,
        };
        for node in 0..instances {
            cluster.tell(node, Input::ReceiverStopped(position()));
        }
        cluster
    }

    /// Lets time pass, tick by tick.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while self.now < end {
            self.now = self.now.plus(TICK);
            for node in 0..self.agents.len() {
                self.tell(node, Input::Tick);
            }
            let serving = self.serving().count();
            assert!(serving <= 1, "{serving} serve: {:#?}", self.log);
        }
    }

    /// Loses the Lease, which is made anew with `term`.
    pub fn lose_lease(&mut self, term: Term) {
        self.version += 1;
        self.anew = Some(term);
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Who runs a primary.
    pub fn serving(&self) -> impl Iterator<Item = usize> {
        let runs = |agent: &Option<Agent>| {
            agent
                .as_ref()
                .is_some_and(|agent| agent.server == Server::Primary)
        };
        (0..self.agents.len()).filter(move |node| runs(&self.agents[*node]))
    }

    /// Something happens to an agent, and all that follows.
    pub fn tell(&mut self, node: usize, input: Input) {
        let mut ahead = VecDeque::from([(node, input)]);
        let before = self.log.len();
        while let Some((node, input)) = ahead.pop_front() {
            let done = &self.log[before..];
            assert!(done.len() < 1000, "it goes in circles: {:#?}", &done[980..]);
            let Some(agent) = &mut self.agents[node] else {
                continue;
            };
            for effect in agent.step(&PROTOCOL, input, self.now) {
                self.log.push((node, effect.clone()));
                ahead.extend(self.carry_out(node, effect));
            }
        }
    }

    fn carry_out(&mut self, by: usize, effect: Effect) -> Option<(usize, Input)> {
        let input = match effect {
            Effect::ReadLease | Effect::WriteLease { .. } if !self.api => Input::LeaseUnknown,
            Effect::ReadLease if self.anew.is_some() => Input::LeaseAnew {
                version: self.version(),
                term: self.anew.unwrap_or_default(),
            },
            Effect::ReadLease => Input::LeaseRead {
                version: self.version(),
                record: self.record.clone(),
            },
            Effect::WriteLease { expected, .. } if expected != self.version() => {
                Input::LeaseConflict
            }
            Effect::WriteLease { record, .. } => {
                self.version += 1;
                self.writes += 1;
                self.anew = None;
                self.record = record;
                if !self.answers {
                    return Some((by, Input::LeaseUnknown));
                }
                Input::LeaseWritten {
                    version: self.version(),
                }
            }
            Effect::KillServers | Effect::ShutDown if !self.servers_end => return None,
            Effect::KillServers | Effect::ShutDown => Input::ServersStopped(Some(self.reaches[by])),
            Effect::StopReceiver => Input::ReceiverStopped(self.reaches[by]),
            Effect::Configure(_) if !self.configures => return None,
            Effect::Configure(rule) => Input::Configured(rule),
            message => {
                let (to, input) = sent(by, message)?;
                let to = node(to);
                return (!self.cut.contains(&by) && !self.cut.contains(&to)).then_some((to, input));
            }
        };
        Some((by, input))
    }

    fn version(&self) -> Version {
        Version::from(self.version.to_string().as_str())
    }
}

/// Where all are at the beginning.
pub fn position() -> Position {
    Position {
        timeline: Timeline(1),
        lsn: Lsn(0x100),
    }
}

/// What an effect brings to another agent.
fn sent(by: usize, effect: Effect) -> Option<(VoterId, Input)> {
    let from = id(by);
    Some(match effect {
        ask @ Effect::AskGrant { .. } => return grant_asked(from, ask),
        Effect::AnswerGrant {
            to,
            term,
            sent,
            answer,
        } => (
            to,
            Input::GrantAnswered {
                by: from,
                term,
                sent,
                answer,
            },
        ),
        Effect::AskVote {
            of,
            term,
            version,
            release,
        } => (
            of,
            Input::VoteAsked {
                from,
                term,
                version,
                release,
            },
        ),
        Effect::AnswerVote {
            to,
            term,
            version,
            answer,
        } => (
            to,
            Input::VoteAnswered {
                by: from,
                term,
                version,
                answer,
            },
        ),
        Effect::SendRelease { to, release } => (to, Input::Released(release)),
        _ => return None,
    })
}

fn grant_asked(from: VoterId, ask: Effect) -> Option<(VoterId, Input)> {
    let Effect::AskGrant {
        of,
        term,
        version,
        sent,
    } = ask
    else {
        return None;
    };
    let asked = Input::GrantAsked {
        from,
        term,
        version: Some(version),
        sent,
    };
    Some((of, asked))
}
