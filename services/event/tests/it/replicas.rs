//! Two replicas, killed, cut off from each other and from the register at moments drawn from a seed: nothing that was
//! confirmed is lost, and what was shown at an offset stays what it was.

mod world;

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use pgo_event::{
    log::Kin,
    replication::{following::mend, leading::Leading},
};
use pgo_ids::Seq;
use proptest::prelude::*;
use tokio::time::timeout;

use world::{Node, STEP, Way, World};

#[derive(Clone, Debug)]
enum Act {
    Publish(usize, u64),
    Keep(usize),
    Delete(usize),
    Follow(usize),
    TakeOver(usize),
    Kill(usize),
    Start(usize),
    Apart(bool),
    Away(bool),
    /// Its volume is lost, while the other one has everything.
    Lose(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0usize..2;
    prop_oneof![
        8 => (node.clone(), 1u64..5).prop_map(|(at, count)| Act::Publish(at, count)),
        3 => node.clone().prop_map(Act::Keep),
        2 => node.clone().prop_map(Act::Delete),
        6 => node.clone().prop_map(Act::Follow),
        4 => node.clone().prop_map(Act::TakeOver),
        2 => node.clone().prop_map(Act::Kill),
        4 => node.clone().prop_map(Act::Start),
        2 => any::<bool>().prop_map(Act::Apart),
        1 => any::<bool>().prop_map(Act::Away),
        1 => node.prop_map(Act::Lose),
    ]
}

async fn run(acts: &[Act]) {
    let mut world = World::new();
    for act in acts {
        match *act {
            Act::Publish(at, count) => world.publish(at, count).await,
            Act::Keep(at) => world.keep(at).await,
            Act::Delete(at) => world.delete(at).await,
            Act::Follow(at) => {
                world.follow(at).await;
            }
            Act::TakeOver(at) => {
                world.take_over(at, false).await;
            }
            Act::Kill(at) => world.nodes[at].kill(),
            Act::Start(at) => world.nodes[at].start(),
            Act::Apart(apart) => world.apart = apart,
            Act::Away(away) => world.register.away.store(away, Ordering::Relaxed),
            Act::Lose(at) => {
                let other = world.nodes[1 - at].name.clone();
                let roster = world.register.roster().unwrap_or_default();
                if roster.in_sync.contains(&other) && !world.nodes[1 - at].lost.get() {
                    let name = world.nodes[at].name.clone();
                    world.nodes[at].kill();
                    world.nodes[at] = Node::new(&name);
                    world.nodes[at].lost.set(true);
                }
            }
        }
        world.look();
    }
    world.heal().await;
    world.look();
    world.check();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn nothing_confirmed_is_lost_whatever_is_killed_and_cut_off(acts in prop::collection::vec(act(), 5..60)) {
        runtime().block_on(run(&acts));
    }
}

#[tokio::test]
async fn a_record_counts_when_both_have_it_or_one_is_noted_to_be_alone() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    world.publish(0, 3).await;
    assert_eq!(world.confirmed, 3, "alone from the beginning");
    while !world.follow(1).await {}
    let both = ["event-0", "event-1"].map(str::to_owned);
    assert_eq!(
        world.register.roster().unwrap().in_sync,
        BTreeSet::from(both)
    );
    world.publish(0, 2).await;
    assert_eq!(world.confirmed, 5);
    assert_eq!(
        world.nodes[1].log.as_ref().unwrap().end(),
        6,
        "the other one has it on disk"
    );

    // Without the other one, and without a way to note that, nothing counts.
    world.apart = true;
    world.register.away.store(true, Ordering::Relaxed);
    let leading = world.nodes[0].leading.clone();
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 5);
    assert_eq!(*world.nodes[0].log.as_ref().unwrap().head().borrow(), 6);
    world.register.away.store(false, Ordering::Relaxed);
    world.nodes[0].lead(leading);
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 7, "it is noted that it is alone");
    assert!(
        !world.take_over(1, false).await,
        "the one that is behind does not take over"
    );
}

#[tokio::test]
async fn a_replica_whose_volume_was_lost_does_not_lead_before_it_has_everything_again() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 3).await;
    world.nodes[1] = Node::new("event-1");
    assert!(!world.take_over(1, false).await, "its log is another");
    assert!(!world.follow(1).await, "it begins anew");
    assert!(!world.take_over(1, false).await, "its log is empty");
    while !world.follow(1).await {}
    assert!(world.take_over(1, false).await);
}

