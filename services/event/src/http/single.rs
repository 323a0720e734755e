//! One event over HTTP, as a CloudEvent: in binary mode, its attributes as headers, unless structured mode is accepted rather.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Path, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};
use pgo_events::cloudevent::{CloudEvent, STRUCTURED_TYPE};
use pgo_ids::{Seq, StreamId};
use pgo_tls::Peer;
use tokio::task::spawn_blocking;

use super::{Face, Refused, query::weight};
use crate::log::{self, Log, Record};

/// Where it is.
pub const PATH: &str = "/v1/events/{stream}/{seq}";

/// Content modes of the HTTP protocol binding, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Binary,
    Structured,
}

/// The mode that a client accepts; of both, the one it names.
fn mode(accept: &str) -> Option<Mode> {
    if accept.trim().is_empty() {
        return Some(Mode::Binary);
    }
    let structured = weight(accept, &["application/cloudevents+json"]);
    let binary = weight(accept, &["application/json", "application/*", "*/*"]);
    match (structured, binary) {
        (0, 0) => None,
        (structured, binary) if structured >= binary => Some(Mode::Structured),
        _ => Some(Mode::Binary),
    }
}

pub async fn event(
    State(face): State<Face>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((stream, seq)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    face.allowed(&peer)?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let mode = mode(accept.unwrap_or_default()).ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_ACCEPTABLE,
            "an event is given as a CloudEvent only",
            "accept application/json (binary mode) or application/cloudevents+json (structured mode)",
        )
    })?;
    let (stream, seq) = key(&stream, &seq)?;
    let _place = face.place()?;
    if face.log.is_stale() {
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this replica of the event service has not everything",
            "ask again",
        ));
    }
    let (log, of) = (face.log.clone(), stream.clone());
    let found = spawn_blocking(move || find(&log, &of, seq)).await;
    let record = match found {
        Ok(Ok(record)) => record.ok_or_else(|| not_there(&stream, seq))?,
        Ok(Err(error)) => return Err(unreadable(&error)),
        Err(error) => return Err(unreadable(&error)),
    };
    let event = serde_json::from_slice(&record.event).map_err(|error| unreadable(&error))?;
    answer(&CloudEvent::of_json(event), mode)
}

fn key(stream: &str, seq: &str) -> Result<(StreamId, Seq), Refused> {
    let wrong = |what: String| {
        let right = "give an event's stream and seq, as its id as a CloudEvent has them";
        Refused::new(StatusCode::BAD_REQUEST, what, right)
    };
    let id = stream.parse().map_err(|error| wrong(format!("{error}")))?;
    match seq.parse() {
        Ok(number) if number > 0 => Ok((id, Seq(number))),
        _ => Err(wrong(format!("{seq:?} is no place in a stream"))),
    }
}

/// The record of an event. Blocks for many a disk's time.
fn find(log: &Log, stream: &StreamId, seq: Seq) -> Result<Option<Arc<Record>>, log::Error> {
    let Some((offset, found)) = log.after(stream, Seq(seq.0.saturating_sub(1)))? else {
        return Ok(None);
    };
    if found != seq {
        return Ok(None);
    }
    let record = log.read(offset, 1)?.into_iter().next();
    Ok(record.filter(|record| record.key.stream == *stream && record.key.seq == seq))
}

fn answer(event: &CloudEvent, mode: Mode) -> Result<Response, Refused> {
    let (headers, body) = match mode {
        Mode::Binary => event.to_binary(),
        Mode::Structured => {
            let kind = (CONTENT_TYPE.to_string(), STRUCTURED_TYPE.to_owned());
            (vec![kind], event.to_structured().to_string())
        }
    };
    let mut response = body.into_response();
    let own = response.headers_mut();
    own.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| unreadable(&error))?;
        let value = HeaderValue::try_from(value).map_err(|error| unreadable(&error))?;
        own.insert(name, value);
    }
    Ok(response)
}

fn not_there(stream: &StreamId, seq: Seq) -> Refused {
    Refused::new(
        StatusCode::NOT_FOUND,
        format!("event {seq} of stream {stream} is not in the log"),
        "it has not come yet, is older than what is kept, or was lost",
    )
}

fn unreadable(error: &dyn std::fmt::Display) -> Refused {
    tracing::error!(%error, "an event cannot be given");
    Refused::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the event cannot be read",
        "look into the log of the event service",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_mode_is_for_who_names_it() {
        for (accept, expected) in [
            ("", Some(Mode::Binary)),
            ("*/*", Some(Mode::Binary)),
            ("application/json", Some(Mode::Binary)),
            ("application/cloudevents+json", Some(Mode::Structured)),
            ("application/cloudevents+json, */*", Some(Mode::Structured)),
            (
                "application/cloudevents+json;q=0.1, */*",
                Some(Mode::Binary),
            ),
            ("text/html", None),
        ] {
            assert_eq!(mode(accept), expected, "{accept}");
        }
    }
}
