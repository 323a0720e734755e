//! What is done with the data of a cluster on request, a drill, a dump, a copy, a benchmark and a policy, while the operator, the
//! primary or the repository is killed: each has one end that is true, and the cluster has its rows.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::{BACKED_UP, unique},
    containers::{kill, kill_all_of, process, until_whole},
    events::fields,
    kubectl,
    kubernetes::{ConfigMap, get, text},
    namespace, pgo,
    turns::{alone, together},
    until,
    until::seen,
};

/// How long one may take until it works, with its pod, where others begin beside it on two cores.
const STARTED: Duration = Duration::from_secs(240);

/// How long one may take to its end, where a pod has to be made again, too.
const ENDED: Duration = Duration::from_secs(480);

/// The services of the operator but the one that tells of events.
const OPERATOR: [&str; 3] = ["reconciler", "scheduler", "apiserver"];

/// Holds the rows until there is a table `go_on`, for 150 s at most, so that a dump waits.
const HOLD: &str = "BEGIN; LOCK TABLE kept IN ACCESS EXCLUSIVE MODE;
DO $$ BEGIN
    FOR i IN 1..1500 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'go_on');
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
COMMIT;";

/// How many hold the rows.
const HELD: &str =
    "SELECT count(*) FROM pg_locks WHERE relation = 'testuser.kept'::regclass AND granted;";

/// Something that is asked for.
struct Task {
    /// What it is.
    name: &'static str,
    /// The words of `pgo` before the name of the cluster, and those behind it.
    words: (&'static [&'static str], &'static [&'static str]),
    /// How many of it are at work, as PostgreSQL sees it.
    at_work: &'static str,
    /// The type of its events, and their field that tells it from others of the type, with its value.
    events: (&'static str, &'static str, &'static str),
    /// What the type of its completion has besides.
    completed: &'static str,
}

const DUMP: Task = Task {
    name: "a dump",
    words: (&["backup"], &["--backup-type=pgdump"]),
    at_work: "SELECT count(*) FROM pg_locks WHERE relation = 'testuser.kept'::regclass AND NOT granted;",
    events: ("CreateDump", "/clustername", ""),
    completed: "Completed",
};

/// It takes some 20 s at this rate.
const COPY: Task = Task {
    name: "a copy",
    words: (
        &["backup"],
        &["--backup-type=pgbasebackup", "--backup-opts=--max-rate=2M"],
    ),
    at_work: "SELECT count(*) FROM pg_stat_progress_basebackup;",
    events: ("CreateBackup", "/backuptype", "pgbasebackup"),
    completed: "Completed",
};

const BENCHMARK: Task = Task {
    name: "a benchmark",
    words: (
        &["benchmark"],
        &["--database=userdb", "--benchmark-opts=--time=20"],
    ),
    at_work: "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgo-job';",
    events: ("Benchmark", "/clustername", ""),
    completed: "Completed",
};

/// The session that applies it tells nothing of its statements, so a lock shows it.
const POLICY: &str = "CREATE TABLE applied AS SELECT pg_advisory_xact_lock(4711) IS NULL AS l, pg_sleep(20) IS NULL AS n;\n";

/// How many policies are at work.
const APPLIES: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711;";

impl Task {
    fn ask(&self, cluster: &Cluster) {
        let mut words = self.words.0.to_vec();
        words.push(&cluster.name);
        words.extend(self.words.1);
        pgo(&words).ok();
    }

    fn until_at_work(&self, cluster: &Cluster) {
        until_count(cluster, self.name, self.at_work);
    }

    /// The types of the ends of those that were asked for, in order.
    fn ends(&self, cluster: &Cluster, watch: &Watch) -> Vec<String> {
        let events = watch.of(&cluster.uid());
        let (kind, field, value) = self.events;
        let ends = [
            format!("{kind}{}", self.completed),
            format!("{kind}Failure"),
        ];
        let mut found = Vec::new();
        for event in &events {
            let of = text(event, "/eventheader/EventType");
            if ends.contains(&of) && (value.is_empty() || text(event, field) == value) {
                found.push(of);
            }
        }
        found
    }

    /// Waits for the end that comes after so many others.
    fn end(&self, cluster: &Cluster, watch: &Watch, before: usize) -> String {
        until(&format!("the end of {}", self.name), ENDED, || {
            let ends = self.ends(cluster, watch);
            let end = ends.get(before).cloned();
            end.ok_or_else(|| {
                let status = cluster.object().map(|one| one["status"].clone());
                let status = status.unwrap_or_default();
                format!("{ends:?}; {} {}", status["dump"], status["jobs"])
            })
        })
    }
}

