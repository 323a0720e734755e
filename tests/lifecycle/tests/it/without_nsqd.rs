//! nsqd is away: clusters are made, shown and deleted as always, and what happened is told when it is back.

use std::time::{Duration, Instant};

use crate::harness::{
    Cluster, Watch,
    cluster::GONE,
    containers::until_whole,
    events::{check_stream, types},
    kubectl,
    kubernetes::get,
    operator, pgo,
    turns::alone,
    until,
};

/// No request waits for nsqd; on a busy machine one takes this long at most.
const ANSWERED: Duration = Duration::from_secs(15);

/// nsqd, away until this value is dropped.
struct Away;

fn scale(replicas: &str) {
    let replicas = format!("--replicas={replicas}");
    let operator = operator();
    kubectl(&["scale", "statefulset", "nsqd", "-n", &operator, &replicas]).ok();
}

impl Away {
    fn begin() -> Self {
        scale("0");
        let away = Self;
        until("nsqd is away", GONE, || {
            match get("pod", "nsqd-0", &operator()) {
                None => Ok(()),
                Some(pod) => Err(pod["status"]["phase"].to_string()),
            }
        });
        away
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        scale("1");
    }
}

/// The events of a stream, once the last of them is of this type.
fn events_up_to(watch: &Watch, stream: &str, last: &str) -> Vec<serde_json::Value> {
    until(&format!("{last} in pgo watch"), GONE, || {
        let events = watch.of(stream);
        match types(&events).last() {
            Some(found) if found == last => Ok(events),
            _ => Err(format!("{:?}", types(&events))),
        }
    })
}

#[test]
fn without_nsqd_everything_works_and_each_event_is_shown_once_when_it_is_back() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let (stays, leaves) = (Cluster::named("stays"), Cluster::named("leaves"));
    let away = Away::begin();
    for cluster in [&stays, &leaves] {
        let begin = Instant::now();
        cluster.create(&[]).ok();
        assert!(begin.elapsed() < ANSWERED, "{:?}", begin.elapsed());
    }
    stays.until_ready();
    leaves.until_ready();
    assert_eq!(stays.ask("select 1"), "1");
    let shown = pgo(&["show", "cluster", &stays.name]).ok();
    assert!(shown.out.contains(&stays.name), "{shown}");
    let (stream, gone) = (stays.uid(), leaves.uid());
    pgo(&[
        "delete",
        "cluster",
        &leaves.name,
        "--no-prompt",
        "--delete-data",
    ])
    .ok();
    leaves.until_gone();
    let told = [&stream, &gone].map(|stream| types(&watch.of(stream)));
    assert_eq!(told, [[""; 0], [""; 0]], "there was no nsqd to tell it");

    drop(away);
    until_whole();
    let events = events_up_to(&watch, &stream, "CreateClusterCompleted");
    check_stream(&events);
    let events = events_up_to(&watch, &gone, "DeleteClusterCompleted");
    check_stream(&events);
    // Whoever comes later is told the same.
    let later = Watch::begin_since("30m");
    assert_eq!(
        events_up_to(&later, &gone, "DeleteClusterCompleted"),
        events
    );
}
