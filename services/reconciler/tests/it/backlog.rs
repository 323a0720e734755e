//! An event service that stores nothing for long: work goes on, what has no room goes to pages, and all of it is published.

use serde_json::{Value, json};

use crate::{
    event_log::FakeEventLog,
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, uid,
    },
    kubernetes::{Fault, Kubernetes},
};

const PAGES: &str = "/apis/crunchydata.com/v1/namespaces/pgo/pgeventpages";

/// Gives the cluster a spec that is wrong in another way, and waits until that was told.
async fn fail(kubernetes: &Kubernetes, round: u64) {
    let wrong = format!("wrong in round {round}");
    kubernetes.edit("pgclusters", NS, "hippo", |cluster| {
        cluster["spec"]["port"] = json!(wrong);
    });
    eventually("another failure", || {
        let status = &cluster(kubernetes, "hippo")["status"];
        let observed =
            status["observedGeneration"] == cluster(kubernetes, "hippo")["metadata"]["generation"];
        let reason = status["reason"].as_str().unwrap_or_default();
        observed && reason.contains(&wrong) && failures(kubernetes) >= round
    })
    .await;
}

/// Operations that ended, by their ids in what is written: at most the newest ten.
fn failures(kubernetes: &Kubernetes) -> u64 {
    let last = cluster(kubernetes, "hippo")["status"]["outbox"]["last"].clone();
    last.as_u64().unwrap_or(0) / 2
}

fn seqs(events: &[Value]) -> Vec<u64> {
    let seq = |event: &Value| match event {
        Value::String(text) => serde_json::from_str::<Value>(text).unwrap()["seq"].clone(),
        event => event["seq"].clone(),
    };
    events
        .iter()
        .map(|event| seq(event).as_u64().unwrap())
        .collect()
}

/// Seqs of all that is there: pages in the order of what they begin with, then the outbox.
fn all_seqs(kubernetes: &Kubernetes) -> Vec<u64> {
    let names = kubernetes.names("pgeventpages", "pgo");
    let mut pages: Vec<Vec<u64>> = names
        .iter()
        .map(|name| {
            let page = kubernetes.get("pgeventpages", "pgo", name).unwrap();
            seqs(page["spec"]["events"].as_array().unwrap())
        })
        .collect();
    pages.sort();
    let outbox = &cluster(kubernetes, "hippo")["status"]["outbox"];
    pages.push(seqs(outbox["entries"].as_array().unwrap()));
    pages.concat()
}

fn backlog(kubernetes: &Kubernetes) -> Value {
    let status = cluster(kubernetes, "hippo")["status"].clone();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == "EventBacklog");
    found.cloned().unwrap_or_default()
}

/// A cluster with more events than its status has room for.
async fn overflow(kubernetes: &Kubernetes) {
    create_cluster(kubernetes, "hippo");
    for round in 1..40 {
        fail(kubernetes, round).await;
        if !kubernetes.names("pgeventpages", "pgo").is_empty() {
            return;
        }
    }
    panic!("no page was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_room_goes_to_a_page_and_is_published_from_there() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    log.heard().await;
    overflow(&kubernetes).await;
    eventually("the status to leave it to the page", || {
        cluster(&kubernetes, "hippo")["status"]["outbox"]["paged"].is_u64()
    })
    .await;
    let told = all_seqs(&kubernetes);
    let last = *told.last().unwrap();
    assert_eq!(told, (1..=last).collect::<Vec<_>>());
    let condition = backlog(&kubernetes);
    assert_eq!(condition["status"], "True", "{condition}");
    assert_eq!(condition["reason"], "NotConfirmed");
    // Those of PGO itself wait, too.
    let waiting = || reconciler.metric("pgo_events_unconfirmed").unwrap_or(0.0);
    let most = told.len() as f64;
    eventually("all that waits to be counted", || waiting() > most).await;
    eventually("its age", || {
        let age = reconciler.metric("pgo_events_unconfirmed_oldest_seconds");
        age.is_some_and(|age| age >= 1.0)
    })
    .await;

    log.confirm(&uid(&kubernetes, "hippo"), last);
    eventually("the cluster's to be counted no more", || waiting() < most).await;
    let is_cleared = || {
        let outbox = cluster(&kubernetes, "hippo")["status"]["outbox"].clone();
        let newest = outbox["entries"]
            .as_array()
            .and_then(|all| all.last().cloned());
        newest.is_some_and(|event| event["eventheader"]["EventType"] == "EventBacklogCleared")
            && outbox["paged"].is_null()
    };
    eventually("the end of the backlog", is_cleared).await;
    assert_eq!(backlog(&kubernetes)["status"], "False");
    eventually("the end of the page", || {
        kubernetes.names("pgeventpages", "pgo").is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_status_was_not_written_is_met_again_and_nothing_is_twice_or_missing() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    create_cluster(&kubernetes, "hippo");
    let first = Reconciler::start_with(&kubernetes, &certificates, &[]);
    let status = "PUT /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters/hippo/status";
    let mut round = 0;
    while cluster(&kubernetes, "hippo")["status"]["outbox"]["last"]
        .as_u64()
        .unwrap_or(0)
        < 31
    {
        round += 1;
        fail(&kubernetes, round).await;
    }
    // From here on the process gets no further than to the page.
    kubernetes.fail(status, Fault::Hangs);
    kubernetes.edit("pgclusters", NS, "hippo", |cluster| {
        cluster["spec"]["port"] = json!("wrong at last");
    });
    eventually("a page", || {
        !kubernetes.names("pgeventpages", "pgo").is_empty()
    })
    .await;
    drop(first);
    kubernetes.heal();

    let _second = Reconciler::start_with(&kubernetes, &certificates, &["--identity=second"]);
    kubernetes.edit("leases", "pgo", "pgo-reconciler", |lease| {
        lease["spec"]["holderIdentity"] = json!("");
    });
    eventually("the status to leave it to the page", || {
        cluster(&kubernetes, "hippo")["status"]["outbox"]["paged"].is_u64()
    })
    .await;
    let told = all_seqs(&kubernetes);
    let last = *told.last().unwrap();
    assert_eq!(told, (1..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_pages_work_goes_on_and_nothing_is_lost() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail(&format!("POST {PAGES}"), Fault::Forbidden);
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create_cluster(&kubernetes, "hippo");
    for round in 1..=20 {
        fail(&kubernetes, round).await;
    }
    let told = all_seqs(&kubernetes);
    assert!(told.len() > 32);
    assert_eq!(told, (1..=told.len() as u64).collect::<Vec<_>>());
    kubernetes.heal();
    eventually("a page after all", || {
        cluster(&kubernetes, "hippo")["status"]["outbox"]["paged"].is_u64()
    })
    .await;
    let last = *all_seqs(&kubernetes).last().unwrap();
    assert_eq!(all_seqs(&kubernetes), (1..=last).collect::<Vec<_>>());
}
