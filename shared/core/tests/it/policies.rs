//! Policies: one after the other, each on one server, each told to its end once, whatever becomes of the server.

mod cancelled;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{
    AgentPhase, PolicyAnswer, PolicyPlace, PolicyRequest, Step,
    installation::{Installation, InstallationStatus, commit, policies::PolicyFacts},
};
use pgo_events::{Event, EventType};
use pgo_ids::OperationId;

use crate::{
    deletion::finish,
    installation::pgo,
    world::{World, on, types},
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

fn served() -> World {
    let mut world = World::new();
    world.settle();
    world
}

fn ask(world: &mut World, id: &str, policy: &str) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.policies.push(PolicyRequest {
        operation,
        actor: "alice".to_owned(),
        policy: Ok(policy.to_owned()),
        place: PolicyPlace::default(),
    });
    operation
}

/// Which policy an agent is asked to apply now, and for which operation.
fn asked(world: &mut World) -> Option<(OperationId, String)> {
    let steps = world.reconcile().steps;
    let mut applied = steps.iter().filter_map(|step| match step {
        Step::ApplyPolicy {
            operation,
            policy,
            place: _,
            instance,
            started,
        } => {
            let agent = world.observed.agents.get(instance).expect("heard");
            assert_eq!(agent.started, Some(*started), "the server that runs");
            Some((*operation, policy.clone()))
        }
        _ => None,
    });
    let first = applied.next();
    assert_eq!(applied.next(), None, "one after another");
    first
}

fn answer(world: &mut World, operation: OperationId, applied: Result<u32, &str>) {
    world.observed.policy = Some(PolicyAnswer {
        operation,
        applied: applied.map_err(str::to_owned),
    });
    world.reconcile();
}

fn story(world: &World, id: OperationId) -> Vec<(&'static str, Option<String>)> {
    let told = world.told();
    let of_it = told.iter().filter(|event| event.operationid == id);
    of_it
        .map(|event| (event.event_type().as_str(), event.cause.clone()))
        .collect()
}

/// The last that was told of it.
fn end(world: &World, id: OperationId) -> (&'static str, String) {
    let (told, cause) = story(world, id).pop().expect("an event");
    (told, cause.unwrap_or_default())
}

/// Another server of the primary serves.
fn restarts(world: &mut World) {
    world.wait(1);
    let now = world.now;
    let agents = world.observed.agents.values_mut();
    for agent in agents {
        agent.started = Some(now);
    }
}

#[test]
fn policies_are_applied_one_after_the_other_and_named_when_they_were() {
    let mut world = served();
    let first = ask(&mut world, ID, "gold");
    let second = ask(&mut world, OTHER, "silver");
    assert_eq!(asked(&mut world), Some((first, "gold".to_owned())));
    assert_eq!(asked(&mut world), Some((first, "gold".to_owned())));
    let started = Some("it was asked for".to_owned());
    assert_eq!(
        story(&world, second),
        [("ApplyPolicyStarted", started.clone())]
    );
    answer(&mut world, first, Ok(3));
    assert_eq!(asked(&mut world), Some((second, "silver".to_owned())));
    let warned = Some("with 3 warnings or notices".to_owned());
    assert_eq!(
        story(&world, first),
        [("ApplyPolicyStarted", started), ("ApplyPolicy", warned)]
    );
    answer(&mut world, second, Err("line 1, column 8: no"));
    assert_eq!(asked(&mut world), None);
    assert_eq!(
        end(&world, second),
        ("ApplyPolicyFailure", "line 1, column 8: no".to_owned())
    );
    let applied = world.status.applied_policies.iter();
    assert_eq!(applied.collect::<Vec<_>>(), ["gold"]);
    assert_eq!(world.status.policy, None);
    let told = world.told();
    let told = told.iter().rfind(|event| event.operationid == first);
    let told = told.expect("an event");
    assert_eq!(told.eventheader.username, "alice");
    let json = serde_json::to_value(told).expect("JSON");
    assert_eq!(json["policyname"], "gold", "{json}");
    assert_eq!(json["clustername"], "hippo", "{json}");
    world.check_stream();
}

