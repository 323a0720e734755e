//! Reload and restart, as somebody asks for them.

use pgo_postgres::Session;
use pgo_proto::agent::{InstanceState, Phase};
use tonic::Code;

use crate::{
    replica::{has, pair, write},
    rig::{DEADLINE, PROGRAMS, Rig},
    unprivileged::unprivileged,
};

const RECONCILER: &str = "reconciler.pgo";

async fn shown(rig: &Rig, setting: &str) -> String {
    let session = Session::open(&rig.settings.socket(), "postgres").await;
    let session = session.expect("a session");
    let query = format!("SHOW {setting}");
    let values = session.names(&query, DEADLINE).await;
    values.expect("shown").remove(0)
}

async fn reloads(rig: &Rig) {
    let denied = rig.reload("apiserver.pgo").await.expect_err("not its task");
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(rig.reload(RECONCILER).await.expect("read"), [""; 0]);

    rig.customise(
        "postgresql.conf",
        "work_mem = '5MB'\nmax_connections = 120\n",
    );
    let pending = rig.reload(RECONCILER).await.expect("read");
    assert_eq!(pending, ["max_connections"]);
    assert_eq!(shown(rig, "work_mem").await, "5MB");
    assert_eq!(shown(rig, "max_connections").await, "100");
    let told = |state: &InstanceState| state.pending_restart == ["max_connections"];
    rig.until("told", told).await;

    // Nothing of a file with a fault is taken over, also not what is right in it.
    rig.customise("postgresql.conf", "work_mem = '6MB'\nmax_wal_size = 'x'\n");
    let refused = rig.reload(RECONCILER).await.expect_err("a fault");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let said = refused.message();
    let names = said.contains("postgresql.conf line 2: max_wal_size");
    assert!(names && said.contains("the former one goes on"), "{said}");
    assert_eq!(shown(rig, "work_mem").await, "5MB");
    rig.customise("postgresql.conf", "");
    rig.customise("pg_hba.conf", "hostssl all all 10.0.0.0/8 nonsense\n");
    let refused = rig.reload(RECONCILER).await.expect_err("a fault");
    assert!(refused.message().contains("pg_hba.conf line"), "{refused}");
    rig.customise("pg_hba.conf", "");
    assert_eq!(rig.reload(RECONCILER).await.expect("read"), [""; 0]);
    let told = |state: &InstanceState| state.pending_restart.is_empty();
    rig.until("told", told).await;
}

#[test]
fn a_reload_brings_into_force_what_it_can_and_names_what_waits_for_a_restart() {
    let name = "orders::a_reload_brings_into_force_what_it_can_and_names_what_waits_for_a_restart";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        // What waits for a restart is looked for each ten seconds, on both at the same time.
        tokio::join!(reloads(&primary), reloads(&replica));
        replica.stop().await;
        primary.stop().await;
    });
}

#[test]
fn a_restart_is_in_place_ends_connections_and_is_done_once() {
    let name = "orders::a_restart_is_in_place_ends_connections_and_is_done_once";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        for rig in [&replica, &primary] {
            rig.customise("postgresql.conf", "max_connections = 120\n");
            let before = rig.until_running().await;
            let denied = rig.restart("apiserver.pgo", before.started).await;
            assert_eq!(
                denied.expect_err("not its task").code(),
                Code::PermissionDenied
            );
            let unnamed = rig.restart(RECONCILER, None).await;
            assert_eq!(
                unnamed.expect_err("which one").code(),
                Code::InvalidArgument
            );

            rig.restart(RECONCILER, before.started)
                .await
                .expect("begun");
            let anew = |state: &InstanceState| {
                state.phase() == Phase::Running && state.started != before.started
            };
            let (after, phases) = rig.until("restarted", anew).await;
            assert!(!phases.contains(&Phase::Failed), "{phases:?}");
            assert_eq!(
                (after.term, after.timeline, after.role(), after.restarts),
                (before.term, before.timeline, before.role(), 0)
            );
            assert!(after.pending_restart.is_empty());
            assert_eq!(shown(rig, "max_connections").await, "120");
            // Whoever asks again for the same ends nothing.
            rig.restart(RECONCILER, before.started)
                .await
                .expect("done before");
            assert_eq!(rig.until_running().await.started, after.started);
        }
        let ended = client.batch_execute("SELECT 1").await;
        ended.expect_err("its connection was ended");
        replica.until_streaming_from("hippo").await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 2).await;
        has(&replica, &[1, 2]).await;
        assert_eq!(primary.store.addresses(), ["127.0.0.1"]);
        replica.stop().await;
        primary.stop().await;
    });
}
