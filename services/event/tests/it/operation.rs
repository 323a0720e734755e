//! The service as who operates it sees it: certificates, readiness, restarts, retention.

use pgo_proto::event::{
    ConfirmationsRequest, ReadRequest, WatermarksRequest, read_request, read_response,
};
use tonic::Code;

use crate::{
    events::{events, stream},
    installation::{Installation, beginning, eventually, next, open, records, soon},
};

fn after(cursor: &str) -> ReadRequest {
    ReadRequest {
        from: Some(read_request::From::Cursor(cursor.to_owned())),
        ..beginning()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_where_they_were_after_a_restart() {
    let mut installation = Installation::start(&[]);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=3));
    let mut client = installation.client("apiserver");
    let mut reader = open(&mut client, beginning()).await;
    let cursor = records(&mut reader, 3).await[1].2.clone();

    assert!(installation.terminate_event(), "it ends well");
    let ended = next(&mut reader).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);

    installation.start_event();
    relay.offer(&stream("a"), events("a", 4..=4));
    let mut reader = open(&mut client, after(&cursor)).await;
    let seqs: Vec<u64> = records(&mut reader, 2)
        .await
        .into_iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(seqs, [3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificates_are_used_when_nsqd_is_connected_to_again() {
    let mut installation = Installation::start(&[]);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=1));
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    records(&mut reader, 1).await;

    installation.kill_nsqd();
    installation.renew_certificates();
    installation.start_nsqd();
    // One that trusts the new authority; the former one is of no use any more.
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 2..=2));
    assert_eq!(records(&mut reader, 1).await[0].1, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_told_that_what_it_wants_is_not_kept_any_more() {
    let mut installation = Installation::start(&[("PGO_EVENT_SEGMENT_BYTES", "1")]);
    let relay = installation.relay();
    let mut client = installation.client("apiserver");
    let mut reader = open(&mut client, beginning()).await;
    let mut cursors = Vec::new();
    for seq in 1..=3 {
        relay.offer(&stream("a"), events("a", [seq]));
        cursors.extend(records(&mut reader, 1).await.into_iter().map(|r| r.2));
    }
    assert!(installation.terminate_event());
    installation.set("PGO_EVENT_SEGMENT_BYTES", "16000000");
    installation.set("PGO_EVENT_RETENTION_BYTES", "1");
    installation.start_event();
    eventually("the oldest events are dropped", || {
        installation.metric("pgo_event_log_oldest") == 3
    })
    .await;

    let mut reader = open(&mut client, after(&cursors[0])).await;
    let Some(Ok(read_response::What::Cut(cut))) = next(&mut reader).await else {
        panic!("no cut is told");
    };
    assert!(cut.starts_with("1 records are not kept"), "{cut}");
    assert_eq!(records(&mut reader, 1).await[0].1, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_of_another_log_leads_to_the_beginning_and_a_wrong_one_to_an_error() {
    let installation = Installation::start(&[]);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=1));
    let mut client = installation.client("apiserver");
    let mut reader = open(&mut client, after("0123456789abcdef:7")).await;
    let Some(Ok(read_response::What::Cut(cut))) = next(&mut reader).await else {
        panic!("no cut is told");
    };
    assert!(cut.contains("another log"), "{cut}");
    assert_eq!(records(&mut reader, 1).await[0].1, 1);

    let wrong = soon("an answer", client.read(after("seven"))).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_who_need_the_log_may_read_it() {
    let installation = Installation::start(&[]);
    let mut stranger = installation.client("scheduler");
    let refused = soon("an answer", stranger.read(beginning())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = soon(
        "an answer",
        stranger.watermarks(WatermarksRequest::default()),
    )
    .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = soon(
        "an answer",
        stranger.confirmations(ConfirmationsRequest::default()),
    )
    .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let mut reconciler = installation.client("reconciler");
    soon("an answer", reconciler.read(beginning()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_are_told_when_asked_and_as_they_rise() {
    let installation = Installation::start(&[]);
    let mut client = installation.client("reconciler");
    let opening = client.confirmations(ConfirmationsRequest {});
    let mut confirmations = soon("a stream", opening).await.unwrap().into_inner();
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=5));
    let rising = async {
        loop {
            let watermark = confirmations.message().await.unwrap().unwrap();
            assert_eq!(watermark.stream, "a");
            if watermark.seq == 5 {
                break;
            }
        }
    };
    soon("the watermark", rising).await;
    let streams = vec!["a".to_owned(), "b".to_owned()];
    let asked = client.watermarks(WatermarksRequest { streams });
    let answer = soon("an answer", asked).await.unwrap().into_inner();
    let seqs: Vec<_> = answer
        .watermarks
        .into_iter()
        .map(|w| (w.stream, w.seq))
        .collect();
    assert_eq!(seqs, [("a".to_owned(), 5), ("b".to_owned(), 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_while_nsqd_is_there() {
    let mut installation = Installation::start(&[]);
    let ready = |installation: &Installation| installation.admin("/readyz").unwrap();
    eventually("ready", || ready(&installation).0 == 200).await;
    installation.kill_nsqd();
    eventually("not ready", || ready(&installation).0 == 503).await;
    let (_, reason) = ready(&installation);
    assert!(reason.starts_with("nsqd: "), "{reason}");
    assert_eq!(installation.admin("/livez").unwrap().0, 200);
    installation.start_nsqd();
    eventually("ready again", || ready(&installation).0 == 200).await;
}
