//! What a cluster does when something is cut, stalls or ends.

use std::{collections::BTreeSet, time::Duration};

use pgo_ha::{
    Agent, Effect, Input, Lsn, Moment, Position, Promise, Protocol, Record, Server, Synchronous,
    Timeline, Version, members::Wanted,
};
use pgo_ids::Term;

use crate::cluster::{Cluster, TICK, id};

/// Who serves.
pub fn serving(cluster: &Cluster) -> Vec<usize> {
    cluster.serving().collect()
}

/// One that runs, and of which nothing is logged yet.
pub fn running(instances: usize) -> Cluster {
    let mut cluster = Cluster::of(instances);
    cluster.pass(Duration::from_secs(5));
    assert_eq!(serving(&cluster), [0]);
    cluster.log.clear();
    cluster.writes = 0;
    cluster
}

#[test]
fn the_lease_is_not_written_while_grants_come() {
    let mut cluster = running(3);
    cluster.pass(Duration::from_secs(60));
    assert_eq!(cluster.writes, 0);
    let reads = cluster
        .log
        .iter()
        .filter(|(_, effect)| *effect == Effect::ReadLease);
    assert_eq!(reads.count(), 0);
}

/// A grant is asked for every tick, so the newest one may be a tick old, and the next one a tick away; D before the end the
/// servers are killed. `docs/high-availability.md` names what is left of T.
#[test]
fn a_network_that_is_gone_for_less_than_t_without_d_and_two_ticks_demotes_nobody() {
    let survives = |ticks: u32| {
        let mut cluster = running(3);
        cluster.api = false;
        cluster.cut = BTreeSet::from([0, 1, 2]);
        cluster.pass(TICK * ticks);
        cluster.api = true;
        cluster.cut.clear();
        cluster.pass(Duration::from_secs(5));
        let killed = |(_, effect): &(usize, Effect)| *effect == Effect::KillServers;
        !cluster.log.iter().any(killed)
    };
    // 1.2 s and two times up to a tick; 2 s.
    assert!(survives(6));
    assert!(!survives(10));
}

#[test]
fn a_primary_that_only_its_replicas_miss_stays_by_the_lease() {
    let mut cluster = running(3);
    cluster.cut.insert(0);
    cluster.pass(Duration::from_secs(30));
    assert_eq!(serving(&cluster), [0]);
    assert!(cluster.writes > 10);
}

#[test]
fn who_serves_takes_up_a_lease_that_was_made_anew() {
    let mut cluster = running(3);
    let record = cluster.record.clone();
    cluster.lose_lease(Term(7));
    // It has no reason of its own to read the Lease.
    cluster.tell(0, Input::Outdated);
    cluster.pass(Duration::from_secs(30));
    assert_eq!(serving(&cluster), [0]);
    assert_eq!(cluster.anew, None);
    assert_eq!(cluster.record, record.raised(Term(7)));
    let killed = cluster
        .log
        .iter()
        .any(|(_, effect)| *effect == Effect::KillServers);
    assert!(!killed, "its WAL goes on");
    cluster.agents[0] = None;
    cluster.pass(Duration::from_secs(5));
    assert_eq!((serving(&cluster).len(), cluster.record.term), (1, Term(8)));
}

#[test]
fn nobody_takes_a_lease_that_was_made_anew_without_having_served() {
    let mut cluster = running(3);
    // Whoever is elected writes to the former Lease.
    cluster.agents[0] = None;
    cluster.lose_lease(Term(7));
    cluster.pass(Duration::from_secs(30));
    assert_eq!(serving(&cluster), []);
    assert_eq!((cluster.anew, cluster.writes), (Some(Term(7)), 0));
}

#[test]
fn a_candidate_whose_lease_was_lost_begins_no_swap_again() {
    let mut cluster = running(3);
    cluster.agents[0] = None;
    while !cluster
        .log
        .iter()
        .any(|(_, effect)| matches!(effect, Effect::AskVote { .. }))
    {
        cluster.cut = BTreeSet::from([1, 2]);
        cluster.pass(Duration::from_millis(200));
    }
    cluster.lose_lease(Term(7));
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(10));
    assert_eq!((serving(&cluster), cluster.writes), (vec![], 0));
    let swaps = cluster
        .log
        .iter()
        .filter(|(_, effect)| matches!(effect, Effect::WriteLease { .. }));
    assert!(swaps.count() <= 2, "one of each at most");
}

