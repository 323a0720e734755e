//! Requests and answers.

use std::{error::Error as _, io, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use pgo_api::{Carrier, Endpoint, Methods, Response};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::Serialize;
use tokio::time::{error::Elapsed, timeout};

use super::{ClientError, Settings, tls};
use crate::output::{ago, note, plain};

/// Largest answer read: a thousand clusters take about five megabytes.
const LARGEST_ANSWER: usize = 256 << 20;
/// So much of an answer that is not expected is shown.
const SHOWN: usize = 300;

/// The apiserver.
pub struct Api {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    settings: Settings,
    authorization: String,
}

/// What the apiserver answered: that it is done, or why not, and then what was done before.
#[derive(Debug)]
#[must_use]
pub struct Answer<R>(R);

impl<R: Response> Answer<R> {
    /// The answer if everything was done.
    pub fn whole(self) -> Result<R, ClientError> {
        match self.0.outcome().failure() {
            Some(why) => Err(ClientError::refused(why)),
            None => Ok(self.0),
        }
    }

    /// The answer in any case; its outcome says whether it is a refusal.
    pub fn also_in_part(self) -> R {
        self.0
    }
}

impl Api {
    /// Reads the certificates; connects with the first request.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.limits.connect));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(&settings)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let credentials = &settings.credentials;
        let pair = format!("{}:{}", credentials.user, credentials.password);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            authorization: format!("Basic {}", STANDARD.encode(pair)),
            settings,
        })
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks with a JSON body.
    pub async fn send<R: Response>(
        &self,
        endpoint: Endpoint,
        body: &impl Serialize,
    ) -> Result<Answer<R>, ClientError> {
        let path = endpoint.route().path;
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Answer {
            request: path.to_owned(),
            url: self.settings.url.clone(),
            why: format!("the request cannot be written: {error}"),
        })?;
        self.exchange(endpoint, path, body).await
    }

    /// Asks with a query.
    pub async fn get<R: Response>(
        &self,
        endpoint: Endpoint,
        query: &str,
    ) -> Result<Answer<R>, ClientError> {
        let path = endpoint.route().path;
        let target = match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        self.exchange(endpoint, &target, Vec::new()).await
    }

    /// Asks with a query about what a variable segment of the path names.
    pub async fn get_of<R: Response>(
        &self,
        endpoint: Endpoint,
        variable: &str,
        query: &str,
    ) -> Result<Answer<R>, ClientError> {
        let path = endpoint.route().path_with(variable);
        self.exchange(endpoint, &format!("{path}?{query}"), Vec::new())
            .await
    }

    /// Asks with a query for an answer that has no end. Its status came in time; its body may take for ever.
    pub async fn open(
        &self,
        endpoint: Endpoint,
        query: &str,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let path = endpoint.route().path;
        let request = format!("{} {path}", method(endpoint));
        let target = format!("{path}?{query}");
        let answer = async {
            let response = self.request(endpoint, &target, Vec::new()).await?;
            let status = response.status();
            let opened = match status {
                StatusCode::OK => Ok(response),
                _ => Err(self.text(&request, response.into_body()).await?),
            };
            Ok((status, opened))
        };
        let (status, opened) = self.in_time(&request, answer).await?;
        opened.map_err(|text| self.failed(&request, status, &text))
    }

    async fn exchange<R: Response>(
        &self,
        endpoint: Endpoint,
        target: &str,
        body: Vec<u8>,
    ) -> Result<Answer<R>, ClientError> {
        let request = format!("{} {}", method(endpoint), endpoint.route().path);
        let answer = async {
            let response = self.request(endpoint, target, body).await?;
            let status = response.status();
            Ok((status, self.text(&request, response.into_body()).await?))
        };
        let (status, text) = self.in_time(&request, answer).await?;
        if status != StatusCode::OK {
            return Err(self.failed(&request, status, &text));
        }
        let answer = serde_json::from_slice(&text).map_err(|error| ClientError::Answer {
            request,
            url: self.settings.url.clone(),
            why: format!("{error}, in {}", shown(&text)),
        })?;
        Ok(Answer(answer))
    }

    /// Gives an answer its time, and tells of request and answer where that is wanted.
    async fn in_time<T>(
        &self,
        request: &str,
        answer: impl Future<Output = Result<(StatusCode, T), ClientError>>,
    ) -> Result<(StatusCode, T), ClientError> {
        self.debug(|| format!("{request} to {}", self.settings.url));
        let began = Instant::now();
        let limit = self.settings.limits.request;
        let answer = timeout(limit, answer).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout {
                request: request.to_owned(),
                limit,
            })
        });
        self.debug(|| {
            let took = ago(began.elapsed());
            match &answer {
                Ok((status, _)) => format!("{request}: {} after {took}", status.as_u16()),
                Err(error) => format!("{request}: no answer after {took}: {error}"),
            }
        });
        answer
    }

    fn debug(&self, what: impl FnOnce() -> String) {
        if self.settings.debug {
            note(&format!("debug: {}", what()));
        }
    }

    async fn request(
        &self,
        endpoint: Endpoint,
        target: &str,
        body: Vec<u8>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let url = &self.settings.url;
        let request = Request::builder()
            .method(method(endpoint))
            .uri(format!("{url}{target}"))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Url {
                url: url.clone(),
                why: error.to_string(),
            })?;
        let answer = self.client.request(request).await;
        answer.map_err(|error| self.unreachable(&error))
    }

    async fn text(&self, request: &str, body: Incoming) -> Result<Bytes, ClientError> {
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        body.map(|whole| whole.to_bytes())
            .map_err(|error| ClientError::Unreachable {
                url: self.settings.url.clone(),
                cause: format!("the answer to {request} broke off: {error}"),
            })
    }

    fn failed(&self, request: &str, status: StatusCode, text: &[u8]) -> ClientError {
        let (status, text, request) = (status.as_u16(), shown(text), request.to_owned());
        match status {
            401 | 403 => ClientError::Authentication {
                status,
                text,
                user: self.settings.credentials.user.clone(),
                request,
            },
            _ => ClientError::Status {
                status,
                text,
                request,
            },
        }
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> ClientError {
        let url = self.settings.url.clone();
        let mut cause = error.to_string();
        let mut source = error.source();
        let mut of_tls = None;
        while let Some(inner) = source {
            cause = match ran_out(inner) {
                true => format!("no connection within {:?}", self.settings.limits.connect),
                false => inner.to_string(),
            };
            of_tls = of_tls.or_else(|| tls_error(inner));
            source = inner.source();
        }
        let ca = self.settings.tls.as_ref().map(|files| files.ca.clone());
        match (of_tls, ca) {
            (Some(rustls::Error::InvalidCertificate(why)), Some(ca)) => {
                ClientError::ServerCertificate {
                    url,
                    ca,
                    cause: why.to_string(),
                }
            }
            (Some(rustls::Error::AlertReceived(_)), _) => {
                ClientError::ClientCertificate { url, cause }
            }
            (Some(rustls::Error::InvalidMessage(_)), _) => ClientError::NotTls { url, cause },
            // The words are tokio-rustls'; a server that does not speak TLS may just hang up.
            _ if cause == "tls handshake eof" => ClientError::NotTls { url, cause },
            _ => ClientError::Unreachable { url, cause },
        }
    }
}

fn tls_config(settings: &Settings) -> Result<ClientConfig, ClientError> {
    match &settings.tls {
        Some(files) => tls::config(files),
        // Never used: the URL is plain http then. It trusts nobody.
        None => Ok(
            ClientConfig::builder_with_provider(ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| ClientError::Url {
                    url: settings.url.clone(),
                    why: error.to_string(),
                })?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        ),
    }
}

/// TLS' own error, in however many I/O errors it is wrapped.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let io: &io::Error = error.downcast_ref()?;
    let inner = io.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner))
}

/// Whether this is the limit we set ourselves for connecting.
fn ran_out(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<Elapsed>())
}

/// The method a client uses on a route: where 4.1 takes any, its client uses GET, and POST where there is a body.
fn method(endpoint: Endpoint) -> &'static str {
    let route = endpoint.route();
    match route.methods {
        Methods::Any if route.carrier == Carrier::Body => "POST",
        Methods::Any => "GET",
        Methods::One(method) => method.as_str(),
    }
}

/// The beginning of a text, fit to be shown.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text.trim().chars().take(SHOWN).collect();
    if shown.is_empty() {
        shown.push_str("no text");
    }
    plain(&shown)
}
