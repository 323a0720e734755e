//! How a schedule is: which faults it has, and how often. Drawn from the seed, so that some schedules have few kinds of
//! faults and go far, and others have all of them.

use crate::chance::Chance;

/// Frequencies are in a thousand.
#[derive(Clone, Debug, Default)]
pub struct Climate {
    /// Steps until the faults stop.
    pub steps: usize,
    /// Clusters at a time.
    pub clusters: usize,
    /// Clusters altogether.
    pub most_clusters: usize,
    /// A step is a fault: something is killed, or a connection breaks.
    pub faults: u64,
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
    /// Of one connection.
    pub connection: u64,
}

impl Climate {
    /// Draws one.
    pub fn draw(chance: &mut Chance) -> Self {
        let flood = chance.happens(60);
        let steps = if flood {
            chance.between(240, 400)
        } else {
            chance.between(60, 240)
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
            kills: Kills {
                reconciler: often(10),
                event: often(10),
                nsqd: often(10),
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
            steps,
            clusters: chance.between(1, if flood { 2 } else { 4 }),
            most_clusters: chance.between(1, 6),
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
