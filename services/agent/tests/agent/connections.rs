//! What becomes of the connections to a primary that is one no more: they are ended, so that applications connect anew.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::stat::Mode;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::Client;

use crate::{
    replica::three,
    rig::{PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// How long a connection may live on once another instance is primary. PostgreSQL's processes are dead by then, so what is
/// left is a moment of this machine.
const MOMENT: Duration = Duration::from_secs(5);

/// Connections as applications have them.
struct Connections {
    /// Nothing is under way.
    idle: Client,
    /// A transaction that has written.
    in_transaction: Client,
    /// A statement that waits on the server.
    waits: JoinHandle<Result<(), tokio_postgres::Error>>,
    /// A statement that computes, and so looks at nothing but interrupts.
    computes: JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Connections {
    async fn open(primary: &Rig) -> Self {
        let connect = async || primary.connect().await.expect("the application gets in");
        let (idle, in_transaction) = (connect().await, connect().await);
        let begun = "CREATE TABLE kept (n int); BEGIN; INSERT INTO kept VALUES (1)";
        in_transaction.batch_execute(begun).await.expect("begun");
        let run = |client: Client, statement: &'static str| {
            tokio::spawn(async move { client.batch_execute(statement).await })
        };
        let waits = run(connect().await, "SELECT pg_sleep(600)");
        let computes = run(connect().await, "DO $$ BEGIN LOOP END LOOP; END $$");
        let running = "SELECT count(*) = 2 FROM pg_stat_activity \
                       WHERE state = 'active' AND query ~ '^(SELECT pg_sleep|DO)'";
        eventually("both statements run", async || {
            let row = idle.query_one(running, &[]).await.expect("told");
            row.get(0)
        })
        .await;
        Self {
            idle,
            in_transaction,
            waits,
            computes,
        }
    }

    /// All of them are ended, or are within a moment.
    async fn are_ended(self) {
        let begin = Instant::now();
        while !(self.idle.is_closed() && self.in_transaction.is_closed()) {
            assert!(
                begin.elapsed() < MOMENT,
                "idle: ended {}; in a transaction: ended {}",
                self.idle.is_closed(),
                self.in_transaction.is_closed()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (what, statement) in [("waits", self.waits), ("computes", self.computes)] {
            let ended = timeout(MOMENT, statement).await;
            let ended = ended.unwrap_or_else(|_| panic!("a statement that {what} hangs"));
            let ended = ended.expect("it does not panic");
            println!("a statement that {what} ended by {ended:?}");
            assert!(ended.is_err(), "{what}");
        }
    }
}

#[test]
fn a_switchover_ends_the_connections_to_the_former_primary() {
    let name = "connections::a_switchover_ends_the_connections_to_the_former_primary";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica, mut third) = three(0).await;
        let connections = Connections::open(&primary).await;
        let asked = primary.switchover("reconciler.pgo", "hippo-abcd").await;
        asked.expect("accepted");
        replica.until_primary().await;
        connections.are_ended().await;
        // It runs again, as a replica: nobody who was connected is led to believe that this is the primary.
        primary.until_streaming_from("hippo-abcd").await;
        for rig in [&mut primary, &mut replica, &mut third] {
            rig.stop().await;
        }
    });
}

#[test]
fn a_failover_ends_the_connections_to_the_former_primary() {
    let name = "connections::a_failover_ends_the_connections_to_the_former_primary";
    unprivileged(name, &PROGRAMS, async || {
        let mut primary = Rig::new("hippo");
        primary.settings.volume_deadline = 4;
        let mut replica = primary.beside("hippo-abcd");
        primary.start().await;
        replica.start().await;
        replica.until_streaming_from("hippo").await;
        primary.until_voters(1).await;
        let connections = Connections::open(&primary).await;
        // The volume hangs: whoever opens this file waits for a reader. PostgreSQL itself notices nothing of it.
        let mut probe = primary.settings.data.clone().into_os_string();
        probe.push(".probe");
        fs::remove_file(&probe).expect("it is written again and again");
        // It may have been made again meanwhile.
        while nix::unistd::mkfifo(probe.as_os_str(), Mode::S_IRWXU).is_err() {
            fs::remove_file(&probe).expect("removed");
        }
        replica.until_primary().await;
        connections.are_ended().await;
        fs::read(&probe).expect("the writer goes on");
        primary.until_streaming_from("hippo-abcd").await;
        primary.stop().await;
        replica.stop().await;
    });
}
