//! Another instance takes over: because the primary asks for it, or because it is gone. Nobody but the agents does it.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::stat::Mode;
use pgo_agent::ha::lease::{Cause, INSTANCES};
use pgo_ha::Timing;
use pgo_proto::agent::{Phase, Role};
use tonic::Code;

use crate::{
    handover::{takeover, takeovers},
    replica::{has, hold_back, pair, three, write},
    rig::{PROGRAMS, Rig, eventually},
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
        let pending = replica.reload("reconciler.pgo").await.expect("read");
        assert_eq!(pending, [""; 0], "nothing of a standby waits for a restart");

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
        let (mut primary, mut replica, mut third) = three(0).await;
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
fn instances_that_have_moved_find_each_other_without_the_primary() {
    let name = "failover::instances_that_have_moved_find_each_other_without_the_primary";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica, mut third) = three(0).await;
        third.stop().await;
        third.move_away();
        third.start().await;
        third.until_streaming_from("hippo").await;
        let moved = format!("{:?}", third.settings.listen.to_string());
        eventually("the Lease says where the third one is now", async || {
            let annotations = third.store.lease_now().metadata.annotations;
            annotations.is_some_and(|all| all[INSTANCES].contains(&moved))
        })
        .await;
        // The other one moves while nobody is there to tell the third one of it.
        replica.stop().await;
        replica.move_away();
        primary.crash().await;
        replica.start().await;
        let leader = tokio::select! {
            _ = replica.until_primary() => &replica,
            _ = third.until_primary() => &third,
        };
        let client = leader.connect().await.expect("the application gets in");
        write(&client, 1).await;
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
        let (mut primary, mut replica, mut third) = three(0).await;
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
        // The Lease has a voter before its first grant has come to the primary.
        eventually("accepted", async || {
            primary
                .switchover("reconciler.pgo", "hippo-efgh")
                .await
                .is_ok()
        })
        .await;
        let begin = Instant::now();
        third.until_primary().await;
        println!("switched over within {:?}", begin.elapsed());
        primary.until_streaming_from("hippo-efgh").await;
        replica.until_streaming_from("hippo-efgh").await;
        has(&primary, &[1]).await;
        let takeover = takeover(&third);
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

#[test]
fn a_change_of_the_primary_for_which_too_few_would_vote_is_refused_before_it_begins() {
    let name = "failover::a_change_of_the_primary_for_which_too_few_would_vote_is_refused_before_it_begins";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica, mut third) = three(0).await;
        let client = primary.connect().await.expect("the application gets in");
        third.crash().await;
        // As long as a grant lasts, so that nothing rests on what it has granted.
        tokio::time::sleep(Timing::PROTOCOL.term).await;
        let too_few = "2 of the replicas have to vote, and only hippo-abcd can";
        let whys = [
            ("hippo-abcd", too_few),
            ("", too_few),
            ("hippo-efgh", "its agent does not answer the primary"),
        ];
        for (to, why) in whys {
            let refused = primary.switchover("reconciler.pgo", to).await;
            let refused = refused.expect_err("nobody could be elected");
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert!(refused.message().contains(why), "{refused}");
        }
        let written = client.batch_execute("CREATE TABLE kept (n int)").await;
        written.expect("nobody stopped the server");
        assert_eq!(primary.until_primary().await.term, 1);

        third.start().await;
        third.until_streaming_from("hippo").await;
        eventually("accepted", async || {
            primary
                .switchover("reconciler.pgo", "hippo-abcd")
                .await
                .is_ok()
        })
        .await;
        replica.until_primary().await;
        for rig in [&mut primary, &mut replica, &mut third] {
            rig.stop().await;
        }
    });
}

#[test]
fn a_switchover_takes_writes_again_in_a_moment_also_after_many_writes() {
    let name = "failover::a_switchover_takes_writes_again_in_a_moment_also_after_many_writes";
    unprivileged(name, &PROGRAMS, async || {
        let (mut first, mut second, mut third) = three(0).await;
        let mut pauses = Vec::new();
        for run in 0..RUNS {
            let ways = [(&first, &second, &third), (&second, &first, &third)];
            let (from, to, other) = ways[run % 2];
            from.until_voters(2).await;
            let client = from.connect().await.expect("the application gets in");
            // Pages that the checkpoint of the shutdown would have to write.
            let fill = "CREATE TABLE IF NOT EXISTS filled (n int, t text); \
                        INSERT INTO filled SELECT n, repeat('x', 500) FROM generate_series(1, 50000) AS n";
            client.batch_execute(fill).await.expect("filled");
            let target = to.settings.instance.to_string();
            // The primary hears a moment later than anybody else that both stream from it.
            let accepted = eventually("accepted", async || {
                from.switchover("reconciler.pgo", &target).await.is_ok()
            });
            let (_, pause) = tokio::join!(accepted, pause_of_writes(client, to));
            pauses.push(pause);
            from.until_streaming_from(&target).await;
            other.until_streaming_from(&target).await;
        }
        pauses.sort();
        println!(
            "writes again after {pauses:?}, median {:?}",
            pauses[RUNS / 2]
        );
        // On an idle machine a tenth of it.
        assert!(pauses[RUNS / 2] < Duration::from_secs(3), "{pauses:?}");
        for rig in [&mut first, &mut second, &mut third] {
            rig.stop().await;
        }
    });
}

