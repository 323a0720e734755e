//! Runs that are due: tasks that are made, notes on the cluster, and what the schedule says of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use pgo_k8s::lease::Leadership;
use pgo_scheduler::{
    rounds::Clock,
    run::{CLAIMED_RUN, LAST_MISSED, LAST_RUN, LAST_SKIPPED, NEXT_RUN, SCHEDULE_ERROR},
};
use serde_json::{Value, json};

use crate::{
    harness::{Scheduler, eventually, start_at},
    server::{Fate, Server},
};

const FULL: &str = "hippo-backrest-full-backup-schedule";

/// A clock that the test sets.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn at(time: &str) -> Self {
        let time: Timestamp = time.parse().expect("a time");
        Self(Arc::new(AtomicI64::new(time.as_second())))
    }

    fn clock(&self) -> Clock {
        let hands = self.clone();
        Arc::new(move || hands.now())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).expect("a time")
    }

    fn turn(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A cluster with pgBackRest, at ten.
fn installation() -> (Server, Hands) {
    let hands = Hands::at("2026-10-15T10:00:00Z");
    let server = Server::at(hands.clock());
    server.make_cluster("hippo", json!({"pgo-backrest": "true"}));
    (server, hands)
}

fn lead(server: &Server, hands: &Hands) -> Scheduler {
    start_at(server, Leadership::Leading, hands.clock())
}

/// Makes it look at its clock: the label of a cluster changes.
fn wake(server: &Server) {
    server.edit("pgclusters", "hippo", |hippo| {
        let n = hippo["metadata"]["labels"]["n"]
            .as_str()
            .map_or(0, str::len);
        hippo["metadata"]["labels"]["n"] = json!("n".repeat(n % 60 + 1));
    });
}

async fn awake(server: &Server, what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || {
        wake(server);
        condition()
    })
    .await;
}

fn said(server: &Server, schedule: &str, annotation: &str) -> String {
    server.annotation(schedule, annotation).unwrap_or_default()
}

