//! `GET /events`: the stream as clients read it.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use pgo_api::{KEEP_ALIVE, StreamLine};
use serde_json::json;

use crate::{
    event_log::EventService,
    harness::{
        Apiserver, Client, SOON, authority, eventually, installation, role, try_start, user, within,
    },
    kubernetes::Failure,
};

async fn with_events() -> (Apiserver, EventService) {
    with_events_and(&[]).await
}

async fn with_events_and(more: &[&str]) -> (Apiserver, EventService) {
    let authority = authority();
    let service = EventService::start(&authority);
    let address = format!("--event-service={}", service.addr);
    let arguments = [&["--disable-tls=true", &address], more].concat();
    let apiserver = try_start(&installation(), authority, &arguments)
        .await
        .unwrap();
    (apiserver, service)
}

/// A stream that is read line by line.
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(client: &Client, query: &str) -> Self {
        let target = format!("/events?version=4.1.0&{query}");
        let response = client.open("GET", &target, "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Self {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }

    /// The next line; none: the stream is over.
    async fn next(&mut self) -> Option<StreamLine> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(StreamLine::parse(std::str::from_utf8(&line).unwrap()).unwrap());
            }
            let frame = tokio::time::timeout(SOON, self.body.frame()).await;
            let data = frame
                .expect("a line in time")?
                .unwrap()
                .into_data()
                .unwrap();
            self.rest.extend_from_slice(&data);
        }
    }

    /// The number of the next event, past what is none.
    async fn event(&mut self) -> u64 {
        loop {
            match self.next().await.expect("the stream goes on") {
                StreamLine::Event { event, .. } => return event["seq"].as_u64().unwrap(),
                StreamLine::KeepAlive | StreamLine::CaughtUp { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_history_comes_first_then_that_it_is_over_then_what_happens() {
    let (apiserver, service) = with_events().await;
    for number in 1..=3 {
        service.log.append("pgouser1", number);
    }
    let mut lines = Lines::open(&apiserver.plain(), "topic=alltopic&last=2").await;
    assert_eq!(lines.event().await, 2);
    assert_eq!(lines.event().await, 3);
    assert_eq!(
        lines.next().await,
        Some(StreamLine::CaughtUp {
            cursor: "3".to_owned()
        })
    );
    service.log.append("pgouser1", 4);
    assert_eq!(lines.event().await, 4);
    let mut later = Lines::open(&apiserver.plain(), "cursor=2&last=1").await;
    assert_eq!(later.event().await, 3, "a cursor goes before a number");
}

#[tokio::test]
async fn one_stream_more_than_may_be_is_refused_until_another_ends() {
    let (apiserver, _service) = with_events_and(&["--event-streams=2"]).await;
    let mut first = Lines::open(&apiserver.plain(), "topic=alltopic").await;
    let _second = Lines::open(&apiserver.plain(), "topic=alltopic").await;
    let client = apiserver.plain();
    let target = "/events?version=4.1.0&topic=alltopic";
    let refused = client.open("GET", target, "").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("PGO_EVENT_STREAMS"), "{body}");

    assert!(first.next().await.is_some());
    drop(first);
    eventually("a place", || async {
        let answer = client.open("GET", target, "").await.unwrap();
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_event_service_costs_no_event_and_repeats_none() {
    let (apiserver, mut service) = with_events().await;
    let mut lines = Lines::open(&apiserver.plain(), "topic=clustertopic").await;
    assert!(matches!(
        lines.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    for round in 0..3 {
        let first = round * 10;
        service.log.append("pgouser1", first);
        assert_eq!(lines.event().await, first as u64);
        service.kill();
        for number in first + 1..first + 5 {
            service.log.append("pgouser1", number);
        }
        service.restart();
        for number in first + 1..first + 5 {
            assert_eq!(lines.event().await, number as u64);
        }
    }
}

#[tokio::test]
async fn a_stream_that_was_killed_before_its_first_event_misses_none() {
    let (apiserver, mut service) = with_events().await;
    let mut lines = Lines::open(&apiserver.plain(), "topic=alltopic&last=5").await;
    service.kill();
    service.log.append("pgouser1", 1);
    service.restart();
    assert_eq!(lines.event().await, 1);
}

#[tokio::test]
async fn users_see_events_of_their_namespaces_and_those_of_all_see_pgos_own() {
    let (apiserver, service) = with_events().await;
    for (number, namespace) in ["pgo", "pgouser2", "pgouser1"].iter().enumerate() {
        service.log.append(namespace, number);
    }
    let mut everything = Lines::open(&apiserver.plain(), "last=10").await;
    for number in 0..3 {
        assert_eq!(everything.event().await, number);
    }
    let mut of_pgo = Lines::open(&apiserver.plain(), "last=10&namespace=pgo").await;
    assert_eq!(of_pgo.event().await, 0);
    assert!(matches!(
        of_pgo.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    let vic = apiserver.plain().as_user("vic", "v1c");
    let mut of_vic = Lines::open(&vic, "last=10").await;
    assert_eq!(of_vic.event().await, 2);
    for (namespace, why) in [
        (
            "pgouser2",
            "user [vic] is not allowed access to namespace [pgouser2]",
        ),
        ("pgo", "user [vic] is not allowed access to namespace [pgo]"),
    ] {
        let mut refused = Lines::open(&vic, &format!("namespace={namespace}")).await;
        assert_eq!(
            refused.next().await,
            Some(StreamLine::Refused {
                why: why.to_owned()
            })
        );
        assert_eq!(refused.next().await, None);
    }
}

#[tokio::test]
async fn who_loses_the_right_loses_the_stream() {
    let (apiserver, service) = with_events().await;
    let vic = apiserver.plain().as_user("vic", "v1c");
    let mut lines = Lines::open(&vic, "last=0").await;
    assert!(matches!(
        lines.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    role(&apiserver.kubernetes, "viewer", "Version");
    eventually("the role has changed", async || {
        let target = "/events?version=4.1.0";
        let status = vic.open("GET", target, "").await.unwrap().status();
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    service.log.append("pgouser1", 1);
    let last = lines.next().await;
    assert!(
        matches!(&last, Some(StreamLine::Refused { why }) if why.contains("not read events")),
        "{last:?}"
    );
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn who_gets_fewer_namespaces_sees_fewer_events() {
    let (apiserver, service) = with_events().await;
    user(
        &apiserver.kubernetes,
        "bob",
        "b",
        "viewer",
        "pgouser1,pgouser2",
    );
    let bob = apiserver.plain().as_user("bob", "b");
    let mut lines = eventually("bob gets in", async || {
        let answer = bob.open("GET", "/events?version=4.1.0", "").await.unwrap();
        answer.status().is_success().then_some(Lines {
            body: answer.into_body(),
            rest: Vec::new(),
        })
    })
    .await;
    user(&apiserver.kubernetes, "bob", "b", "viewer", "pgouser2");
    eventually("bob has lost pgouser1", async || {
        let mut request = crate::harness::cluster_request("x");
        request["Namespace"] = "pgouser1".into();
        (bob.post("/showclusters", request).await.json()["Code"] == "error").then_some(())
    })
    .await;
    service.log.append("pgouser1", 1);
    service.log.append("pgouser2", 2);
    assert_eq!(lines.event().await, 2);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_in_the_streams_own_form() {
    let (apiserver, _service) = with_events().await;
    let client = apiserver.plain();
    for (query, expected) in [
        ("topic=nosuch", "there is no topic \"nosuch\""),
        ("since=yesterday", "since \"yesterday\" is not a time"),
        ("cursor=garbage", "is no cursor of this log"),
        (
            "namespace=foreign",
            "namespace [foreign] is not part of the Operator installation",
        ),
    ] {
        let mut lines = Lines::open(&client, query).await;
        let line = lines.next().await;
        assert!(
            matches!(&line, Some(StreamLine::Refused { why }) if why.contains(expected)),
            "{line:?}"
        );
        assert_eq!(lines.next().await, None);
    }
    let response = client
        .open("GET", "/events?version=4.0.0", "")
        .await
        .unwrap();
    let mut lines = Lines {
        body: response.into_body(),
        rest: Vec::new(),
    };
    let why = "pgo client and server version mismatch".to_owned();
    assert_eq!(lines.next().await, Some(StreamLine::Refused { why }));
}

#[tokio::test]
async fn an_event_service_that_cannot_be_reached_is_worth_another_try() {
    let (apiserver, mut service) = with_events().await;
    service.kill();
    let answer = apiserver.plain().get("/events?version=4.1.0").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .refusal()
            .starts_with("the event service cannot be reached"),
        "{}",
        answer.text
    );
    service.restart();
    Lines::open(&apiserver.plain(), "topic=alltopic").await;
}

#[tokio::test]
async fn a_stream_outlives_every_deadline_of_a_request() {
    let (apiserver, service) = with_events().await;
    let mut lines = Lines::open(&apiserver.plain(), "topic=alltopic").await;
    let long = Duration::from_secs(120);
    within(long * 2, tokio::time::sleep(long)).await;
    service.log.append("pgouser1", 1);
    assert_eq!(lines.event().await, 1);
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive_and_ends_with_the_process() {
    let (apiserver, service) = with_events().await;
    let mut lines = Lines::open(&apiserver.plain(), "topic=alltopic&selector=env%3Ddev").await;
    assert!(matches!(
        lines.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    // It is of no cluster: passed, and not shown.
    service.log.append("pgouser1", 1);
    let metrics = apiserver.plain().get("/metrics").await.text;
    assert!(
        metrics.contains("pgo_apiserver_event_streams 1"),
        "{metrics}"
    );
    let quiet = std::time::Instant::now();
    let behind_it = StreamLine::CaughtUp {
        cursor: "1".to_owned(),
    };
    assert_eq!(lines.next().await, Some(behind_it));
    assert!(
        quiet.elapsed() >= KEEP_ALIVE - KEEP_ALIVE / 10,
        "{:?}",
        quiet.elapsed()
    );
    apiserver.stop().await;
    assert_eq!(lines.next().await, None);
}

/// A cluster with a label.
fn labelled(name: &str, env: &str) -> serde_json::Value {
    json!({
        "metadata": {
            "name": name, "namespace": "pgouser1", "uid": format!("uid-{name}"), "labels": {"env": env},
        },
        "spec": {},
    })
}

const PROD: &str = "selector=env%3Dprod";

#[tokio::test]
async fn events_of_clusters_with_a_label_are_chosen_and_those_of_new_ones_too() {
    let (apiserver, service) = with_events().await;
    let kubernetes = &apiserver.kubernetes;
    kubernetes.put("pgclusters", "pgouser1", labelled("hippo", "prod"));
    kubernetes.put("pgclusters", "pgouser1", labelled("rhino", "dev"));
    let mut lines = Lines::open(&apiserver.plain(), PROD).await;
    service.log.append_of("pgouser1", "rhino", 1);
    service.log.append_of("pgouser1", "hippo", 2);
    assert_eq!(lines.event().await, 2);
    // One that is made later, and one that is gone meanwhile.
    kubernetes.put("pgclusters", "pgouser1", labelled("zebra", "prod"));
    service.log.append_of("pgouser1", "zebra", 3);
    assert_eq!(lines.event().await, 3);
    kubernetes.remove("pgclusters", "pgouser1", "hippo");
    service.log.append("pgo", 4);
    service.log.append_of("pgouser1", "hippo", 5);
    assert_eq!(lines.event().await, 5);
}

#[tokio::test]
async fn a_client_that_was_away_sees_the_deletion_of_a_cluster_with_the_label() {
    let (apiserver, service) = with_events().await;
    let kubernetes = &apiserver.kubernetes;
    kubernetes.put("pgclusters", "pgouser1", labelled("hippo", "prod"));
    let mut lines = Lines::open(&apiserver.plain(), PROD).await;
    assert!(matches!(
        lines.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    drop(lines);
    kubernetes.remove("pgclusters", "pgouser1", "hippo");
    service.log.append_of("pgouser1", "hippo", 1);
    // One that came and went meanwhile: what labels it had is not known.
    service.log.append_of("pgouser1", "ghost", 2);
    service.log.append_of("pgouser1", "ghost", 3);
    service.log.append_of("pgouser1", "hippo", 4);
    let mut lines = Lines::open(&apiserver.plain(), &format!("{PROD}&cursor=0")).await;
    assert_eq!(lines.event().await, 1);
    let told = lines.next().await;
    assert!(
        matches!(&told, Some(StreamLine::Cut { text }) if text.contains("cluster ghost in namespace pgouser1")),
        "{told:?}"
    );
    assert_eq!(lines.event().await, 4);
}

#[tokio::test]
async fn while_kubernetes_does_not_answer_the_events_of_a_selection_wait() {
    let (apiserver, service) = with_events().await;
    let kubernetes = &apiserver.kubernetes;
    let mut lines = Lines::open(&apiserver.plain(), PROD).await;
    kubernetes.put("pgclusters", "pgouser1", labelled("hippo", "prod"));
    let clusters = "GET /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters";
    let before = kubernetes.count(clusters);
    kubernetes.fail(clusters.to_owned(), Failure::Unreachable);
    service.log.append_of("pgouser1", "hippo", 1);
    eventually("it was asked again", async || {
        (kubernetes.count(clusters) >= before + 3).then_some(())
    })
    .await;
    kubernetes.heal();
    assert_eq!(lines.event().await, 1);
}

#[tokio::test]
async fn the_last_events_of_a_selection_are_counted_among_its_own() {
    let (apiserver, service) = with_events().await;
    let kubernetes = &apiserver.kubernetes;
    let last = format!("{PROD}&last=2");
    service.log.append_of("pgouser1", "rhino", 1);
    let mut of_none = Lines::open(&apiserver.plain(), &last).await;
    assert!(matches!(
        of_none.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    kubernetes.put("pgclusters", "pgouser1", labelled("hippo", "prod"));
    for (number, name) in ["hippo", "hippo", "hippo", "rhino", "rhino", "rhino"]
        .iter()
        .enumerate()
    {
        service.log.append_of("pgouser1", name, number + 2);
    }
    let mut lines = Lines::open(&apiserver.plain(), &last).await;
    assert_eq!(lines.event().await, 3);
    assert_eq!(lines.event().await, 4);
    assert!(matches!(
        lines.next().await,
        Some(StreamLine::CaughtUp { .. })
    ));
    // What comes may be of clusters that were not there when the stream began.
    kubernetes.put("pgclusters", "pgouser1", labelled("zebra", "prod"));
    service.log.append_of("pgouser1", "zebra", 8);
    assert_eq!(lines.event().await, 8);
    assert_eq!(of_none.event().await, 2);
}
