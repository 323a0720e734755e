//! Policies, as the reconciler has them applied.

use pgo_postgres::Session;
use pgo_proto::agent::{ApplyPolicyRequest, policies_client::PoliciesClient};
use prost_types::Timestamp;
use tonic::{Code, Status};

use crate::{
    replica::pair,
    rig::{DEADLINE, PROGRAMS, Rig},
    unprivileged::unprivileged,
};

const RECONCILER: &str = "reconciler.pgo";

/// Asks an agent to apply SQL on the server that was started then; how many notices it gave.
async fn apply(
    rig: &Rig,
    identity: &str,
    (operation, started): (&str, Option<Timestamp>),
    sql: &str,
) -> Result<u32, Status> {
    let request = ApplyPolicyRequest {
        operation: operation.to_owned(),
        started,
        database: "postgres".to_owned(),
        sql: sql.to_owned(),
        role: String::new(),
    };
    send(rig, identity, request).await
}

async fn send(rig: &Rig, identity: &str, request: ApplyPolicyRequest) -> Result<u32, Status> {
    let mut client = PoliciesClient::new(rig.channel(identity));
    let answer = client.apply(request).await?;
    Ok(answer.into_inner().notices)
}

/// The same, of an operation of its own, on the server that runs.
async fn run(rig: &Rig, sql: &str) -> Result<u32, Status> {
    let started = rig.until_running().await.started;
    let operation = format!("of {sql}");
    apply(rig, RECONCILER, (&operation, started), sql).await
}

async fn refused(rig: &Rig, sql: &str) -> String {
    let refused = run(rig, sql).await.expect_err(sql);
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    refused.message().to_owned()
}

async fn names(rig: &Rig, query: &str) -> Vec<String> {
    let session = Session::open(&rig.settings.socket(), "postgres").await;
    let session = session.expect("a session");
    session.names(query, DEADLINE).await.expect("an answer")
}

const TABLES: &str = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";

#[test]
fn a_policy_is_applied_as_a_whole_and_an_error_is_told_with_its_place_and_without_its_text() {
    let name = "policy::a_policy_is_applied_as_a_whole_and_an_error_is_told_with_its_place_and_without_its_text";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        rig.until_running().await;
        let three = "create table a(i int);\ncreate table b(i int);\nselect * from b;\n";
        assert_eq!(run(&rig, three).await.expect("applied"), 0);
        assert_eq!(names(&rig, TABLES).await, ["a", "b"]);
        let noticed = run(
            &rig,
            "create table if not exists a(i int); drop table if exists c;",
        );
        assert_eq!(noticed.await.expect("applied"), 2);

        // Nothing of one that fails stays, and of what failed only the place is told.
        let wrong = "create table c(i int);\n\n  alter role postgres paswort 'hunter2';\n";
        assert_eq!(
            refused(&rig, wrong).await,
            "line 3, column 23: unrecognized role option \"…\" (SQLSTATE 42601)"
        );
        let late = "create table c(i int);\n-- hunter2\n\nselect 1/i from (values (0)) as v(i);";
        assert_eq!(
            refused(&rig, late).await,
            "line 4, column 1: division by zero (SQLSTATE 22012)"
        );
        let raised = "create table c(i int);\ndo $$ begin raise exception 'hunter2'; end $$;";
        let said = refused(&rig, raised).await;
        assert!(
            said.starts_with("line 2, column 1: an error was raised"),
            "{said}"
        );
        assert_eq!(names(&rig, TABLES).await, ["a", "b"]);

        // What no transaction takes runs alone, and else nothing runs.
        assert_eq!(run(&rig, "create database one;").await.expect("made"), 0);
        let mixed = "create table c(i int);\ncreate database two;";
        let said = refused(&rig, mixed).await;
        assert!(
            said.starts_with("line 2, column 1: CREATE DATABASE cannot"),
            "{said}"
        );
        let open = refused(&rig, "begin; create table c(i int);").await;
        assert!(open.contains("does not end it"), "{open}");
        let copy = refused(&rig, "create table c(i int);\ncopy c from stdin;").await;
        assert!(copy.contains("copies from or to the client"), "{copy}");
        assert_eq!(names(&rig, TABLES).await, ["a", "b"]);

        let own = run(&rig, "begin; create table c(i int); commit;").await;
        assert_eq!(own.expect("it has transactions of its own"), 0);
        assert_eq!(names(&rig, TABLES).await, ["a", "b", "c"]);
        rig.stop().await;
    });
}

