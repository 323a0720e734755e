//! Creations: told step by step, failed with a cause, recovered, cut off anywhere.

use pgo_core::{
    AgentPhase, ClaimPhase, ClusterStatus, ConditionStatus, Data, Milestone, Phase, Plan, Step,
    Waiting,
};
use proptest::prelude::*;

use crate::world::{World, types};

#[test]
fn a_creation_reads_as_a_story() {
    let mut world = World::new();
    world.settle();
    assert_eq!(
        types(&world.told()),
        [
            "CreateCluster",
            "CreateClusterProgress",
            "CreateClusterProgress",
            "CreateClusterProgress",
            "CreateClusterProgress",
            "CreateClusterCompleted",
        ]
    );
    let told = world.told();
    let last = told.last().expect("an event");
    assert!(last.durationms.is_some_and(|took| took > 0));
    assert_eq!(world.status.phase, Phase::Ready);
    world.check_stream();
}

#[test]
fn nothing_is_begun_before_the_finalizer_holds_the_cluster() {
    let mut world = World::unseen();
    let plan = world.reconcile();
    assert_eq!(plan.steps, [Step::AddFinalizer]);
    assert_eq!(world.status, ClusterStatus::default());
    let plan = world.reconcile();
    assert!(!plan.steps.contains(&Step::AddFinalizer), "{plan:?}");
    assert_eq!(types(&world.told()), ["CreateCluster"]);
}

#[test]
fn planning_again_on_what_was_made_gives_nothing_to_do() {
    let mut world = World::new();
    world.settle();
    assert_eq!(world.reconcile(), Plan::default());
}

#[test]
fn an_image_that_cannot_be_pulled_fails_at_once_and_recovers_by_itself() {
    let mut world = World::new();
    world.reconcile();
    world.progress();
    pull_fails(&mut world, "ErrImagePull");
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Failed);
    let ready = world.condition("Ready");
    assert_eq!(ready.status, ConditionStatus::False);
    assert!(ready.message.contains("no such image"), "{ready:?}");
    // Kubelet's back-off shows other words meanwhile; nothing is told again.
    let told = world.told().len();
    world.pod().waiting = None;
    world.reconcile();
    assert_eq!(world.told().len(), told);
    world.settle();
    let story = types(&world.told());
    assert_eq!(
        story
            .iter()
            .filter(|t| **t == "CreateClusterFailure")
            .count(),
        1
    );
    assert_eq!(story.iter().filter(|t| **t == "CreateCluster").count(), 2);
    assert_eq!(story.last(), Some(&"CreateClusterCompleted"));
    world.check_stream();
}

fn pull_fails(world: &mut World, words: &str) {
    world.pod().waiting = Some(Waiting {
        container: "database".to_owned(),
        reason: words.to_owned(),
        message: format!("{words}: no such image"),
    });
}

#[test]
fn an_image_that_is_named_rightly_after_all_gets_another_pod() {
    let mut world = World::new();
    world.reconcile();
    world.progress();
    pull_fails(&mut world, "ErrImagePull");
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Failed);
    let former = world.pod().uid.clone();
    world.wanted().image.0 = "p/crunchy-postgres:16".to_owned();
    world.settle();
    assert_ne!(world.pod().uid, former);
    assert_eq!(world.count("CreateClusterFailure"), 1);
    assert_eq!(world.count("CreateCluster"), 2);
    world.check_stream();
}

#[test]
fn one_problem_is_one_failure_however_far_the_creation_gets_and_whatever_it_is_called() {
    let mut world = World::new();
    world.reconcile();
    pull_fails(&mut world, "ErrImagePull");
    world.reconcile();
    world.progress();
    pull_fails(&mut world, "ImagePullBackOff");
    for _ in 0..3 {
        world.reconcile();
    }
    assert_eq!(world.count("CreateClusterFailure"), 1);
    assert_eq!(world.count("CreateCluster"), 1);
}

#[test]
fn an_agent_that_tries_again_in_vain_has_failed_once() {
    let mut world = World::new();
    for _ in 0..2 {
        world.reconcile();
        world.progress();
    }
    for _ in 0..3 {
        world.say(AgentPhase::Starting, None);
        world.reconcile();
        world.say(AgentPhase::Failed, Some("the directory is not empty"));
        world.reconcile();
    }
    assert_eq!(world.count("CreateClusterFailure"), 1);
    assert_eq!(world.count("CreateCluster"), 1);
}

#[test]
fn a_volume_that_is_refused_names_the_claim_and_the_reason() {
    let mut world = World::new();
    world.reconcile();
    world.claim().complaint = Some("storageclass \"nope\" not found".to_owned());
    world.reconcile();
    let told = world.told();
    let failure = told.last().expect("an event");
    assert_eq!(failure.event_type().as_str(), "CreateClusterFailure");
    let cause = failure
        .payload
        .text(pgo_events::Field::ErrorMessage)
        .map(str::to_owned)
        .expect("a cause");
    assert!(
        cause.contains("PersistentVolumeClaim hippo") && cause.contains("\"nope\" not found"),
        "{cause}"
    );
    let claim = world.claim();
    (claim.complaint, claim.phase) = (None, ClaimPhase::Bound);
    world.settle();
    world.check_stream();
}

