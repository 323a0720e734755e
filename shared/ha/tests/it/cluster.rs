//! Some agents, a Lease, a network and an API server that can be cut, and a clock that a test lets pass.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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

/// How long an answer about a grant is waited for before it is asked for again, as `services/agent/src/ha/calls.rs` does.
const PATIENCE: Duration = Duration::from_millis(150);

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
    /// Instances that the API server does not reach.
    pub apart: BTreeSet<usize>,
    /// How long it takes until a request for the Lease that has no answer is given up.
    pub gives_up: Duration,
    /// Who hears what, and when.
    coming: Vec<(Moment, usize, Input)>,
    /// Requests for a grant that have no answer: by whom and of whom, and since when.
    unanswered: BTreeMap<(usize, usize), Moment>,
    /// The next tick of each.
    ticks: Vec<Moment>,
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
            apart: BTreeSet::new(),
            gives_up: Duration::ZERO,
            coming: Vec::new(),
            unanswered: BTreeMap::new(),
            ticks: vec![now.plus(TICK); instances],
            log: Vec::new(),
            writes: 0,
            now,
        };
        for node in 0..instances {
            cluster.tell(node, Input::ReceiverStopped(position()));
        }
        cluster
    }

    /// Lets an instance's ticks be so much later than the others'.
    pub fn shift(&mut self, node: usize, by: Duration) {
        self.ticks[node] = self.ticks[node].plus(by);
    }

    /// Lets time pass, with all that is due meanwhile.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.go_on();
            let serving = self.serving().count();
            assert!(serving <= 1, "{serving} serve: {:#?}", self.log);
        }
        self.now = end;
    }

    /// When something is due next.
    fn next(&self) -> Option<Moment> {
        let coming = self.coming.iter().map(|(at, ..)| *at);
        let due = self.agents.iter().flatten();
        let due = due.filter_map(|agent| agent.due(&PROTOCOL));
        coming.chain(due).chain(self.ticks.iter().copied()).min()
    }

    /// What is due now.
    fn go_on(&mut self) {
        let now = self.now;
        let arrived = self.coming.extract_if(.., |(at, ..)| *at <= now);
        for (_, node, input) in arrived.collect::<Vec<_>>() {
            self.tell(node, input);
        }
        for node in 0..self.agents.len() {
            let due = self.agents[node]
                .as_ref()
                .and_then(|agent| agent.due(&PROTOCOL));
            let ticks = self.ticks[node] <= now;
            if ticks {
                self.ticks[node] = self.ticks[node].plus(TICK);
            }
            if ticks || due.is_some_and(|due| due <= now) {
                self.tell(node, Input::Tick);
            }
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
            Effect::ReadLease | Effect::WriteLease { .. }
                if !self.api || self.apart.contains(&by) =>
            {
                if !self.gives_up.is_zero() {
                    let given_up = self.now.plus(self.gives_up);
                    self.coming.push((given_up, by, Input::LeaseUnknown));
                    return None;
                }
                Input::LeaseUnknown
            }
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
                return self.arrives(by, to, &input).then_some((to, input));
            }
        };
        Some((by, input))
    }

    /// Whether a message arrives. Of requests for a grant one is under way to each, as long as it is waited for.
    fn arrives(&mut self, by: usize, to: usize, input: &Input) -> bool {
        let is_cut = self.cut.contains(&by) || self.cut.contains(&to);
        if !matches!(input, Input::GrantAsked { .. }) {
            return !is_cut;
        }
        let since = self.unanswered.get(&(by, to));
        if since.is_some_and(|since| self.now.since(*since) < PATIENCE) {
            return false;
        }
        if is_cut {
            self.unanswered.insert((by, to), self.now);
        } else {
            self.unanswered.remove(&(by, to));
        }
        !is_cut
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
