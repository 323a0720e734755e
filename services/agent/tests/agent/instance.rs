//! An instance from its first start on.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use pgo_agent::ha::lease::LEASE;
use pgo_proto::agent::{InstanceState, Phase, Role};
use tonic::Code;

use crate::{
    fake::LEASE_UID,
    rig::{PASSWORDS, PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// What an instance tells that has just been initialised.
fn assert_facts(state: &InstanceState) {
    assert_eq!(state.role(), Role::Primary);
    assert_eq!((state.term, state.timeline, state.restarts), (1, 1, 0));
    assert!(
        state
            .postgres_version
            .starts_with(|c: char| c.is_ascii_digit())
    );
    assert!(
        state
            .system_identifier
            .parse::<u64>()
            .is_ok_and(|id| id > 0)
    );
    assert!(state.lsn > 0 && state.running_since.is_some());
    assert_eq!(
        (state.cluster.as_str(), state.pod_uid.as_str()),
        ("hippo", "pod-1")
    );
}

/// What the application wrote over TLS is there after a crash of the postmaster, and the Service never led elsewhere.
async fn survives_a_crash(rig: &Rig, state: &InstanceState) {
    let client = rig.connect().await.expect("the application gets in");
    client
        .batch_execute("CREATE TABLE kept AS SELECT 1 AS n")
        .await
        .expect("it writes");

    // A backend in the middle of a statement would keep the next server from starting.
    let sleeper = rig.connect().await.expect("one more");
    tokio::spawn(async move { sleeper.batch_execute("SELECT pg_sleep(600)").await });
    eventually("a statement runs", async || {
        let query = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()";
        client.query(query, &[]).await.is_ok_and(|rows| !rows.is_empty())
    })
    .await;
    rig.kill_postmaster();
    let (after, _) = rig
        .until("back", |state| {
            state.restarts == 1 && state.phase() == Phase::Running
        })
        .await;
    assert_eq!(after.system_identifier, state.system_identifier);
    assert_eq!(rig.store.addresses(), ["127.0.0.1"]);
    let client = rig.connect().await.expect("the application gets in again");
    let row = client
        .query_one("SELECT n FROM kept", &[])
        .await
        .expect("kept");
    assert_eq!(row.get::<_, i32>(0), 1);
}

#[test]
fn an_instance_comes_up_survives_a_crash_and_stops() {
    let name = "instance::an_instance_comes_up_survives_a_crash_and_stops";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        let (state, phases) = rig
            .until("running", |state| state.phase() == Phase::Running)
            .await;
        assert!(!phases.contains(&Phase::Failed), "{phases:?}");
        assert_facts(&state);

        // The Lease was written before, and the Service leads here.
        let spec = rig.store.lease_now().spec.expect("a spec");
        assert!(spec.renew_time.is_some());
        assert_eq!(rig.store.addresses(), ["127.0.0.1"]);
        eventually("ready", async || {
            rig.readyz().await == (200, "ok".to_owned())
        })
        .await;

        survives_a_crash(&rig, &state).await;

        rig.stop().await;
        assert!(
            rig.store.addresses().is_empty(),
            "the Service leads nowhere"
        );
        let left = pgo_agent::processes::working_in(&rig.settings.data);
        assert!(left.is_empty(), "{left:?}");

        // The next start finds the data; nothing is initialised again.
        rig.start().await;
        let (again, phases) = rig
            .until("running", |state| state.phase() == Phase::Running)
            .await;
        assert_eq!(again.system_identifier, state.system_identifier);
        assert!(!phases.contains(&Phase::Initializing));
        assert!(again.data_found && !state.data_found);
        rig.stop().await;
    });
}

#[test]
fn an_instance_that_the_lease_does_not_name_waits_for_the_one_it_names() {
    let name = "instance::an_instance_that_the_lease_does_not_name_waits_for_the_one_it_names";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo-abcd");
        rig.start().await;
        let waiting = "waiting for the primary, hippo-abcd, to serve";
        let (state, phases) = rig.until("waiting", |state| state.error == waiting).await;
        assert!(!phases.contains(&Phase::Failed), "{phases:?}");
        assert_eq!(state.term, 0, "nobody has begun a term");
        assert!(!rig.settings.data.exists(), "nothing was made");
        let (status, reason) = rig.readyz().await;
        assert_eq!(status, 503);
        assert!(reason.contains(waiting), "{reason}");

        rig.store.set_holder("hippo");
        rig.until_running().await;
        assert_eq!(rig.store.addresses(), ["127.0.0.1"]);
        rig.stop().await;
    });
}

