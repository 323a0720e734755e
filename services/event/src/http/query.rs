//! What a request over HTTP asks for: its query and a few headers, as the request of a reader.

use std::time::SystemTime;

use jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use pgo_proto::event::{Place, ReadRequest, read_request::From};

use crate::log::Cursor;

/// Parameters that there are.
const PARAMETERS: &str =
    "topic, namespace, cluster, type, severity, filter, since, last, follow, form";

/// How the answer is cut into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// JSON lines.
    Lines,
    /// Server-sent events (HTML, section 9.2).
    ServerSent,
}

/// How each event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// 4.1's envelope with the new fields.
    #[default]
    Envelope,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What of the log.
    pub request: ReadRequest,
    /// How the events are written.
    pub form: Form,
}

/// Why a request cannot be answered: what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; {right}")]
pub struct Wrong {
    /// What.
    pub wrong: String,
    /// What to do.
    pub right: String,
}

fn wrong(wrong: impl Into<String>, right: impl Into<String>) -> Wrong {
    Wrong {
        wrong: wrong.into(),
        right: right.into(),
    }
}

/// The framing that a client accepts, by RFC 9110, section 12.5.1; of two that it likes as well, lines.
///
/// # Errors
/// It accepts neither.
pub fn framing(accept: Option<&str>) -> Result<Framing, Wrong> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return Ok(Framing::Lines);
    };
    let lines = weight(accept, &["application/x-ndjson", "application/*", "*/*"]);
    let server_sent = weight(accept, &["text/event-stream", "text/*", "*/*"]);
    match (lines, server_sent) {
        (0, 0) => Err(wrong(
            format!("nothing that is accepted ({accept:?}) can be given"),
            "accept application/x-ndjson or text/event-stream",
        )),
        (lines, server_sent) if server_sent > lines => Ok(Framing::ServerSent),
        _ => Ok(Framing::Lines),
    }
}

/// The weight in thousandths that a client gives to the most specific of the ranges it names.
pub(super) fn weight(accept: &str, ranges: &[&str]) -> u16 {
    let named = |range: &&str| {
        accept.split(',').find_map(|part| {
            let mut pieces = part.split(';').map(str::trim);
            let media = pieces.next()?;
            media.eq_ignore_ascii_case(range).then(|| {
                let weight = pieces.find_map(|piece| piece.strip_prefix("q="));
                let weight: f32 = weight.and_then(|text| text.parse().ok()).unwrap_or(1.0);
                // In range by the clamp, and never negative.
                (weight.clamp(0.0, 1.0) * 1000.0).round() as u16
            })
        })
    };
    ranges.iter().find_map(named).unwrap_or(0)
}

/// Reads the query, and the id that a browser sends when it connects anew; that goes before the query's place.
///
/// # Errors
/// A parameter is unknown or cannot be used. What the selection itself refuses shows when the reader begins.
pub fn wanted(
    pairs: &[(String, String)],
    framing: Framing,
    last_event_id: Option<&str>,
    now: Timestamp,
) -> Result<Wanted, Wrong> {
    let mut request = ReadRequest::default();
    let (mut since, mut last, mut follow, mut form) = (None, None, None, Form::default());
    for (name, value) in pairs {
        match name.as_str() {
            "topic" => request.topics.extend(listed(value)),
            "namespace" => request.namespaces.extend(listed(value)),
            "cluster" => request.clusters.extend(listed(value)),
            "type" => request.types.extend(listed(value)),
            "severity" => request.severity = value.trim().to_owned(),
            "filter" => request.filter.clone_from(value),
            "since" => since = Some(place(value, now)?),
            "last" => last = Some(From::Last(number(value)?)),
            "follow" => follow = Some(flag(value)?),
            "form" => form = form_of(value)?,
            other => {
                return Err(wrong(
                    format!("there is no parameter {other:?}"),
                    format!("the parameters are {PARAMETERS}"),
                ));
            }
        }
    }
    if since.is_some() && last.is_some() {
        return Err(wrong(
            "since and last both say where to begin",
            "give one of them",
        ));
    }
    request.follow = follow.unwrap_or(framing == Framing::ServerSent);
    let resumed = match last_event_id {
        Some(id) if !id.is_empty() => Some(cursor(id)?),
        _ => None,
    };
    // Without a place and without what comes there would be nothing at all.
    let whole = (!request.follow).then_some(From::Beginning(true));
    request.from = resumed.or(since).or(last).or(whole);
    Ok(Wanted { request, form })
}