#[test]
fn a_swap_that_fails_at_once_is_tried_again_with_the_next_tick() {
    let mut cluster = running(3);
    cluster.agents[0] = None;
    let asks = |(_, effect): &(usize, Effect)| matches!(effect, Effect::AskVote { .. });
    cluster.cut = BTreeSet::from([1, 2]);
    while !cluster.log.iter().any(asks) {
        cluster.pass(TICK);
    }
    cluster.api = false;
    cluster.cut.clear();
    cluster.log.clear();
    cluster.pass(TICK * 3);
    let swaps = |(_, effect): &&(usize, Effect)| matches!(effect, Effect::WriteLease { .. });
    let swaps = cluster.log.iter().filter(swaps).count();
    // Of two candidates, with each tick and with each vote.
    assert!((1..=10).contains(&swaps), "{swaps}");
    cluster.api = true;
    cluster.pass(TICK * 2);
    assert_eq!(serving(&cluster).len(), 1);
}

#[test]
fn who_released_takes_up_a_lease_that_was_made_anew_only_if_it_had_read_it() {
    let mut cluster = running(3);
    cluster.cut.insert(2);
    cluster.lose_lease(Term(7));
    cluster.tell(0, Input::Switchover(Some(id(2))));
    cluster.pass(Duration::from_secs(10));
    assert_eq!((serving(&cluster), cluster.writes), (vec![], 0));
}

#[test]
fn a_dead_primary_is_followed_within_two_waits_and_comes_back_as_a_replica() {
    let mut cluster = running(3);
    cluster.agents[0] = None;
    cluster.pass(Duration::from_secs(5));
    let [follower] = serving(&cluster)[..] else {
        panic!("one serves: {:#?}", cluster.log);
    };
    assert_eq!(
        (cluster.record.holder, cluster.record.term),
        (id(follower), Term(2))
    );
    assert!(
        cluster.record.voters.contains(&id(0)) && !cluster.record.voters.contains(&id(follower))
    );
}

#[test]
fn a_switchover_waits_for_nothing_not_even_a_tick() {
    let mut cluster = running(3);
    cluster.tell(0, Input::Switchover(Some(id(2))));
    assert_eq!(serving(&cluster), [2]);
    let killed = cluster
        .log
        .iter()
        .any(|(_, effect)| *effect == Effect::KillServers);
    assert!(!killed, "it is shut down in order");
}

#[test]
fn a_switchover_to_who_does_not_hear_it_ends_where_it_began() {
    let mut cluster = running(3);
    cluster.cut.insert(2);
    cluster.tell(0, Input::Switchover(Some(id(2))));
    cluster.pass(Duration::from_secs(4));
    assert_eq!(serving(&cluster), [0]);
}

#[test]
fn without_autofail_nobody_follows_until_told() {
    let mut cluster = running(3);
    for node in 1..3 {
        cluster.tell(node, Input::Autofail(false));
    }
    cluster.agents[0] = None;
    cluster.pass(Duration::from_secs(10));
    assert_eq!(serving(&cluster), []);
    cluster.tell(1, Input::Failover);
    cluster.pass(Duration::from_secs(5));
    assert_eq!(serving(&cluster), [1]);
}

#[test]
fn an_order_to_take_over_ends_where_a_primary_is_heard() {
    let mut cluster = running(3);
    for node in 1..3 {
        cluster.tell(node, Input::Autofail(false));
    }
    cluster.tell(1, Input::Failover);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(serving(&cluster), [0]);
    cluster.agents[0] = None;
    cluster.pass(Duration::from_secs(10));
    assert_eq!(serving(&cluster), []);
}

#[test]
fn an_order_to_take_over_that_was_given_up_long_ago_is_not_followed() {
    let mut cluster = running(3);
    for node in 1..3 {
        cluster.tell(node, Input::Autofail(false));
    }
    cluster.agents[0] = None;
    cluster.api = false;
    cluster.pass(Duration::from_secs(3));
    cluster.tell(1, Input::Failover);
    cluster.pass(Duration::from_secs(11));
    cluster.api = true;
    cluster.pass(Duration::from_secs(10));
    assert_eq!(serving(&cluster), []);
    cluster.tell(1, Input::Failover);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(serving(&cluster), [1]);
}

