//! An API server that answers nobody while the primary serves.

use std::time::Duration;

use pgo_ha::{Effect, Input};

use crate::{
    agents::{running, serving},
    cluster::{Cluster, TICK},
};

#[test]
fn a_frozen_api_server_changes_nothing() {
    let mut cluster = running(3);
    cluster.api = false;
    cluster.pass(Duration::from_secs(30));
    cluster.api = true;
    cluster.pass(Duration::from_secs(5));
    assert_eq!(serving(&cluster), [0]);
    let stopped = cluster
        .log
        .iter()
        .any(|(_, effect)| *effect == Effect::KillServers);
    assert!(!stopped && cluster.writes == 0);
}

/// The API server stalls, and a voter that does not hear the primary for a while meanwhile grants again afterwards.
fn costs_no_grant(mut cluster: Cluster) {
    cluster.api = false;
    cluster.cut.insert(1);
    cluster.pass(Duration::from_secs(20));
    cluster.log.clear();
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(serving(&cluster), [0]);
    let agent = cluster.agents[1].as_ref().expect("there");
    assert_eq!(agent.promise.term, cluster.record.term);
    let grants = |(node, effect): &(usize, Effect)| {
        *node == 1 && matches!(effect, Effect::AnswerGrant { answer: Ok(()), .. })
    };
    assert!(cluster.log.iter().any(grants), "{:#?}", cluster.log);
}

/// A voter hears nobody for so long that it reads the Lease.
fn silence(cluster: &mut Cluster, lasts: Duration) {
    cluster.cut.insert(1);
    cluster.pass(lasts);
    let reads = |(node, effect): &(usize, Effect)| *node == 1 && *effect == Effect::ReadLease;
    assert!(cluster.log.iter().any(reads), "it has read the Lease");
}

/// It hears the primary again.
fn hears(cluster: &mut Cluster) {
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(3));
}

#[test]
fn a_blip_while_the_api_server_is_frozen_costs_no_grant() {
    costs_no_grant(running(3));
}

#[test]
fn what_was_read_before_the_last_grant_ran_out_ends_no_wait() {
    let mut cluster = running(3);
    // The API server stalls in the same silence.
    silence(&mut cluster, TICK * 8);
    costs_no_grant(cluster);
}

#[test]
fn what_was_read_in_a_silence_that_ended_means_nothing_in_the_next_one() {
    let mut cluster = running(3);
    silence(&mut cluster, TICK * 8);
    hears(&mut cluster);
    costs_no_grant(cluster);
}

#[test]
fn what_was_read_at_the_end_of_a_wait_means_nothing_after_the_next_grant() {
    let mut cluster = running(3);
    // Its grant has run out, but it was not to take over.
    cluster.tell(1, Input::Autofail(false));
    silence(&mut cluster, Duration::from_secs(4));
    hears(&mut cluster);
    cluster.tell(1, Input::Autofail(true));
    costs_no_grant(cluster);
}
