//! Benchmarks and loads as their pod does them: the program itself, with PostgreSQL's own.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    rig::{PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
    worker::{self, ends_when_told, execute, extend, names, option, served},
};

/// A pod beside an instance that serves.
struct Job<'a> {
    rig: &'a Rig,
    folder: PathBuf,
}

impl<'a> Job<'a> {
    fn new(rig: &'a Rig) -> Self {
        let folder = rig.path().join("job");
        fs::create_dir_all(folder.join("files")).expect("a folder");
        Self { rig, folder }
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.join("files").join(name), text).expect("a file");
    }

    fn answer(&self) -> PathBuf {
        self.folder.join("answer")
    }

    fn command(&self, order: &Value) -> Command {
        let password = self.rig.settings.secrets.join("postgres/password");
        let mut command = worker::command(self.rig, "job", &self.answer());
        command
            .arg(option("files", &self.folder.join("files")))
            .arg(option("script", &self.folder.join("transactions.sql")))
            .arg(option("password", &password))
            .env("PGO_JOB", order.to_string());
        command
    }

    /// It runs to its end: its answer, or why there is none.
    async fn run(&self, order: &Value) -> Result<Value, String> {
        worker::said(self.command(order), &self.answer()).await
    }
}

fn benchmark(further: &Value) -> Value {
    let order = json!({
        "operation": "o", "work": "benchmark", "database": "userdb", "init": ["--quiet"], "options": [],
        "clients": 2, "threads": 1, "scale": 1, "transactions": 5,
    });
    extend(order, further)
}

fn load(further: &Value) -> Value {
    let order = json!({
        "operation": "o", "work": "load", "database": "userdb", "role": "postgres", "table": "people",
        "claim": "files", "file": "people.csv", "format": "csv",
    });
    extend(order, further)
}

#[test]
fn a_benchmark_measures_what_was_asked_for() {
    let name = "jobs::a_benchmark_measures_what_was_asked_for";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        let job = Job::new(&rig);
        let done = job.run(&benchmark(&json!({}))).await.expect("figures");
        let summary = done["summary"].as_str().expect("text");
        assert!(
            summary.contains("number of transactions actually processed: 10/10")
                && summary.contains("tps = "),
            "{summary}"
        );
        let output = done["output"].as_str().expect("text");
        assert!(output.contains("number of clients: 2"), "{output}");
        let history = "SELECT count(*)::text FROM pgbench_history";
        assert_eq!(names(&rig, history).await, ["10"]);

        execute(&rig, "CREATE TABLE noted (n int)").await;
        fs::write(
            job.folder.join("transactions.sql"),
            "INSERT INTO noted VALUES (1);",
        )
        .expect("a file");
        let own = json!({"script": "tx", "transactions": 3, "options": ["--protocol=prepared"]});
        job.run(&benchmark(&own)).await.expect("figures");
        assert_eq!(names(&rig, "SELECT count(*)::text FROM noted").await, ["6"]);

        fs::write(job.folder.join("transactions.sql"), "SELECT * FROM nosuch;").expect("a file");
        let why = job.run(&benchmark(&own)).await.expect_err("no such table");
        assert!(why.contains("relation \"nosuch\" does not exist"), "{why}");
        let why = job.run(&benchmark(&json!({"database": "nosuch"}))).await;
        let why = why.expect_err("no such database");
        assert!(why.contains("database \"nosuch\" does not exist"), "{why}");
        rig.stop().await;
    });
}