fn until_count(cluster: &Cluster, what: &str, query: &str) {
    until(&format!("{what} at work"), STARTED, || {
        let count = cluster.psql_as_superuser(query);
        let some = count.status.success() && count.out.trim() != "0";
        seen(some, || count.to_string())
    });
}

fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT count(*) FROM kept;")
}

/// A cluster with rows and a backup.
fn backed_up(prefix: &str) -> Cluster {
    let cluster = Cluster::with_repository(prefix, &["--restore-drills=never"]);
    cluster
        .psql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n;")
        .ok();
    let full = ["backup", &cluster.name, "--backup-opts=--type=full"];
    pgo(&[&full[..], &["--wait", "--timeout=3m"]].concat()).ok();
    cluster
}

/// The pod of its drill, once it is at work.
fn until_drilled(cluster: &Cluster) -> Value {
    let name = format!("{}-restore-drill", cluster.name);
    until("a drill at work", STARTED, || {
        let pod = get("pod", &name, &namespace()).ok_or("no pod")?;
        match text(&pod, "/status/phase").as_str() {
            "Running" => Ok(pod),
            phase => Err(format!("{phase}: {}", pod["status"])),
        }
    })
}

/// A policy of the namespace, which goes with this.
struct Policy(String);

impl Policy {
    fn of(prefix: &str, sql: &str) -> Self {
        let policy = Self(unique(prefix));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("policy.sql");
        std::fs::write(&file, sql).expect("it can be written");
        let file = format!("--in-file={}", file.display());
        pgo(&["create", "policy", &policy.0, &file]).ok();
        policy
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        pgo(&["delete", "policy", &self.0, "--no-prompt"]);
    }
}

/// Asks for a dump, which waits for the rows, and harms something meanwhile; what came of holding the rows.
fn dump(cluster: &Cluster, harm: impl FnOnce()) -> Ran {
    thread::scope(|scope| {
        let holds = scope.spawn(|| cluster.psql(HOLD));
        until_count(cluster, "the lock", HELD);
        DUMP.ask(cluster);
        DUMP.until_at_work(cluster);
        harm();
        holds.join().expect("it ended")
    })
}

/// Applies a policy, and harms something meanwhile; what `pgo` said, which waits for the end.
fn apply(name: &str, cluster: &Cluster, harm: impl FnOnce()) -> Ran {
    let selector = format!("--selector=name={}", cluster.name);
    thread::scope(|scope| {
        let applies = scope.spawn(|| pgo(&["apply", name, &selector]));
        until_count(cluster, "a policy", APPLIES);
        harm();
        applies.join().expect("it ended")
    })
}

fn kill_primary(cluster: &Cluster) {
    kill(process(&cluster.pod(), "database").expect("its process 1"));
    until("the cluster writable", BACKED_UP, || {
        let wrote = cluster.psql_as_superuser("CHECKPOINT;");
        seen(wrote.status.success(), || wrote.to_string())
    });
}

