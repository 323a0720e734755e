//! A cluster whose users get the passwords of another's.

use pgo_core::{Phase, Step, UserSecret};

use crate::world::{World, all_secrets};

/// A cluster that is to have the passwords of cluster `zebra`; nobody has looked for them.
fn to_copy() -> World {
    let mut world = World::new();
    world.wanted().secret_from = Some("zebra".parse().expect("a name"));
    world
}

/// All that a plan makes of the cluster.
fn makes(world: &mut World) -> Vec<Step> {
    world.reconcile().steps
}

#[test]
fn passwords_are_copied_and_none_is_drawn() {
    let mut world = to_copy();
    world.observed.sources = Some(UserSecret::ALL.into());
    let made = makes(&mut world);
    for which in UserSecret::ALL {
        let from = "zebra".parse().expect("a name");
        assert!(
            made.contains(&Step::CopyUserSecret { which, from }),
            "{made:?}"
        );
        assert!(!made.contains(&Step::MakeUserSecret(which)), "{made:?}");
    }
    world.settle();
    assert_eq!(world.observed.user_secrets.len(), all_secrets());
}

#[test]
fn while_nobody_has_looked_nothing_is_made_and_nothing_has_failed() {
    let mut world = to_copy();
    let plan = world.reconcile();
    assert_eq!(plan.steps, []);
    assert!(plan.waiting_for.is_some(), "{plan:?}");
    assert_eq!(world.status.phase, Phase::Creating);
}

#[test]
fn a_source_that_is_missing_is_told_nothing_is_made_and_it_goes_on_by_itself() {
    let mut world = to_copy();
    world.observed.sources = Some([UserSecret::Superuser].into());
    let plan = world.reconcile();
    assert_eq!(plan.steps, []);
    assert!(plan.waiting_for.is_some(), "it is looked at again soon");
    assert_eq!(world.status.phase, Phase::Failed);
    let ready = world.condition("Ready");
    assert_eq!(ready.reason, "SecretNotFound");
    for part in [
        "spec.secretfrom",
        "cluster zebra",
        "zebra-primaryuser-secret, and 1 more,",
    ] {
        assert!(ready.message.contains(part), "{}", ready.message);
    }
    assert_eq!(world.count("CreateClusterFailure"), 1);
    world.wait(60);
    assert_eq!(makes(&mut world), []);
    assert_eq!(world.count("CreateClusterFailure"), 1);

    world.observed.sources = Some(UserSecret::ALL.into());
    world.settle();
    assert_eq!(world.count("CreateCluster"), 2);
    world.check_stream();
}

#[test]
fn secrets_that_are_there_need_no_source() {
    let mut world = to_copy();
    let desired = crate::world::desired();
    for which in UserSecret::ALL {
        world
            .observed
            .lent_secrets
            .insert(desired.secret_name(which));
    }
    world.settle();
}

#[test]
fn a_cluster_that_was_ready_does_not_depend_on_its_source() {
    let mut world = to_copy();
    world.observed.sources = Some(UserSecret::ALL.into());
    world.settle();
    world.observed.sources = Some([].into());
    world.observed.user_secrets.clear();
    let made = makes(&mut world);
    assert!(
        made.contains(&Step::MakeUserSecret(UserSecret::Superuser)),
        "{made:?}"
    );
    assert!(world.status.is_ready());
}