#[test]
fn what_the_spec_names_is_applied_in_order_when_the_cluster_is_ready_and_never_again() {
    let mut world = World::new();
    world.cluster.policies_at_creation = ["two", "one"].map(str::to_owned).to_vec();
    let mut order = Vec::new();
    for _ in 0..60 {
        if let Some((operation, policy)) = asked(&mut world) {
            assert!(world.status.is_ready());
            order.push(policy);
            answer(&mut world, operation, Ok(0));
        }
        world.progress();
        world.wait(1);
    }
    assert_eq!(order, ["two", "one"]);
    assert_eq!(world.count("ApplyPolicy"), 2);
    assert_eq!(world.count("CreateClusterCompleted"), 1);
    // Its database goes away and comes again.
    world.observed.pods.clear();
    world.reconcile();
    world.settle();
    world.cluster.policies_at_creation.push("three".to_owned());
    world.reconcile();
    assert_eq!(asked(&mut world), None);
    assert_eq!(world.count("ApplyPolicyStarted"), 2);
    world.check_stream();
}

#[test]
fn nothing_is_run_before_the_cluster_was_ready_nor_under_a_name_that_no_policy_has() {
    let mut world = World::new();
    let early = ask(&mut world, ID, "gold");
    world.reconcile();
    let (told, cause) = end(&world, early);
    assert_eq!(told, "ApplyPolicyFailure");
    assert!(cause.contains("has not been ready yet"), "{cause}");
    world.settle();
    let wrong = ask(&mut world, OTHER, "gold");
    let requests = &mut world.cluster.policies;
    requests.last_mut().expect("it").policy = Err("no name".to_owned());
    assert_eq!(asked(&mut world), None);
    assert_eq!(
        end(&world, wrong),
        ("ApplyPolicyFailure", "no name".to_owned())
    );
    assert!(world.status.applied_policies.is_empty());
    world.check_stream();
}

#[test]
fn no_other_server_runs_what_one_was_asked_to() {
    let mut world = served();
    let id = ask(&mut world, ID, "gold");
    assert!(asked(&mut world).is_some());
    restarts(&mut world);
    assert_eq!(asked(&mut world), None);
    let (told, cause) = end(&world, id);
    assert_eq!(told, "ApplyPolicyFailure");
    assert!(
        cause.contains("whether it was applied is not known"),
        "{cause}"
    );

    // An answer that came in time counts, whatever became of the server since.
    let mut world = served();
    let id = ask(&mut world, ID, "gold");
    assert!(asked(&mut world).is_some());
    restarts(&mut world);
    answer(&mut world, id, Ok(1));
    assert_eq!(
        end(&world, id),
        ("ApplyPolicy", "with one warning or notice".to_owned())
    );
}

#[test]
fn who_does_not_answer_is_given_up_and_a_primary_is_waited_for() {
    let mut world = served();
    let id = ask(&mut world, ID, "gold");
    assert!(asked(&mut world).is_some());
    // The answer to an operation that nobody asks for any more says nothing.
    let other: OperationId = OTHER.parse().expect("an id");
    answer(&mut world, other, Ok(0));
    assert_eq!(asked(&mut world).map(|(id, _)| id), Some(id));
    world.wait(361);
    assert_eq!(asked(&mut world), None);
    let (told, cause) = end(&world, id);
    assert_eq!(told, "ApplyPolicyFailure");
    assert!(cause.contains("within 6 min"), "{cause}");

    let mut world = served();
    world.say(AgentPhase::Recovering, None);
    let id = ask(&mut world, ID, "gold");
    assert_eq!(asked(&mut world), None);
    world.wait(29);
    assert_eq!(asked(&mut world), None);
    assert_eq!(story(&world, id).len(), 1);
    world.wait(1);
    assert_eq!(asked(&mut world), None);
    let (told, cause) = end(&world, id);
    assert_eq!(told, "ApplyPolicyFailure");
    assert!(cause.contains("nothing was run"), "{cause}");
}

#[test]
fn policies_that_wait_end_with_their_cluster() {
    let mut world = served();
    let all = [
        ask(&mut world, ID, "gold"),
        ask(&mut world, OTHER, "silver"),
    ];
    assert!(asked(&mut world).is_some());
    world.cluster.deleting = true;
    finish(&mut world);
    for id in all {
        assert_eq!(
            end(&world, id),
            (
                "ApplyPolicyFailure",
                "the cluster was deleted before".to_owned()
            )
        );
    }
    assert_eq!(
        types(&world.told())
            .iter()
            .filter(|told| told.starts_with("ApplyPolicy"))
            .count(),
        4
    );
    world.check_stream();
}

