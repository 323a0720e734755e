//! The rounds of the scheduler, against an API server in memory.

use std::time::Duration;

use jiff::Timestamp;
use pgo_bus::{Doorbell, Kind};
use pgo_k8s::lease::Leadership;
use pgo_scheduler::run::{LAST_MISSED, LAST_SKIPPED, SCHEDULE_ERROR};
use tokio::time::{advance, sleep};

use crate::{
    harness::{eventually, following, start},
    server::Server,
};

/// The seconds for which runs are noted.
fn noted(server: &Server) -> Vec<i64> {
    let notes = server.notes(LAST_SKIPPED);
    let times = notes
        .iter()
        .map(|note| note.split_once(' ').expect("a time").0);
    times
        .map(|time| time.parse::<Timestamp>().expect("a time").as_second())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_time_that_is_due_is_noted_once_by_whoever_leads() {
    let server = Server::new();
    server.apply("every-second", "* * * * * *");
    // Both believe that they lead, and one is replaced.
    let one = start(&server, Leadership::Leading);
    let two = start(&server, Leadership::Leading);
    eventually("some are noted", || noted(&server).len() >= 3).await;
    one.end().await;
    let three = start(&server, Leadership::Leading);
    eventually("more are noted", || noted(&server).len() >= 6).await;
    two.end().await;
    three.end().await;

    let times = noted(&server);
    assert!(
        times.is_sorted_by(|earlier, later| earlier < later),
        "{times:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_notes_nothing_until_it_leads() {
    let server = Server::new();
    server.apply("every-second", "* * * * * *");
    let leader = start(&server, Leadership::Leading);
    let follower = start(&server, following());
    eventually("the leader notes", || noted(&server).len() >= 2).await;
    let ready = follower.telemetry.readiness().check();
    assert!(ready.is_ok(), "{ready:?}");
    let text = follower.telemetry.metrics_text();
    assert!(!text.contains("pgo_scheduler_skipped_total{"), "{text}");
    leader.end().await;

    follower.leadership.send_replace(Leadership::Leading);
    let before = noted(&server).len();
    eventually("the new leader notes", || noted(&server).len() > before).await;
    eventually("and counts", || {
        let text = follower.telemetry.metrics_text();
        text.contains(r#"pgo_scheduler_skipped_total{type="pgbasebackup"}"#)
    })
    .await;
    follower.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_schedule_is_told_in_its_annotations_until_it_is_mended() {
    let server = Server::new();
    let scheduler = start(&server, Leadership::Leading);
    server.apply("wrong", "0 77 * * *");
    let complaint = || server.annotation("wrong", SCHEDULE_ERROR);
    eventually("the reason is told", || complaint().is_some()).await;
    server.apply("wrong", "0 7 * * *");
    eventually("the reason is gone", || complaint().is_none()).await;
    assert_eq!(server.notes(SCHEDULE_ERROR).len(), 1);
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_brings_a_schedule_that_the_watch_has_not_brought() {
    let server = Server::new();
    server.stall();
    let scheduler = start(&server, Leadership::Leading);
    eventually("a watch", || server.watches() > 0).await;
    server.apply("every-second", "* * * * * *");
    let rung = Doorbell {
        kind: Kind::ConfigMap,
        namespace: "pgouser1".to_owned(),
        name: "every-second".to_owned(),
        uid: String::new(),
        resource_version: server.version(),
        operation: None,
    };
    eventually("a note", || {
        scheduler.doorbells.tell(rung.clone());
        !noted(&server).is_empty()
    })
    .await;
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_delays_a_note_and_loses_none() {
    let server = Server::new();
    server.refuse(true);
    server.apply("every-second", "* * * * * *");
    let scheduler = start(&server, Leadership::Leading);
    // Two seconds lie between one try and the next.
    eventually("it tries again", || server.refusals() >= 2).await;
    assert_eq!(noted(&server), [0i64; 0]);
    server.refuse(false);
    eventually("it notes", || !noted(&server).is_empty()).await;
    let first = noted(&server)[0];
    let missed = server.notes(LAST_MISSED).first().cloned().expect("a note");
    let (last, runs) = missed.split_once(' ').expect("a time and a number");
    let last: Timestamp = last.parse().expect("a time");
    assert_eq!(first - last.as_second(), 1, "{missed}");
    assert!(runs.parse::<u64>().expect("a number") >= 2, "{missed}");
    scheduler.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeat_is_written_by_who_leads_and_who_follows() {
    for leadership in [Leadership::Leading, following()] {
        let server = Server::new();
        let scheduler = start(&server, leadership);
        let heartbeat = scheduler.folder.path().join("scheduler.hb");
        eventually("a heartbeat", || heartbeat.exists()).await;
        scheduler.end().await;
    }
}

/// Kubernetes starts it anew by what `/livez` tells.
#[tokio::test(start_paused = true)]
async fn a_scheduler_whose_rounds_hang_is_not_alive() {
    let server = Server::new();
    let scheduler = start(&server, following());
    let alive = || scheduler.telemetry.readiness().alive();
    for _ in 0..10 {
        sleep(Duration::from_secs(40)).await;
        assert_eq!(alive(), Ok(()));
    }
    scheduler.task.abort();
    advance(Duration::from_secs(91)).await;
    let hangs = alive().expect_err("there was no round for too long");
    assert!(hangs.to_string().starts_with("rounds: "), "{hangs}");
}