#[test]
fn a_primary_that_ends_right_after_it_wrote_the_lease_is_followed_as_fast_as_any() {
    let mut cluster = running(3);
    // It knows better where its timeline began.
    let began = Position {
        timeline: Timeline(1),
        lsn: Lsn(0x80),
    };
    cluster.tell(0, Input::Promoted(began));
    assert_eq!(cluster.writes, 1);
    cluster.pass(Duration::from_millis(200));
    cluster.agents[0] = None;
    // The grants run out after 2.02 s, for 0.3 s more the Lease is left to it, and the next tick sees that.
    cluster.pass(Duration::from_millis(2400));
    assert_eq!(serving(&cluster).len(), 1, "{:#?}", cluster.log);
}

#[test]
fn a_cluster_without_voters_has_no_follower_and_needs_no_grant() {
    let mut cluster = running(1);
    cluster.api = false;
    cluster.pass(Duration::from_secs(30));
    assert_eq!(serving(&cluster), [0]);
}

#[test]
fn a_member_that_grants_joins_and_one_that_is_gone_leaves() {
    let mut cluster = running(3);
    let wanted = |voters: &[usize]| Wanted {
        voters: voters.iter().map(|node| id(*node)).collect(),
        ..Wanted::default()
    };
    cluster.tell(0, Input::Members(wanted(&[1])));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.voters, wanted(&[1]).voters);
    cluster.tell(0, Input::Members(wanted(&[1, 2])));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.voters, wanted(&[1, 2]).voters);
    assert_eq!(serving(&cluster), [0]);
}

#[test]
fn what_stands_beside_the_record_is_written_anew_by_a_holder_alone_and_once() {
    let mut cluster = running(3);
    let record = cluster.record.clone();
    let writes = cluster.writes;
    cluster.tell(0, Input::Outdated);
    cluster.pass(Duration::from_secs(1));
    assert_eq!((cluster.writes, &cluster.record), (writes + 1, &record));
    cluster.tell(1, Input::Outdated);
    cluster.pass(Duration::from_secs(5));
    assert_eq!(cluster.writes, writes + 1);
    assert_eq!(serving(&cluster), [0]);
}

#[test]
fn a_database_that_cannot_run_is_handed_over() {
    let mut cluster = running(3);
    cluster.tell(0, Input::Fit(false));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(serving(&cluster).len(), 1, "{:#?}", cluster.log);
    assert_ne!(serving(&cluster), [0]);
}

#[test]
fn a_change_of_members_that_was_made_without_an_answer_does_not_stop_the_next_ones() {
    let mut cluster = running(3);
    let wanted = |voters: &[usize]| Wanted {
        voters: voters.iter().map(|node| id(*node)).collect(),
        ..Wanted::default()
    };
    cluster.answers = false;
    cluster.tell(0, Input::Members(wanted(&[1])));
    cluster.pass(Duration::from_secs(1));
    cluster.answers = true;
    assert_eq!(cluster.record.voters, wanted(&[1]).voters);
    cluster.pass(Duration::from_secs(1));
    cluster.tell(0, Input::Members(wanted(&[1, 2])));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.voters, wanted(&[1, 2]).voters);
    cluster.tell(0, Input::Switchover(Some(id(2))));
    assert_eq!(serving(&cluster), [2]);
}

#[test]
fn who_asks_for_votes_in_a_term_that_is_taken_stops_nobody_from_following() {
    let protocol = Protocol::PRODUCTION;
    let at = |second| Moment::since_boot(Duration::from_secs(second));
    let mut agent = Agent::started(&protocol, id(1), Promise::default(), at(1000));
    let mut record = Record::first(id(0));
    record.voters = [1, 2].map(id).into();
    let record = record.promoted(&protocol.rules, id(2), Position::default());
    let term = record.term;
    let read = Input::LeaseRead {
        version: Version::from("2"),
        record,
    };
    let follows = Some((id(2), term));
    agent.step(&protocol, read, at(1003));
    assert_eq!(agent.following, follows);
    // Another candidate, which has lost and does not know it yet.
    let asked = Input::VoteAsked {
        from: id(0),
        term,
        version: Version::from("1"),
        release: None,
    };
    let effects = agent.step(&protocol, asked, at(1003));
    assert!(!effects.contains(&Effect::StopReceiver), "{effects:?}");
    assert_eq!(agent.following, follows);
}

