//! Whom an election prefers among voters that are as far, and that nothing else changes by it.

use std::{collections::BTreeSet, time::Duration};

use pgo_ha::{Agent, Input, Lsn, Position, Protocol, VoterId};
use proptest::prelude::*;

use crate::cluster::{Cluster, TICK, id, position};

/// A second beyond what the wait for a silent primary and an election take.
const ELECTED: Duration = Duration::from_secs(6);

fn serving(cluster: &Cluster) -> Vec<usize> {
    cluster.serving().collect()
}

fn ids(nodes: &BTreeSet<usize>) -> BTreeSet<VoterId> {
    nodes.iter().copied().map(id).collect()
}

/// A cluster that runs, whose agents know whom to prefer.
fn running(instances: usize, preferred: &BTreeSet<usize>) -> Cluster {
    let mut cluster = Cluster::of(instances);
    for node in 0..instances {
        cluster.tell(node, Input::Preferred(ids(preferred)));
    }
    cluster.pass(Duration::from_secs(5));
    assert_eq!(serving(&cluster), [0]);
    cluster
}

/// Who follows the first instance, and after how long.
fn follows(mut cluster: Cluster) -> (usize, Duration) {
    let mut took = Duration::ZERO;
    while took < ELECTED {
        if let [primary] = serving(&cluster)[..] {
            return (primary, took);
        }
        cluster.pass(TICK);
        took += TICK;
    }
    panic!("nobody follows: {:#?}", cluster.log);
}

fn subsets(of: usize) -> impl Iterator<Item = BTreeSet<usize>> {
    (0..1_usize << of).map(move |bits| (0..of).filter(|node| bits & (1 << node) != 0).collect())
}

#[test]
fn of_those_that_are_as_far_and_alive_a_preferred_one_follows() {
    for preferred in subsets(4) {
        for dead in [0, 1, 2, 3].map(|other| BTreeSet::from([0, other])) {
            for releases in [false, true] {
                let mut cluster = running(4, &preferred);
                for node in dead.iter().filter(|node| !(releases && **node == 0)) {
                    cluster.agents[*node] = None;
                }
                if releases {
                    // One that is gone is not waited for by who releases.
                    cluster.tell(0, Input::Switchover(None));
                }
                let (primary, _) = follows(cluster);
                let could = preferred.difference(&dead).count() > 0;
                assert_eq!(
                    preferred.contains(&primary),
                    could,
                    "{primary} follows; preferred {preferred:?}, dead {dead:?}, released: {releases}"
                );
            }
        }
    }
}

#[test]
fn one_that_is_ahead_follows_at_once_whoever_is_preferred() {
    let preferred = BTreeSet::from([2]);
    let ahead = Position {
        lsn: Lsn(position().lsn.0 + 1),
        ..position()
    };
    let follow = |preferred| {
        let mut cluster = running(3, preferred);
        cluster.reaches[1] = ahead;
        cluster.agents[0] = None;
        follows(cluster)
    };
    let (primary, took) = follow(&preferred);
    assert_eq!((primary, took), (1, follow(&BTreeSet::new()).1));
}

#[test]
fn one_that_is_preferred_and_gone_delays_an_election_by_the_preference_and_no_more() {
    let follow = |preferred| {
        let mut cluster = running(4, preferred);
        cluster.agents[0] = None;
        cluster.cut.insert(3);
        cluster.agents[3] = None;
        follows(cluster).1
    };
    let delayed = follow(&BTreeSet::from([3])) - follow(&BTreeSet::new());
    let most = Protocol::PRODUCTION.timing.preference + TICK;
    assert!(
        delayed > Duration::ZERO && delayed <= most,
        "{delayed:?} of {most:?}"
    );
}

#[test]
fn one_that_is_named_does_not_wait_for_one_that_is_preferred() {
    let preferred = BTreeSet::from([2]);
    let mut cluster = running(3, &preferred);
    cluster.tell(0, Input::Switchover(Some(id(1))));
    assert_eq!(serving(&cluster), [1]);

    let mut cluster = running(3, &preferred);
    for node in 1..3 {
        cluster.tell(node, Input::Autofail(false));
    }
    cluster.agents[0] = None;
    cluster.pass(Duration::from_secs(10));
    cluster.tell(1, Input::Failover);
    cluster.pass(TICK);
    assert_eq!(serving(&cluster), [1]);
}

/// What befalls a cluster.
#[derive(Clone, Debug)]
enum Fault {
    Cut(usize),
    Healed,
    Restarted(usize),
    Gone(usize),
    ApiServer(bool),
    Switchover(usize, Option<usize>),
    Preferred(usize, BTreeSet<usize>),
}

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0_usize..4;
    prop_oneof![
        node.clone().prop_map(Fault::Cut),
        Just(Fault::Healed),
        node.clone().prop_map(Fault::Restarted),
        node.clone().prop_map(Fault::Gone),
        any::<bool>().prop_map(Fault::ApiServer),
        (node.clone(), prop::option::of(node.clone()))
            .prop_map(|(by, to)| Fault::Switchover(by, to)),
        (node.clone(), prop::collection::btree_set(node, 0..4))
            .prop_map(|(at, preferred)| Fault::Preferred(at, preferred)),
    ]
}

/// An agent begins anew with what its volume holds.
fn restart(cluster: &mut Cluster, node: usize, preferred: &BTreeSet<usize>) {
    let Some(agent) = &cluster.agents[node] else {
        return;
    };
    let (me, promise) = (agent.me, agent.promise);
    let now = cluster.now();
    let protocol = &Protocol::PRODUCTION;
    cluster.agents[node] = Some(Agent::started(protocol, me, promise, now));
    let reaches = cluster.reaches[node];
    cluster.tell(node, Input::ReceiverStopped(reaches));
    cluster.tell(node, Input::Preferred(ids(preferred)));
}

fn befall(cluster: &mut Cluster, fault: Fault, preferred: &BTreeSet<usize>) {
    match fault {
        Fault::Cut(node) => {
            cluster.cut.insert(node);
        }
        Fault::Healed => cluster.cut.clear(),
        Fault::Restarted(node) => restart(cluster, node, preferred),
        // One of four for good: three of which two elect are left.
        Fault::Gone(node) => {
            if cluster.agents.iter().all(Option::is_some) {
                cluster.agents[node] = None;
            }
        }
        Fault::ApiServer(answers) => cluster.api = answers,
        Fault::Switchover(by, to) => cluster.tell(by, Input::Switchover(to.map(id))),
        Fault::Preferred(at, preferred) => cluster.tell(at, Input::Preferred(ids(&preferred))),
    }
}

proptest! {
    /// [`Cluster::pass`] looks that never two serve. Agents may go by what was preferred earlier.
    #[test]
    fn whoever_is_preferred_never_two_serve_and_one_does_again(
        preferred in prop::collection::btree_set(0_usize..4, 0..4),
        faults in prop::collection::vec((fault(), 0_u64..4000), 0..20),
    ) {
        let mut cluster = running(4, &preferred);
        for (fault, then) in faults {
            befall(&mut cluster, fault, &preferred);
            cluster.pass(Duration::from_millis(then));
        }
        cluster.cut.clear();
        cluster.api = true;
        cluster.pass(Duration::from_secs(30));
        prop_assert_eq!(serving(&cluster).len(), 1, "{:#?}", cluster.record);
    }
}
