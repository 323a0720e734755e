//! How a schedule is: which faults it has, and how often. Drawn from the seed, so that some schedules have few kinds of
//! faults and go far, and others have all of them.

use crate::chance::Chance;

/// So many of a thousand schedules are wide: each takes several times as long as another.
const WIDE: u64 = 110;

/// Frequencies are in a thousand.
#[derive(Clone, Debug, Default)]
pub struct Climate {
    /// Steps until the faults stop.
    pub steps: usize,
    /// Or until so many operations were accepted, where that is not 0.
    pub operations: usize,
    /// Clusters at a time.
    pub clusters: usize,
    /// Clusters altogether.
    pub most_clusters: usize,
    /// A step is a fault: something is killed, or a connection breaks.
    pub faults: u64,
    /// Somebody who could ask for something does.
    pub haste: u64,
    /// Weights of what a fault hits.
    pub kills: Kills,
    /// A killed process stays away for a while.
    pub long_outages: u64,
    /// An answer of Kubernetes is lost, or a call fails.
    pub lost_answers: u64,
    /// A cache does not see what is newest.
    pub stale_caches: u64,
    /// A message is handed out in another order.
    pub reordering: u64,
    /// An answer of nsqd is lost.
    pub lost_acknowledgements: u64,
    /// An agent is not heard.
    pub silent_agents: u64,
    /// Time makes a jump.
    pub time_jumps: u64,
    /// Both reconcilers believe that they lead.
    pub two_leaders: bool,
    /// The event service is away from the beginning on, while users are busy: outboxes run full.
    pub flood: bool,
    /// There is a cluster with replicas from the beginning on, and everything is asked for that a cluster can be asked for.
    pub wide: bool,
    /// Somebody asks a cluster for something that is about to be gone: the first one goes from the beginning on.
    pub late_requests: u64,
    /// Messages are encoded and decoded, not only handed over.
    pub encoded: bool,
}

/// Weights.
#[derive(Clone, Debug, Default)]
pub struct Kills {
    /// Of a reconciler.
    pub reconciler: u64,
    /// Of the event service.
    pub event: u64,
    /// Of nsqd.
    pub nsqd: u64,
    /// Of the apiserver: nobody can ask by `pgo`, and who reads through it is interrupted.
    pub apiserver: u64,
    /// Of one connection.
    pub connection: u64,
}

impl Climate {
    /// Draws one.
    pub fn draw(chance: &mut Chance) -> Self {
        let flood = chance.happens(30);
        let wide = !flood && chance.happens(WIDE);
        let steps = if flood || wide {
            chance.between(240, 400)
        } else {
            chance.between(40, 160)
        };
        let late_requests = match wide && chance.happens(350) {
            true => 50 + chance.below(350),
            false => 0,
        };
        let mut often = |most: u64| {
            if chance.happens(400) {
                0
            } else {
                1 + chance.below(most)
            }
        };
        Self {
            faults: 5 + often(60),
            haste: 1000,
            kills: Kills {
                reconciler: often(10),
                event: often(10),
                nsqd: often(10),
                apiserver: often(6),
                connection: 1 + often(10),
            },
            long_outages: often(500),
            lost_answers: often(150),
            stale_caches: often(500),
            reordering: often(800),
            lost_acknowledgements: often(200),
            silent_agents: often(100),
            time_jumps: often(60),
            two_leaders: chance.happens(300),
            encoded: chance.happens(60),
            flood,
            wide,
            late_requests,
            operations: 0,
            steps,
            clusters: if flood { 1 } else { chance.between(1, 4) },
            most_clusters: chance.between(1, 6),
        }
    }

    /// A long run in which everything is killed again and again, until so many operations were accepted.
    pub fn campaign(operations: usize) -> Self {
        Self {
            steps: usize::MAX,
            operations,
            clusters: 6,
            most_clusters: usize::MAX,
            faults: 12,
            haste: 250,
            kills: Kills {
                reconciler: 3,
                event: 3,
                nsqd: 3,
                apiserver: 3,
                connection: 2,
            },
            long_outages: 20,
            lost_answers: 20,
            stale_caches: 100,
            reordering: 200,
            lost_acknowledgements: 20,
            silent_agents: 20,
            time_jumps: 5,
            two_leaders: false,
            flood: false,
            wide: true,
            late_requests: 5,
            encoded: true,
        }
    }

    /// Nothing fails any more.
    pub fn calm(&mut self) {
        *self = Self {
            encoded: self.encoded,
            clusters: self.clusters,
            ..Self::default()
        };
    }
}