#[test]
fn initdb_that_fails_is_told_with_what_it_said_and_recovers() {
    let mut world = World::new();
    for _ in 0..3 {
        world.reconcile();
        world.progress();
    }
    world.say(AgentPhase::Failed, Some("initdb: no space left on device"));
    world.reconcile();
    assert!(
        world.status.reason.contains("no space left"),
        "{:?}",
        world.status
    );
    world.settle();
    world.check_stream();
}

#[test]
fn no_node_for_a_pod_is_a_failure_only_after_a_while() {
    let mut world = World::new();
    world.reconcile();
    let now = world.now;
    world.pod().unschedulable = Some((now, "0/2 nodes are available".to_owned()));
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating);
    world.wait(5);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Failed);
}

#[test]
fn a_spec_that_cannot_be_made_is_refused_with_its_reason_and_taken_up_when_mended() {
    let mut world = World::new();
    let good = world.cluster.desired.clone();
    world.cluster.desired = Err("spec.PrimaryStorage.size: it is empty".to_owned());
    world.reconcile();
    assert_eq!(
        types(&world.told()),
        ["CreateCluster", "CreateClusterFailure"]
    );
    assert_eq!(world.condition("Ready").reason, "Invalid");
    assert_eq!(world.condition("UpToDate").reason, "Invalid");
    world.cluster.desired = good;
    world.cluster.generation = 2;
    world.settle();
    world.check_stream();
}

#[test]
fn what_kubernetes_refuses_is_a_failure_with_its_words() {
    let mut world = World::new();
    world.observed.refused = Some("cannot make Pod hippo: exceeded quota".to_owned());
    world.reconcile();
    assert!(world.status.reason.contains("exceeded quota"));
    world.observed.refused = None;
    world.settle();
    world.check_stream();
}

#[test]
fn secrets_that_could_not_be_made_are_not_told_as_made() {
    let mut world = World::new();
    world.reconcile();
    world.observed.user_secrets.clear();
    world.observed.refused = Some("cannot make Secret hippo-testuser-secret: no".to_owned());
    world.reconcile_cut_off(0);
    assert_eq!(world.count("CreateClusterProgress"), 0);
    world.observed.refused = None;
    world.settle();
    world.check_stream();
}

#[test]
fn the_condition_and_the_event_of_a_failure_say_the_same_and_no_secret() {
    let mut world = World::new();
    let said = "cannot make Pod hippo: env PGPASSWORD=hunter2 is not wanted";
    world.observed.refused = Some(said.to_owned());
    world.reconcile();
    let told = world.told();
    let cause = told.last().and_then(|event| event.cause.clone());
    let ready = world.condition("Ready").message.clone();
    assert_eq!(cause.as_ref(), Some(&ready));
    assert_eq!(ready, world.status.reason);
    assert_eq!(
        ready,
        "cannot make Pod hippo: env PGPASSWORD=*** is not wanted"
    );
}

#[test]
fn milestones_have_an_order_and_a_text_each() {
    for pair in Milestone::ALL.windows(2) {
        assert!(pair[0] < pair[1]);
        for data in [Data::Made, Data::Found] {
            assert_ne!(pair[0].text(data), pair[1].text(data));
        }
    }
}

#[test]
fn data_that_was_kept_is_not_told_as_made() {
    let step = |data: Data| {
        let mut world = World::new();
        while !world.status.is_ready() {
            for agent in world.observed.agents.values_mut() {
                agent.data = data;
            }
            world.reconcile();
            world.progress();
            world.wait(1);
        }
        let told = world.told();
        let steps: Vec<String> = told.iter().filter_map(|event| event.step.clone()).collect();
        steps.last().cloned().unwrap_or_default()
    };
    assert_eq!(step(Data::Made), "data directory initialized");
    assert_eq!(step(Data::Found), "data directory taken over");
}

proptest! {
    #[test]
    fn a_creation_cut_off_anywhere_converges_and_tells_each_thing_once(
        cuts in prop::collection::vec((0usize..14, any::<bool>(), any::<bool>()), 0..25),
    ) {
        let mut world = World::unseen();
        for (steps, progress, storing) in cuts {
            world.storing = storing;
            world.reconcile_cut_off(steps);
            if progress {
                world.progress();
            }
            world.wait(1);
        }
        world.storing = true;
        world.settle();
        world.check_stream();
        let story = types(&world.told());
        prop_assert_eq!(story.last(), Some(&"CreateClusterCompleted"));
    }
}