#[test]
fn all_that_is_at_work_survives_the_operator() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = backed_up("taskskill");
    let policy = Policy::of("slow", POLICY);
    let held = dump(&cluster, || {
        for name in OPERATOR {
            assert!(kill_all_of(name) > 0, "no process of {name} was there");
        }
        until_whole();
        cluster.psql("CREATE TABLE go_on ();").ok();
    });
    held.ok();
    assert_eq!(DUMP.end(&cluster, &watch, 0), "CreateDumpCompleted");
    for task in [&COPY, &BENCHMARK] {
        task.ask(&cluster);
        task.until_at_work(&cluster);
        assert!(kill_all_of("reconciler") > 0);
        until_whole();
        let end = task.end(&cluster, &watch, 0);
        assert_eq!(end, format!("{}Completed", task.events.0));
    }
    let applied = apply(&policy.0, &cluster, || {
        assert!(kill_all_of("reconciler") > 0);
        until_whole();
    });
    applied.ok();
    watch.until(&cluster.uid(), "ApplyPolicy");
    pgo(&["drill", &cluster.name]).ok();
    until_drilled(&cluster);
    assert!(kill_all_of("reconciler") > 0);
    until_whole();
    let proven = until("the end of the drill", ENDED, || {
        let ends = watch.of(&cluster.uid());
        let proven = fields(&ends, "VerifyRestoreCompleted", "/path");
        proven.first().cloned().ok_or_else(|| {
            let failed = fields(&ends, "VerifyRestoreFailure", "/cause");
            format!("{failed:?}")
        })
    });
    assert!(proven.ends_with('F'), "{proven}");
    assert_eq!(rows(&cluster), "1000");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn what_needs_the_primary_has_one_end_where_that_is_killed_and_can_be_done_again() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("taskprimary");
    cluster
        .psql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n;")
        .ok();
    let policy = Policy::of("slow", POLICY);
    // Who holds the rows ends with the server.
    dump(&cluster, || kill_primary(&cluster));
    for task in [&DUMP, &COPY, &BENCHMARK] {
        if task.name != DUMP.name {
            task.ask(&cluster);
            task.until_at_work(&cluster);
            kill_primary(&cluster);
        }
        let end = task.end(&cluster, &watch, 0);
        println!("{}: {end}", task.name);
        task.ask(&cluster);
        let end = task.end(&cluster, &watch, 1);
        assert_eq!(end, format!("{}Completed", task.events.0), "{}", task.name);
        assert_eq!(task.ends(&cluster, &watch).len(), 2, "{}", task.name);
    }
    // A transaction that was not committed left nothing.
    apply(&policy.0, &cluster, || kill_primary(&cluster));
    let failed = watch.until(&cluster.uid(), "ApplyPolicyFailure");
    let causes = fields(&failed, "ApplyPolicyFailure", "/cause");
    assert!(!causes[0].is_empty(), "{causes:?}");
    let left =
        "\\connect postgres\nSELECT count(*) || ' left' FROM pg_class WHERE relname = 'applied';";
    let left = cluster.psql_as_superuser(left).ok();
    assert!(left.out.contains("0 left"), "{left}");
    assert_eq!(rows(&cluster), "1000");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_drill_goes_on_where_the_repository_or_the_primary_is_killed() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = backed_up("drillkill");
    let selector = format!("name={}-backrest-shared-repo", cluster.name);
    let here = namespace();
    pgo(&["drill", &cluster.name]).ok();
    until_drilled(&cluster);
    let now = ["delete", "pod", "-l", &selector, "-n", &here];
    kubectl(&[&now[..], &["--grace-period=0", "--force"]].concat()).ok();
    kill_primary(&cluster);
    until("a proven backup", ENDED, || {
        let shown = pgo(&["show", "backup", &cluster.name]);
        let pod = get("pod", &format!("{}-restore-drill", cluster.name), &here);
        seen(shown.out.contains("  proven  "), || {
            format!("{shown}\n{pod:?}")
        })
    });
    let told = watch.until(&cluster.uid(), "VerifyRestoreCompleted");
    let wrong = fields(&told, "VerifyRestoreFailure", "/cause");
    assert_eq!(wrong, [""; 0], "it is a good backup");
    assert_eq!(rows(&cluster), "1000");
    watch.check_to_its_end(&cluster.uid());
}

/// The times at which runs were due that these events tell of.
fn due(events: &[Value], event_type: &str) -> Vec<String> {
    fields(events, event_type, "/due")
}

#[test]
fn each_run_of_a_schedule_is_done_once_while_schedulers_are_killed_where_it_is_due() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = Cluster::ready("everyfive");
    cluster.psql("CREATE TABLE runs (at timestamptz);").ok();
    let policy = Policy::of("notes", "INSERT INTO testuser.runs VALUES (now());\n");
    let name = &policy.0;
    let of_policy = format!("--policy={name}");
    let secret = format!("--secret={}-testuser-secret", cluster.name);
    let schedule = [
        "create",
        "schedule",
        &cluster.name,
        "--schedule=@every 5s",
        "--schedule-type=policy",
    ];
    pgo(&[&schedule[..], &[&of_policy, "--database=userdb", &secret]].concat()).ok();
    let schedule = ConfigMap(format!("{}-policy-{name}", cluster.name));
    let uid = cluster.uid();
    for killed in 1..=4 {
        watch.until_count(&uid, "ScheduleRun", 2 * killed);
        assert!(kill_all_of("scheduler") > 0);
    }
    until_whole();
    let so_far = due(&watch.of(&uid), "ScheduleRun").len();
    watch.until_count(&uid, "ScheduleRun", so_far + 2);
    let named = format!("--schedule-name={}", schedule.0);
    pgo(&["delete", "schedule", &named, "--no-prompt"]).ok();
    watch.check_to_its_end(&uid);
    let events = watch.of(&uid);
    let runs = due(&events, "ScheduleRun");
    let mut once = runs.clone();
    once.dedup();
    assert_eq!(once, runs, "each once, in order");
    let others = [
        due(&events, "ScheduleRunSkipped"),
        due(&events, "ScheduleRunMissed"),
    ]
    .concat();
    assert!(
        others.iter().all(|one| !runs.contains(one)),
        "{others:?} {runs:?}"
    );
    let applied = fields(&events, "ApplyPolicy", "/policyname");
    assert_eq!(applied.len(), runs.len());
    assert_eq!(
        cluster.ask("SELECT count(*) FROM runs;"),
        runs.len().to_string()
    );
}