#[test]
fn an_initdb_that_fails_is_told_with_its_cause_and_succeeds_once_that_is_gone() {
    let name =
        "instance::an_initdb_that_fails_is_told_with_its_cause_and_succeeds_once_that_is_gone";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        fs::create_dir(&rig.settings.data).expect("a folder");
        fs::write(rig.settings.data.join("notes"), "mine").expect("a file");
        rig.start().await;
        let (state, _) = rig
            .until("failed", |state| state.phase() == Phase::Failed)
            .await;
        assert!(
            state.error.contains("not a data directory"),
            "{}",
            state.error
        );
        assert!(
            rig.settings.data.join("notes").exists(),
            "it is left as it is"
        );

        fs::remove_file(rig.settings.data.join("notes")).expect("removed");
        // Now initdb itself fails: it cannot make its folder.
        let parent = rig.settings.data.parent().expect("a folder").to_owned();
        let mode = |mode| fs::set_permissions(&parent, fs::Permissions::from_mode(mode));
        mode(0o500).expect("restricted");
        let denied = "Permission denied";
        let (state, _) = rig
            .until("denied", |state| state.error.contains(denied))
            .await;
        assert_eq!(state.phase(), Phase::Failed);
        for (_, _, password) in PASSWORDS {
            assert!(!state.error.contains(password));
        }
        mode(0o700).expect("given back");
        let state = rig.until_running().await;
        assert_eq!(state.error, "");
        rig.stop().await;
    });
}

#[test]
fn a_server_that_does_not_start_is_told_in_its_own_words_and_leaves_the_service() {
    let name =
        "instance::a_server_that_does_not_start_is_told_in_its_own_words_and_leaves_the_service";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.customise("postgresql.conf", "work_mem = 5MB\n");
        rig.customise("setup.sql", "CREATE TABLE own AS SELECT 5 AS n;\n");
        rig.start().await;
        rig.until_running().await;

        rig.customise("postgresql.conf", "work_mem = much\n");
        rig.kill_postmaster();
        let (state, _) = rig
            .until("failed", |state| state.phase() == Phase::Failed)
            .await;
        assert!(state.error.contains("work_mem"), "{}", state.error);
        eventually("the Service leads nowhere", async || {
            rig.store.addresses().is_empty()
        })
        .await;

        // setup.sql is not run a second time; it would fail.
        rig.customise("postgresql.conf", "work_mem = 6MB\n");
        rig.until_running().await;
        let client = rig.connect().await.expect("the application gets in");
        let row = client.query_one("SHOW work_mem", &[]).await.expect("shown");
        assert_eq!(row.get::<_, &str>(0), "6MB");
        eventually("the Service leads here", async || {
            !rig.store.addresses().is_empty()
        })
        .await;
        rig.stop().await;
    });
}

#[test]
fn a_setup_sql_that_fails_is_run_once_and_again_when_it_is_another() {
    let name = "instance::a_setup_sql_that_fails_is_run_once_and_again_when_it_is_another";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.customise(
            "setup.sql",
            "CREATE TABLE IF NOT EXISTS runs (n int);\nINSERT INTO runs VALUES (1);\nALTER ROLE testuser PASSWORD 's3cret' oops;\n",
        );
        rig.start().await;
        let (state, _) = rig
            .until("failed", |state| state.phase() == Phase::Failed)
            .await;
        let error = state.error.clone();
        assert!(
            error.contains("line 3 of setup.sql with SQLSTATE 42601"),
            "{error}"
        );
        assert!(
            !error.contains("s3cret") && !error.contains("oops"),
            "{error}"
        );
        let count = async || {
            let socket = rig.settings.socket();
            let session = pgo_postgres::Session::open(&socket, "postgres").await;
            let session = session.expect("a session");
            let query = "SELECT count(*)::text FROM runs";
            let counted = session.names(query, Duration::from_secs(10)).await;
            counted.expect("counted")
        };
        assert_eq!(count().await, ["1"]);
        // The agent tries again, at first within a second, and finds the same file.
        rig.kill_postmaster();
        rig.until("tried again", |state| {
            state.phase() == Phase::Failed && state.error == error
        })
        .await;
        eventually("it answers", async || {
            pgo_postgres::Session::open(&rig.settings.socket(), "postgres")
                .await
                .is_ok()
        })
        .await;
        assert_eq!(count().await, ["1"]);

        rig.customise("setup.sql", "INSERT INTO runs VALUES (2);\n");
        rig.until_running().await;
        assert_eq!(count().await, ["2"]);
        rig.stop().await;
        assert!(!rig.settings.data.join("pgo-setup.failed").exists());
    });
}

#[test]
fn a_service_that_cannot_lead_here_is_told_while_the_database_serves() {
    let name = "instance::a_service_that_cannot_lead_here_is_told_while_the_database_serves";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.store.set_without_slice(true);
        rig.start().await;
        let (_, phases) = rig
            .until("told", |state| {
                state.phase() == Phase::Running && state.error.contains("no EndpointSlice")
            })
            .await;
        assert!(!phases.contains(&Phase::Failed), "{phases:?}");
        rig.connect().await.expect("the application gets in");
        rig.store.set_without_slice(false);
        rig.until("over", |state| {
            state.phase() == Phase::Running && state.error.is_empty()
        })
        .await;
        assert_eq!(rig.store.addresses(), ["127.0.0.1"]);
        rig.stop().await;
    });
}

