//! How a schedule is: which faults it has, and how often. Drawn from the seed, so that some schedules have few kinds of
//! faults and go far, and others have all of them.

use crate::{
    chance::Chance,
    failover::clock::{MS, SECOND, Time},
};

/// What can fail, and what users can want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of every process of PostgreSQL.
    ServerKilled,
    /// kill -9 of the agent.
    AgentKilled,
    /// kill -9 of everything in the pod.
    PodKilled,
    /// The pod ends in order.
    PodEnds,
    /// The node begins anew, its clock at 0.
    NodeRestarted,
    /// SIGSTOP of the agent alone.
    AgentStopped,
    /// Nothing on the node goes on.
    NodeFrozen,
    /// Nothing written to the volume comes to an end.
    VolumeHangs,
    /// PostgreSQL does not start.
    ServerBroken,
    /// Messages do not arrive.
    Cut,
    /// An instance reaches nothing, for less than T, after a time in which it did.
    CutForLessThanT,
    /// Messages are late, or lost.
    BadNetwork,
    /// The API server does not answer.
    ApiStalls,
    /// The time of day is set.
    WallStepped,
    /// `pgo failover --planned`.
    Switchover,
    /// `pgo failover`.
    Failover,
    /// Another mode.
    OtherMode,
    /// Autofail, or not.
    OtherAutofail,
    /// Writes go on below k, or not.
    OtherFallback,
    /// `pgo restart`.
    Restart,
    /// `pgo scale`.
    ScaledUp,
    /// `pgo scaledown`.
    ScaledDown,
}

/// Everything that can happen.
const ALL: [Fault; 21] = [
    Fault::ServerKilled,
    Fault::AgentKilled,
    Fault::PodKilled,
    Fault::PodEnds,
    Fault::NodeRestarted,
    Fault::AgentStopped,
    Fault::NodeFrozen,
    Fault::VolumeHangs,
    Fault::ServerBroken,
    Fault::Cut,
    Fault::BadNetwork,
    Fault::ApiStalls,
    Fault::WallStepped,
    Fault::Switchover,
    Fault::Failover,
    Fault::OtherMode,
    Fault::OtherAutofail,
    Fault::OtherFallback,
    Fault::Restart,
    Fault::ScaledUp,
    Fault::ScaledDown,
];

/// What leaves a primary able to serve.
const GENTLE: [Fault; 7] = [
    Fault::CutForLessThanT,
    Fault::ApiStalls,
    Fault::WallStepped,
    Fault::OtherMode,
    Fault::OtherFallback,
    Fault::Restart,
    Fault::ServerKilled,
];

/// What has one election follow another, between instances that lag behind each other.
const CONTESTED: [Fault; 8] = [
    Fault::PodKilled,
    Fault::NodeRestarted,
    Fault::NodeFrozen,
    Fault::Cut,
    Fault::Cut,
    Fault::BadNetwork,
    Fault::ApiStalls,
    Fault::Failover,
];

/// What parts instances for longer than a voter may be away.
const LASTING: [Fault; 4] = [Fault::Cut, Fault::Cut, Fault::BadNetwork, Fault::ApiStalls];

/// What leaves fewer than commits wait for, for longer than they are waited for where users chose so, and then has somebody
/// else elected.
const SHORT: [Fault; 6] = [
    Fault::Cut,
    Fault::PodKilled,
    Fault::NodeFrozen,
    Fault::Restart,
    Fault::Failover,
    Fault::OtherFallback,
];

/// A schedule's.
#[derive(Clone, Debug)]
pub struct Climate {
    /// Instances at the beginning.
    pub instances: usize,
    /// For how many answers commits wait at the beginning.
    pub k: usize,
    /// Whether instances may take over by themselves at the beginning.
    pub autofail: bool,
    /// Whether writes go on below that at the beginning.
    pub fallback: bool,
    /// Which instance becomes primary rather than others that are as far.
    pub preferred: Option<usize>,
    /// How long there are faults.
    pub lasts: Time,
    /// The mean time between two.
    pub pause: Time,
    /// How long one lasts at most.
    pub longest: Time,
    /// What happens here.
    pub faults: Vec<Fault>,
    /// How many of those that hit an instance hit the holder of the Lease, in a thousand.
    pub at_holder: u64,
    /// Nothing happens by which a primary could not serve: nobody may take over.
    pub gentle: bool,
    /// Time between two commits.
    pub writes: Time,
    /// How long messages take: at least, and beyond that at most.
    pub delay: (Time, Time),
    /// How many in a thousand are lost.
    pub lost: u64,
    /// How many requests in a thousand fail at the API server, and how many are done and not answered.
    pub api_fails: (u64, u64),
    /// How long a volume may hang.
    pub volume_deadline: Time,
}

impl Climate {
    /// Draws one.
    pub fn draw(chance: &mut Chance) -> Self {
        let gentle = chance.happens(80);
        let instances = chance.between(3, 5);
        let kinds = if chance.happens(300) {
            ALL.len()
        } else {
            chance.between(1, 6)
        };
        let mut faults: Vec<Fault> = Vec::new();
        while faults.len() < kinds && !gentle {
            faults.push(ALL[chance.place(ALL.len())]);
        }
        let contested = !gentle && chance.happens(250);
        if gentle {
            faults = GENTLE.to_vec();
        } else if contested {
            faults = CONTESTED.to_vec();
        }
        let sometimes = |chance: &mut Chance, most: u64| {
            if gentle || chance.happens(500) {
                0
            } else {
                chance.below(most)
            }
        };
        let climate = Self {
            instances,
            k: if chance.happens(400) {
                0
            } else {
                chance.between(1, 2)
            },
            autofail: gentle || chance.happens(850),
            fallback: chance.happens(300),
            lasts: 5 * SECOND + chance.below(9 * SECOND),
            pause: 300 * MS + chance.below(if contested { 700 * MS } else { 2500 * MS }),
            longest: SECOND + chance.below(6 * SECOND),
            at_holder: chance.below(1000),
            writes: 100 * MS + chance.below(300 * MS),
            delay: (MS / 5, MS + sometimes(chance, 150 * MS)),
            lost: sometimes(chance, 120),
            api_fails: (sometimes(chance, 100), sometimes(chance, 100)),
            volume_deadline: SECOND + chance.below(3 * SECOND),
            faults,
            gentle,
            preferred: chance.happens(400).then(|| chance.place(instances)),
        };
        if !gentle && chance.happens(20) {
            return climate.lasting();
        }
        if !gentle && chance.happens(30) {
            return climate.short_of_answers(chance);
        }
        climate
    }

    /// The same with so few replicas, and those away for so long, that commits wait for too many.
    fn short_of_answers(self, chance: &mut Chance) -> Self {
        Self {
            k: chance.between(1, 2),
            fallback: chance.happens(900),
            lasts: 20 * SECOND,
            pause: 2 * SECOND,
            longest: 24 * SECOND,
            faults: SHORT.to_vec(),
            at_holder: chance.below(200),
            ..self
        }
    }

    /// The same for longer, and with few faults.
    fn lasting(self) -> Self {
        Self {
            lasts: 60 * SECOND,
            pause: 15 * SECOND,
            longest: 90 * SECOND,
            faults: LASTING.to_vec(),
            ..self
        }
    }
}
