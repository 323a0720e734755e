//! From a request to its answer: what is checked before a handler runs, in this order.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, Query, Request, State},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, HeaderValue, Uri, header, request::Parts};
use http_body_util::BodyExt as _;
use pgo_api::{
    Carrier, Methods, NamespaceCheck, PGO_VERSION, Permission, RequestHead, Response as Answer,
    Route, StatusQuery, WWW_AUTHENTICATE, texts,
};
use pgo_tls::Peer;
use serde::de::DeserializeOwned;

use crate::{
    access::{Caller, Credentials},
    app::App,
    refusal::{Refusal, Stop, json},
    routes,
};

/// Largest body that is read: 4.1's largest request, a policy with its SQL, is far smaller.
const BODY_LIMIT: usize = 1 << 20;

/// So much more is read and thrown away, so that the client is through with sending and reads the answer.
const SURPLUS_LIMIT: usize = 16 << 20;

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// How long a handler may take: what 4.1.1's client waits.
const HANDLER_DEADLINE: Duration = Duration::from_secs(55);

/// A request that may be done: by whom, and what for.
pub(crate) struct Call {
    pub app: Arc<App>,
    pub route: &'static Route,
    pub caller: Caller,
    /// For those who look again whether the user still may.
    pub credentials: Credentials,
    arguments: Arguments,
}

enum Arguments {
    Query(Uri),
    Body(Bytes),
}

/// Answers a request, whatever it is.
pub(crate) async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let began = Instant::now();
    let found = Route::find(request.method().as_str(), request.uri().path());
    let path = found.map_or("", |route| route.path);
    let mut response = answer(&app, found, request)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(WWW_AUTHENTICATE),
    );
    let code = response.status().as_u16();
    tracing::debug!(
        path,
        code,
        took_ms = began.elapsed().as_millis(),
        "answered"
    );
    app.metrics.answered(path, code, began.elapsed());
    response
}

async fn answer(
    app: &Arc<App>,
    found: Result<&'static Route, pgo_api::NoRoute>,
    request: Request,
) -> Result<Response, Stop> {
    let (parts, body) = request.into_parts();
    let client = Client::of(&parts.extensions);
    let path = parts.uri.path();
    if client.lacks_certificate && !app.open_routes.iter().any(|open| open == path) {
        return Err(Stop::Certificate);
    }
    let route = found.map_err(|why| Stop::NoRoute(why, methods(path)))?;
    let Some(permission) = route.permission else {
        return Ok(routes::open(app, route.endpoint));
    };
    let (credentials, caller) = authorize(app, &parts, permission, &client)?;
    let arguments = match route.carrier {
        Carrier::Body => Arguments::Body(read(&parts.headers, body).await?),
        Carrier::None | Carrier::Query => Arguments::Query(parts.uri),
    };
    let call = Call {
        app: app.clone(),
        route,
        caller,
        credentials,
        arguments,
    };
    routes::dispatch(Arc::new(call)).await
}

/// Who is at the other end.
struct Client {
    addr: Option<SocketAddr>,
    /// The connection is one that could have shown a certificate, and did not.
    lacks_certificate: bool,
}

impl Client {
    fn of(extensions: &Extensions) -> Self {
        if let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<Peer>>() {
            return Self {
                addr: Some(peer.addr),
                lacks_certificate: !peer.has_certificate(),
            };
        }
        let plain = extensions.get::<ConnectInfo<SocketAddr>>();
        Self {
            addr: plain.map(|ConnectInfo(addr)| *addr),
            lacks_certificate: false,
        }
    }
}

/// The methods that a path takes.
fn methods(path: &str) -> Vec<&'static str> {
    let takes = |method: &&str| match Route::find(method, path) {
        Ok(route) => route.methods != Methods::Any,
        Err(_) => false,
    };
    ["GET", "POST", "DELETE"]
        .into_iter()
        .filter(takes)
        .collect()
}