fn kinds(told: &[(String, Value)]) -> Vec<&'static str> {
    let kind = |said: &Value| match (&said["skipped"], &said["missed"]) {
        (Value::Null, Value::Null) => "begun",
        (Value::Null, _) => "missed",
        _ => "skipped",
    };
    told.iter().map(|(_, said)| kind(said)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_due_is_a_task_also_for_a_cluster_without_backups() {
    let (server, hands) = installation();
    server.make_cluster("plain", json!({"pgo-backrest": "false"}));
    server.apply_policy("grants", "plain", "0 11 * * *");
    let _scheduler = lead(&server, &hands);
    eventually("the next run to be said", || {
        said(&server, "grants", NEXT_RUN) == "2026-10-15T11:00:00Z"
    })
    .await;
    hands.turn(HOUR);
    awake(&server, "a run", || {
        !said(&server, "grants", LAST_RUN).is_empty()
    })
    .await;
    let name = "policy-plain-p-schedule";
    let task = server.get("pgtasks", name).expect("the task");
    assert_eq!(task["spec"]["tasktype"], "applypolicy");
    let expected = json!({
        "pg-cluster": "plain", "policy": "p", "database": "d", "secret": "s", "schedule": "grants",
        "due": "2026-10-15T11:00:00Z",
    });
    assert_eq!(task["spec"]["parameters"], expected);
    server.end_task(name, false);
    let ended = format!("2026-10-15T11:00:00Z failed {}", server.made()[0]);
    eventually("its end", || said(&server, "grants", LAST_RUN) == ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_due_is_a_task_once_what_else_is_copied_or_dumped_has_ended() {
    let (server, hands) = installation();
    server.make_cluster("plain", json!({"pgo-backrest": "false"}));
    server.apply_copy("backup-plain", "plain", "0 11 * * *");
    server.make_task("backup-plain-pgdump", "pgdump", "plain");
    let _scheduler = lead(&server, &hands);
    eventually("the next run to be said", || {
        said(&server, "backup-plain", NEXT_RUN) == "2026-10-15T11:00:00Z"
    })
    .await;
    hands.turn(HOUR);
    // A schedule of another cluster shows that the scheduler has been at work.
    server.apply_backup("b-full", "hippo", "full", "30 11 * * *");
    hands.turn(MINUTE * 30);
    awake(&server, "another run", || {
        server.get("pgtasks", FULL).is_some()
    })
    .await;
    let name = "plain-backupworkflow";
    assert_eq!(server.get("pgtasks", name), None, "a dump goes on");
    server.end_task("backup-plain-pgdump", true);
    awake(&server, "a run", || {
        !said(&server, "backup-plain", LAST_RUN).is_empty()
    })
    .await;
    let task = server.get("pgtasks", name).expect("the task");
    assert_eq!(task["spec"]["tasktype"], "pgbasebackup");
    let expected = json!({
        "pg-cluster": "plain", "pvc-name": "v", "schedule": "backup-plain", "due": "2026-10-15T11:00:00Z",
    });
    assert_eq!(task["spec"]["parameters"], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_due_during_a_restore_begins_once_that_has_ended() {
    for (tasktype, parameter) in [
        ("restore", "backrest-restore-from-cluster"),
        ("pgrestore", "pgrestore-from-cluster"),
        ("pgbasebackuprestore", "pgbasebackup-restore-from-cluster"),
    ] {
        let (server, hands) = installation();
        server.apply_backup("nightly", "hippo", "full", "0 11 * * *");
        server.make_task("the-restore", tasktype, "");
        server.edit("pgtasks", "the-restore", |task| {
            task["spec"]["parameters"] = json!({parameter: "hippo"});
        });
        server.make_cluster("plain", json!({"pgo-backrest": "true"}));
        server.apply_backup("p-full", "plain", "full", "30 11 * * *");
        let _scheduler = lead(&server, &hands);
        eventually("the next run to be said", || {
            said(&server, "nightly", NEXT_RUN) == "2026-10-15T11:00:00Z"
        })
        .await;
        hands.turn(HOUR);
        // A schedule of another cluster shows that the scheduler has been at work.
        hands.turn(MINUTE * 30);
        awake(&server, "another run", || {
            !said(&server, "p-full", LAST_RUN).is_empty()
        })
        .await;
        assert_eq!(server.get("pgtasks", FULL), None, "a {tasktype} goes on");
        server.end_task("the-restore", true);
        awake(&server, "a run", || {
            !said(&server, "nightly", LAST_RUN).is_empty()
        })
        .await;
        assert!(server.get("pgtasks", FULL).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_due_is_a_task_and_what_became_of_it_is_said() {
    let (server, hands) = installation();
    server.apply_backup("nightly", "hippo", "full", "0 11 * * *");
    let scheduler = lead(&server, &hands);
    eventually("the next run to be said", || {
        said(&server, "nightly", NEXT_RUN) == "2026-10-15T11:00:00Z"
    })
    .await;
    assert_eq!(server.made(), [""; 0]);
    hands.turn(HOUR);
    awake(&server, "a run", || {
        !said(&server, "nightly", LAST_RUN).is_empty()
    })
    .await;
    let id = server.made()[0].clone();
    let task = server.get("pgtasks", FULL).expect("the task");
    let parameters = &task["spec"]["parameters"];
    let expected = json!({
        "job-name": FULL, "pg-cluster": "hippo", "podname": "", "containername": "database", "backrest-command": "backup",
        "backrest-opts": "--type=full", "backrest-storage-type": "", "schedule": "nightly", "due": "2026-10-15T11:00:00Z",
    });
    assert_eq!(*parameters, expected);
    assert_eq!(task["spec"]["tasktype"], "backrest");
    let hippo = server.get("pgclusters", "hippo").expect("the cluster");
    let owner = &task["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(*owner, hippo["metadata"]["uid"]);
    assert_eq!(
        said(&server, "nightly", LAST_RUN),
        format!("2026-10-15T11:00:00Z running {id}")
    );
    assert_eq!(said(&server, "nightly", NEXT_RUN), "2026-10-16T11:00:00Z");
    assert_eq!(said(&server, "nightly", CLAIMED_RUN), "");
    let told = server.told();
    assert_eq!(kinds(&told), ["begun"]);
    assert_eq!(told[0].0, id);
    let text = scheduler.telemetry.metrics_text();
    assert!(
        text.contains(r#"pgo_scheduler_runs_total{type="pgbackrest"} 1"#),
        "{text}"
    );

    server.end_task(FULL, true);
    let ended = format!("2026-10-15T11:00:00Z completed {id}");
    eventually("its end", || said(&server, "nightly", LAST_RUN) == ended).await;
    // The next one takes the place of the former one, which is over.
    hands.turn(HOUR * 24);
    awake(&server, "another run", || server.made().len() == 2).await;
    awake(&server, "that to be said", || server.told().len() == 2).await;
    server.end_task(FULL, false);
    eventually("its end", || {
        said(&server, "nightly", LAST_RUN).contains(" failed ")
    })
    .await;
    // Everything that it may do.
    assert_eq!(server.unused_rights(), [""; 0]);
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_run_is_skipped_with_the_reason() {
    let (server, hands) = installation();
    server.make_cluster("plain", json!({"pgo-backrest": "false"}));
    server.make_cluster("silent", json!({}));
    server.make_cluster("asked", json!({}));
    server.edit("pgclusters", "asked", |asked| {
        asked["spec"] = json!({"userlabels": {"pgo-backrest": "true"}});
    });
    server.apply_backup("a", "plain", "full", "0 11 * * *");
    server.apply_backup("b", "nobody", "full", "0 11 * * *");
    // pgo.yaml, which is not there, has none either.
    server.apply_backup("c", "silent", "full", "0 11 * * *");
    server.apply_backup("d", "asked", "full", "0 11 * * *");
    let scheduler = lead(&server, &hands);
    eventually("it to be read", || !said(&server, "c", NEXT_RUN).is_empty()).await;
    hands.turn(HOUR);
    awake(&server, "all to be skipped", || {
        ["a", "b", "c"]
            .iter()
            .all(|name| !said(&server, name, LAST_SKIPPED).is_empty())
    })
    .await;
    let why = |name: &str| said(&server, name, LAST_SKIPPED);
    assert!(
        why("a").starts_with("2026-10-15T11:00:00Z cluster plain has no pgBackRest"),
        "{}",
        why("a")
    );
    assert!(
        why("b").contains("there is no cluster nobody in namespace pgouser1"),
        "{}",
        why("b")
    );
    assert!(
        why("c").contains("cluster silent has no pgBackRest"),
        "{}",
        why("c")
    );
    awake(&server, "the clusters to be told", || {
        server.told().len() == 3
    })
    .await;
    let mut kinds = kinds(&server.told());
    kinds.sort_unstable();
    assert_eq!(kinds, ["begun", "skipped", "skipped"]);
    assert_eq!(
        server.names("pgtasks"),
        ["asked-backrest-full-backup-schedule"]
    );
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_one_cluster_follow_each_other_the_full_backup_first() {
    let (server, hands) = installation();
    server.apply_backup("a-incr", "hippo", "incr", "0 11 * * *");
    server.apply_backup("b-full", "hippo", "full", "0 11 * * *");
    let scheduler = lead(&server, &hands);
    eventually("both to be read", || {
        !said(&server, "b-full", NEXT_RUN).is_empty()
    })
    .await;
    hands.turn(HOUR);
    awake(&server, "a run", || server.names("pgtasks").len() == 1).await;
    assert_eq!(server.names("pgtasks"), [FULL]);
    // It waits, and says so by a time that is over.
    hands.turn(MINUTE * 5);
    awake(&server, "the run to be said", || {
        !said(&server, "b-full", LAST_RUN).is_empty()
    })
    .await;
    assert_eq!(said(&server, "a-incr", NEXT_RUN), "2026-10-15T11:00:00Z");
    server.end_task(FULL, true);
    awake(&server, "the other run", || server.made().len() == 2).await;
    awake(&server, "that to be said", || {
        !said(&server, "a-incr", LAST_RUN).is_empty()
    })
    .await;
    let last = said(&server, "a-incr", LAST_RUN);
    assert!(last.starts_with("2026-10-15T11:00:00Z running "), "{last}");
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_finds_its_former_one_at_work_is_skipped_and_one_that_waits_for_too_long_too() {
    let (server, hands) = installation();
    server.apply_backup("often", "hippo", "full", "*/30 * * * *");
    server.apply_backup("daily", "hippo", "incr", "45 10 * * *");
    let scheduler = lead(&server, &hands);
    eventually("both to be read", || {
        !said(&server, "daily", NEXT_RUN).is_empty()
    })
    .await;
    hands.turn(MINUTE * 30);
    awake(&server, "a run", || {
        !said(&server, "often", LAST_RUN).is_empty()
    })
    .await;
    hands.turn(MINUTE * 30);
    awake(&server, "the next to be skipped", || {
        !said(&server, "often", LAST_SKIPPED).is_empty()
    })
    .await;
    let why = said(&server, "often", LAST_SKIPPED);
    assert_eq!(
        why,
        "2026-10-15T11:00:00Z the run that was due at 2026-10-15T10:30:00Z has not ended"
    );
    hands.turn(MINUTE * 46);
    awake(&server, "the other one to be skipped", || {
        !said(&server, "daily", LAST_SKIPPED).is_empty()
    })
    .await;
    let why = said(&server, "daily", LAST_SKIPPED);
    assert!(
        why.starts_with("2026-10-15T10:45:00Z another run of the cluster went on for too long"),
        "{why}"
    );
    assert_eq!(server.made().len(), 1);
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_absence_the_last_run_begins_late_and_those_before_it_are_missed() {
    let (server, hands) = installation();
    server.apply_backup("hourly", "hippo", "incr", "0 * * * *");
    server.apply_backup("daily", "hippo", "full", "0 11 * * *");
    hands.turn(HOUR * 4 + MINUTE * 20);
    let scheduler = lead(&server, &hands);
    eventually("a late run", || {
        !said(&server, "hourly", LAST_RUN).is_empty()
    })
    .await;
    let last = said(&server, "hourly", LAST_RUN);
    assert!(last.starts_with("2026-10-15T14:00:00Z running "), "{last}");
    assert_eq!(
        said(&server, "hourly", LAST_MISSED),
        "2026-10-15T13:00:00Z 3"
    );
    eventually("the other one", || {
        !said(&server, "daily", LAST_MISSED).is_empty()
    })
    .await;
    assert_eq!(
        said(&server, "daily", LAST_MISSED),
        "2026-10-15T11:00:00Z 1"
    );
    awake(&server, "all to be told", || server.told().len() == 3).await;
    assert_eq!(server.made().len(), 1);
    let text = scheduler.telemetry.metrics_text();
    assert!(
        text.contains(r#"pgo_scheduler_missed_total{type="pgbackrest"} 4"#),
        "{text}"
    );
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_makes_no_run_twice_and_a_new_schedule_begins_anew() {
    let (server, hands) = installation();
    server.apply_backup("hourly", "hippo", "full", "0 * * * *");
    let scheduler = lead(&server, &hands);
    eventually("it to be read", || {
        !said(&server, "hourly", NEXT_RUN).is_empty()
    })
    .await;
    // Forward over a time, back, and over it again.
    for by in [HOUR * 2, -(HOUR + MINUTE * 30), HOUR + MINUTE * 30] {
        hands.turn(by);
        awake(&server, "the clock to be seen", || {
            let is_ahead =
                said(&server, "hourly", SCHEDULE_ERROR).contains("the clock was set back");
            is_ahead == (by < SignedDuration::ZERO) && !said(&server, "hourly", LAST_RUN).is_empty()
        })
        .await;
    }
    let last = said(&server, "hourly", LAST_RUN);
    assert!(last.starts_with("2026-10-15T12:00:00Z running "), "{last}");
    assert_eq!(
        said(&server, "hourly", LAST_MISSED),
        "2026-10-15T11:00:00Z 1"
    );
    assert_eq!(server.made().len(), 1);
    // Another text is kept from then on.
    server.end_task(FULL, true);
    server.apply_backup("hourly", "hippo", "full", "30 * * * *");
    eventually("the other time", || {
        said(&server, "hourly", NEXT_RUN) == "2026-10-15T12:30:00Z"
    })
    .await;
    hands.turn(MINUTE * 30);
    awake(&server, "a second run", || server.made().len() == 2).await;
    server.end_task(FULL, true);
    // A schedule of the same name is another one.
    server.remove("configmaps", "hourly");
    hands.turn(MINUTE * 10);
    server.apply_backup("hourly", "hippo", "full", "45 * * * *");
    hands.turn(MINUTE * 10);
    awake(&server, "a third run", || server.made().len() == 3).await;
    let mut made = server.made();
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 3);
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_one_leaders_clock_jumped_over_is_not_due_again_by_that_of_the_next() {
    let (server, hands) = installation();
    server.apply_backup("hourly", "hippo", "full", "0 * * * *");
    let first = lead(&server, &hands);
    eventually("it to be read", || {
        !said(&server, "hourly", NEXT_RUN).is_empty()
    })
    .await;
    // Within the hour a run that was jumped over begins late: once.
    let ahead = Hands::at("2026-10-15T11:40:00Z");
    hands.turn(ahead.now().duration_since(hands.now()));
    awake(&server, "a late run", || server.made().len() == 1).await;
    server.end_task(FULL, true);
    awake(&server, "its end to be seen", || {
        said(&server, "hourly", LAST_RUN).contains("completed")
    })
    .await;
    first.end().await;
    // The next leader's clock is right: the time comes, as its clock has it, and was decided.
    let right = Hands::at("2026-10-15T10:20:00Z");
    let second = lead(&server, &right);
    awake(&server, "the record to be seen", || {
        said(&server, "hourly", SCHEDULE_ERROR).contains("the clock was set back")
    })
    .await;
    right.turn(MINUTE * 75);
    awake(&server, "the record to be over", || {
        said(&server, "hourly", SCHEDULE_ERROR).is_empty()
    })
    .await;
    assert_eq!(server.made().len(), 1);
    assert_eq!(said(&server, "hourly", LAST_MISSED), "");
    // A third one, whose clock jumps over two times: the first of them is missed.
    second.end().await;
    let third = lead(&server, &right);
    right.turn(HOUR * 2);
    awake(&server, "the last of them", || {
        said(&server, "hourly", LAST_RUN).starts_with("2026-10-15T13:00:00Z ")
    })
    .await;
    assert_eq!(server.made().len(), 2);
    assert_eq!(
        said(&server, "hourly", LAST_MISSED),
        "2026-10-15T12:00:00Z 1"
    );
    third.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leads_next_finishes_what_was_claimed() {
    let (server, hands) = installation();
    server.apply_backup("nightly", "hippo", "full", "0 11 * * *");
    // The first one hangs as it makes the task.
    server.set_fates(|(verb, resource)| match (verb, resource) {
        ("POST", "pgtasks") => Fate::Lost,
        _ => Fate::Answered,
    });
    let first = lead(&server, &hands);
    eventually("it to be read", || {
        !said(&server, "nightly", NEXT_RUN).is_empty()
    })
    .await;
    hands.turn(HOUR);
    awake(&server, "a claim", || {
        !said(&server, "nightly", CLAIMED_RUN).is_empty()
    })
    .await;
    first.task.abort();
    // The second one makes it and hears no answer.
    server.set_fates(|(verb, resource)| match (verb, resource) {
        ("POST", "pgtasks") => Fate::Unanswered,
        _ => Fate::Answered,
    });
    let second = lead(&server, &hands);
    eventually("a task", || server.made().len() == 1).await;
    second.task.abort();
    server.set_fates(|_| Fate::Answered);
    let third = lead(&server, &hands);
    eventually("the run", || !said(&server, "nightly", LAST_RUN).is_empty()).await;
    let id = server.made()[0].clone();
    assert_eq!(
        said(&server, "nightly", LAST_RUN),
        format!("2026-10-15T11:00:00Z running {id}")
    );
    assert_eq!(server.made().len(), 1);
    assert_eq!(kinds(&server.told()), ["begun"]);
    third.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_runs_that_are_due_together_are_each_made_once_and_not_all_at_once() {
    let (server, hands) = installation();
    for n in 0..1000 {
        let cluster = format!("c{n:04}");
        server.make_cluster(&cluster, json!({"pgo-backrest": "true"}));
        server.apply_backup(&format!("{cluster}-full"), &cluster, "full", "0 11 * * *");
    }
    let scheduler = lead(&server, &hands);
    eventually("all to be read", || server.notes(NEXT_RUN).len() == 1000).await;
    server.set_delay(Duration::from_millis(2));
    hands.turn(HOUR);
    awake(&server, "all runs", || server.notes(LAST_RUN).len() >= 1000).await;
    assert_eq!(server.told().len(), 1000);
    let mut made = server.made();
    made.sort();
    made.dedup();
    assert_eq!((made.len(), server.made().len()), (1000, 1000));
    let most = server.most_under_way();
    assert!((2..=32).contains(&most), "{most} at once");
    scheduler.end().await;
}

/// What could not be begun for so long that somebody else may lead is decided anew, and nothing waits for the clock.
#[tokio::test(start_paused = true)]
async fn a_slow_api_server_leaves_no_run_behind() {
    let (server, hands) = installation();
    for n in 0..100 {
        let cluster = format!("c{n:03}");
        server.make_cluster(&cluster, json!({"pgo-backrest": "true"}));
        server.apply_backup(&format!("{cluster}-full"), &cluster, "full", "0 11 * * *");
    }
    let scheduler = lead(&server, &hands);
    eventually("all to be read", || server.notes(NEXT_RUN).len() == 100).await;
    server.set_delay(Duration::from_secs(2));
    hands.turn(HOUR);
    awake(&server, "all runs", || server.notes(LAST_RUN).len() >= 100).await;
    assert_eq!(server.made().len(), 100);
    scheduler.end().await;
}
