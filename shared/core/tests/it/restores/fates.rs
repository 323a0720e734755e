//! Whatever happens to a restore, in any order: it has one end, and takes nothing from the cluster before its target.

use pgo_core::{BackupSet, Fixture, Plan, RestoreFacts, RestoreStage, Step};
use pgo_events::EventType;
use pgo_ids::InstanceName;
use proptest::prelude::*;

use super::{ask, copied, id, last, name, reached, removed, says, with_backups};
use crate::world::World;

/// Something that happens to a restore.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Progress,
    Reconcile,
    CutOff(usize),
    Says(u32),
    Reaches,
    Hopeless,
    Silent,
    CheckFails,
    Found,
    Promotes,
    Cancelled,
    Wait(i64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Progress),
        4 => Just(Fate::Reconcile),
        2 => (0_usize..4).prop_map(Fate::CutOff),
        2 => (0_u32..100).prop_map(Fate::Says),
        2 => Just(Fate::Reaches),
        1 => Just(Fate::Hopeless),
        1 => Just(Fate::Silent),
        1 => Just(Fate::CheckFails),
        1 => Just(Fate::Found),
        2 => Just(Fate::Promotes),
        1 => Just(Fate::Cancelled),
        2 => (1_i64..700).prop_map(Fate::Wait),
    ]
}

impl Fate {
    fn befall(self, world: &mut World, new: &InstanceName) -> Plan {
        match self {
            Self::Progress => world.progress(),
            Self::Reconcile => return world.reconcile(),
            Self::CutOff(steps) => return world.reconcile_cut_off(steps),
            Self::Says(percent) => says(world, new, 0, copied(percent)),
            Self::Reaches => says(world, new, 0, reached()),
            Self::Hopeless => {
                let hopeless = RestoreFacts {
                    hopeless: true,
                    ..RestoreFacts::default()
                };
                says(world, new, 0, hopeless);
            }
            Self::Silent => {
                world.observed.agents.remove(new);
            }
            Self::CheckFails => {
                let agent = world.observed.repository.agent.as_ref();
                if agent.is_some_and(|agent| agent.running.is_some()) {
                    world.fail_work("no such backup");
                }
            }
            Self::Found => {
                let agent = world.observed.repository.agent.as_mut();
                let done = agent.and_then(|agent| agent.done.last_mut());
                if let Some(done) = done.filter(|done| done.operation == id(0)) {
                    done.backup = Some(BackupSet::default());
                }
            }
            Self::Promotes if world.observed.lease_restore == Some(id(0)) => {
                world.primary = new.clone();
            }
            Self::Promotes => {}
            Self::Cancelled => {
                world.cluster.cancelled.insert(id(0), "bob".to_owned());
            }
            Self::Wait(seconds) => world.wait(seconds),
        }
        Plan::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_it_ends_once_and_takes_nothing_before_the_target(
        fates in prop::collection::vec(fate(), 0..60),
    ) {
        let (mut world, new) = (with_backups(1), name("hippo-abcd"));
        let id = ask(&mut world, 0, "hippo-abcd");
        let mut was_reached = false;
        for fate in fates {
            was_reached |= world.observed.agent(&new)
                .and_then(|agent| agent.restore.as_ref())
                .is_some_and(|restore| restore.reached);
            let plan = fate.befall(&mut world, &new);
            let others = removed(&plan).into_iter().filter(|one| *one != new.as_str());
            prop_assert!(was_reached || others.count() == 0, "{plan:?}");
            let gives = plan.steps.iter().any(|step| matches!(
                step,
                Step::RemoveFixture { fixture: Fixture::Lease, .. }
            ));
            let alone = world.observed.pods.keys().all(|one| *one == new);
            prop_assert!(!gives || alone, "{plan:?}");
            prop_assert!(world.observed.claims.contains_key(&name("hippo")));
        }
        // Nothing more comes of it, and it ends all the same.
        for _ in 0..200 {
            world.reconcile();
            for pod in world.observed.pods.clone().into_iter().filter(|(_, pod)| pod.terminating) {
                world.progress_of(&pod.0);
            }
            world.wait(60);
        }
        let ended = matches!(
            last(&world, id).event_type(),
            EventType::RestoreClusterCompleted | EventType::RestoreClusterFailure
        );
        prop_assert!(ended, "{:?}", world.status.restore);
        let gives = world.status.restore.as_ref().map(|run| run.stage);
        prop_assert!(gives.is_none_or(|stage| stage == RestoreStage::Giving), "{gives:?}");
        world.check_stream();
    }
}
