//! Making and finding pages.
//!
//! A page is never changed. Its name says where it begins, so that whoever makes it again, after a crash between the page
//! and the status, meets his own; what that one does not have goes to another behind it.

use kube::{
    Api, ResourceExt as _,
    api::{ListParams, ObjectMeta, PostParams},
};
use pgo_crd::{PgEventPage, PgEventPageSpec};
use pgo_events::Event;
use pgo_ids::{Seq, StreamId};

use super::content::{self, Content};
use crate::error::Error;

/// The most pages of a list at once.
const LISTED: u32 = 500;

/// Copies events of one stream, oldest first, to pages. Copying again changes nothing.
///
/// # Errors
/// Kubernetes failed, or a page that is there cannot be read; some of the events may be in a page.
pub async fn store(api: &Api<PgEventPage>, events: &[Event]) -> Result<(), Error> {
    let mut rest = events;
    while let Some(first) = rest.first() {
        let name = format!("{}-{}", first.stream, first.seq);
        let texts = rest.iter().map(serde_json::to_string);
        let page = PgEventPage {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            spec: PgEventPageSpec {
                stream: first.stream.to_string(),
                events: texts.collect::<Result<_, _>>()?,
            },
        };
        match api.create(&PostParams::default(), &page).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // One that is gone by now was stored; it is made again, which does no harm.
                if let Some(end) = end_of(api, &name).await? {
                    rest = behind(rest, end);
                }
            }
            Err(source) => {
                return Err(failed(format!("copy events to PgEventPage {name}"), source));
            }
        }
    }
    Ok(())
}

/// The events after `end`.
fn behind(events: &[Event], end: Seq) -> &[Event] {
    let from = events.partition_point(|event| event.seq <= end);
    events.get(from..).unwrap_or_default()
}

/// Seq of the last event of a page; none where there is no such page.
async fn end_of(api: &Api<PgEventPage>, name: &str) -> Result<Option<Seq>, Error> {
    let found = api.get_opt(name).await;
    let found = found.map_err(|source| failed(format!("read PgEventPage {name}"), source))?;
    let last = found.and_then(|page| page.spec.events.last().cloned());
    let end = last.map(|text| content::seq(&text));
    Ok(end.transpose()?)
}

/// The events of a stream that are in pages, oldest first; up to `confirmed` they are in the history.
///
/// # Errors
/// Kubernetes failed, or a page holds an event that is not in the history and cannot be read: what is behind that one must
/// not be taken before it.
pub async fn find(
    api: &Api<PgEventPage>,
    stream: &StreamId,
    confirmed: Seq,
) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    let mut parameters = ListParams::default().limit(LISTED);
    loop {
        let listed = api.list(&parameters).await;
        let listed = listed.map_err(|source| failed("list PgEventPages".to_owned(), source))?;
        let ours = listed.items.iter();
        for page in ours.filter(|page| page.spec.stream == stream.as_str()) {
            let there = Content::of(&page.spec).all(confirmed);
            events.extend(there.map_err(|source| Error::UnreadablePage {
                page: page.name_any(),
                source,
            })?);
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    events.sort_by_key(|event| event.seq);
    events.dedup_by_key(|event| event.seq);
    Ok(events)
}

fn failed(what: String, source: kube::Error) -> Error {
    Error::Kubernetes {
        what,
        source: Box::new(source),
    }
}
