//! Whether the services of PGO are ready, with all of their replicas, and what of them still works while PGO is to stop: as
//! Kubernetes has it, or as they say themselves where they run elsewhere.

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
use pgo_core::services::ProcessFacts;
use pgo_ids::Namespace;
use tokio::{net::TcpStream, time::timeout};

/// What PGO consists of.
const DEPLOYMENTS: [&str; 3] = ["apiserver", "reconciler", "scheduler"];
const STATEFUL_SETS: [&str; 2] = ["nsqd", "event"];

/// By these the stop of PGO is told, so they go after it.
const TELLING: [&str; 3] = ["reconciler", "nsqd", "event"];

/// Deployments of services that do what ends with PGO; there need not be one for 4.1's direct watch.
const WORKING: [&str; 3] = ["apiserver", "scheduler", "direct"];

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

/// How the services are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that are not ready; of one that was asked, with its answer.
    pub not_ready: Vec<String>,
    /// Those that are ready with fewer replicas than they are to have, with how many.
    pub reduced: Vec<String>,
}

impl Found {
    fn judge(&mut self, name: &str, ready: i32, wanted: i32) {
        // The reconciler is there, if this runs, whatever its probe has said so far.
        let ready = if name == "reconciler" {
            ready.max(1)
        } else {
            ready
        };
        if ready == 0 {
            self.not_ready.push(name.to_owned());
        } else if ready < wanted {
            self.reduced
                .push(format!("{name} has {ready} of {wanted} replicas ready"));
        }
    }
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

    /// How they are. Elsewhere each URL is one process, so that nothing is said of replicas.
    ///
    /// # Errors
    /// Kubernetes does not say.
    pub async fn look(&self) -> anyhow::Result<Found> {
        match self {
            Self::Pods(client, namespace) => of_pods(client, namespace).await,
            Self::Elsewhere(urls) => {
                let asked = urls.iter().map(|(name, url)| async move {
                    let complaint = url.ask().await.err()?;
                    Some(format!("{name} ({complaint:#})"))
                });
                Ok(Found {
                    not_ready: join_all(asked).await.into_iter().flatten().collect(),
                    reduced: Vec::new(),
                })
            }
        }
    }

    /// What still works, or is to, but for those by which the stop of PGO is told: of `processes` those that run, and
    /// what would begin anew.
    ///
    /// # Errors
    /// Kubernetes does not say.
    pub async fn at_work(&self, processes: &[ProcessFacts]) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Pods(client, namespace) => {
                let running = processes.iter().filter(|process| process.running.is_some());
                let working =
                    running.filter(|process| !TELLING.contains(&process.service.as_str()));
                let mut found: Vec<String> = working
                    .map(|process| format!("pod {} of {}", process.pod, process.service))
                    .collect();
                found.extend(still_wanted(client, namespace).await?);
                Ok(found)
            }
            Self::Elsewhere(urls) => {
                let working = urls
                    .iter()
                    .filter(|(name, _)| !TELLING.contains(&name.as_str()));
                let asked = working.map(|(name, url)| async move {
                    let there = url.is_listened_to().await;
                    there.then(|| format!("{name} at {}", url.authority))
                });
                Ok(join_all(asked).await.into_iter().flatten().collect())
            }
        }
    }
}

async fn of_pods(client: &Client, namespace: &Namespace) -> anyhow::Result<Found> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace.as_str());
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace.as_str());
    let mut services = Found::default();
    for name in DEPLOYMENTS {
        let found = deployments.get_opt(name).await;
        let found = found.with_context(|| format!("read Deployment {name}"))?;
        let status = found.as_ref().and_then(|found| found.status.as_ref());
        let ready = status.and_then(|status| status.ready_replicas);
        let spec = found.as_ref().and_then(|found| found.spec.as_ref());
        let wanted = spec.and_then(|spec| spec.replicas);
        services.judge(name, ready.unwrap_or(0), wanted.unwrap_or(1));
    }
    for name in STATEFUL_SETS {
        let found = sets.get_opt(name).await;
        let found = found.with_context(|| format!("read StatefulSet {name}"))?;
        let status = found.as_ref().and_then(|found| found.status.as_ref());
        let ready = status.and_then(|status| status.ready_replicas);
        let spec = found.as_ref().and_then(|found| found.spec.as_ref());
        let wanted = spec.and_then(|spec| spec.replicas);
        services.judge(name, ready.unwrap_or(0), wanted.unwrap_or(1));
    }
    Ok(services)
}

/// The Deployments by which what has ended would begin anew.
async fn still_wanted(client: &Client, namespace: &Namespace) -> anyhow::Result<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace.as_str());
    let mut wanted = Vec::new();
    for name in WORKING {
        let found = deployments.get_opt(name).await;
        let found = found.with_context(|| format!("read Deployment {name}"))?;
        let stays = found.filter(|found| found.metadata.deletion_timestamp.is_none());
        let replicas = stays.map(|found| found.spec.and_then(|spec| spec.replicas).unwrap_or(1));
        if let Some(replicas @ 1..) = replicas {
            wanted.push(format!("Deployment {name} (replicas: {replicas})"));
        }
    }
    Ok(wanted)
}

impl ReadyUrl {
    /// Asks the service.
    async fn ask(&self) -> anyhow::Result<()> {
        timeout(ANSWER, self.get())
            .await
            .with_context(|| format!("no answer within {} s", ANSWER.as_secs()))?
    }

    /// Whether somebody listens there, ready or not; silence is no end.
    async fn is_listened_to(&self) -> bool {
        match timeout(ANSWER, self.connect()).await {
            Ok(connected) => connected.is_ok(),
            Err(_) => true,
        }
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        TcpStream::connect(&self.authority)
            .await
            .with_context(|| format!("connect to {}", self.authority))
    }

    async fn get(&self) -> anyhow::Result<()> {
        let stream = self.connect().await?;
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
        let told = services.look().await.expect("an answer").not_ready;
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
        let told = services.look().await.expect("an answer").not_ready;
        assert_eq!(told, ["event (no answer within 3 s: deadline has elapsed)"]);
    }

    #[tokio::test]
    async fn who_is_listened_to_works_unless_the_stop_is_told_by_it() {
        let not_ready = answering("503 Service Unavailable").await;
        let services = services(&[
            format!("apiserver=http://{not_ready}/readyz"),
            format!("event=http://{not_ready}/readyz"),
            "scheduler=http://127.0.0.1:9/readyz".to_owned(),
        ]);
        let told = services.at_work(&[]).await.expect("an answer");
        assert_eq!(told, [format!("apiserver at {not_ready}")]);
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
