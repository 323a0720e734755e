//! Which events a client asks for, and which of them it may see.

use std::{sync::Arc, time::SystemTime};

use jiff::Timestamp;
use pgo_api::{EventsQuery, Permission, RequestHead};
use pgo_events::Topic;
use pgo_proto::event::{ReadRequest, read_request::From};

use crate::{access::Credentials, accounts::Scope, app::App, refusal::Refusal, request::Call};

/// What to read of the log: everything but the place to begin, which moves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub from: Option<From>,
    pub topics: Vec<String>,
    /// Empty: all.
    pub namespaces: Vec<String>,
    /// Empty: all.
    pub clusters: Vec<String>,
    /// Patterns; empty: all.
    pub types: Vec<String>,
    /// The least; empty: all.
    pub severity: String,
    /// CESQL; empty: all.
    pub filter: String,
    /// Labels of the clusters; empty: all. The event service does not know them.
    pub selector: String,
    /// Streams of the clusters that have the labels now: the last events are looked for among those of these.
    pub last_of: Vec<String>,
}

impl Wanted {
    /// The request to the event service that begins at `from`.
    pub(super) fn request(&self, from: Option<From>) -> ReadRequest {
        let streams = match self.narrows(from.as_ref()) {
            true => self.last_of.clone(),
            false => Vec::new(),
        };
        ReadRequest {
            streams,
            from,
            follow: true,
            topics: self.topics.clone(),
            namespaces: self.namespaces.clone(),
            clusters: self.clusters.clone(),
            types: self.types.clone(),
            severity: self.severity.clone(),
            filter: self.filter.clone(),
        }
    }

    /// Whether a request that begins there is for the events of selected clusters only.
    pub(super) fn narrows(&self, from: Option<&From>) -> bool {
        matches!(from, Some(From::Last(_))) && !self.last_of.is_empty()
    }
}

/// Reads a query.
///
/// # Errors
/// Version, namespace, topic or time cannot be used.
pub(super) fn of(call: &Call, head: &RequestHead, query: &EventsQuery) -> Result<Wanted, Refusal> {
    // What belongs to no cluster is told in the operator's namespace: for those who may see everything.
    let of_pgo = query.namespace == call.app.operator_namespace && call.caller.scope == Scope::All;
    let head = RequestHead {
        namespace: if of_pgo {
            String::new()
        } else {
            head.namespace.clone()
        },
        ..head.clone()
    };
    call.check(&head)?;
    Ok(Wanted {
        from: place(query)?,
        topics: topics(&query.topic)?,
        namespaces: namespaces(&call.caller.scope, &query.namespace),
        clusters: listed(&query.clusters),
        types: listed(&query.types),
        severity: query.severity.clone(),
        filter: query.filter.clone(),
        selector: query.selector.clone(),
        last_of: Vec::new(),
    })
}

/// The names in a list with commas.
fn listed(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn place(query: &EventsQuery) -> Result<Option<From>, Refusal> {
    if let Some(cursor) = &query.cursor {
        return Ok(Some(From::Cursor(cursor.clone())));
    }
    if let Some(since) = &query.since {
        let time: Timestamp = since.parse().map_err(|error| {
            Refusal(format!(
                "since {since:?} is not a time: {error}; give one like 2026-10-15T10:11:12Z"
            ))
        })?;
        return Ok(Some(From::Since(SystemTime::from(time).into())));
    }
    Ok(query.last.map(|last| From::Last(u64::from(last))))
}

fn topics(topic: &str) -> Result<Vec<String>, Refusal> {
    match topic {
        "" => Ok(Vec::new()),
        topic => match topic.parse() {
            Ok(Topic::All) => Ok(Vec::new()),
            Ok(topic) => Ok(vec![topic.as_str().to_owned()]),
            Err(unknown) => Err(Refusal(unknown.to_string())),
        },
    }
}

fn namespaces(scope: &Scope, asked: &str) -> Vec<String> {
    match scope {
        _ if !asked.is_empty() => vec![asked.to_owned()],
        Scope::All => Vec::new(),
        Scope::Only(names) => names.iter().cloned().collect(),
    }
}

/// Who reads the stream. A stream outlives what was true when it began, so each line is asked for anew.
pub(super) struct Viewer {
    pub app: Arc<App>,
    credentials: Credentials,
    permission: Option<Permission>,
}

/// Whether a line may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Shown,
    /// Events of other namespaces.
    Hidden,
    /// The user may read no events any more.
    Over,
}

impl Viewer {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            app: call.app.clone(),
            credentials: call.credentials.clone(),
            permission: call.route.permission,
        }
    }

    /// Whether the user may see an event of `namespace` now; without one, any line at all.
    pub(super) fn may_see(&self, namespace: Option<&str>) -> View {
        let Some(permission) = self.permission else {
            return View::Over;
        };
        let needs_password = self.app.configuration.now().needs_password();
        let access = &self.app.access;
        match access.authorize(&self.credentials, permission, needs_password) {
            Err(_) => View::Over,
            Ok(caller) if namespace.is_none_or(|name| caller.scope.contains(name)) => View::Shown,
            Ok(_) => View::Hidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_cursor_goes_before_a_time_and_that_before_a_number() {
        let mut query = EventsQuery {
            cursor: Some("7".to_owned()),
            since: Some("2026-10-15T10:11:12Z".to_owned()),
            last: Some(3),
            ..EventsQuery::default()
        };
        assert_eq!(
            place(&query).ok().flatten(),
            Some(From::Cursor("7".to_owned()))
        );
        query.cursor = None;
        assert!(matches!(place(&query).ok().flatten(), Some(From::Since(time)) if time.nanos == 0));
        query.since = None;
        assert_eq!(place(&query).ok().flatten(), Some(From::Last(3)));
        query.last = None;
        assert_eq!(place(&query).ok().flatten(), None);
    }

    #[test]
    fn a_time_that_is_none_is_refused_with_an_example() {
        let query = EventsQuery {
            since: Some("yesterday".to_owned()),
            ..EventsQuery::default()
        };
        let Err(Refusal(why)) = place(&query) else {
            panic!("accepted");
        };
        assert!(
            why.contains("yesterday") && why.contains("2026-10-15T10:11:12Z"),
            "{why}"
        );
    }

    #[test]
    fn a_list_has_its_names_between_commas() {
        assert_eq!(listed("hippo, rhino,,"), ["hippo", "rhino"]);
        assert_eq!(listed(""), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_topic_is_refused_and_alltopic_means_no_filter() {
        assert_eq!(topics("alltopic").ok(), Some(Vec::new()));
        assert_eq!(
            topics("clustertopic").ok(),
            Some(vec!["clustertopic".to_owned()])
        );
        assert!(topics("nosuch").is_err());
    }

    #[test]
    fn a_user_of_some_namespaces_reads_events_of_those() {
        let some = Scope::Only(BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(namespaces(&some, ""), ["a", "b"]);
        assert_eq!(namespaces(&some, "a"), ["a"]);
        assert_eq!(namespaces(&Scope::All, ""), Vec::<String>::new());
    }
}