/// Writes through `client` until that fails, then to `next`: how long nothing was acknowledged.
async fn pause_of_writes(client: tokio_postgres::Client, next: &Rig) -> Duration {
    let statement = "CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)";
    let mut last = Instant::now();
    while client.batch_execute(statement).await.is_ok() {
        last = Instant::now();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    eventually("writes", async || {
        let Ok(client) = next.connect().await else {
            return false;
        };
        client.batch_execute(statement).await.is_ok()
    })
    .await;
    last.elapsed()
}

#[test]
fn who_has_all_that_its_source_had_may_vote_also_where_nothing_streams() {
    let name = "failover::who_has_all_that_its_source_had_may_vote_also_where_nothing_streams";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        replica.stop().await;
        // As an agent leaves it that ended right after it had rewound its data.
        let mut promise = replica.settings.data.clone().into_os_string();
        promise.push(".promise");
        let marked = r#"{"term":1,"no_vote":{"timeline":1,"lsn":1}}"#;
        fs::write(&promise, marked).expect("written");
        primary.crash().await;
        replica.start().await;
        assert_eq!(replica.until_primary().await.term, 2);
        let text = fs::read_to_string(&promise).expect("there");
        assert!(text.contains("\"no_vote\":null"), "{text}");
        replica.stop().await;
    });
}

/// Two changes of the primary in order, by which nothing is lost. Whoever was rewound may lead again when it has all that its
/// source had.
async fn leads_again_and_follows(primary: &Rig, replica: &Rig) {
    let mut promise = primary.settings.data.clone().into_os_string();
    promise.push(".promise");
    eventually("hippo votes again", async || {
        fs::read_to_string(&promise).is_ok_and(|text| text.contains("\"no_vote\":null"))
    })
    .await;
    eventually("accepted", async || {
        replica.switchover("reconciler.pgo", "hippo").await.is_ok()
    })
    .await;
    primary.until_primary().await;
    // Both are still told of, should nobody have been there to tell.
    let terms: Vec<u64> = takeovers(primary).iter().map(|one| one.term).collect();
    assert_eq!(terms, [2, 3]);
    let (state, _) = replica
        .until("compared", |state| !state.lost.is_empty())
        .await;
    let lost = state.lost.last().copied().expect("compared");
    assert_eq!((lost.term, lost.commits), (3, Some(0)), "{lost:?}");
    assert_eq!(lost.end_lsn, lost.fork_lsn);

    // Whoever was primary twice tells of both times, in case nobody heard of the first.
    replica.until_streaming_from("hippo").await;
    eventually("accepted", async || {
        primary
            .switchover("reconciler.pgo", "hippo-abcd")
            .await
            .is_ok()
    })
    .await;
    let (state, _) = primary
        .until("compared twice", |state| state.lost.len() == 2)
        .await;
    let terms: Vec<u64> = state.lost.iter().map(|lost| lost.term).collect();
    assert_eq!(terms, [2, 4]);
}

#[test]
fn what_only_a_former_primary_had_is_counted_when_it_is_back() {
    let name = "failover::what_only_a_former_primary_had_is_counted_when_it_is_back";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        has(&replica, &[1]).await;
        hold_back(&primary).await;
        write(&client, 2).await;
        drop(client);
        primary.crash().await;
        replica.until_primary().await;
        let client = replica.connect().await.expect("the application gets in");
        write(&client, 3).await;

        primary.start().await;
        let (state, _) = primary
            .until("compared", |state| !state.lost.is_empty())
            .await;
        let lost = state.lost.last().copied().expect("compared");
        assert_eq!((lost.term, lost.timeline, lost.synchronous), (2, 1, false));
        assert!(lost.end_lsn > lost.fork_lsn, "{lost:?}");
        assert!(lost.commits.is_some_and(|commits| commits >= 1), "{lost:?}");
        primary.until_streaming_from("hippo-abcd").await;
        has(&primary, &[1, 3]).await;

        // The reconciler was away, and what was found out cannot be any more.
        primary.stop().await;
        primary.start().await;
        let (state, _) = primary
            .until("told again", |state| !state.lost.is_empty())
            .await;
        assert_eq!(state.lost, [lost]);
        primary.until_streaming_from("hippo-abcd").await;

        leads_again_and_follows(&primary, &replica).await;
        primary.stop().await;
        replica.stop().await;
    });
}

