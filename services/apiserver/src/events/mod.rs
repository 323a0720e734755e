//! `GET /events`: the history of events and what follows, one JSON line each.
//!
//! ```text
//! query ─► what (filters, of namespaces that the user may see) ─► follow (event service, for ever) ─► lines
//! ```

mod follow;
mod selected;
mod wanted;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use pgo_api::{EventsQuery, STREAM_TYPE, StreamLine};

use crate::{
    refusal::{Refusal, Stop},
    request::Call,
};

pub(crate) use selected::Remembered;

/// Answers with a stream that goes on until the client goes, the user loses the right to it, or the process ends.
pub(crate) async fn stream(call: &Call) -> Result<Response, Stop> {
    call.takes_only(&EventsQuery::PARAMETERS)?;
    let query: EventsQuery = call.read()?;
    let wanted = match wanted::of(call, &call.head()?, &query) {
        Ok(wanted) => wanted,
        Err(Refusal(why)) => return Ok(lines(Body::from(StreamLine::Refused { why }.to_line()))),
    };
    let Some(events) = call.app.events.clone() else {
        return Err(Stop::Unavailable(
            "no event service is configured; set EVENT_SERVICE of the apiserver".to_owned(),
        ));
    };
    let Ok(place) = call.app.streams.clone().try_acquire_owned() else {
        return Err(Stop::Unavailable(
            "as many streams of events are open as may be (PGO_EVENT_STREAMS of the apiserver); end a pgo watch that nobody \
             needs, or try again later"
                .to_owned(),
        ));
    };
    let viewer = wanted::Viewer::of(call);
    match follow::open(events, wanted, viewer, place).await {
        Ok(stream) => Ok(lines(Body::from_stream(stream))),
        Err(follow::CannotOpen::Refused(why)) => {
            Ok(lines(Body::from(StreamLine::Refused { why }.to_line())))
        }
        Err(follow::CannotOpen::Unavailable(why)) => Err(Stop::Unavailable(why)),
    }
}

fn lines(body: Body) -> Response {
    ([(CONTENT_TYPE, STREAM_TYPE)], body).into_response()
}