#[test]
fn a_file_is_loaded_as_a_whole_or_not_at_all() {
    let name = "jobs::a_file_is_loaded_as_a_whole_or_not_at_all";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(
            &rig,
            "CREATE TABLE people (id int PRIMARY KEY, name text); CREATE TABLE documents (d json)",
        )
        .await;
        let job = Job::new(&rig);
        job.file("people.csv", "1,Ann\n2,\"Bob, the second\"\n3,Zoë\n");
        let done = job.run(&load(&json!({}))).await.expect("loaded");
        assert_eq!(
            done["summary"],
            "3 rows of file people.csv on claim files are in people"
        );
        assert_eq!((&done["rows"], &done["bytes"]), (&3.into(), &33.into()));
        let rows = "SELECT id || name FROM people ORDER BY id";
        assert_eq!(
            names(&rig, rows).await,
            ["1Ann", "2Bob, the second", "3Zoë"]
        );

        job.file("documents.json", "{\"a\": \"x, \\\"y\\\"\"}\n{\"a\": 2}\n");
        let json =
            json!({"table": "public.documents (d)", "file": "documents.json", "format": "json"});
        job.run(&load(&json)).await.expect("loaded");
        let first = "SELECT coalesce(d->>'a', '') FROM documents ORDER BY 1";
        assert_eq!(names(&rig, first).await, ["2", "x, \"y\""]);

        // The place is told, the value is not.
        job.file("people.csv", "4,Dan\nsecret,Eve\n");
        let why = job.run(&load(&json!({}))).await.expect_err("no number");
        assert!(
            why.starts_with("line 2, column id: invalid input syntax for type integer: \"…\""),
            "{why}"
        );
        job.file("people.csv", "4,Dan\n1,secret\n");
        let why = job.run(&load(&json!({}))).await.expect_err("it is there");
        assert!(
            why.contains("unique constraint \"people_pkey\"") && !why.contains("secret"),
            "{why}"
        );
        job.file("people.csv", "4,Dan\n\\.\n5,Eve\n");
        let why = job
            .run(&load(&json!({})))
            .await
            .expect_err("it would end early");
        assert!(why.contains("line 2 of file people.csv"), "{why}");
        assert_eq!(
            names(&rig, "SELECT count(*)::text FROM people").await,
            ["3"]
        );
        rig.stop().await;
    });
}

#[test]
fn a_load_has_the_rights_of_its_role_and_reads_only_the_claim() {
    let name = "jobs::a_load_has_the_rights_of_its_role_and_reads_only_the_claim";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(
            &rig,
            "CREATE TABLE people (line text); CREATE ROLE nobody; CREATE ROLE \"a writer\"; \
                       GRANT INSERT ON people TO \"a writer\"",
        )
        .await;
        let job = Job::new(&rig);
        job.file("people.csv", "Ann\n");
        job.run(&load(&json!({"role": "a writer"})))
            .await
            .expect("loaded");
        let why = job
            .run(&load(&json!({"role": "nobody"})))
            .await
            .expect_err("no right");
        assert!(why.contains("permission denied for table people"), "{why}");
        let why = job
            .run(&load(&json!({"role": "nosuch"})))
            .await
            .expect_err("no role");
        assert!(why.contains("role \"nosuch\" does not exist"), "{why}");
        symlink(
            rig.settings.secrets.join("postgres/password"),
            job.folder.join("files/link"),
        )
        .expect("a link");
        for (file, part) in [
            ("link", "it is a link that leads out of the claim"),
            ("nosuch.csv", "No such file"),
            ("..", "it is a link that leads out of the claim"),
        ] {
            let why = job
                .run(&load(&json!({"file": file})))
                .await
                .expect_err(file);
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(names(&rig, "SELECT line FROM people").await, ["Ann"]);
        rig.stop().await;
    });
}

#[test]
fn one_that_is_told_to_end_ends_and_says_nothing() {
    let name = "jobs::one_that_is_told_to_end_ends_and_says_nothing";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        let job = Job::new(&rig);
        let order = benchmark(&json!({"options": ["--time=600"]}));
        let mut child = job.command(&order).spawn().expect("the agent starts");
        let busy = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'pgo-job'";
        let measured =
            "SELECT (count(*) > 0)::text FROM pg_class WHERE relname = 'pgbench_history'";
        eventually("it measures", async || {
            names(&rig, measured).await == ["true"] && names(&rig, busy).await == ["2"]
        })
        .await;
        ends_when_told(&mut child, &job.answer()).await;
        eventually("its sessions end", async || {
            names(&rig, busy).await == ["0"]
        })
        .await;
        rig.stop().await;
    });
}