#[test]
fn a_primary_whose_server_does_not_start_again_hands_over() {
    let name = "failover::a_primary_whose_server_does_not_start_again_hands_over";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        has(&replica, &[1]).await;
        drop(client);
        primary.customise("postgresql.conf", "work_mem = much\n");
        let begin = Instant::now();
        primary.kill_postmaster();
        let state = replica.until_primary().await;
        println!("took over within {:?}", begin.elapsed());
        assert_eq!(state.term, 2);
        let takeover = takeover(&replica);
        assert_eq!(takeover.cause, Cause::Released);
        let unfit = takeover.unfit.expect("why");
        assert!(
            unfit.starts_with("its PostgreSQL does not come up: "),
            "{unfit}"
        );
        has(&replica, &[1]).await;

        primary.customise("postgresql.conf", "work_mem = 5MB\n");
        primary.until_streaming_from("hippo-abcd").await;
        primary.stop().await;
        replica.stop().await;
    });
}

#[test]
fn a_primary_whose_volume_hangs_hands_over_after_the_set_time() {
    let name = "failover::a_primary_whose_volume_hangs_hands_over_after_the_set_time";
    unprivileged(name, &PROGRAMS, async || {
        let mut primary = Rig::new("hippo");
        primary.settings.volume_deadline = 4;
        let mut replica = primary.beside("hippo-abcd");
        primary.start().await;
        replica.start().await;
        replica.until_streaming_from("hippo").await;
        primary.until_voters(1).await;

        // Whoever opens it waits for a reader, who never comes: as in a volume that hangs.
        let mut probe = primary.settings.data.clone().into_os_string();
        probe.push(".probe");
        fs::remove_file(&probe).expect("it is written again and again");
        let begin = Instant::now();
        // It may have been made again meanwhile.
        while nix::unistd::mkfifo(probe.as_os_str(), Mode::S_IRWXU).is_err() {
            fs::remove_file(&probe).expect("removed");
        }
        let state = replica.until_primary().await;
        println!("took over within {:?}", begin.elapsed());
        assert!(begin.elapsed() > Duration::from_secs(3), "not at once");
        assert_eq!(state.term, 2);
        let (told, _) = primary.until("told", |state| state.volume_hangs).await;
        assert_eq!(told.instance, "hippo");
        let takeover = takeover(&replica);
        // Its servers may not end before its authority does: then nobody heard that it gave up.
        if takeover.cause == Cause::Released {
            assert_eq!(takeover.unfit.as_deref(), Some("its data volume hangs"));
        }

        fs::read(&probe).expect("the writer goes on");
        primary.until_streaming_from("hippo-abcd").await;
        primary.stop().await;
        replica.stop().await;
    });
}

/// Runs of the measurement.
const RUNS: usize = 7;

#[test]
fn a_killed_postmaster_takes_writes_again_in_a_moment() {
    let name = "failover::a_killed_postmaster_takes_writes_again_in_a_moment";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let mut pauses = Vec::new();
        for n in 0..RUNS {
            let client = primary.connect().await.expect("the application gets in");
            // WAL to recover, since the last checkpoint.
            let fill = "CREATE TABLE IF NOT EXISTS filled (n int, t text); \
                        INSERT INTO filled SELECT n, repeat('x', 500) FROM generate_series(1, 20000) AS n";
            client.batch_execute(fill).await.expect("filled");
            let begin = Instant::now();
            primary.kill_postmaster();
            drop(client);
            let number = i32::try_from(n).expect("small");
            eventually("writes", async || {
                let Ok(client) = primary.connect().await else {
                    return false;
                };
                let statement = format!(
                    "CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES ({number})"
                );
                client.batch_execute(&statement).await.is_ok()
            })
            .await;
            pauses.push(begin.elapsed());
            primary.until_primary().await;
            if n + 1 < RUNS {
                // A server that crashes again and again is started again later and later.
                tokio::time::sleep(Duration::from_millis(2500)).await;
            }
        }
        pauses.sort();
        println!(
            "writes again after {pauses:?}, median {:?}",
            pauses[RUNS / 2]
        );
        // On an idle machine a tenth of it.
        assert!(pauses[RUNS / 2] < Duration::from_secs(5), "{pauses:?}");
        assert_eq!(primary.until_primary().await.term, 1, "nobody took over");
        replica.stop().await;
        primary.stop().await;
    });
}