fn of_pgo(name: &str, held: bool, deleting: bool) -> PolicyFacts {
    PolicyFacts {
        uid: format!("uid-{name}").parse().expect("a uid"),
        namespace: "pgouser1".parse().expect("a namespace"),
        name: name.to_owned(),
        maker: "ann".to_owned(),
        deleter: "bob".to_owned(),
        held,
        deleting,
        wrong: None,
    }
}

fn look(status: &InstallationStatus, policies: Vec<PolicyFacts>) -> InstallationStatus {
    let now = "2026-10-15T10:11:12Z".parse().expect("a time");
    let installation = Installation {
        policies: Some(policies),
        not_ready: Vec::new(),
        ..pgo()
    };
    commit(status, &installation, on(0), now)
}

fn types_of_policies(status: &InstallationStatus) -> Vec<&'static str> {
    let all = types(&status.journal.outbox.entries).into_iter();
    all.filter(|told| told.contains("Policy")).collect()
}

#[test]
fn a_policy_is_told_once_when_it_is_made_and_once_when_it_is_deleted() {
    let made = of_pgo("gold", false, false);
    let status = look(&InstallationStatus::default(), vec![made.clone()]);
    assert_eq!(
        types_of_policies(&status),
        ["CreatePolicyStarted", "CreatePolicy"]
    );
    assert!(made.is_told(&status.told_policies));
    assert_eq!(
        look(&status, vec![made]),
        status,
        "its finalizer is not on it yet"
    );
    let held = of_pgo("gold", true, false);
    assert!(!held.is_told(&status.told_policies));
    let status = look(&status, vec![held]);
    assert!(status.told_policies.is_empty());
    let goes = of_pgo("gold", true, true);
    let status = look(&status, vec![goes.clone()]);
    let told = [
        "CreatePolicyStarted",
        "CreatePolicy",
        "DeletePolicyStarted",
        "DeletePolicy",
    ];
    assert_eq!(types_of_policies(&status), told);
    assert_eq!(look(&status, vec![goes]), status);
    let status = look(&status, Vec::new());
    assert!(status.told_policies.is_empty());
    assert_eq!(types_of_policies(&status), told);
    let entries = &status.journal.outbox.entries;
    let users = entries
        .iter()
        .filter(|one| one.event_type().as_str().contains("Policy"));
    let users: Vec<&str> = users.map(|one| one.eventheader.username.as_str()).collect();
    assert_eq!(users, ["ann", "ann", "bob", "bob"]);
    let json = serde_json::to_value(entries.last().expect("one")).expect("JSON");
    assert_eq!(json["policyname"], "gold", "{json}");
    assert_eq!(json["eventheader"]["namespace"], "pgouser1", "{json}");
}

#[test]
fn one_that_goes_before_it_was_seen_is_not_told_and_many_are_told_in_turns() {
    let status = look(
        &InstallationStatus::default(),
        vec![of_pgo("gold", false, true)],
    );
    assert_eq!(types_of_policies(&status), [""; 0]);
    let many: Vec<_> = (0..40)
        .map(|number| of_pgo(&format!("p{number}"), false, false))
        .collect();
    let status = look(&status, many.clone());
    assert_eq!(status.told_policies.len(), 32);
    let status = look(&status, many);
    assert_eq!(status.told_policies.len(), 40);
    assert_eq!(types_of_policies(&status).len(), 80);
}

/// All that is told of policies themselves.
pub fn told_of_pgo() -> BTreeSet<EventType> {
    let mut wrong = of_pgo("wrong", false, false);
    wrong.wrong = Some("no name".to_owned());
    let both = vec![
        of_pgo("gold", false, false),
        wrong,
        of_pgo("silver", true, true),
    ];
    let status = look(&InstallationStatus::default(), both);
    let told = status.journal.outbox.entries.iter();
    told.map(Event::event_type).collect()
}

/// All that is told of policies that are applied.
pub fn told() -> BTreeSet<EventType> {
    let mut world = served();
    let id = ask(&mut world, ID, "gold");
    asked(&mut world);
    answer(&mut world, id, Ok(0));
    let id = ask(&mut world, OTHER, "silver");
    asked(&mut world);
    world.now += SignedDuration::from_secs(1);
    answer(&mut world, id, Err("no"));
    world.told().iter().map(Event::event_type).collect()
}
