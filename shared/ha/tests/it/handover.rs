//! Whether a primary that gives up in order would be followed: what is said before is what happens.

use std::{collections::BTreeSet, time::Duration};

use pgo_ha::{Hindrance, Input, Protocol, Replicas, VoterId};

use crate::cluster::{Cluster, id};

/// A cluster whose first instance serves, long after those in `cut` were cut off.
fn running(instances: usize, cut: &BTreeSet<usize>) -> Cluster {
    let mut cluster = Cluster::of(instances);
    cluster.pass(Duration::from_secs(5));
    cluster.cut.clone_from(cut);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.serving().collect::<Vec<_>>(), [0]);
    cluster
}

/// What the primary knows: everybody streams who is not cut off.
fn known(cluster: &Cluster) -> Replicas {
    let mut replicas = Replicas::begin(&cluster.record, cluster.now());
    for node in 1..cluster.agents.len() {
        if !cluster.cut.contains(&node) {
            replicas.hear(id(node), true, cluster.now());
        }
    }
    replicas
}

fn could(cluster: &Cluster, replicas: &Replicas, to: Option<usize>) -> Result<(), Hindrance> {
    let primary = cluster.agents[0].as_ref().expect("it runs");
    primary.could_hand_over(&Protocol::PRODUCTION, replicas, to.map(id), cluster.now())
}

fn voters(nodes: &[usize]) -> BTreeSet<VoterId> {
    nodes.iter().copied().map(id).collect()
}

#[test]
fn a_planned_change_of_the_primary_comes_to_its_end_at_once_exactly_where_it_could() {
    let mut seen = [0, 0];
    for instances in 2..=5_usize {
        for bits in 0..1_usize << (instances - 1) {
            let cut = (1..instances).filter(|node| bits >> (node - 1) & 1 == 1);
            let cut: BTreeSet<usize> = cut.collect();
            for to in std::iter::once(None).chain((1..instances).map(Some)) {
                let mut cluster = running(instances, &cut);
                let could = could(&cluster, &known(&cluster), to);
                cluster.tell(0, Input::Switchover(to.map(id)));
                let serving: Vec<usize> = cluster.serving().collect();
                assert!(serving != [0], "it has stopped");
                let followed = !serving.is_empty() && to.is_none_or(|to| serving == [to]);
                assert_eq!(
                    could.is_ok(),
                    followed,
                    "{instances} instances without {cut:?}, to {to:?}: {could:?}, then {serving:?} serve"
                );
                seen[usize::from(followed)] += 1;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn it_says_who_would_vote_and_how_many_have_to() {
    let cluster = running(3, &[2].into());
    let replicas = known(&cluster);
    let too_few = Err(Hindrance::TooFewVotes {
        votes: voters(&[1]),
        needed: 2,
    });
    assert_eq!(could(&cluster, &replicas, Some(1)), too_few);
    assert_eq!(could(&cluster, &replicas, None), too_few);
    assert_eq!(could(&cluster, &replicas, Some(2)), Err(Hindrance::Away));
    assert_eq!(could(&cluster, &replicas, Some(3)), Err(Hindrance::NoVoter));
}

#[test]
fn who_does_not_stream_is_no_candidate_and_votes() {
    let cluster = running(3, &BTreeSet::new());
    let mut replicas = Replicas::begin(&cluster.record, cluster.now());
    replicas.hear(id(1), false, cluster.now());
    replicas.hear(id(2), false, cluster.now());
    assert_eq!(could(&cluster, &replicas, Some(1)), Err(Hindrance::Behind));
    assert_eq!(
        could(&cluster, &replicas, None),
        Err(Hindrance::NoCandidate)
    );
    replicas.hear(id(1), true, cluster.now());
    assert_eq!(could(&cluster, &replicas, Some(1)), Ok(()));
}

#[test]
fn who_lacks_data_of_its_source_does_not_vote() {
    let cluster = running(3, &BTreeSet::new());
    let mut replicas = known(&cluster);
    replicas.lacks(id(2), true);
    assert_eq!(could(&cluster, &replicas, Some(2)), Err(Hindrance::Away));
    assert!(matches!(
        could(&cluster, &replicas, Some(1)),
        Err(Hindrance::TooFewVotes { .. })
    ));
    replicas.lacks(id(2), false);
    assert_eq!(could(&cluster, &replicas, Some(2)), Ok(()));
}

#[test]
fn a_replica_hands_nothing_over() {
    let cluster = running(2, &BTreeSet::new());
    let replica = cluster.agents[1].as_ref().expect("it runs");
    let could =
        replica.could_hand_over(&Protocol::PRODUCTION, &known(&cluster), None, cluster.now());
    assert_eq!(could, Err(Hindrance::NotHolder));
}