fn authorize(
    app: &App,
    parts: &Parts,
    permission: Permission,
    client: &Client,
) -> Result<(Credentials, Caller), Stop> {
    let config = app.configuration.now();
    let credentials = Credentials::read(&parts.headers);
    let method = parts.method.as_str();
    let user = credentials.as_ref().map_or("", |given| given.user.as_str());
    let outcome = credentials
        .as_ref()
        .map_err(|text| *text)
        .and_then(|given| {
            app.access
                .authorize(given, permission, config.needs_password())
        });
    let refused = outcome.as_ref().err().copied().unwrap_or_default();
    let remote = client.addr.map(|addr| addr.to_string()).unwrap_or_default();
    if config.pgo.audit {
        tracing::info!(target: "audit", user, %permission, method, remote, refused, "request");
    } else if !refused.is_empty() {
        tracing::info!(user, %permission, remote, refused, "a request was refused");
    }
    match (credentials, outcome) {
        (Ok(credentials), Ok(caller)) => Ok((credentials, caller)),
        _ => Err(Stop::Unauthorized(refused)),
    }
}

/// Reads a body, up to the limit.
async fn read(headers: &HeaderMap, mut body: axum::body::Body) -> Result<Bytes, Stop> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > (BODY_LIMIT + SURPLUS_LIMIT) as u64) {
        return Err(Stop::TooLarge(BODY_LIMIT));
    }
    let reading = async {
        let (mut taken, mut surplus) = (BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Stop::Malformed(format!("the body of the request broke off: {error}"))
            })?;
            let data = frame.into_data().unwrap_or_default();
            if surplus == 0 && taken.len() + data.len() <= BODY_LIMIT {
                taken.extend_from_slice(&data);
                continue;
            }
            taken = BytesMut::new();
            surplus += data.len();
            if surplus > SURPLUS_LIMIT {
                break;
            }
        }
        if surplus > 0 {
            return Err(Stop::TooLarge(BODY_LIMIT));
        }
        Ok(taken.freeze())
    };
    tokio::time::timeout(BODY_DEADLINE, reading)
        .await
        .unwrap_or(Err(Stop::Slow))
}

impl Call {
    /// Checks version and namespace, runs `handler`, and writes its answer.
    pub(crate) async fn answer<Q, R, F>(
        self: Arc<Self>,
        handler: impl FnOnce(Arc<Self>, Q) -> F,
    ) -> Result<Response, Stop>
    where
        Q: DeserializeOwned,
        R: Answer,
        F: Future<Output = Result<R, Refusal>>,
    {
        if let Err(Refusal(why)) = self.check(&self.head()?) {
            return Ok(json(&R::refused(why)));
        }
        let request: Q = self.read()?;
        let answer = tokio::time::timeout(HANDLER_DEADLINE, handler(self, request)).await;
        Ok(json(&match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(Refusal(why))) => R::refused(why),
            Err(_) => R::refused(format!(
                "no answer within {} s, Kubernetes or PostgreSQL are slow or out of reach; what was begun may still be done",
                HANDLER_DEADLINE.as_secs()
            )),
        }))
    }

    /// Version and namespace that the request says.
    pub(crate) fn head(&self) -> Result<RequestHead, Stop> {
        match self.route.carrier {
            Carrier::Body => self.read(),
            Carrier::None | Carrier::Query => {
                let query: StatusQuery = self.read()?;
                Ok(RequestHead {
                    client_version: query.version,
                    namespace: query.namespace,
                })
            }
        }
    }

    /// Checks version and namespace as the route wants them checked.
    pub(crate) fn check(&self, head: &RequestHead) -> Result<(), Refusal> {
        if self.route.checks_version && head.client_version != PGO_VERSION {
            return Err(Refusal(texts::VERSION_MISMATCH.to_owned()));
        }
        let checked = match self.route.namespace {
            NamespaceCheck::None => false,
            NamespaceCheck::Required => true,
            NamespaceCheck::IfGiven => !head.namespace.is_empty(),
        };
        if checked {
            self.app.access.namespace(&self.caller, &head.namespace)?;
        }
        Ok(())
    }

    /// The variable segment of the path; empty where it has none.
    pub(crate) fn variable(&self) -> String {
        match &self.arguments {
            Arguments::Query(uri) => decoded(self.route.variable(uri.path())),
            Arguments::Body(_) => String::new(),
        }
    }

    /// Refuses a query that has other parameters than those of the route.
    pub(crate) fn takes_only(&self, known: &[&str]) -> Result<(), Stop> {
        let query = match &self.arguments {
            Arguments::Query(uri) => uri.query().unwrap_or_default(),
            Arguments::Body(_) => "",
        };
        match unknown_parameter(query, known) {
            None => Ok(()),
            Some(other) => Err(Stop::Malformed(format!(
                "there is no parameter {other:?}; those that there are: {}",
                known.join(", ")
            ))),
        }
    }

    /// The arguments as a type. A body that is missing is an empty object, as in 4.1.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Stop> {
        match &self.arguments {
            Arguments::Query(uri) => match Query::<T>::try_from_uri(uri) {
                Ok(Query(value)) => Ok(value),
                Err(error) => Err(Stop::Malformed(error.body_text())),
            },
            Arguments::Body(body) if body.trim_ascii().is_empty() => parse(b"{}"),
            Arguments::Body(body) => parse(body),
        }
    }
}

