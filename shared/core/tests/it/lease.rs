//! The Lease of a new cluster, and of one that had another.

use pgo_core::{FirstLease, Fixture, Step, plan};
use pgo_ids::{InstanceName, Term};

use crate::{
    replicas::{names, with_replicas},
    world::World,
};

/// The Lease that is made where there is none.
fn made(world: &mut World) -> FirstLease {
    world.observed.fixtures.remove(&Fixture::Lease);
    let plan = plan(&world.status, &world.cluster, &world.observed, world.now);
    let made = plan.steps.into_iter().find_map(|step| match step {
        Step::MakeLease(lease) => Some(lease),
        _ => None,
    });
    made.expect("a Lease is made")
}

fn hippo() -> InstanceName {
    "hippo".parse().expect("a name")
}

#[test]
fn a_lease_that_was_lost_names_who_serves_in_a_term_above_all_others() {
    let mut world = with_replicas(1);
    let replica = names(&world)[0].clone();
    world.status.current_primary = Some(replica.clone());
    world.observed.endpoints = None;
    for (status, agent, term) in [(0, 0, 2), (3, 1, 4), (3, 5, 6)] {
        world.status.term = Term(status);
        for instance in &mut world.status.instances {
            instance.term = Term(0);
        }
        for facts in world.observed.agents.values_mut() {
            facts.term = Term(agent);
        }
        let expected = FirstLease {
            holder: replica.clone(),
            term: Term(term),
            take_up: false,
            restore: None,
        };
        assert_eq!(made(&mut world), expected);
    }
}

#[test]
fn an_instance_that_was_always_alone_goes_on_by_a_new_lease() {
    let mut world = with_replicas(0);
    let lease = made(&mut world);
    assert_eq!((lease.holder, lease.take_up), (hippo(), true));
    assert!(lease.term > Term(1), "{}", lease.term);
    let other: InstanceName = "hippo-abcd".parse().expect("a name");
    let claim = world.observed.claims[&hippo()].clone();
    world.observed.claims.insert(other, claim);
    assert!(!made(&mut world).take_up, "another one may have the data");
}
