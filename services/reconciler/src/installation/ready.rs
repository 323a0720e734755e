//! Whether the other services of PGO are ready: as Kubernetes has it, or as they say themselves where they run elsewhere.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use anyhow::Context as _;
use futures::future::join_all;
use http_body_util::Empty;
use hyper::{
    Method, Request, Uri,
    body::Bytes,
    client::conn::http1::handshake,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Api, Client};
use pgo_ids::Namespace;
use tokio::{net::TcpStream, time::timeout};

/// What PGO consists of besides the reconciler, which is there if this runs.
const DEPLOYMENTS: [&str; 2] = ["apiserver", "scheduler"];
const STATEFUL_SETS: [&str; 2] = ["nsqd", "event"];

/// How long a service may take to answer. All are asked at once, so it is also how long all of them take.
const ANSWER: Duration = Duration::from_secs(3);

/// Where the other services of PGO run.
#[derive(Clone)]
pub enum Services {
    /// As Deployments and StatefulSets of the operator's namespace.
    Pods(Client, Namespace),
    /// Outside of Kubernetes, each with the URL that tells whether it is ready.
    Elsewhere(BTreeMap<String, ReadyUrl>),
}

/// A URL of plain HTTP that is answered with 200 where a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyUrl {
    /// `host:port`.
    authority: String,
    /// With query.
    path: String,
}

/// Why a text is no `name=url`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadyUrlError {
    /// There is no `=`, or nothing before it.
    #[error("{0:?} does not name a service; write name=http://host:port/path")]
    Name(String),
    /// The URL cannot be asked.
    #[error("{0:?} is no URL that can be asked; write http://host:port/path")]
    Url(String),
}

impl FromStr for ReadyUrl {
    type Err = ReadyUrlError;

    fn from_str(text: &str) -> Result<Self, ReadyUrlError> {
        let wrong = || ReadyUrlError::Url(text.to_owned());
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let authority = url.authority().ok_or_else(wrong)?;
        if url.scheme_str() != Some("http") || authority.port_u16().is_none() {
            return Err(wrong());
        }
        Ok(Self {
            authority: authority.to_string(),
            path: url
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }
}

/// One entry of the setting: `name=http://host:port/path`.
///
/// # Errors
/// It is not of that form.
pub fn named_url(text: &str) -> Result<(String, ReadyUrl), ReadyUrlError> {
    match text.split_once('=') {
        Some((name, url)) if !name.is_empty() => Ok((name.to_owned(), url.parse()?)),
        _ => Err(ReadyUrlError::Name(text.to_owned())),
    }
}

impl Services {
    /// The services at these URLs; in Kubernetes where there is none.
    pub fn new(urls: &[(String, ReadyUrl)], client: Client, namespace: Namespace) -> Self {
        if urls.is_empty() {
            Self::Pods(client, namespace)
        } else {
            Self::Elsewhere(urls.iter().cloned().collect())
        }
    }

    /// Those that are not ready; of one that was asked, with its answer.
    ///
    /// # Errors
    /// Kubernetes does not say.
    pub async fn not_ready(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Pods(client, namespace) => pods_not_ready(client, namespace).await,
            Self::Elsewhere(urls) => {
                let asked = urls.iter().map(|(name, url)| async move {
                    let complaint = url.ask().await.err()?;
                    Some(format!("{name} ({complaint:#})"))
                });
                Ok(join_all(asked).await.into_iter().flatten().collect())
            }
        }
    }
}

async fn pods_not_ready(client: &Client, namespace: &Namespace) -> anyhow::Result<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace.as_str());
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace.as_str());
    let mut missing = Vec::new();
    for name in DEPLOYMENTS {
        let found = deployments.get_opt(name).await;
        let found = found.with_context(|| format!("read Deployment {name}"))?;
        let ready = found
            .and_then(|found| found.status)
            .and_then(|status| status.ready_replicas);
        if ready.unwrap_or(0) == 0 {
            missing.push(name.to_owned());
        }
    }
    for name in STATEFUL_SETS {
        let found = sets.get_opt(name).await;
        let found = found.with_context(|| format!("read StatefulSet {name}"))?;
        let ready = found
            .and_then(|found| found.status)
            .and_then(|status| status.ready_replicas);
        if ready.unwrap_or(0) == 0 {
            missing.push(name.to_owned());
        }
    }
    Ok(missing)
}

impl ReadyUrl {
    /// Asks the service.
    async fn ask(&self) -> anyhow::Result<()> {
        timeout(ANSWER, self.get())
            .await
            .with_context(|| format!("no answer within {} s", ANSWER.as_secs()))?
    }

    async fn get(&self) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .with_context(|| format!("connect to {}", self.authority))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        // It ends with the answer and its sender, which are dropped below, or with the deadline's drop of them.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "{} answers {}",
            self.authority,
            answer.status()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers every connection with this status line, until the test ends.
    async fn answering(status: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap_or(0);
                assert!(head[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    fn services(entries: &[String]) -> Services {
        let urls = entries
            .iter()
            .map(|entry| named_url(entry).expect("an entry"));
        Services::Elsewhere(urls.collect())
    }

    #[tokio::test]
    async fn those_that_do_not_say_that_they_are_ready_are_named_with_what_they_say() {
        let ready = answering("200 OK").await;
        let not_ready = answering("503 Service Unavailable").await;
        let services = services(&[
            format!("apiserver=http://{ready}/readyz"),
            format!("event=http://{not_ready}/readyz"),
            // The discard port: nobody listens there.
            "nsqd=http://127.0.0.1:9/readyz".to_owned(),
        ]);
        let told = services.not_ready().await.expect("an answer");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("event (") && told[0].contains("503"),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("nsqd (connect to 127.0.0.1:9"),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_not_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = silent.local_addr().expect("its address");
        let services = services(&[format!("event=http://{address}/readyz")]);
        let told = services.not_ready().await.expect("an answer");
        assert_eq!(told, ["event (no answer within 3 s: deadline has elapsed)"]);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in ["", "http://127.0.0.1:80/", "=http://127.0.0.1:80/"] {
            assert_eq!(
                named_url(text).err(),
                Some(ReadyUrlError::Name(text.to_owned()))
            );
        }
        for url in [
            "",
            "127.0.0.1:80",
            "https://127.0.0.1:80/",
            "http://127.0.0.1/",
            "http:///x",
        ] {
            let expected = ReadyUrlError::Url(url.to_owned());
            assert_eq!(named_url(&format!("event={url}")).err(), Some(expected));
        }
        let url: ReadyUrl = "http://[::1]:4151/ping?x=1".parse().expect("a URL");
        assert_eq!(
            (url.authority.as_str(), url.path.as_str()),
            ("[::1]:4151", "/ping?x=1")
        );
    }
}
