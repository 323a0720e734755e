//! Another instance takes over: because the primary asks for it, or because it is gone. Nobody but the agents does it.

use std::time::{Duration, Instant};

use pgo_agent::ha::lease::{Cause, TAKEOVER, Takeover};
use pgo_proto::agent::{Phase, Role};
use tonic::Code;

use crate::{
    replica::{has, pair, write},
    rig::{PROGRAMS, eventually},
    unprivileged::unprivileged,
};

#[test]
fn a_primary_that_ends_in_order_loses_nothing_and_is_followed_at_once() {
    let name = "failover::a_primary_that_ends_in_order_loses_nothing_and_is_followed_at_once";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        drop(client);
        let begin = Instant::now();
        primary.stop().await;
        let state = replica.until_primary().await;
        println!("took over within {:?}", begin.elapsed());
        assert_eq!((state.timeline, state.term), (2, 2));
        eventually("the Service leads there", async || {
            replica.store.addresses() == ["127.0.0.1"]
        })
        .await;
        let client = replica.connect().await.expect("the application gets in");
        write(&client, 2).await;
        has(&replica, &[1, 2]).await;

        primary.start().await;
        let (state, phases) = primary.until_streaming_from("hippo-abcd").await;
        assert!(!phases.contains(&Phase::Cloning), "{phases:?}");
        assert_eq!(state.role(), Role::Replica);
        has(&primary, &[1, 2]).await;
        primary.stop().await;
        replica.stop().await;
    });
}

#[test]
fn a_primary_that_is_gone_is_replaced_and_follows_when_it_is_back() {
    let name = "failover::a_primary_that_is_gone_is_replaced_and_follows_when_it_is_back";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        let mut third = primary.beside("hippo-efgh");
        third.start().await;
        third.until_streaming_from("hippo").await;
        primary.until_voters(2).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        has(&replica, &[1]).await;
        has(&third, &[1]).await;
        // What only the former primary has is lost, so it has diverged.
        drop(client);
        let begin = Instant::now();
        primary.crash().await;
        let (leader, other) = tokio::select! {
            _ = replica.until_primary() => ("hippo-abcd", false),
            _ = third.until_primary() => ("hippo-efgh", true),
        };
        println!("took over within {:?}", begin.elapsed());
        let (new, follower) = if other {
            (&third, &replica)
        } else {
            (&replica, &third)
        };
        follower.until_streaming_from(leader).await;
        let client = new.connect().await.expect("the application gets in");
        write(&client, 3).await;
        has(follower, &[1, 3]).await;

        primary.start().await;
        let (state, _) = primary.until_streaming_from(leader).await;
        assert_eq!(state.role(), Role::Replica);
        has(&primary, &[1, 3]).await;
        new.until_voters(2).await;
        primary.stop().await;
        for rig in [&mut third, &mut replica] {
            rig.stop().await;
        }
    });
}

#[test]
fn a_crash_of_the_server_alone_or_an_absent_kubernetes_changes_no_primary() {
    let name = "failover::a_crash_of_the_server_alone_or_an_absent_kubernetes_changes_no_primary";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        primary.store.set_away(true);
        let begin = Instant::now();
        // Longer than any authority lasts without the grants of the replica.
        while begin.elapsed() < Duration::from_secs(6) {
            write(&client, 2).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        primary.store.set_away(false);
        drop(client);

        let begin = Instant::now();
        primary.kill_postmaster();
        primary
            .until("back", |state| {
                state.restarts == 1 && state.phase() == Phase::Running
            })
            .await;
        println!("served again within {:?}", begin.elapsed());
        let state = primary.until_primary().await;
        assert_eq!((state.term, state.timeline), (1, 1));
        replica.until_streaming_from("hippo").await;
        replica.stop().await;
        primary.stop().await;
    });
}

#[test]
fn without_autofail_nobody_takes_over_until_it_is_told_to() {
    let name = "failover::without_autofail_nobody_takes_over_until_it_is_told_to";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let refused = replica.failover("apiserver.pgo").await;
        assert_eq!(
            refused.expect_err("not its task").code(),
            Code::PermissionDenied
        );
        primary.store.set_autofail(false);
        primary.crash().await;
        // Four times as long as an authority lasts.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(replica.until_running().await.role(), Role::Replica);
        replica.failover("reconciler.pgo").await.expect("accepted");
        assert_eq!(replica.until_primary().await.term, 2);
        replica.stop().await;
    });
}

#[test]
fn a_switchover_goes_to_who_is_named_and_is_written_down() {
    let name = "failover::a_switchover_goes_to_who_is_named_and_is_written_down";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        let mut third = primary.beside("hippo-efgh");
        third.start().await;
        third.until_streaming_from("hippo").await;
        primary.until_voters(2).await;
        let refused = primary.switchover("reconciler.pgo", "hippo-none").await;
        let refused = refused.expect_err("nobody");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("hippo-none"), "{refused}");
        let refused = replica.switchover("reconciler.pgo", "").await;
        assert_eq!(
            refused.expect_err("no primary").code(),
            Code::FailedPrecondition
        );

        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        let begin = Instant::now();
        primary
            .switchover("reconciler.pgo", "hippo-efgh")
            .await
            .expect("accepted");
        third.until_primary().await;
        println!("switched over within {:?}", begin.elapsed());
        primary.until_streaming_from("hippo-efgh").await;
        replica.until_streaming_from("hippo-efgh").await;
        has(&primary, &[1]).await;
        let lease = third.store.lease_now();
        let annotations = lease.metadata.annotations.expect("some");
        let takeover: Takeover =
            serde_json::from_str(&annotations[TAKEOVER]).expect("a change of the primary");
        assert_eq!((takeover.term, takeover.cause), (2, Cause::Released));
        assert_eq!(
            (takeover.from.as_str(), takeover.to.as_str()),
            ("hippo", "hippo-efgh")
        );
        for rig in [&mut primary, &mut replica, &mut third] {
            rig.stop().await;
        }
    });
}
