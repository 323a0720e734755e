//! Replicas: from the copy of another's data to following another primary.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgo_postgres::Session;
use pgo_proto::agent::{InstanceState, Phase, Role};
use tokio_postgres::Client;
use tonic::Code;

use crate::{
    rig::{DEADLINE, PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// Writes a row into table `kept`.
pub async fn write(client: &Client, n: i32) {
    let statement =
        format!("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES ({n})");
    client.batch_execute(&statement).await.expect("written");
}

/// Waits until an instance has these rows. Where its agent was kept from the processor for too long, its server has ended and
/// comes back by itself.
pub async fn has(rig: &Rig, rows: &[i32]) {
    eventually(&format!("{rows:?} are there"), async || {
        let Ok(client) = rig.connect().await else {
            return false;
        };
        let found = client.query("SELECT n FROM kept ORDER BY n", &[]).await;
        found.is_ok_and(|found| {
            let found: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
            found == rows
        })
    })
    .await;
}

/// Has a primary send nothing any more, which nobody notices for a while.
pub async fn hold_back(primary: &Rig) {
    signal_senders(primary, Signal::SIGSTOP).await;
}

/// Has it send again.
pub async fn let_go(primary: &Rig) {
    signal_senders(primary, Signal::SIGCONT).await;
}

async fn signal_senders(primary: &Rig, signal: Signal) {
    let socket = primary.settings.socket();
    let session = Session::open(&socket, "postgres").await.expect("a session");
    let senders = "SELECT pid::text FROM pg_stat_replication";
    for sender in session.names(senders, DEADLINE).await.expect("told") {
        let sender = Pid::from_raw(sender.parse().expect("a number"));
        kill(sender, signal).expect("it lives");
    }
}

/// A primary that serves and a replica that streams from it.
pub async fn pair() -> (Rig, Rig) {
    let mut primary = Rig::new("hippo");
    let mut replica = primary.beside("hippo-abcd");
    // In no order: whoever comes first waits.
    replica.start().await;
    primary.start().await;
    let (_, phases) = replica.until_streaming_from("hippo").await;
    assert!(phases.contains(&Phase::Cloning), "{phases:?}");
    assert!(!phases.contains(&Phase::Failed), "{phases:?}");
    (primary, replica)
}

/// A primary with two replicas that stream and vote; commits wait for `k` of them.
pub async fn three(k: usize) -> (Rig, Rig, Rig) {
    let mut primary = Rig::new("hippo");
    primary.store.set_synchronous(k);
    let mut replicas = ["hippo-abcd", "hippo-efgh"].map(|name| primary.beside(name));
    primary.start().await;
    for replica in &mut replicas {
        replica.start().await;
    }
    for replica in &replicas {
        replica.until_streaming_from("hippo").await;
    }
    primary.until_voters(2).await;
    let [second, third] = replicas;
    (primary, second, third)
}

#[test]
fn a_replica_copies_streams_and_goes_on_where_it_was() {
    let name = "replica::a_replica_copies_streams_and_goes_on_where_it_was";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        let state = replica.until_running().await;
        assert_eq!(
            (state.role(), state.leader.as_str()),
            (Role::Replica, "hippo")
        );
        assert_eq!(
            primary.store.addresses(),
            ["127.0.0.1"],
            "the Service leads to one"
        );
        eventually("ready", async || replica.readyz().await.0 == 200).await;

        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        has(&replica, &[1]).await;
        let reader = replica.connect().await.expect("readers get in");
        let refused = reader.batch_execute("INSERT INTO kept VALUES (2)").await;
        assert!(refused.is_err(), "a replica takes no writes");

        let knows = |state: &InstanceState| {
            let mut followers = state.followers.iter();
            followers
                .any(|one| one.slot == "pgo_hippo_abcd" && one.streaming && one.sync == "async")
        };
        primary.until("followed", knows).await;

        // The slot keeps what the replica misses meanwhile.
        replica.stop().await;
        write(&client, 3).await;
        client
            .batch_execute("SELECT 1")
            .await
            .expect("it serves alone");
        replica.start().await;
        let (_, phases) = replica.until_streaming_from("hippo").await;
        assert!(!phases.contains(&Phase::Cloning), "{phases:?}");
        has(&replica, &[1, 3]).await;

        drop(client);
        replica.stop().await;
        primary.stop().await;
    });
}

#[test]
fn a_replica_whose_wal_is_gone_is_copied_anew() {
    let name = "replica::a_replica_whose_wal_is_gone_is_copied_anew";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        replica.stop().await;

        let refused = primary.drop_slot("apiserver.pgo", "pgo_hippo_abcd").await;
        assert_eq!(
            refused.expect_err("not its task").code(),
            Code::PermissionDenied
        );
        let refused = primary.drop_slot("reconciler.pgo", "theirs").await;
        assert_eq!(refused.expect_err("not ours").code(), Code::InvalidArgument);
        for _ in 0..2 {
            primary
                .drop_slot("reconciler.pgo", "pgo_hippo_abcd")
                .await
                .expect("gone, also the second time");
        }
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        primary.forget_wal().await;

        replica.start().await;
        replica
            .until("copied anew", |state| state.phase() == Phase::Cloning)
            .await;
        replica.until_streaming_from("hippo").await;
        has(&replica, &[1]).await;
        replica.stop().await;
        primary.stop().await;
    });
}

