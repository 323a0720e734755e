//! A network that is gone between the primary's node and everything else, for less than T.

use std::time::Duration;

use pgo_ha::{Effect, Protocol};

use crate::{
    agents::serving,
    cluster::{Cluster, TICK, id},
};

/// Where in the time between two ticks something is.
const PHASES: [u64; 7] = [0, 10, 40, 90, 120, 160, 190];

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A cluster in which the first instance serves and nothing is logged yet, so long after a tick of it, and whose others tick
/// at other moments.
fn running(instances: usize, after: Duration, others: Duration) -> Cluster {
    let mut cluster = Cluster::of(instances);
    // As long as the agent waits for the API server (`services/agent/src/ha/driver/leases.rs`).
    cluster.gives_up = Duration::from_secs(1);
    for node in 1..instances {
        cluster.shift(node, others);
    }
    cluster.pass(Duration::from_secs(5));
    // Now is a tick of the first one.
    cluster.pass(after);
    assert_eq!(serving(&cluster), [0]);
    cluster.log.clear();
    cluster.writes = 0;
    cluster
}

/// Takes the first instance's network away for so long.
fn blip(cluster: &mut Cluster, lasts: Duration) {
    cluster.cut.insert(0);
    cluster.apart.insert(0);
    cluster.pass(lasts);
    cluster.cut.clear();
    cluster.apart.clear();
}

fn killed(cluster: &Cluster) -> bool {
    let kills = |(_, effect): &(usize, Effect)| *effect == Effect::KillServers;
    cluster.log.iter().any(kills)
}

#[test]
fn a_network_that_is_gone_for_less_than_t_costs_no_primary_its_place() {
    for instances in [2, 3, 5] {
        for (after, others) in PHASES.iter().flat_map(|one| PHASES.map(|two| (*one, two))) {
            for lasts in (100..2000).step_by(50) {
                let what = format!(
                    "{instances} instances, {lasts} ms, {after} and {others} ms after a tick"
                );
                let mut cluster = running(instances, millis(after), millis(others));
                blip(&mut cluster, millis(lasts));
                cluster.pass(TICK);
                assert_eq!(serving(&cluster), [0], "{what}: {:#?}", cluster.log);
                cluster.pass(Duration::from_secs(3));
                assert_eq!(serving(&cluster), [0], "{what}: {:#?}", cluster.log);
                let record = &cluster.record;
                assert_eq!((record.holder, record.term.0), (id(0), 1), "{what}");
                let asks = |(_, effect): &(usize, Effect)| matches!(effect, Effect::AskVote { .. });
                assert!(!cluster.log.iter().any(asks), "{what}: {:#?}", cluster.log);
            }
        }
    }
}

/// It had stopped, and had no answer of the API server since before that.
#[test]
fn who_fell_serves_again_by_grants_alone() {
    let mut cluster = running(3, Duration::ZERO, TICK / 2);
    cluster.api = false;
    blip(&mut cluster, millis(1800));
    assert!(killed(&cluster));
    cluster.pass(TICK);
    assert_eq!(serving(&cluster), [0]);
    cluster.pass(Duration::from_secs(30));
    assert_eq!((serving(&cluster), cluster.writes), (vec![0], 0));
}

/// Its kernel says only later that they are dead.
#[test]
fn who_fell_serves_again_only_when_its_servers_are_dead() {
    let mut cluster = running(3, Duration::ZERO, TICK / 2);
    cluster.servers_end = false;
    blip(&mut cluster, millis(1800));
    cluster.pass(Duration::from_secs(1));
    assert_eq!((serving(&cluster), killed(&cluster)), (vec![], true));
    cluster.servers_end = true;
    cluster.tell(0, pgo_ha::Input::ServersStopped(None));
    cluster.pass(TICK);
    assert_eq!((serving(&cluster), cluster.record.holder), (vec![0], id(0)));
}

/// A cut that lasts until nobody waits any more: what a primary may count on is T, what its replicas wait is a little more.
#[test]
fn a_network_that_is_gone_for_longer_costs_it_its_place() {
    let timing = Protocol::PRODUCTION.timing;
    let mut cluster = running(3, Duration::ZERO, Duration::ZERO);
    blip(&mut cluster, timing.run_out() + timing.patience + TICK);
    assert!(killed(&cluster));
    assert_ne!(cluster.record.holder, id(0));
}
