//! What keeps a cluster from being made is told with its cause, and nothing takes for ever.

use pgo_core::{AddressFamily, AgentPhase, Fixture, Milestone, Phase, Step};

use crate::world::World;

const NOT_MOUNTED: &str =
    "MountVolume.SetUp failed for volume \"pgconf\": configmap \"nope\" not found";

/// A creation whose pod has its node.
fn placed() -> World {
    let mut world = World::new();
    world.reconcile();
    world.progress();
    world
}

#[test]
fn a_volume_that_cannot_be_mounted_is_told_after_a_moment_and_mended_by_itself() {
    let mut world = placed();
    world.pod().complaint = Some(NOT_MOUNTED.to_owned());
    world.wait(3);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating, "kubelet tries again");
    world.wait(6);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Failed);
    let ready = world.condition("Ready");
    assert_eq!(ready.reason, "PodNotStarted");
    assert!(ready.message.contains(NOT_MOUNTED), "{}", ready.message);
    assert_eq!(world.count("CreateClusterFailure"), 1);

    world.settle();
    assert_eq!(world.count("CreateClusterFailure"), 1);
    assert_eq!(world.count("CreateCluster"), 2);
    world.check_stream();
}

#[test]
fn what_was_complained_of_a_pod_that_runs_is_over() {
    let mut world = placed();
    world.progress();
    world.pod().complaint = Some(NOT_MOUNTED.to_owned());
    world.wait(60);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating);
}

/// Reconciles once a second.
fn pass(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.reconcile();
        world.wait(1);
    }
}

#[test]
fn a_creation_that_nothing_is_heard_of_fails_in_time_and_says_what_it_waits_for() {
    let mut world = placed();
    world.progress();
    pass(&mut world, 280);
    assert_eq!(world.count("CreateClusterFailure"), 0);
    pass(&mut world, 60);
    let ready = world.condition("Ready");
    assert_eq!(ready.reason, "Late");
    assert!(
        ready
            .message
            .contains("the agent in pod hippo to answer at its address (10.0.0."),
        "{}",
        ready.message
    );
    assert_eq!(
        (
            world.count("CreateCluster"),
            world.count("CreateClusterFailure")
        ),
        (1, 1)
    );

    // It gets further after all.
    world.progress();
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating);
    world.settle();
    assert_eq!(
        (
            world.count("CreateCluster"),
            world.count("CreateClusterFailure")
        ),
        (2, 1)
    );
    world.check_stream();
}

#[test]
fn a_late_creation_that_is_asked_for_differently_has_its_whole_time_again() {
    let mut world = placed();
    pass(&mut world, 310);
    assert_eq!(world.condition("Ready").reason, "Late");
    world.wanted().image.0 = "p/crunchy-postgres:16".to_owned();
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating);
    world.settle();
    assert_eq!(
        (
            world.count("CreateCluster"),
            world.count("CreateClusterFailure")
        ),
        (2, 1)
    );
    world.check_stream();
}

#[test]
fn a_recovery_takes_as_long_as_there_is_data() {
    let mut world = placed();
    world.progress();
    world.say(AgentPhase::Recovering, None);
    pass(&mut world, 1000);
    assert_eq!(world.status.phase, Phase::Creating);
    world.settle();
    assert_eq!(world.count("CreateClusterFailure"), 0);
}

#[test]
fn each_wait_has_its_words() {
    let mut said = Vec::new();
    for milestone in Milestone::ALL.into_iter().take(5) {
        let mut world = World::new();
        world.reconcile();
        match milestone {
            Milestone::Accepted => world.observed.fixtures.clear(),
            Milestone::Prepared => {}
            Milestone::Placed => world.progress(),
            _ => {
                world.progress();
                world.progress();
                world.reconcile();
                let started = milestone == Milestone::Started;
                let phase = if started {
                    AgentPhase::Starting
                } else {
                    AgentPhase::Running
                };
                world.say(phase, None);
            }
        }
        world.wait(301);
        world.reconcile();
        let ready = world.condition("Ready");
        assert_eq!(ready.reason, "Late", "{milestone:?}: {ready:?}");
        said.push(ready.message.clone());
    }
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 5, "{said:?}");
}

#[test]
fn a_service_that_the_agent_cannot_direct_is_told_with_its_cause() {
    let mut world = placed();
    world.progress();
    world.reconcile();
    let cause = "cannot write EndpointSlice hippo-primary in Kubernetes: forbidden";
    world.say(AgentPhase::Running, Some(cause));
    world.reconcile();
    let ready = world.condition("Ready");
    assert_eq!(ready.reason, "ServiceNotDirected");
    assert!(ready.message.contains(cause), "{}", ready.message);
    world.say(AgentPhase::Recovering, None);
    world.settle();
    assert_eq!(world.count("CreateClusterFailure"), 1);
    world.check_stream();
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