#[tokio::test]
async fn a_replica_that_begins_anew_knows_the_streams_whose_events_are_gone() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    world.publish(0, 3).await;
    let log = world.nodes[0].log.clone().unwrap();
    for days in [1, 3] {
        let later = Timestamp::now() + Duration::from_secs(days * 86_400);
        log.tidy(later).unwrap();
    }
    assert_eq!((log.oldest(), log.end()), (4, 4), "all is gone");
    while !world.follow(1).await {}
    assert!(world.take_over(1, false).await);
    world.publish(1, 1).await;
    let log = world.nodes[1].log.as_ref().unwrap();
    let told = log.read_all(4, 1).unwrap().remove(0);
    assert_eq!((told.key.seq, told.cut()), (Seq(4), 0));
}

#[tokio::test]
async fn where_nobody_has_led_yet_nothing_makes_an_empty_replica_begin_that_is_not_the_first() {
    let mut world = World::new();
    assert!(!world.take_over(1, false).await);
    assert!(!world.take_over(1, true).await, "even after a long time");
    assert_eq!(world.register.roster(), None);
    assert!(world.take_over(0, false).await);
}

#[tokio::test]
async fn a_leader_that_is_to_end_waits_for_the_one_that_copies() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    world.apart = true;
    world.publish(0, 3).await;
    world.apart = false;
    let leading = world.nodes[0].leading.clone().unwrap();
    let handed_over = || timeout(Duration::from_millis(50), leading.hand_over(10 * STEP));
    assert!(handed_over().await.is_ok(), "nobody follows");
    // It begins anew, and then gets what is there.
    assert!(!world.follow(1).await && !world.follow(1).await);
    assert!(
        handed_over().await.is_err(),
        "it has not said that it has everything"
    );
    while !world.follow(1).await {}
    assert!(handed_over().await.is_ok());
    assert!(world.take_over(1, false).await);
}

#[tokio::test]
async fn who_was_frozen_while_another_took_over_confirms_nothing() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 2).await;
    assert!(world.take_over(1, false).await);
    world.publish(1, 1).await;
    assert_eq!(world.confirmed, 3);
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 3, "not by the former one");
    world.heal().await;
    world.look();
    world.check();
}

#[tokio::test]
async fn going_on_without_the_one_that_had_more_begins_an_epoch_and_its_tail_is_kept_aside() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 3).await;
    world.apart = true;
    world.publish(0, 2).await;
    assert_eq!(world.confirmed, 5);
    let cursor = world.nodes[0].log.as_ref().unwrap().cursor(5);
    world.nodes[0].kill();
    assert!(!world.take_over(1, false).await);
    assert!(world.take_over(1, true).await);
    let log = world.nodes[1].log.clone().unwrap();
    assert_eq!(log.kin(&cursor), Kin::Ancestor(4), "readers are told");

    // The one that was gone comes back and takes the new log over.
    world.apart = false;
    world.nodes[0].start();
    while !world.follow(0).await {}
    let old = world.nodes[0].log.clone().unwrap();
    assert_eq!((old.end(), old.lineage()), (log.end(), log.lineage()));
    let aside = std::fs::read_dir(world.nodes[0].folder.path().join("aside")).unwrap();
    assert!(aside.count() > 0);
}

#[tokio::test]
async fn damaged_records_come_back_from_the_other_replica() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 4).await;
    world.publish(0, 4).await;
    world.follow(1).await;
    world.nodes[0].kill();
    damage(&world.nodes[0], "event 3");
    world.nodes[0].start();
    let log = world.nodes[0].log.clone().unwrap();
    log.look_for_damage().unwrap();
    assert_eq!(log.damaged(), 1);
    let other = &world.nodes[1];
    let way = Way(None, other.log.clone().unwrap(), other.shelf.clone());
    assert_eq!(mend(&log, &way).await.unwrap(), 1);
    assert_eq!(log.damaged(), 0);
    world.heal().await;
    world.check();
}

