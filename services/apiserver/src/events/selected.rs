//! Which clusters have the labels that a stream was asked for with.
//!
//! A cluster is looked up with its first event, so that none of a new one's is missed, and again with later ones while it
//! does not have the labels. Once it has them it counts as one that has: the events of its deletion are shown when its
//! object is gone already.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::{Api, api::ListParams};
use pgo_crd::Pgcluster;
use tokio::time::{Instant, timeout};

use crate::{app::App, refusal::Refusal};

/// A cluster without the labels is looked up again after this time.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long Kubernetes may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The most clusters that are remembered not to have the labels; it only saves questions.
const REMEMBERED: usize = 10_000;

/// What is known of a cluster.
enum Known {
    Has,
    HadNot(Instant),
}

/// The clusters of a selector.
pub(super) struct Selected {
    app: Arc<App>,
    selector: String,
    /// By namespace and name.
    known: HashMap<(String, String), Known>,
}

impl Selected {
    /// Nothing is asked of Kubernetes yet.
    pub(super) fn new(app: Arc<App>, selector: &str) -> Self {
        Self {
            app,
            selector: selector.to_owned(),
            known: HashMap::new(),
        }
    }

    /// Whether a cluster has the labels, or had them.
    ///
    /// # Errors
    /// The selector is none.
    pub(super) async fn has(&mut self, namespace: &str, cluster: &str) -> Result<bool, Refusal> {
        let key = (namespace.to_owned(), cluster.to_owned());
        match self.known.get(&key) {
            Some(Known::Has) => return Ok(true),
            Some(Known::HadNot(looked)) if looked.elapsed() < LOOK_AGAIN_AFTER => {
                return Ok(false);
            }
            _ => {}
        }
        let has = self.look(namespace, cluster).await?;
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| matches!(known, Known::Has));
        }
        let known = match has {
            true => Known::Has,
            false => Known::HadNot(Instant::now()),
        };
        self.known.insert(key, known);
        Ok(has)
    }

    async fn look(&self, namespace: &str, cluster: &str) -> Result<bool, Refusal> {
        let clusters: Api<Pgcluster> = self.app.api(namespace);
        let having = ListParams::default()
            .labels(&self.selector)
            .fields(&format!("metadata.name={cluster}"));
        match timeout(LOOK_WITHIN, clusters.list_metadata(&having)).await {
            Ok(Ok(list)) => return Ok(!list.items.is_empty()),
            Ok(Err(kube::Error::Api(status))) if status.code == 400 => {
                return Err(Refusal(format!(
                    "selector {:?}: {}",
                    self.selector, status.message
                )));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, namespace, cluster, selector = self.selector, "the labels of a cluster cannot be looked up");
            }
            Err(_) => {
                tracing::warn!(
                    namespace,
                    cluster,
                    selector = self.selector,
                    "the labels of a cluster were not told in time"
                );
            }
        }
        Ok(false)
    }
}