#[test]
fn who_starts_in_the_middle_of_an_election_asks_how_far_it_has_flushed_and_votes() {
    let protocol = Protocol::PRODUCTION;
    let at = |second| Moment::since_boot(Duration::from_secs(second));
    let mut record = Record::first(id(0));
    record.voters = [1, 2].map(id).into();
    let term = record.next_term();
    let promise = Promise::default().in_term(term);
    let mut agent = Agent::started(&protocol, id(1), promise, at(1000));
    agent.autofail = false;
    let version = Version::from("1");
    let read = Input::LeaseRead {
        version: version.clone(),
        record,
    };
    agent.step(&protocol, read, at(1000));
    assert_eq!(agent.following, None, "it has promised a higher term");
    let asked = || Input::VoteAsked {
        from: id(2),
        term,
        version: version.clone(),
        release: None,
    };
    let effects = agent.step(&protocol, asked(), at(1003));
    assert!(effects.contains(&Effect::StopReceiver), "{effects:?}");
    let effects = agent.step(&protocol, asked(), at(1003));
    assert!(!effects.contains(&Effect::StopReceiver), "{effects:?}");
    let stopped = Input::ReceiverStopped(Position::default());
    let effects = agent.step(&protocol, stopped, at(1003));
    let voted = |effect: &Effect| matches!(effect, Effect::AnswerVote { answer: Ok(_), .. });
    assert!(effects.iter().any(voted), "{effects:?}");
}

#[test]
fn the_primary_raises_its_term_for_who_has_promised_a_higher_one_and_does_not_vote() {
    let mut cluster = running(3);
    let both = cluster.record.voters.clone();
    let recorded = cluster.record.term;
    let wanted = Wanted {
        voters: [id(1)].into(),
        ..Wanted::default()
    };
    cluster.tell(0, Input::Members(wanted));
    cluster.pass(Duration::from_secs(1));
    assert_ne!(cluster.record.voters, both);
    // What it asked for while it heard nobody.
    let promised = cluster.record.next_term();
    cluster.tell(0, Input::Promised(recorded));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.term, recorded, "there is no need to");
    cluster.tell(0, Input::Promised(promised));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.term, promised);
    assert_eq!(serving(&cluster), [0]);
}

#[test]
fn a_holder_whose_servers_do_not_end_is_looked_after_until_it_gives_way() {
    let mut cluster = running(3);
    cluster.servers_end = false;
    for node in 0..3 {
        cluster.tell(node, Input::Autofail(false));
    }
    cluster.api = false;
    cluster.cut.insert(0);
    cluster.pass(Duration::from_secs(5));
    cluster.cut.clear();
    cluster.api = true;
    cluster.pass(Duration::from_secs(1));
    cluster.log.clear();
    cluster.pass(Duration::from_secs(30));
    let agent = cluster.agents[0].as_ref().expect("there");
    assert_eq!(agent.server, Server::Ending);
    let reads = |(node, effect): &(usize, Effect)| *node == 0 && *effect == Effect::ReadLease;
    assert!(!cluster.log.iter().any(reads), "it reads nothing by itself");
    assert!(agent.holds());
    // Its driver looks, so it hears that others may, and tells then that the volume hangs.
    for node in 0..3 {
        cluster.tell(node, Input::Autofail(true));
    }
    cluster.tell(0, Input::Fit(false));
    cluster.pass(Duration::from_secs(5));
    assert!(matches!(serving(&cluster)[..], [1 | 2]));
    assert!(!cluster.agents[0].as_ref().expect("there").holds());
}

