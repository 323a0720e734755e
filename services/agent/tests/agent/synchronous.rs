//! Commits wait for replicas: what was acknowledged is never lost, and a replica that is missing stops nobody while enough
//! others are there.

use std::time::{Duration, Instant};

use pgo_agent::ha::lease::Reading;
use pgo_postgres::Session;
use pgo_proto::agent::InstanceState;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{
    replica::{self, has, hold_back, let_go, pair, write},
    rig::{DEADLINE, PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// A primary with two replicas; commits wait for `k` of them, by what PostgreSQL goes by.
async fn three(k: usize) -> Vec<Rig> {
    let (primary, second, third) = replica::three(k).await;
    until_rule(&primary, k, 2).await;
    vec![primary, second, third]
}

/// Waits until the Lease records that commits wait for `k` of `of`, and PostgreSQL of `primary` goes by it.
async fn until_rule(primary: &Rig, k: usize, of: usize) {
    eventually(&format!("any {k} of {of}"), async || {
        let lease = primary.store.lease_now();
        let name = "hippo".parse().expect("a name");
        let Ok(Reading::Recorded { record, .. }) = pgo_agent::ha::lease::read(&lease, &name) else {
            return false;
        };
        let (rule, shown) = (record.synchronous, shown(primary).await);
        let begins = shown.starts_with(&format!("ANY {k} ("));
        rule.k == k && rule.set.len() == of && begins && shown.split(',').count() == of
    })
    .await;
}

async fn shown(rig: &Rig) -> String {
    let session = Session::open(&rig.settings.socket(), "postgres").await;
    let session = session.expect("a session");
    let names = session.names("SHOW synchronous_standby_names", DEADLINE);
    names.await.expect("shown").remove(0)
}

/// Numbered rows, each written by whichever instance takes it, and those that were acknowledged.
#[derive(Default)]
struct Writer {
    next: i32,
    acknowledged: Vec<i32>,
}

impl Writer {
    /// Tries to write one row more; whether it was acknowledged.
    async fn row(&mut self, rigs: &[Rig]) -> bool {
        let n = self.next;
        self.next += 1;
        for rig in rigs {
            let written = timeout(Duration::from_secs(2), async {
                let client = rig.connect().await?;
                client
                    .batch_execute(&format!("INSERT INTO rows VALUES ({n})"))
                    .await
            });
            if matches!(written.await, Ok(Ok(()))) {
                self.acknowledged.push(n);
                return true;
            }
        }
        false
    }

    /// Writes until so many more are acknowledged; how long it took to the first.
    async fn more(&mut self, rigs: &[Rig], count: usize) -> Duration {
        let (begin, had) = (Instant::now(), self.acknowledged.len());
        let mut first = None;
        while self.acknowledged.len() < had + count {
            assert!(begin.elapsed() < DEADLINE, "nobody takes writes");
            if self.row(rigs).await {
                first.get_or_insert_with(|| begin.elapsed());
            }
        }
        first.unwrap_or_default()
    }
}

/// Which of them is primary.
async fn leader(rigs: &[Rig]) -> usize {
    let begin = Instant::now();
    loop {
        let lease = rigs[0].store.lease_now();
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        let is_it = |rig: &Rig| Some(rig.settings.instance.to_string()) == holder;
        if let Some(at) = rigs.iter().position(is_it) {
            return at;
        }
        assert!(begin.elapsed() < DEADLINE, "{holder:?} is none of them");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn no_acknowledged_row_is_missing_after_one_primary_after_another_was_killed() {
    let name =
        "synchronous::no_acknowledged_row_is_missing_after_one_primary_after_another_was_killed";
    unprivileged(name, &PROGRAMS, async || {
        let mut rigs = three(1).await;
        let client = rigs[0].connect().await.expect("the application gets in");
        let create = "CREATE TABLE rows (n int PRIMARY KEY)";
        client.batch_execute(create).await.expect("created");
        drop(client);
        let mut writer = Writer::default();
        for round in 0..3 {
            writer.more(&rigs, 20).await;
            let killed = leader(&rigs).await;
            rigs[killed].crash().await;
            let pause = writer.more(&rigs, 5).await;
            println!("round {round}: writes again after {pause:?}");
            let leads = leader(&rigs).await;
            assert_ne!(leads, killed);
            let leader = rigs[leads].settings.instance.to_string();
            rigs[killed].start().await;
            rigs[killed].until_streaming_from(&leader).await;
            until_rule(&rigs[leads], 1, 2).await;
        }
        let client = rigs[leader(&rigs).await].connect().await.expect("in");
        let found = client.query("SELECT n FROM rows", &[]).await.expect("read");
        let found: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
        let missing: Vec<_> = writer
            .acknowledged
            .iter()
            .filter(|n| !found.contains(n))
            .collect();
        assert!(missing.is_empty(), "acknowledged and missing: {missing:?}");
        println!(
            "{} rows acknowledged, {} there",
            writer.acknowledged.len(),
            found.len()
        );
        for rig in &mut rigs {
            rig.stop().await;
        }
    });
}

#[test]
fn who_has_an_acknowledged_row_leads_though_it_has_restarted_and_not_replayed_it_yet() {
    let name = "synchronous::who_has_an_acknowledged_row_leads_though_it_has_restarted_and_not_replayed_it_yet";
    unprivileged(name, &PROGRAMS, async || {
        let mut rigs = three(1).await;
        // It replays nothing that commits during this test.
        rigs[1].stop().await;
        rigs[1].customise("postgresql.conf", "recovery_min_apply_delay = '1h'\n");
        rigs[1].start().await;
        rigs[1].until_streaming_from("hippo").await;
        until_rule(&rigs[0], 1, 2).await;
        let client = rigs[0].connect().await.expect("the application gets in");
        write(&client, 1).await;
        has(&rigs[2], &[1]).await;
        rigs[2].crash().await;
        timeout(DEADLINE, write(&client, 2))
            .await
            .expect("the other replica is enough");
        drop(client);
        rigs[1].crash().await;
        rigs[0].crash().await;

        // One has row 2 and has replayed neither; the other one has replayed row 1, and has no other.
        for at in [1, 2] {
            rigs[at].start().await;
        }
        eventually("another one leads", async || leader(&rigs).await != 0).await;
        let leads = leader(&rigs).await;
        assert_eq!(leads, 1, "who has all that was acknowledged");
        rigs[1].until_primary().await;
        has(&rigs[1], &[1, 2]).await;
        rigs[2].until_streaming_from("hippo-abcd").await;
        has(&rigs[2], &[1, 2]).await;
        for at in [1, 2] {
            rigs[at].stop().await;
        }
    });
}

#[test]
fn writes_go_on_while_enough_replicas_are_there_and_wait_below() {
    let name = "synchronous::writes_go_on_while_enough_replicas_are_there_and_wait_below";
    unprivileged(name, &PROGRAMS, async || {
        let mut rigs = three(1).await;
        let client = rigs[0].connect().await.expect("the application gets in");
        write(&client, 1).await;
        rigs[1].crash().await;
        timeout(Duration::from_secs(10), write(&client, 2))
            .await
            .expect("the other replica is enough");

        rigs[2].crash().await;
        let waiting = tokio::spawn(async move {
            write(&client, 3).await;
            client
        });
        // Longer than a replica may be away until it need not be waited for in the asynchronous mode.
        tokio::time::sleep(Duration::from_secs(33)).await;
        assert!(!waiting.is_finished(), "nobody else has it");
        rigs[2].start().await;
        rigs[2].until_streaming_from("hippo").await;
        let client = timeout(DEADLINE, waiting)
            .await
            .expect("it goes on")
            .expect("written");
        write(&client, 4).await;
        has(&rigs[2], &[1, 2, 3, 4]).await;
        for at in [2, 0] {
            rigs[at].stop().await;
        }
    });
}

#[test]
fn the_mode_changes_on_a_living_cluster() {
    let name = "synchronous::the_mode_changes_on_a_living_cluster";
    unprivileged(name, &PROGRAMS, async || {
        let mut rigs = three(2).await;
        let client = rigs[0].connect().await.expect("the application gets in");
        write(&client, 1).await;
        rigs[0].store.set_synchronous(1);
        until_rule(&rigs[0], 1, 2).await;
        rigs[0].store.set_synchronous(0);
        eventually("asynchronous", async || shown(&rigs[0]).await.is_empty()).await;
        write(&client, 2).await;
        // More than there are: as many as there are.
        rigs[0].store.set_synchronous(3);
        until_rule(&rigs[0], 2, 2).await;
        write(&client, 3).await;

        // A server that crashes comes back with the rule.
        drop(client);
        rigs[0].kill_postmaster();
        rigs[0].until("back", |state| state.restarts == 1).await;
        rigs[0].until_primary().await;
        until_rule(&rigs[0], 2, 2).await;
        let client = rigs[0].connect().await.expect("the application gets in");
        write(&client, 4).await;
        for rig in &mut rigs {
            rig.stop().await;
        }
    });
}

/// What must not happen has happened by then, where nothing keeps it from happening: all else is done within a moment.
async fn stays(what: &str, holds: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        assert!(holds().await, "not any more: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// For how many answers commits wait by the Lease.
fn recorded(primary: &Rig) -> usize {
    let name = "hippo".parse().expect("a name");
    match pgo_agent::ha::lease::read(&primary.store.lease_now(), &name) {
        Ok(Reading::Recorded { record, .. }) => record.synchronous.k,
        other => panic!("nothing is recorded: {other:?}"),
    }
}

#[test]
fn a_rule_is_recorded_only_when_enough_have_flushed_what_was_acknowledged_before_it() {
    let name = "synchronous::a_rule_is_recorded_only_when_enough_have_flushed_what_was_acknowledged_before_it";
    unprivileged(name, &PROGRAMS, async || {
        let (first, second, third) = replica::three(0).await;
        let mut rigs = [first, second, third];
        hold_back(&rigs[0]).await;
        let client = rigs[0].connect().await.expect("the application gets in");
        write(&client, 1).await;
        rigs[0].store.set_synchronous(1);
        eventually("commits wait for one", async || {
            shown(&rigs[0]).await.starts_with("ANY 1 (\"")
                && !shown(&rigs[0]).await.contains("pgo-nobody")
        })
        .await;
        stays("nothing is recorded", async || recorded(&rigs[0]) == 0).await;
        let_go(&rigs[0]).await;
        until_rule(&rigs[0], 1, 2).await;
        for rig in &mut rigs {
            rig.stop().await;
        }
    });
}

#[test]
fn no_rule_is_in_force_while_a_walsender_may_go_by_the_one_before() {
    let name = "synchronous::no_rule_is_in_force_while_a_walsender_may_go_by_the_one_before";
    unprivileged(name, &PROGRAMS, async || {
        let mut rigs = three(1).await;
        hold_back(&rigs[0]).await;
        rigs[0].store.set_synchronous(2);
        let by_nobody = async || shown(&rigs[0]).await.contains("pgo-nobody");
        eventually("commits wait for nobody's answer", &by_nobody).await;
        stays("the walsenders have not read it", &by_nobody).await;
        let_go(&rigs[0]).await;
        until_rule(&rigs[0], 2, 2).await;
        for rig in &mut rigs {
            rig.stop().await;
        }
    });
}

/// Waits until commits of `primary` wait for so many by a rule of 1.
async fn until_waiting_for(primary: &Rig, wait_for: u32) -> InstanceState {
    let waits = |state: &InstanceState| {
        state
            .commits
            .is_some_and(|commits| (commits.rule, commits.wait_for) == (1, wait_for))
    };
    primary
        .until(&format!("waiting for {wait_for}"), waits)
        .await
        .0
}

fn is_lenient(rig: &Rig) -> bool {
    let mut mark = rig.settings.data.clone().into_os_string();
    mark.push(".lenient");
    std::path::Path::new(&mark).exists()
}

#[test]
fn where_the_user_chose_so_writes_go_on_without_replicas_and_only_those_can_be_lost() {
    let name = "synchronous::where_the_user_chose_so_writes_go_on_without_replicas_and_only_those_can_be_lost";
    unprivileged(name, &PROGRAMS, async || {
        let mut rigs = three(1).await;
        rigs[0].store.set_fallback(true);
        let client = rigs[0].connect().await.expect("the application gets in");
        write(&client, 1).await;
        let state = until_waiting_for(&rigs[0], 1).await;
        assert_eq!(state.commits.and_then(|commits| commits.fell_back), None);
        rigs[1].crash().await;
        rigs[2].crash().await;
        let begin = Instant::now();
        timeout(DEADLINE, write(&client, 2))
            .await
            .expect("it goes on");
        let waited = begin.elapsed();
        assert!(
            waited > Duration::from_secs(5),
            "only after a while: {waited:?}"
        );
        let state = until_waiting_for(&rigs[0], 0).await;
        let commits = state.commits.expect("told");
        assert!(
            commits.fell_back.is_some() && commits.came_back.is_none(),
            "{commits:?}"
        );
        assert!(is_lenient(&rigs[0]));

        // Once one is there again it is as before.
        rigs[1].start().await;
        rigs[1].until_streaming_from("hippo").await;
        let state = until_waiting_for(&rigs[0], 1).await;
        assert!(
            state
                .commits
                .is_some_and(|commits| commits.came_back.is_some())
        );
        eventually("all is held", async || !is_lenient(&rigs[0])).await;
        has(&rigs[1], &[1, 2]).await;

        loses_what_went_by_less(&mut rigs, client).await;
        for rig in &mut rigs {
            rig.stop().await;
        }
    });
}

/// What is acknowledged by less is lost with its primary, and said to be; nothing else is.
async fn loses_what_went_by_less(rigs: &mut [Rig], client: Client) {
    rigs[1].crash().await;
    until_waiting_for(&rigs[0], 0).await;
    write(&client, 3).await;
    drop(client);
    rigs[0].crash().await;
    for at in [1, 2] {
        rigs[at].start().await;
    }
    eventually("another one leads", async || leader(rigs).await != 0).await;
    let leads = leader(rigs).await;
    rigs[leads].until_primary().await;
    until_rule(&rigs[leads], 1, 2).await;
    has(&rigs[leads], &[1, 2]).await;
    rigs[0].start().await;
    let (state, _) = rigs[0]
        .until("compared", |state| !state.lost.is_empty())
        .await;
    let lost = state.lost.last().copied().expect("compared");
    assert!(
        !lost.synchronous && lost.commits.is_some_and(|commits| commits >= 1),
        "{lost:?}"
    );
    let name = rigs[leads].settings.instance.to_string();
    rigs[0].until_streaming_from(&name).await;
    assert!(!is_lenient(&rigs[0]));
}

#[test]
fn what_nobody_else_had_counts_as_lost_though_commits_wait_for_replicas_meanwhile() {
    let name = "synchronous::what_nobody_else_had_counts_as_lost_though_commits_wait_for_replicas_meanwhile";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, replica) = pair().await;
        let mut others = [replica, primary.beside("hippo-efgh")];
        others[1].start().await;
        others[1].until_streaming_from("hippo").await;
        primary.until_voters(2).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        for other in &others {
            has(other, &[1]).await;
        }
        hold_back(&primary).await;
        write(&client, 2).await;
        drop(client);
        primary.crash().await;
        eventually("another one leads", async || {
            let lease = primary.store.lease_now();
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            holder.is_some_and(|holder| holder != "hippo")
        })
        .await;
        let leads = leader(&others).await;
        others[leads].store.set_synchronous(1);
        let waits = |state: &InstanceState| state.commits.is_some_and(|commits| commits.rule == 1);
        others[leads].until("waiting for one", waits).await;

        primary.start().await;
        let (state, _) = primary
            .until("compared", |state| !state.lost.is_empty())
            .await;
        let lost = state.lost.last().copied().expect("compared");
        assert!(
            !lost.synchronous && lost.commits.is_some_and(|commits| commits >= 1),
            "{lost:?}"
        );
        primary.stop().await;
        for other in &mut others {
            other.stop().await;
        }
    });
}
