//! The log over HTTP: `GET /v1/events`, as JSON lines or as server-sent events.
//!
//! ```text
//! certificate ─► identity ─► query ─► place for a reader? ─► Reader (the same as gRPC's) ─► frames ─► body
//!     TLS          403        400, 406        503                                           pulled by the client
//! ```
//!
//! One event, as a CloudEvent in binary mode, is at `/v1/events/STREAM/SEQ`.
//!
//! The body is pulled: a client that does not read stops its own reader, and nothing is queued for it.

pub mod frames;
pub mod patience;
pub mod query;
mod single;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use frames::Frames;
use futures::{Stream, StreamExt, stream};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use jiff::Timestamp;
use patience::Patient;
use pgo_telemetry::CancellationToken;
use pgo_tls::{Peer, TlsListener};
use query::Wrong;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::Code;

use crate::{identity::Deed, log::Log, metrics::Metrics, reader::Reader, withdrawn::Withdrawn};

/// Where the events are.
pub const PATH: &str = "/v1/events";

/// Pause after which a client hears that the connection lives. Half of the minute after which proxies cut connections.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client may take nothing of what is sent to it. It reads on from its last cursor when it comes back.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long answers may go on once the process ends; readers are ended by the same token.
const GRACE: Duration = Duration::from_secs(5);

/// When a client that found no place should ask again, in seconds.
const ASK_AGAIN: u32 = 5;

/// The log, for programs that speak HTTP.
#[derive(Clone, Debug)]
pub struct Face {
    /// What is shown.
    pub log: Arc<Log>,
    /// Who is let in no more.
    pub withdrawn: Withdrawn,
    /// Counts readers.
    pub metrics: Metrics,
    /// Ends readers.
    pub shutdown: CancellationToken,
    /// Places for readers.
    pub places: Arc<Semaphore>,
    /// How many there are.
    pub most: usize,
}

impl Face {
    /// With places for `most` readers at a time.
    #[must_use]
    pub fn new(
        log: Arc<Log>,
        withdrawn: Withdrawn,
        metrics: Metrics,
        shutdown: CancellationToken,
        most: usize,
    ) -> Self {
        let places = Arc::new(Semaphore::new(most));
        Self {
            log,
            withdrawn,
            metrics,
            shutdown,
            places,
            most,
        }
    }

    /// Serves until the process ends.
    pub async fn serve(self, listener: TlsListener) {
        let ending = self.shutdown.clone().cancelled_owned();
        let who = |io: &patience::Deadlined<pgo_tls::Connection>, _| io.inner().peer().clone();
        let router = Router::new()
            .route(PATH, get(events).fallback(no_such_method))
            .route(single::PATH, get(single::event).fallback(no_such_method))
            .fallback(no_such_path)
            .with_state(self);
        let cut_off =
            pgo_telemetry::serve(Patient::new(listener, PATIENCE), router, who, ending, GRACE)
                .await;
        if cut_off > 0 {
            tracing::info!(
                cut_off,
                "readers over HTTP were cut off; they read on from their last cursor"
            );
        }
    }
}

/// An answer that is none: what is wrong, and what would be right.
struct Refused(StatusCode, Wrong);

impl Refused {
    fn new(status: StatusCode, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        let (wrong, right) = (wrong.into(), right.into());
        Self(status, Wrong { wrong, right })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.1.wrong, "help": self.1.right });
        let mut response = (
            self.0,
            [(CONTENT_TYPE, "application/json")],
            format!("{body}\n"),
        )
            .into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, ASK_AGAIN.into());
            // Asked again on a new connection, it may be another replica that answers.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

async fn no_such_path() -> Refused {
    Refused::new(
        StatusCode::NOT_FOUND,
        "there is nothing here",
        format!("the events are at {PATH}, and one of them at {PATH}/STREAM/SEQ"),
    )
}

async fn no_such_method() -> Refused {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "events can only be read",
        format!("ask with GET {PATH}"),
    )
}

async fn events(
    State(face): State<Face>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Refused> {
    let identity = face.allowed(&peer)?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let framing = query::framing(header(ACCEPT.as_str()))
        .map_err(|wrong| Refused(StatusCode::NOT_ACCEPTABLE, wrong))?;
    let Query(pairs) = query.map_err(|error| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            format!("the query cannot be read: {error}"),
            "escape it as URLs are (curl: --get --data-urlencode)",
        )
    })?;
    let wanted = query::wanted(&pairs, framing, header("last-event-id"), Timestamp::now())
        .map_err(|wrong| Refused(StatusCode::BAD_REQUEST, wrong))?;
    let place = face.place()?;
    tracing::debug!(identity, request = ?wanted.request, "a reader over HTTP begins");
    let frames = Frames {
        framing,
        form: wanted.form,
    };
    let begun = Reader::begin(
        face.log.clone(),
        wanted.request,
        face.metrics.reader(),
        face.shutdown.clone(),
    );
    let reader = begun.await.map_err(|status| refusal(&status))?;
    let headers = [
        (CONTENT_TYPE, frames.media_type()),
        (CACHE_CONTROL, "no-store"),
    ];
    let withdrawn = face.withdrawn.happens(identity);
    let body = body(reader, frames, KEEP_ALIVE, place);
    let body = StreamExt::take_until(body, Box::pin(withdrawn));
    Ok((headers, Body::from_stream(body)).into_response())
}

impl Face {
    /// Who asks, if it may read.
    fn allowed(&self, peer: &Peer) -> Result<String, Refused> {
        let identity = peer.identity().unwrap_or_default();
        if self.withdrawn.identity(&identity).may(Deed::ReadOverHttp) {
            return Ok(identity);
        }
        Err(Refused::new(
            StatusCode::FORBIDDEN,
            format!("the certificate's name is {identity:?}, which may not read events"),
            "show a certificate of the installation's authority whose DNS name is NAME.consumer.pgo and was not withdrawn",
        ))
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            self.metrics.reader_refused();
            Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("all {} places for readers over HTTP are taken", self.most),
                "end readers that are not needed, ask again, or raise PGO_EVENT_HTTP_READERS of the event service",
            )
        })
    }
}

fn refusal(status: &tonic::Status) -> Refused {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let right = match code {
        StatusCode::BAD_REQUEST => "mend that parameter",
        StatusCode::SERVICE_UNAVAILABLE => "ask again",
        _ => "look into the log of the event service",
    };
    Refused::new(code, status.message(), right)
}

/// What a reader gives, as it is asked for; a sign of life where it gives nothing for a while. The place is given back when
/// the stream is dropped.
pub fn body(
    reader: Reader,
    frames: Frames,
    keep_alive: Duration,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let head = stream::iter(frames.head());
    let answers = stream::unfold(Some((reader, place)), move |state| async move {
        let (mut reader, place) = state?;
        // Dropping `next` halfway loses nothing: what it has read is in the reader.
        let frame = match timeout(keep_alive, reader.next()).await {
            Err(_) => frames.keep_alive(),
            Ok(Ok(Some(answer))) => answer
                .what
                .map(|what| frames.answer(&what))
                .unwrap_or_default(),
            Ok(Ok(None)) => return None,
            Ok(Err(status)) => return Some((frames.failure(status.message()), None)),
        };
        Some((frame, Some((reader, place))))
    });
    StreamExt::map(StreamExt::chain(head, answers), Ok)
}