#[test]
fn a_replica_that_was_away_for_more_wal_than_may_be_kept_is_copied_anew_and_its_slot_keeps_again() {
    let name = "replica::a_replica_that_was_away_for_more_wal_than_may_be_kept_is_copied_anew_and_its_slot_keeps_again";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        replica.stop().await;
        let word = |state: &InstanceState| {
            let follower = state.followers.first();
            follower
                .map_or("", |follower| &follower.wal_status)
                .to_owned()
        };
        primary
            .until("WAL is kept", |state| word(state) == "reserved")
            .await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        for change in [
            "ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'",
            "ALTER SYSTEM SET wal_keep_size = '64MB'",
            "SELECT pg_reload_conf()",
        ] {
            primary.execute(change).await;
        }
        primary.forget_wal().await;
        primary
            .until("its WAL is gone", |state| word(state) == "lost")
            .await;

        replica.start().await;
        replica
            .until("copied anew", |state| state.phase() == Phase::Cloning)
            .await;
        replica.until_streaming_from("hippo").await;
        has(&replica, &[1]).await;
        primary
            .until("WAL is kept again", |state| word(state) == "reserved")
            .await;
        replica.stop().await;
        primary.stop().await;
    });
}

#[test]
fn data_of_another_system_is_never_replaced() {
    let name = "replica::data_of_another_system_is_never_replaced";
    unprivileged(name, &PROGRAMS, async || {
        let mut primary = Rig::new("hippo");
        let mut other = Rig::new("hippo");
        other.start().await;
        other.until_running().await;
        other.stop().await;
        primary.start().await;
        primary.until_running().await;

        let mut replica = primary.beside("hippo-abcd");
        std::fs::rename(&other.settings.data, &replica.settings.data).expect("moved");
        replica.start().await;
        let refusal = |state: &InstanceState| state.error.contains("is of another system");
        replica.until("refused", refusal).await;
        assert!(replica.settings.data.join("PG_VERSION").exists());
        replica.stop().await;
        primary.stop().await;
    });
}

/// What an instance's data was copied from, as PostgreSQL notes it in the copy: a primary or a standby.
fn copied_from(rig: &Rig) -> String {
    let label = rig.settings.data.join("backup_label.old");
    let text = std::fs::read_to_string(label).expect("a copy has it");
    let mut lines = text.lines();
    let from = lines.find_map(|line| line.strip_prefix("BACKUP FROM: "));
    from.expect("it says so").to_owned()
}

/// A pair, a row in it, and the Lease that says where both are.
async fn known_pair() -> (Rig, Rig, Client) {
    let (primary, replica) = pair().await;
    primary.until_voters(1).await;
    let client = primary.connect().await.expect("the application gets in");
    write(&client, 1).await;
    has(&replica, &[1]).await;
    (primary, replica, client)
}

#[test]
fn a_further_replica_is_copied_from_one_that_streams_and_follows_the_primary() {
    let name = "replica::a_further_replica_is_copied_from_one_that_streams_and_follows_the_primary";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica, client) = known_pair().await;
        let mut further = primary.beside("hippo-efgh");
        further.start().await;
        let (_, phases) = further.until_streaming_from("hippo").await;
        assert!(!phases.contains(&Phase::Failed), "{phases:?}");
        assert_eq!(copied_from(&further), "standby");
        has(&further, &[1]).await;

        // The one that was copied is not needed any more.
        replica.stop().await;
        write(&client, 2).await;
        has(&further, &[1, 2]).await;
        drop(client);
        further.stop().await;
        primary.stop().await;
    });
}

#[test]
fn the_primary_is_copied_where_the_replica_is_behind_what_is_kept() {
    let name = "replica::the_primary_is_copied_where_the_replica_is_behind_what_is_kept";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica, client) = known_pair().await;
        let socket = replica.settings.socket();
        let session = Session::open(&socket, "postgres").await.expect("a session");
        let pause = "SELECT pg_wal_replay_pause()";
        session.execute(pause, DEADLINE).await.expect("paused");
        let waits = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
        eventually("paused", async || {
            session.truth(waits, DEADLINE).await.expect("an answer")
        })
        .await;
        write(&client, 2).await;
        // The slot of the further one will keep WAL from here on, which the replica has not reached.
        primary.forget_wal().await;

        let mut further = primary.beside("hippo-efgh");
        further.start().await;
        further.until_streaming_from("hippo").await;
        assert_eq!(copied_from(&further), "primary");
        has(&further, &[1, 2]).await;
        drop((client, session));
        for rig in [&mut further, &mut replica, &mut primary] {
            rig.stop().await;
        }
    });
}

#[test]
fn the_primary_is_copied_where_a_copy_of_the_replica_fails() {
    let name = "replica::the_primary_is_copied_where_a_copy_of_the_replica_fails";
    unprivileged(name, &PROGRAMS, async || {
        let mut primary = Rig::new("hippo");
        let mut replica = primary.beside("hippo-abcd");
        // Of a standby whose primary writes no full pages PostgreSQL makes no backup (xlog.c).
        for rig in [&primary, &replica] {
            rig.customise("postgresql.conf", "full_page_writes = off\n");
        }
        primary.start().await;
        primary.until_running().await;
        replica.start().await;
        replica.until_streaming_from("hippo").await;
        primary.until_voters(1).await;

        let mut further = primary.beside("hippo-efgh");
        further.start().await;
        let (_, phases) = further.until_streaming_from("hippo").await;
        assert!(!phases.contains(&Phase::Failed), "{phases:?}");
        assert_eq!(copied_from(&further), "primary");
        for rig in [&mut further, &mut replica, &mut primary] {
            rig.stop().await;
        }
    });
}
