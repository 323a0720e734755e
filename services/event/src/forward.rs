//! What a replica that follows asks the one that leads for its callers, whose connection stays where it once led: dead letters,
//! which only the one that leads changes, and the log while it has not everything itself.
//!
//! ```text
//! caller ─► may it? ─► leads, or has everything: the service itself
//!                   └► else, if no replica has passed it on already: the one that leads ─► answer, as it comes
//! ```

use std::sync::Arc;

use futures::StreamExt as _;
use http::HeaderValue;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use pgo_proto::event::{
    dead_letters_server::SERVICE_NAME as DEAD_LETTERS, event_log_server::SERVICE_NAME as EVENT_LOG,
};
use pgo_telemetry::CancellationToken;
use tokio::sync::watch;
use tonic::{Request, Status, body::Body, metadata::MetadataMap, transport::Channel};
use tower::ServiceExt as _;

use crate::{
    identity::{Deed, require},
    log::Log,
    together::Grpc,
};

/// Of a request that a replica has passed on: it goes no further.
const PASSED_ON: &str = "pgo-passed-on";

/// What is needed to ask the replica that leads.
#[derive(Clone, Debug)]
pub struct Leader {
    /// The own log, which says whether this replica follows, and whether it has everything.
    pub log: Arc<Log>,
    /// How the other replica is reached.
    pub way: watch::Receiver<Option<Channel>>,
    /// Ends answers that are on their way.
    pub shutdown: CancellationToken,
}

/// The service, where this replica can answer; else the replica that leads.
pub fn forward(leader: Leader, service: impl Grpc) -> impl Grpc {
    tower::service_fn(move |request: http::Request<Body>| {
        let (leader, mut service) = (leader.clone(), service.clone());
        async move {
            match leader.is_asked(&request) {
                None => service.call(request).await,
                Some(what) => {
                    let answered = leader.ask(request, what).await;
                    Ok(answered.unwrap_or_else(Status::into_http))
                }
            }
        }
    })
}

impl Leader {
    /// What is wanted that this replica cannot do; none: it can.
    fn is_asked(&self, request: &http::Request<Body>) -> Option<Deed> {
        if !self.log.follows() {
            return None;
        }
        match request.uri().path().split('/').nth(1) {
            Some(DEAD_LETTERS) => Some(Deed::Decide),
            Some(EVENT_LOG) if self.log.is_stale() => Some(Deed::Read),
            _ => None,
        }
    }

    async fn ask(
        &self,
        request: http::Request<Body>,
        what: Deed,
    ) -> Result<http::Response<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let caller = Request::from_parts(MetadataMap::new(), head.extensions, ());
        require(&caller, what)?;
        let passed_on = HeaderValue::from_static("1");
        if head.headers.insert(PASSED_ON, passed_on).is_some() {
            return Err(Status::unavailable(
                "this replica of the event service does not lead; ask again",
            ));
        }
        // They belong to the connection on which the request came.
        head.extensions = http::Extensions::new();
        let way = self.way.borrow().clone();
        let way = way.ok_or_else(|| {
            Status::unavailable(
                "this replica of the event service cannot answer, and none is known that leads; ask again",
            )
        })?;
        let answer = way.oneshot(http::Request::from_parts(head, body)).await;
        let answer = answer.map_err(|error| {
            Status::unavailable(format!(
                "this replica of the event service cannot answer, and the one that leads cannot be asked: {error}"
            ))
        })?;
        let shutdown = self.shutdown.clone();
        Ok(answer.map(|body| until(shutdown, body)))
    }
}

/// A body that ends with the process, which waits for its answers before it ends.
fn until(shutdown: CancellationToken, body: Body) -> Body {
    let frames = BodyStream::new(body).take_until(shutdown.cancelled_owned());
    Body::new(StreamBody::new(frames).boxed_unsync())
}