#[test]
fn who_served_since_it_was_asked_for_a_vote_finds_out_anew_how_far_it_has_flushed() {
    let protocol = Protocol::PRODUCTION;
    let at = |second| Moment::since_boot(Duration::from_secs(second));
    let mut record = Record::first(id(0));
    record.voters = [1, 2].map(id).into();
    let term = record.next_term();
    let mut agent = Agent::started(&protocol, id(0), Promise::default(), at(1000));
    let [first, second] = ["1", "2"].map(Version::from);
    let read = Input::LeaseRead {
        version: first.clone(),
        record,
    };
    // It writes the Lease before it serves.
    let effects = agent.step(&protocol, read, at(1003));
    let writes = |effect: &Effect| matches!(effect, Effect::WriteLease { .. });
    assert!(effects.iter().any(writes), "{effects:?}");
    let asked = |version: &Version, term| Input::VoteAsked {
        from: id(2),
        term,
        version: version.clone(),
        release: None,
    };
    let effects = agent.step(&protocol, asked(&first, term), at(1003));
    assert!(effects.contains(&Effect::StopReceiver), "{effects:?}");
    let written = Input::LeaseWritten {
        version: second.clone(),
    };
    let effects = agent.step(&protocol, written, at(1003));
    let serves = |effect: &Effect| matches!(effect, Effect::Serve { .. });
    assert!(effects.iter().any(serves), "{effects:?}");
    // Its authority runs out. How far WAL reaches is not told with the end of the servers.
    let effects = agent.step(&protocol, Input::Tick, at(1006));
    assert!(effects.contains(&Effect::KillServers), "{effects:?}");
    agent.step(&protocol, Input::ServersStopped(None), at(1006));
    let effects = agent.step(&protocol, asked(&second, Term(term.0 + 1)), at(1006));
    assert!(effects.contains(&Effect::StopReceiver), "{effects:?}");
}

/// Commits wait for any `k` of these.
fn rule(k: usize, voters: &[usize]) -> Wanted {
    let voters: BTreeSet<_> = voters.iter().map(|node| id(*node)).collect();
    Wanted {
        synchronous: Synchronous {
            k,
            set: if k == 0 {
                BTreeSet::new()
            } else {
                voters.clone()
            },
        },
        voters,
        fallback: None,
    }
}

/// The rules that PostgreSQL was told to go by.
fn configured(cluster: &Cluster) -> Vec<Synchronous> {
    let rules = cluster.log.iter().filter_map(|(_, effect)| match effect {
        Effect::Configure(rule) => Some(rule.clone()),
        _ => None,
    });
    rules.collect()
}

#[test]
fn no_rule_is_loosened_while_a_stricter_one_may_be_recorded() {
    let mut cluster = running(4);
    let all = [1, 2, 3];
    cluster.tell(0, Input::Members(rule(1, &all)));
    cluster.pass(Duration::from_secs(1));
    cluster.tell(0, Input::Held);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.synchronous, rule(1, &all).synchronous);
    // Two are recorded, which the primary does not hear, and then one is wanted again.
    cluster.tell(0, Input::Members(rule(2, &all)));
    cluster.pass(Duration::from_secs(1));
    cluster.answers = false;
    cluster.tell(0, Input::Held);
    cluster.tell(0, Input::Tick);
    assert_eq!(cluster.record.synchronous, rule(2, &all).synchronous);
    cluster.log.clear();
    cluster.tell(0, Input::Members(rule(1, &all)));
    cluster.tell(0, Input::Tick);
    assert_eq!(configured(&cluster), []);
    cluster.answers = true;
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.synchronous, rule(1, &all).synchronous);
    assert_eq!(configured(&cluster), [rule(1, &all).synchronous]);
}

#[test]
fn no_rule_is_recorded_while_postgresql_is_told_to_go_by_a_looser_one() {
    let mut cluster = running(3);
    cluster.tell(0, Input::Members(rule(1, &[1, 2])));
    cluster.pass(Duration::from_secs(1));
    cluster.tell(0, Input::Held);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.synchronous.k, 1);
    cluster.configures = false;
    cluster.tell(0, Input::Members(rule(0, &[1, 2])));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.synchronous.k, 0);
    assert_eq!(configured(&cluster).last().map(|rule| rule.k), Some(0));
    cluster.tell(0, Input::Members(rule(1, &[1, 2])));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.synchronous.k, 0);
    cluster.configures = true;
    cluster.tell(0, Input::Configured(Synchronous::default()));
    cluster.pass(Duration::from_secs(1));
    cluster.tell(0, Input::Held);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.record.synchronous.k, 1);
}