#[test]
fn a_service_that_leads_elsewhere_by_a_lease_that_is_gone_leads_here() {
    let name = "instance::a_service_that_leads_elsewhere_by_a_lease_that_is_gone_leads_here";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.store.led_to("hippo-abcd", ("uid-of-another", 7));
        rig.start().await;
        rig.until_running().await;
        eventually("the Service leads here", async || {
            rig.store.addresses() == ["127.0.0.1"]
        })
        .await;
        let annotations = rig.store.slice_now().metadata.annotations;
        assert_eq!(annotations.expect("some")[LEASE], LEASE_UID);
        // One of the same Lease, elected later, keeps it.
        rig.stop().await;
        rig.store.led_to("hippo-abcd", (LEASE_UID, 7));
        rig.start().await;
        rig.until("told", |state| {
            state.phase() == Phase::Running && state.error.contains("of term 7 already")
        })
        .await;
        assert_eq!(rig.store.addresses(), ["127.0.0.2"]);
        rig.stop().await;
    });
}

#[test]
fn databases_go_on_while_kubernetes_is_away() {
    let name = "instance::databases_go_on_while_kubernetes_is_away";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.store.set_away(true);
        rig.start().await;
        // Without the Lease nothing begins.
        let (state, _) = rig
            .until("waiting", |state| state.error.contains("Kubernetes"))
            .await;
        assert_eq!(state.phase(), Phase::Starting);
        assert!(!rig.settings.data.exists());
        rig.store.set_away(false);
        rig.until_running().await;

        rig.store.set_away(true);
        rig.kill_postmaster();
        rig.until("back", |state| {
            state.restarts == 1 && state.phase() == Phase::Running
        })
        .await;
        rig.connect().await.expect("the application gets in");
        assert_eq!(rig.store.addresses(), ["127.0.0.1"]);
        rig.stop().await;
    });
}

#[test]
fn only_the_reconciler_and_the_apiserver_may_watch() {
    let name = "instance::only_the_reconciler_and_the_apiserver_may_watch";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        for allowed in ["reconciler.pgo", "apiserver.pgo"] {
            rig.watch(allowed, 0).await.expect(allowed);
        }
        let refused = rig.watch("rhino.pgouser1.agent.pgo", 0).await;
        assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);

        rig.until_running().await;
        rig.watch("reconciler.pgo", 1).await.expect("the same term");
        let stale = rig.watch("reconciler.pgo", 2).await.expect_err("refused");
        assert_eq!(stale.code(), Code::FailedPrecondition);
        assert!(stale.message().contains("term is 1"), "{}", stale.message());
        rig.stop().await;
    });
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let name = "instance::a_new_certificate_is_shown_without_a_restart";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        let before = rig.until_running().await;
        rig.authority = pgo_tls::Authority::generate(
            "another",
            jiff::Timestamp::now(),
            jiff::SignedDuration::from_hours(24),
        )
        .expect("an authority")
        .into();
        assert!(
            rig.connect().await.is_err(),
            "the server is still the old authority's"
        );
        rig.issue_certificate();
        eventually("the new certificate", async || rig.connect().await.is_ok()).await;
        let (after, _) = rig
            .until("running", |state| state.phase() == Phase::Running)
            .await;
        assert_eq!(
            (after.restarts, after.running_since),
            (0, before.running_since)
        );
        rig.stop().await;
    });
}

#[test]
fn the_passwords_that_the_secrets_say_are_those_that_the_roles_have() {
    let name = "instance::the_passwords_that_the_secrets_say_are_those_that_the_roles_have";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        rig.until_running().await;
        let kept = rig.connect().await.expect("with the first password");
        for (name, user, former) in PASSWORDS {
            rig.change_password(name, "an'other ü");
            let what = format!("{user} has the new password");
            eventually(&what, async || {
                rig.connect_as(user, "an'other ü").await.is_ok()
            })
            .await;
            assert!(rig.connect_as(user, former).await.is_err(), "{user}");
        }
        kept.query_one("SELECT 1", &[])
            .await
            .expect("who is in stays");
        // While it is down, too; and data that was kept may meet Secrets that were drawn anew.
        rig.stop().await;
        rig.change_password("user", "a third");
        rig.start().await;
        rig.until_running().await;
        let third = rig.connect_as("testuser", "a third").await;
        third.expect("the third password, once it runs");
        rig.stop().await;
    });
}

#[test]
fn a_server_that_hangs_is_not_ready() {
    let name = "instance::a_server_that_hangs_is_not_ready";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        rig.until_running().await;
        eventually("ready", async || rig.readyz().await.0 == 200).await;

        let stopped = pgo_agent::processes::working_in(&rig.settings.data);
        let all = |signal| {
            stopped
                .iter()
                .for_each(|pid| pgo_agent::processes::send(*pid, signal));
        };
        all(nix::sys::signal::Signal::SIGSTOP);
        eventually("not ready", async || rig.readyz().await.0 == 503).await;
        rig.until("told", |state| state.phase() == Phase::Recovering)
            .await;
        all(nix::sys::signal::Signal::SIGCONT);
        let state = rig.until_running().await;
        assert_eq!(state.restarts, 0);
        eventually("ready again", async || rig.readyz().await.0 == 200).await;

        let begin = std::time::Instant::now();
        rig.stop().await;
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "a fast shutdown is fast"
        );
    });
}
