//! For which addresses the EndpointSlice is made.

use pgo_core::{AddressFamily, Fixture, Step};

use crate::world::World;

/// A creation whose pod has its node.
fn placed() -> World {
    let mut world = World::new();
    world.reconcile();
    world.progress();
    world
}

#[test]
fn endpoints_do_not_wait_for_a_pod_where_the_family_is_known() {
    let mut world = World::new();
    world.observed.family = Some(AddressFamily::V4);
    let plan = world.reconcile();
    let made = Step::MakeEndpointSlice(AddressFamily::V4);
    assert!(plan.steps.contains(&made), "{plan:?}");
    // It was a guess, and pods know better.
    world.progress();
    world.progress();
    world.pod().ip = Some("fd00::7".to_owned());
    world.reconcile();
    let plan = world.reconcile();
    assert_eq!(plan.steps, [Step::MakeEndpointSlice(AddressFamily::V6)]);
}

#[test]
fn endpoints_are_of_the_family_of_addresses_that_pods_have() {
    let mut world = placed();
    world.progress();
    world.pod().ip = Some("fd00::7".to_owned());
    let plan = world.reconcile();
    let v6 = Step::MakeEndpointSlice(AddressFamily::V6);
    assert_eq!(plan.steps, [v6]);

    world.pod().ip = Some("10.0.0.7".to_owned());
    let plan = world.reconcile();
    let [
        Step::RemoveFixture {
            fixture: Fixture::EndpointSlice,
            ..
        },
    ] = plan.steps.as_slice()
    else {
        panic!("{plan:?}");
    };
    let plan = world.reconcile();
    assert_eq!(plan.steps, [Step::MakeEndpointSlice(AddressFamily::V4)]);
    world.settle();
}