/// The first parameter of a query that is none of those that are known.
fn unknown_parameter(query: &str, known: &[&str]) -> Option<String> {
    let names = query.split('&').filter(|pair| !pair.is_empty());
    let mut names = names.map(|pair| decoded(pair.split_once('=').map_or(pair, |(name, _)| name)));
    names.find(|name| !known.contains(&name.as_str()))
}

/// A segment of a path without its escapes (RFC 3986, section 2.1); as it is where they make no text.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| core::str::from_utf8(more.get(..2)?).ok())
            .flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

/// The path where the body breaks off before or within the name of a field.
const NO_FIELD: &str = "?";

/// Parses JSON; what is wrong is named with field and position.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Stop> {
    let malformed = |field: Option<String>, why: &serde_json::Error| {
        let what = match field {
            Some(field) if field != "." && field != NO_FIELD => {
                format!("field {field:?} of the body cannot be used")
            }
            _ => "the body of the request is not the JSON that it should be".to_owned(),
        };
        Stop::Malformed(format!("{what}: {why}"))
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| malformed(Some(error.path().to_string()), error.inner()))?;
    deserializer
        .end()
        .map_err(|error| malformed(None, &error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use pgo_api::CreateClusterRequest;

    use super::*;

    fn why(body: &str) -> String {
        match parse::<CreateClusterRequest>(body.as_bytes()) {
            Err(Stop::Malformed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_segment_loses_its_escapes() {
        assert_eq!(decoded("hippo"), "hippo");
        assert_eq!(decoded("a%2Fb%20c"), "a/b c");
        assert_eq!(decoded("50%"), "50%");
        assert_eq!(decoded("%ff"), "%ff");
    }

    #[test]
    fn broken_json_is_told_with_its_position() {
        let text = why("{\"Name\": \"hippo\",, }");
        assert!(text.ends_with("at line 1 column 18"), "{text}");
        let text = why("{Name: 1}");
        assert!(
            text.starts_with("the body of the request is not the JSON"),
            "{text}"
        );
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        let text = why("{\"Name\": \"hippo\", \"Series\": \"many\"}");
        assert!(text.starts_with("field \"Series\" of the body"), "{text}");
        assert!(text.contains("line 1 column"), "{text}");
    }

    #[test]
    fn text_behind_the_object_is_refused() {
        assert!(why("{} {}").contains("trailing characters"));
    }

    #[test]
    fn a_parameter_that_there_is_not_is_found() {
        let unknown = |query| unknown_parameter(query, &["topic", "last"]);
        for fine in ["", "topic=a&last=3", "last", "&topic=x&", "%74opic=x"] {
            assert_eq!(unknown(fine), None, "{fine}");
        }
        assert_eq!(unknown("topic=a&until=now").as_deref(), Some("until"));
        assert_eq!(unknown("foo").as_deref(), Some("foo"));
    }

    #[test]
    fn methods_of_a_path_are_those_of_its_routes() {
        assert_eq!(methods("/pgbouncer"), ["POST", "DELETE"]);
        assert_eq!(methods("/nosuch"), Vec::<&str>::new());
    }
}
