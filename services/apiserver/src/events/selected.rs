//! Which clusters have the labels that a stream was asked for with.
//!
//! A cluster is looked up with its first event, so that none of a new one's is missed, and again with later ones while it
//! does not have the labels. Once it has them it counts as one that has, for this stream.
//!
//! A cluster that is gone has no labels any more. What is remembered of it counts then, also of other streams: a client that
//! connects anew sees the events of a deletion that it was away for. Where nothing is remembered, the client is told that
//! events are missing. While Kubernetes does not answer, the stream waits.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Api,
    api::{ListParams, PartialObjectMeta},
};
use pgo_crd::Pgcluster;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    app::App,
    refusal::{Refusal, kubernetes_text},
};

/// A cluster without the labels is looked up again after this time.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long Kubernetes may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Pause before Kubernetes is asked again when it has not answered.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most clusters that a stream knows not to have the labels; it only saves questions.
const KNOWN: usize = 10_000;

/// The most clusters that are remembered for all streams together, each with one selector.
const REMEMBERED: usize = 20_000;

/// A cluster, as its events name it. Another one of the same name has another stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cluster {
    pub namespace: String,
    pub name: String,
    pub stream: String,
}

/// Which clusters had the labels of a selector when they were seen last, for the time when they are gone.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    having: HashSet<(String, Cluster)>,
    /// The oldest first; what was forgotten since is still in it.
    order: VecDeque<(String, Cluster)>,
}

impl Remembered {
    fn had(&self, selector: &str, cluster: &Cluster) -> bool {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (selector.to_owned(), cluster.clone());
        memory.having.contains(&key)
    }

    fn note(&self, selector: &str, cluster: &Cluster, has: bool) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (selector.to_owned(), cluster.clone());
        if !has {
            memory.having.remove(&key);
        } else if memory.having.insert(key.clone()) {
            memory.order.push_back(key);
            if memory.order.len() > REMEMBERED
                && let Some(oldest) = memory.order.pop_front()
            {
                memory.having.remove(&oldest);
            }
        }
    }
}

/// Whether the events of a cluster are shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Shown,
    Hidden,
    /// Nobody knows, and why; said once.
    Unknown(String),
}

/// What is known of a cluster.
enum Known {
    Has,
    HadNot(Instant),
    /// It was told that it is not known.
    Gone,
}

/// What Kubernetes says of a cluster.
enum Found {
    Having,
    Without,
    Gone,
    Unreadable(String),
}

/// Why Kubernetes did not say it.
enum Silence {
    /// The selector is none.
    Refused(Refusal),
    /// It may say it later.
    Passing(String),
    /// It will not: the namespace is gone, or is not ours any more.
    Lasting(String),
}

/// The clusters of a selector.
pub(super) struct Selected {
    app: Arc<App>,
    selector: String,
    known: HashMap<Cluster, Known>,
}

impl Selected {
    /// Looks up all clusters of some namespaces that have the labels. Where that fails for now, the second part says so: each
    /// is looked up with its first event then.
    ///
    /// # Errors
    /// The selector is none.
    pub(super) async fn begin(
        app: Arc<App>,
        selector: &str,
        namespaces: &[String],
    ) -> Result<(Self, Option<String>), Refusal> {
        let mut selected = Self {
            app,
            selector: selector.to_owned(),
            known: HashMap::new(),
        };
        let mut missing = None;
        for namespace in namespaces {
            let having = ListParams::default().labels(&selected.selector);
            let found = match selected.ask(namespace, &having).await {
                Ok(found) => found,
                Err(Silence::Refused(refusal)) => return Err(refusal),
                Err(Silence::Passing(why)) => {
                    missing = Some(why);
                    break;
                }
                Err(Silence::Lasting(why)) => {
                    tracing::debug!(namespace, why, "no clusters are chosen there");
                    continue;
                }
            };
            for metadata in found.into_iter().map(|object| object.metadata) {
                let cluster = Cluster {
                    namespace: namespace.clone(),
                    name: metadata.name.unwrap_or_default(),
                    stream: metadata.uid.unwrap_or_default(),
                };
                selected.learn(cluster, Known::Has);
            }
        }
        Ok((selected, missing))
    }