/// Changes a byte of an event's text, wherever it stands in the files of a replica.
fn damage(node: &Node, event: &str) {
    let mut found = false;
    for file in std::fs::read_dir(node.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path);
        let Ok(mut bytes) = bytes else { continue };
        if let Some(at) = bytes
            .windows(event.len())
            .position(|part| part == event.as_bytes())
        {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            found = true;
        }
    }
    assert!(found, "{event} is on disk");
}

#[tokio::test]
async fn what_one_copy_lost_at_its_end_in_a_power_cut_comes_from_the_other_whoever_leads() {
    for (damaged, leads) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new();
        assert!(world.take_over(0, false).await);
        while !world.follow(1).await {}
        world.publish(0, 3).await;
        world.publish(0, 1).await;
        world.follow(1).await;
        assert_eq!(world.confirmed, 4);
        world.look();
        for node in &mut world.nodes {
            node.kill();
            // It is made durable every few seconds only.
            let confirmed = node.folder.path().join("confirmed");
            std::fs::remove_file(confirmed).unwrap();
        }
        damage(&world.nodes[damaged], "event 4");
        for node in &mut world.nodes {
            node.start();
        }
        assert_eq!(
            world.nodes[damaged].log.as_ref().unwrap().end(),
            4,
            "it looks torn"
        );

        assert!(world.take_over(leads, false).await);
        let log = world.nodes[leads].log.clone().unwrap();
        assert_eq!(
            (log.end(), *log.head().borrow()),
            (5, 5),
            "{damaged} was damaged, {leads} leads"
        );
        assert_eq!(log.lineage().parts().len(), 1, "nobody is told");
        while !world.follow(1 - leads).await {}
        world.publish(leads, 1).await;
        world.follow(1 - leads).await;
        world.look();
        world.check();
    }
}

#[tokio::test]
async fn a_replica_that_lost_its_end_goes_on_without_the_other_where_that_stays_away() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.publish(0, 2).await;
    world.nodes[0].kill();
    world.nodes[1].kill();
    world.nodes[0].start();
    assert!(world.take_over(0, false).await);
    let roster = world.register.roster().unwrap();
    assert_eq!(
        roster.in_sync,
        BTreeSet::from(["event-0".to_owned()]),
        "that it is alone is noted"
    );
    world.publish(0, 1).await;
    assert_eq!(world.confirmed, 3);
}

#[tokio::test]
async fn a_replica_whose_end_is_torn_begins_an_epoch_where_the_other_stays_away() {
    // The other one is known to have everything, or was left out before.
    for left_out in [false, true] {
        let mut world = World::new();
        assert!(world.take_over(0, false).await);
        while !world.follow(1).await {}
        world.publish(0, 3).await;
        world.apart = left_out;
        world.publish(0, 1).await;
        assert_eq!(world.confirmed, 4);
        let cursor = world.nodes[0].log.as_ref().unwrap().cursor(4);
        for node in &mut world.nodes {
            node.kill();
        }
        std::fs::remove_file(world.nodes[0].folder.path().join("confirmed")).unwrap();
        damage(&world.nodes[0], "event 4");
        world.nodes[0].start();
        assert!(world.take_over(0, false).await);
        let log = world.nodes[0].log.clone().unwrap();
        assert_eq!(log.kin(&cursor), Kin::Ancestor(4), "readers are told");

        // The other one comes back, and is the same log as this one.
        world.apart = false;
        world.nodes[1].start();
        while !world.follow(1).await {}
        let other = world.nodes[1].log.clone().unwrap();
        assert_eq!((other.end(), other.lineage()), (log.end(), log.lineage()));
    }
}

#[tokio::test]
async fn a_dead_letter_that_changes_before_a_replica_leads_leaves_nobody_out() {
    let mut world = World::new();
    assert!(world.take_over(0, false).await);
    while !world.follow(1).await {}
    world.nodes[0].kill();
    world.nodes[0].start();
    let log = world.nodes[0].log.clone().unwrap();
    let me = ("event-0".to_owned(), "nowhere:1".to_owned());
    let leading = Leading::take_over(log, world.register.clone(), me, false, STEP).await;
    let leading = leading.unwrap();
    // Somebody who asks while the other one is waited for.
    let changing = timeout(4 * STEP, leading.letters_changed()).await;
    assert!(changing.is_err(), "it waits");
    let both = ["event-0", "event-1"].map(str::to_owned);
    assert_eq!(world.register.roster().unwrap().in_sync, both.into());
}
