//! A failover as it is told, from the silence of the primary until its instance follows again. The events are kept in a file, by
//! which the client's tests see that they read as a story; `UPDATE=1 cargo test -p pgo-core --test it story` writes it anew.

use std::{env, fs, path::Path};

use jiff::SignedDuration;
use pgo_core::{AgentPhase, FailoverRequest, Lost, TakeoverCause};
use serde_json::Value;

use crate::{
    replicas::{names, settle, with_replicas},
    world::World,
};

/// The events, as they are on the wire.
const FILE: &str = "tests/it/story.json";

/// The primary is killed with its pod, a replica takes over, and the former one comes back with a commit more.
fn failover(world: &mut World) {
    let to = names(world)[0].clone();
    let former = world.primary.clone();
    let heard = world.now;
    world.pod_is_gone(&former);
    world.reconcile();
    world.wait(4);
    world.is_elected(&to, TakeoverCause::Lost);
    let takeover = world.observed.takeovers.last_mut().expect("written");
    takeover.heard = Some(heard - SignedDuration::from_millis(300));
    world.reconcile();
    world.wait(1);
    world.serves();
    world.observed.agents.remove(&former);
    let leads = world.observed.agents.get_mut(&to).expect("heard");
    leads
        .followers
        .iter_mut()
        .for_each(|one| one.streaming = false);
    world.reconcile();
    // Nobody is missed for a moment.
    for _ in 0..12 {
        world.wait(1);
        world.reconcile();
    }
    world.say_of(&former, AgentPhase::Rewinding, None);
    let agent = world.observed.agents.get_mut(&former).expect("heard");
    let lost = Lost {
        term: agent.term,
        timeline: 1,
        fork: 0x300_0148,
        end: 0x300_01F8,
        commits: Some(1),
        synchronous: false,
        unknown: false,
    };
    agent.lost.push(lost);
    world.reconcile();
    world.wait(2);
    for _ in 0..14 {
        world.progress();
        world.reconcile();
        world.wait(1);
    }
}

/// Somebody asks for the former primary again.
fn switchover(world: &mut World) {
    world.cluster.failover.push(FailoverRequest {
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: "alice".to_owned(),
        target: Some("hippo".to_owned()),
        planned: false,
    });
    world.reconcile();
    world.is_elected(&World::instance(), TakeoverCause::Released);
    world.reconcile();
    world.wait(1);
    world.serves();
    settle(world);
}

#[test]
fn what_is_told_of_a_failover_is_what_the_client_is_tried_with() {
    let mut world = with_replicas(1);
    let before = world.told().len();
    failover(&mut world);
    switchover(&mut world);
    world.check_stream();
    let told = world.told().split_off(before);
    let told: Vec<Value> = told
        .iter()
        .map(|event| serde_json::from_slice(&event.to_wire().expect("JSON")).expect("JSON"))
        .collect();
    let text = serde_json::to_string_pretty(&told).expect("JSON") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if env::var_os("UPDATE").is_some() {
        fs::write(&file, text).expect("it can be written");
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "{FILE} has other events than the core makes; run UPDATE=1 cargo test -p pgo-core --test it story: {text}"
    );
}