    /// Streams of the clusters that are known to have the labels.
    pub(super) fn streams(&self) -> Vec<String> {
        let known = self.known.iter();
        let having = known.filter(|(_, known)| matches!(known, Known::Has));
        having.map(|(cluster, _)| cluster.stream.clone()).collect()
    }

    /// Whether a cluster has the labels, or had them. Waits for Kubernetes as long as that takes; nothing is lost when this is
    /// dropped halfway.
    ///
    /// # Errors
    /// The selector is none.
    pub(super) async fn judge(&mut self, cluster: &Cluster) -> Result<Verdict, Refusal> {
        match self.known.get(cluster) {
            Some(Known::Has) => return Ok(Verdict::Shown),
            Some(Known::Gone) => return Ok(Verdict::Hidden),
            Some(Known::HadNot(looked)) if looked.elapsed() < LOOK_AGAIN_AFTER => {
                return Ok(Verdict::Hidden);
            }
            _ => {}
        }
        let found = self.find(cluster).await?;
        let why = match found {
            Found::Having => None,
            Found::Without => {
                self.learn(cluster.clone(), Known::HadNot(Instant::now()));
                return Ok(Verdict::Hidden);
            }
            Found::Gone => Some("it is gone".to_owned()),
            Found::Unreadable(why) => Some(why),
        };
        match why {
            Some(why) if !self.app.labels.had(&self.selector, cluster) => {
                self.learn(cluster.clone(), Known::Gone);
                let Cluster {
                    namespace, name, ..
                } = cluster;
                Ok(Verdict::Unknown(format!(
                    "the labels of cluster {name} in namespace {namespace} are not known ({why}); its events are left out"
                )))
            }
            _ => {
                self.learn(cluster.clone(), Known::Has);
                Ok(Verdict::Shown)
            }
        }
    }

    fn learn(&mut self, cluster: Cluster, known: Known) {
        match known {
            Known::Has => self.app.labels.note(&self.selector, &cluster, true),
            Known::HadNot(_) => self.app.labels.note(&self.selector, &cluster, false),
            Known::Gone => {}
        }
        if self.known.len() >= KNOWN {
            self.known.retain(|_, known| matches!(known, Known::Has));
        }
        self.known.insert(cluster, known);
    }

    /// Asks until there is an answer.
    async fn find(&self, cluster: &Cluster) -> Result<Found, Refusal> {
        let named = ListParams::default().fields(&format!("metadata.name={}", cluster.name));
        let having = named.clone().labels(&self.selector);
        loop {
            let with = self.ask(&cluster.namespace, &having).await;
            let silence = match with {
                Ok(with) if !with.is_empty() => return Ok(Found::Having),
                Ok(_) => match self.ask(&cluster.namespace, &named).await {
                    Ok(there) if there.is_empty() => return Ok(Found::Gone),
                    Ok(_) => return Ok(Found::Without),
                    Err(silence) => silence,
                },
                Err(silence) => silence,
            };
            match silence {
                Silence::Refused(refusal) => return Err(refusal),
                Silence::Lasting(why) => return Ok(Found::Unreadable(why)),
                Silence::Passing(why) => {
                    tracing::warn!(
                        why,
                        ?cluster,
                        selector = self.selector,
                        "the labels of a cluster cannot be looked up; its event waits"
                    );
                    sleep(ASK_AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn ask(
        &self,
        namespace: &str,
        which: &ListParams,
    ) -> Result<Vec<PartialObjectMeta<Pgcluster>>, Silence> {
        let clusters: Api<Pgcluster> = self.app.api(namespace);
        match timeout(LOOK_WITHIN, clusters.list_metadata(which)).await {
            Ok(Ok(list)) => Ok(list.items),
            Ok(Err(error)) => Err(silence(&self.selector, &error)),
            Err(_) => Err(Silence::Passing(
                "Kubernetes did not answer in time".to_owned(),
            )),
        }
    }
}

fn silence(selector: &str, error: &kube::Error) -> Silence {
    let text = kubernetes_text(error);
    match error {
        kube::Error::Api(status) if status.code == 400 => {
            Silence::Refused(Refusal(format!("selector {selector:?}: {text}")))
        }
        kube::Error::Api(status) if matches!(status.code, 403 | 404) => Silence::Lasting(text),
        _ => Silence::Passing(text),
    }
}