#[test]
fn an_operation_is_run_once_and_only_by_the_server_that_is_meant_for_who_may_ask() {
    let name =
        "policy::an_operation_is_run_once_and_only_by_the_server_that_is_meant_for_who_may_ask";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        let started = primary.until_running().await.started;
        let make = "create table a as select 1 as i; select pg_sleep(0.3);";
        let denied = apply(&primary, "apiserver.pgo", ("one", started), make).await;
        let denied = denied.expect_err("not its task");
        assert_eq!(denied.code(), Code::PermissionDenied);

        let other = Some(Timestamp {
            seconds: 1,
            nanos: 0,
        });
        for (operation, started, code) in [
            ("one", None, Code::InvalidArgument),
            ("one", other, Code::Unavailable),
        ] {
            let refused = apply(&primary, RECONCILER, (operation, started), make).await;
            assert_eq!(refused.expect_err("refused").code(), code);
        }
        let of_replica = replica.until_running().await.started;
        let refused = apply(&replica, RECONCILER, ("one", of_replica), make).await;
        let refused = refused.expect_err("a replica");
        assert!(refused.message().contains("not the primary"), "{refused}");

        // Twice at the same time, and again: one of them makes the table, and it is there already for any other.
        let ask = || apply(&primary, RECONCILER, ("one", started), make);
        let (first, second) = tokio::join!(ask(), ask());
        assert_eq!(first.expect("applied"), 0);
        assert_eq!(second.expect("the same"), 0);
        assert_eq!(ask().await.expect("the same"), 0);
        let again = apply(&primary, RECONCILER, ("two", started), make).await;
        let again = again.expect_err("it is there");
        assert!(again.message().contains("42P07"), "{again}");
        replica.stop().await;
        primary.stop().await;
    });
}

#[test]
fn a_policy_runs_in_another_database_as_another_role_where_that_is_asked_for() {
    let name = "policy::a_policy_runs_in_another_database_as_another_role_where_that_is_asked_for";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        run(&rig, r#"create role "app \user""#)
            .await
            .expect("a role");
        let started = rig.until_running().await.started;
        let there = async |database: &str, role: &str, sql: &str| {
            let request = ApplyPolicyRequest {
                operation: format!("{sql} in {database} as {role}"),
                started,
                database: database.to_owned(),
                sql: sql.to_owned(),
                role: role.to_owned(),
            };
            send(&rig, RECONCILER, request).await
        };
        there(
            "userdb",
            "",
            r#"create schema theirs authorization "app \user""#,
        )
        .await
        .expect("as the superuser");
        there("userdb", r"app \user", "create table theirs.mine(i int)")
            .await
            .expect("as the role");
        let own = there(
            "userdb",
            r"app \user",
            "reset role; create table public.other(i int)",
        )
        .await;
        let own = own.expect_err("what the role may not do");
        assert!(own.message().contains("42501"), "{own}");
        for (database, role, what) in [
            ("nowhere", "", "database \"nowhere\" does not exist"),
            ("userdb", "nobody", "\"nobody\""),
        ] {
            let refused = there(database, role, "select 1").await.expect_err(what);
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            assert!(refused.message().contains(what), "{refused}");
        }
        let owner = "SELECT tableowner::text FROM pg_tables WHERE tablename = 'mine'";
        let session = Session::open(&rig.settings.socket(), "userdb").await;
        let owners = session.expect("a session").names(owner, DEADLINE).await;
        assert_eq!(owners.expect("an answer"), [r"app \user"]);
        rig.stop().await;
    });
}
