//! Dead letters, between a client and the event service.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use pgo_proto::event::{
    DeadLetter, DeadLetterIds, DeadLetterList, DeadLetterOutcome, DeadLetterOutcomes,
    dead_letters_server::{DeadLetters, DeadLettersServer},
};
use pgo_tls::{Authority, TlsFiles, grpc};
use serde_json::json;
use tempfile::TempDir;
use tonic::{Request, Response, Status};

use crate::harness::{Apiserver, authority, identity, installation, role, try_start, user};

/// An event service that keeps some letters in memory.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<DeadLetter>>>);

impl Kept {
    /// Takes letters away; what was there and what was not.
    fn take(&self, request: &Request<DeadLetterIds>) -> DeadLetterOutcomes {
        let mut kept = self.0.lock().unwrap();
        let outcomes = request.get_ref().ids.iter().map(|id| {
            let found = kept.iter().position(|letter| letter.id == *id);
            let topic = found.map(|at| kept.remove(at).topic);
            DeadLetterOutcome {
                id: id.clone(),
                problem: if topic.is_some() {
                    ""
                } else {
                    "there is no such dead letter"
                }
                .to_owned(),
                topic: topic.unwrap_or_default(),
            }
        });
        DeadLetterOutcomes {
            outcomes: outcomes.collect(),
        }
    }
}

#[tonic::async_trait]
impl DeadLetters for Kept {
    async fn list(
        &self,
        request: Request<DeadLetterIds>,
    ) -> Result<Response<DeadLetterList>, Status> {
        grpc::require_identity(&request, &["apiserver.pgo"])?;
        let ids = &request.get_ref().ids;
        let letters = self.0.lock().unwrap();
        let wanted = letters
            .iter()
            .filter(|letter| ids.is_empty() || ids.contains(&letter.id));
        let letters = wanted.cloned().collect();
        Ok(Response::new(DeadLetterList {
            letters,
            dropped: 0,
        }))
    }

    async fn requeue(
        &self,
        request: Request<DeadLetterIds>,
    ) -> Result<Response<DeadLetterOutcomes>, Status> {
        Ok(Response::new(self.take(&request)))
    }

    async fn delete(
        &self,
        request: Request<DeadLetterIds>,
    ) -> Result<Response<DeadLetterOutcomes>, Status> {
        Ok(Response::new(self.take(&request)))
    }
}

async fn serve(authority: &Authority, kept: Kept) -> (SocketAddr, TempDir) {
    pgo_tls::provider();
    let folder = tempfile::tempdir().unwrap();
    identity(authority, "event.pgo", folder.path());
    let files = Arc::new(TlsFiles::open(folder.path()).unwrap());
    let listener = grpc::listen(SocketAddr::from(([127, 0, 0, 1], 0)), files)
        .await
        .unwrap();
    let addr = listener.addr();
    let serving = tonic::transport::Server::builder()
        .serve_with_incoming(DeadLettersServer::new(kept), listener);
    tokio::spawn(serving);
    (addr, folder)
}

async fn with_letters(ids: &[&str]) -> (Apiserver, TempDir) {
    let authority = authority();
    let letters = ids.iter().map(|id| DeadLetter {
        id: (*id).to_owned(),
        topic: "alltopic".to_owned(),
        channel: "history".to_owned(),
        attempts: 1,
        time: Some(prost_types::Timestamp {
            seconds: 60,
            nanos: 0,
        }),
        reason: "not an event".to_owned(),
        body: vec![0xff, b'n', b'o'],
        size: 3,
    });
    let kept = Kept(Arc::new(Mutex::new(letters.collect())));
    let (addr, folder) = serve(&authority, kept).await;
    let address = format!("--event-service={addr}");
    let kubernetes = installation();
    role(&kubernetes, "readers", "ShowDeadLetter");
    user(&kubernetes, "reader", "s3cret", "readers", "");
    let apiserver = try_start(&kubernetes, authority, &["--disable-tls=true", &address])
        .await
        .unwrap();
    (apiserver, folder)
}

#[tokio::test]
async fn letters_are_shown_requeued_and_deleted() {
    let (apiserver, _folder) = with_letters(&["a", "b", "c"]).await;
    let client = apiserver.plain();
    let ask = async |path: &str, ids: &[&str], all: bool| {
        client
            .post(
                path,
                json!({"IDs": ids, "AllFlag": all, "ClientVersion": "4.1.0"}),
            )
            .await
    };
    let shown = ask("/deadlettershow", &[], false).await.json();
    assert_eq!(shown["Code"], "ok");
    assert_eq!(shown["Results"].as_array().unwrap().len(), 3);
    assert_eq!(shown["Results"][0]["Body"], "\u{fffd}no");
    assert_eq!(shown["Results"][0]["Time"], "1970-01-01T00:01:00Z");
    let requeued = ask("/deadletterrequeue", &["a", "x"], false).await.json();
    assert_eq!(
        requeued["Results"],
        json!(["requeued dead letter a to alltopic"])
    );
    assert_eq!(requeued["Code"], "error");
    assert_eq!(requeued["Msg"], "x: there is no such dead letter");
    let deleted = ask("/deadletterdelete", &[], true).await.json();
    assert_eq!(
        deleted["Results"],
        json!(["deleted dead letter b", "deleted dead letter c"])
    );
    let shown = ask("/deadlettershow", &[], false).await.json();
    assert_eq!(shown["Results"], json!([]));
    for (ids, all) in [(&[][..], false), (&["a"][..], true)] {
        let refused = ask("/deadletterdelete", ids, all).await.refusal();
        assert!(refused.contains("AllFlag"), "{refused}");
    }
}

#[tokio::test]
async fn each_needs_its_permission() {
    let (apiserver, _folder) = with_letters(&["a"]).await;
    let reader = apiserver.plain().as_user("reader", "s3cret");
    let body = json!({"IDs": ["a"], "ClientVersion": "4.1.0"});
    assert_eq!(
        reader.post("/deadlettershow", body.clone()).await.json()["Code"],
        "ok"
    );
    for path in ["/deadletterrequeue", "/deadletterdelete"] {
        assert_eq!(reader.post(path, body.clone()).await.status, 401, "{path}");
    }
}
