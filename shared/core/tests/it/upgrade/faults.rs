//! Whatever befalls a cluster while it is upgraded: never two instances are down by it, the primary is last, it ends.

use pgo_core::{AgentPhase, Plan, Step, UpgradeStage, Waiting};
use pgo_ids::InstanceName;
use proptest::prelude::*;

use super::{NEW, taken, with_replicas_and_autofail};
use crate::world::World;

/// What befalls a cluster while it is upgraded.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The operator ends within a reconcile, after so many steps of its plan.
    CutOff(usize),
    /// A pod is gone.
    Lost(usize),
    /// A replica falls behind.
    Lags(usize),
    /// A new pod cannot start.
    Stuck(usize),
    /// Nothing is heard of the primary's agent for a moment.
    Silent,
    /// Somebody asks again.
    Asked,
    /// Somebody cancels it.
    Cancelled,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0usize..3).prop_map(Fault::CutOff),
        (0usize..3).prop_map(Fault::Lost),
        (0usize..3).prop_map(Fault::Lags),
        (0usize..3).prop_map(Fault::Stuck),
        Just(Fault::Silent),
        Just(Fault::Asked),
        Just(Fault::Cancelled),
    ]
}

/// The agent of the primary carries out a planned change, or refuses each.
fn change(world: &mut World, plan: &Plan, refuses: bool) {
    if refuses {
        world.refuse(plan);
    } else {
        world.switch(plan);
    }
}

fn befall(world: &mut World, fault: Fault, refuses: bool) {
    let nth = |world: &World, n: usize| world.observed.pods.keys().nth(n).cloned();
    match fault {
        Fault::CutOff(steps) => {
            let plan = world.reconcile_cut_off(steps);
            check(world, &plan);
            change(world, &plan, refuses);
        }
        Fault::Lost(n) => {
            if let Some(instance) = nth(world, n) {
                world.pod_is_gone(&instance);
                world.hand_over();
            }
        }
        Fault::Lags(n) => {
            if let Some(agent) = nth(world, n).and_then(|i| world.observed.agents.get_mut(&i)) {
                agent.lag_bytes = 1 << 30;
            }
        }
        Fault::Stuck(n) => {
            let pod = nth(world, n).and_then(|i| world.observed.pods.get_mut(&i));
            if let Some(pod) = pod.filter(|pod| pod.node.is_none()) {
                pod.waiting = Some(Waiting {
                    container: "database".to_owned(),
                    reason: "ErrImagePull".to_owned(),
                    message: "no".to_owned(),
                });
            }
        }
        Fault::Silent => {
            let leader = world.primary.clone();
            world.observed.agents.remove(&leader);
            world.observed.silent.insert(leader, world.now);
        }
        Fault::Asked => {
            world.ask("p/crunchy-postgres:15.21");
        }
        Fault::Cancelled => {
            if let Some(upgrade) = world.status.upgrading() {
                let id = upgrade.operation;
                world.cluster.cancelled.insert(id, "bob".to_owned());
            }
        }
    }
}

/// What holds of each plan: a pod that works goes only where all others work, and the primary's only when every replica
/// has its turn behind it, and where it could not hand over and autofail is off.
fn check(world: &World, plan: &Plan) {
    for instance in taken(plan) {
        let works = |instance: &InstanceName| {
            let agent = world.observed.agent(instance);
            agent.is_some_and(|a| a.phase == AgentPhase::Running)
        };
        if !works(&instance) {
            continue;
        }
        let others = world.observed.pods.keys().filter(|i| **i != instance);
        let others: Vec<_> = others.cloned().collect();
        assert_eq!(others.len(), 2, "{instance} goes while another is gone");
        for other in &others {
            assert!(works(other), "{instance} goes while {other} is down");
            let lag = world.observed.agents[other].lag_bytes;
            let near = *other == world.primary || lag < 16 << 20;
            assert!(near, "{instance} goes while {other} is behind");
        }
        let upgrade = world.status.upgrade.as_ref();
        let in_place = upgrade.is_some_and(|upgrade| {
            matches!(
                upgrade.stage,
                UpgradeStage::Replacing { in_place: true, .. }
            )
        });
        let desired = world.cluster.desired.as_ref().expect("understood");
        assert!(
            instance != world.primary || (in_place && !desired.autofail),
            "the primary goes before it has handed over"
        );
    }
    for step in &plan.steps {
        if let Step::Switchover { primary, .. } = step {
            let image = &world.status.upgrade.as_ref().expect("an upgrade").image.0;
            for other in world.observed.pods.keys().filter(|i| *i != primary) {
                assert_eq!(
                    world.image_of(other.as_str()),
                    *image,
                    "the primary goes first"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_never_two_are_down_by_it_the_primary_is_last_and_it_ends(
        faults in prop::collection::vec(prop::option::weighted(0.15, fault()), 0..60),
        autofail: bool,
        refuses: bool,
    ) {
        let mut world = with_replicas_and_autofail(2, autofail);
        world.ask(NEW);
        world.turn();
        let turn = |world: &mut World| {
            let plan = world.reconcile();
            world.project_count();
            check(world, &plan);
            change(world, &plan, refuses);
            world.progress();
            world.hand_over();
            world.wait(1);
            plan
        };
        for fault in faults {
            if let Some(fault) = fault {
                befall(&mut world, fault, refuses);
            }
            turn(&mut world);
        }
        for _ in 0..1500 {
            let plan = turn(&mut world);
            if plan == Plan::default() && world.status.upgrading().is_none() {
                break;
            }
        }
        prop_assert!(world.status.upgrading().is_none(), "{:?}", world.status.upgrade);
        prop_assert!(world.status.is_ready(), "{:?}", world.status);
        let upgrade = world.status.upgrade.clone().expect("an upgrade");
        if upgrade.stage == UpgradeStage::Completed {
            for instance in world.observed.pods.keys() {
                prop_assert_eq!(world.image_of(instance.as_str()), upgrade.image.0.clone());
            }
        }
        world.check_stream();
    }
}