/// The names in a list with commas.
fn listed(text: &str) -> impl Iterator<Item = String> {
    let names = text.split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn cursor(text: &str) -> Result<From, Wrong> {
    match text.parse::<Cursor>() {
        Ok(_) => Ok(From::Cursor(text.to_owned())),
        Err(error) => Err(wrong(
            format!("Last-Event-ID: {error}"),
            "send the id of the last event that came, or leave it out",
        )),
    }
}

/// Where to begin: a cursor, the id of an event (`STREAM/SEQ`), a time, a while ago, or the beginning.
fn place(text: &str, now: Timestamp) -> Result<From, Wrong> {
    let text = text.trim();
    if text == "beginning" {
        return Ok(From::Beginning(true));
    }
    if text.parse::<Cursor>().is_ok() {
        return Ok(From::Cursor(text.to_owned()));
    }
    if let Some((stream, seq)) = text.rsplit_once('/')
        && let Ok(seq) = seq.parse()
    {
        let stream = stream.to_owned();
        return Ok(From::Event(Place { stream, seq }));
    }
    let time = text.parse().ok().or_else(|| day(text));
    match time.or_else(|| ago(text, now)) {
        Some(time) => Ok(From::Since(SystemTime::from(time).into())),
        None => Err(wrong(
            format!("since={text:?} is no place in the log"),
            "give a time (2026-10-15T10:11:12Z), a day (2026-10-15), a while (1h30m, 7d), a cursor that came with an event, an event's \
             stream/seq, or beginning",
        )),
    }
}

/// The first moment of a day, UTC.
fn day(text: &str) -> Option<Timestamp> {
    // A longer text may have a time of a place that is not known.
    let day: Date = (text.len() == 10).then(|| text.parse().ok())??;
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// So long before now; a day is 24 hours, a week seven days.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let while_ago = text.parse::<Span>().ok()?;
    let days = SpanRelativeTo::days_are_24_hours();
    let while_ago = while_ago.to_duration(days).ok()?;
    now.checked_sub(while_ago.abs()).ok()
}

fn number(text: &str) -> Result<u64, Wrong> {
    text.trim().parse().map_err(|_| {
        wrong(
            format!("last={text:?} is no number"),
            "give a number of events, as in last=100",
        )
    })
}

fn flag(text: &str) -> Result<bool, Wrong> {
    match text.trim() {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(wrong(
            format!("follow={other:?} is neither true nor false"),
            "give follow=true to go on with what comes, or follow=false to stop at the end",
        )),
    }
}

fn form_of(text: &str) -> Result<Form, Wrong> {
    match text.trim() {
        "envelope" => Ok(Form::Envelope),
        "cloudevents" => Ok(Form::CloudEvents),
        other => Err(wrong(
            format!("there is no form {other:?}"),
            "give form=envelope or form=cloudevents",
        )),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn read(query: &[(&str, &str)], framing: Framing, id: Option<&str>) -> Result<Wanted, Wrong> {
        let pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        wanted(
            &pairs,
            framing,
            id,
            Timestamp::UNIX_EPOCH + SignedDuration::from_hours(2),
        )
    }

    fn from(since: &str) -> Option<From> {
        read(&[("since", since)], Framing::Lines, None)
            .expect("a place")
            .request
            .from
    }

    proptest! {
        #[test]
        fn no_query_and_no_header_make_it_panic(name in "[a-z]{0,8}", value in ".{0,40}", id in ".{0,40}") {
            let _ = read(&[(&name, &value)], Framing::Lines, Some(&id));
            let _ = read(&[("since", &value)], Framing::ServerSent, None);
            let _ = framing(Some(&value));
        }
    }

    #[test]
    fn lines_stop_at_the_end_and_server_sent_events_go_on_unless_asked_otherwise() {
        let lines = read(&[], Framing::Lines, None).expect("a request").request;
        assert!(!lines.follow);
        assert_eq!(lines.from, Some(From::Beginning(true)));
        let sent = read(&[], Framing::ServerSent, None)
            .expect("a request")
            .request;
        assert!(sent.follow);
        assert_eq!(sent.from, None);
        let other = read(&[("follow", "true")], Framing::Lines, None)
            .expect("a request")
            .request;
        assert!(other.follow && other.from.is_none());
    }

    #[test]
    fn a_place_is_a_cursor_an_event_a_time_a_while_or_the_beginning() {
        let time = |seconds| Some(From::Since(prost_types::Timestamp { seconds, nanos: 0 }));
        assert_eq!(from("beginning"), Some(From::Beginning(true)));
        assert_eq!(from("ab12:7"), Some(From::Cursor("ab12:7".to_owned())));
        let event = Place {
            stream: "uid-1".to_owned(),
            seq: 7,
        };
        assert_eq!(from("uid-1/7"), Some(From::Event(event)));
        assert_eq!(from("1970-01-01T00:01:00Z"), time(60));
        assert_eq!(from("1h"), time(3600));
        assert_eq!(from("1h30m"), time(1800));
        assert_eq!(from("1d"), time(7200 - 86_400));
        assert_eq!(from("1970-01-02"), time(86_400));
        let none = read(&[("since", "yesterday")], Framing::Lines, None).expect_err("no place");
        assert!(
            none.wrong.contains("yesterday") && none.right.contains("2026-10-15T10:11:12Z"),
            "{none}"
        );
    }

    #[test]
    fn the_last_id_goes_before_the_query() {
        let resumed =
            read(&[("last", "5")], Framing::ServerSent, Some("ab12:9")).expect("a request");
        assert_eq!(
            resumed.request.from,
            Some(From::Cursor("ab12:9".to_owned()))
        );
        let wrong = read(&[], Framing::ServerSent, Some("nine")).expect_err("no cursor");
        assert!(wrong.wrong.contains("Last-Event-ID"), "{wrong}");
    }

    #[test]
    fn lists_have_commas_or_come_as_several_parameters() {
        let request = read(
            &[("cluster", "hippo, rhino"), ("cluster", "gnu")],
            Framing::Lines,
            None,
        );
        assert_eq!(
            request.expect("a request").request.clusters,
            ["hippo", "rhino", "gnu"]
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        for (query, right) in [
            (("topics", "x"), "topic, namespace"),
            (("follow", "maybe"), "follow=true"),
            (("form", "xml"), "form=cloudevents"),
            (("last", "many"), "last=100"),
        ] {
            let refused = read(&[query], Framing::Lines, None).expect_err("a refusal");
            assert!(refused.right.contains(right), "{refused}");
        }
        assert!(read(&[("since", "1h"), ("last", "1")], Framing::Lines, None).is_err());
    }

    #[test]
    fn the_framing_is_what_the_client_likes_best() {
        for (accept, expected) in [
            (None, Some(Framing::Lines)),
            (Some("*/*"), Some(Framing::Lines)),
            (Some("text/event-stream"), Some(Framing::ServerSent)),
            (
                Some("Text/Event-Stream; q=0.5, application/x-ndjson;q=0.1"),
                Some(Framing::ServerSent),
            ),
            (Some("text/event-stream;q=0, */*"), Some(Framing::Lines)),
            (Some("application/x-ndjson"), Some(Framing::Lines)),
            (Some("text/html"), None),
        ] {
            assert_eq!(framing(accept).ok(), expected, "{accept:?}");
        }
    }
}
