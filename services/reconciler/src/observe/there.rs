//! What is there of a cluster that does not go by its own: pods, claims, and Secrets with passwords.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::{Api, Resource, ResourceExt as _, api::ListParams, core::PartialObjectMeta};
use pgo_core::Cluster;
use pgo_crd::label;
use pgo_ids::StreamId;
use serde::de::DeserializeOwned;

use super::of_cluster;
use crate::{call::call, context::Context, error::Error};

/// How long Kubernetes is not asked again of a cluster that goes and of which the caches show nothing new. It doubles: a volume
/// that something holds may wait for hours.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Objects with a cluster's label.
#[derive(Clone)]
pub struct There {
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Claims.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Secrets, without their content.
    pub secrets: Vec<Arc<PartialObjectMeta<Secret>>>,
}

impl There {
    /// What the caches show; of a cluster that is to go and of which they show no pod, what Kubernetes itself says. What was
    /// made a moment ago, perhaps by a reconciler that has ended since, may be in no cache yet, and would stay for ever.
    ///
    /// # Errors
    /// Kubernetes does not say.
    pub async fn of(cluster: &Cluster, context: &Context) -> Result<Self, Error> {
        let cache = &context.cache;
        let pods = of_cluster(&cache.pods.state(), cluster);
        let goes = cluster.deleting || !cluster.delete_requests.is_empty();
        let cached = Self {
            pods,
            claims: of_cluster(&cache.claims.state(), cluster),
            secrets: of_cluster(&cache.secrets.state(), cluster),
        };
        if !goes || !cached.pods.is_empty() {
            return Ok(cached);
        }
        let (shown, now) = (cached.versions(), Instant::now());
        if let Some(there) = context.looks.last(&cluster.stream, &shown, now) {
            return Ok(there);
        }
        let there = Self::asked_for(cluster, context).await?;
        context.looks.note(&cluster.stream, shown, &there, now);
        Ok(there)
    }

    /// Which objects there are, in which versions.
    fn versions(&self) -> BTreeSet<(String, String)> {
        fn version<K: Resource>(object: &Arc<K>) -> (String, String) {
            let version = object.resource_version();
            (
                object.uid().unwrap_or_default(),
                version.unwrap_or_default(),
            )
        }
        let pods = self.pods.iter().map(version);
        let claims = self.claims.iter().map(version);
        let secrets = self.secrets.iter().map(version);
        pods.chain(claims).chain(secrets).collect()
    }

    async fn asked_for(cluster: &Cluster, context: &Context) -> Result<Self, Error> {
        let name = cluster.name.as_str();
        let labels = format!("vendor=crunchydata,{}={name}", label::PG_CLUSTER);
        let labelled = ListParams::default().labels(&labels);
        let (pods, claims): (Api<Pod>, Api<PersistentVolumeClaim>) =
            (api(cluster, context), api(cluster, context));
        let secrets: Api<Secret> = api(cluster, context);
        let (pods, claims, secrets) = tokio::try_join!(
            call("list pods of", name, pods.list(&labelled)),
            call("list claims of", name, claims.list(&labelled)),
            call("list Secrets of", name, secrets.list_metadata(&labelled)),
        )?;
        Ok(Self {
            pods: pods.items.into_iter().map(Arc::new).collect(),
            claims: claims.items.into_iter().map(Arc::new).collect(),
            secrets: secrets.items.into_iter().map(Arc::new).collect(),
        })
    }
}

/// What Kubernetes said of clusters that go, by the cluster's uid.
#[derive(Default)]
pub struct Looks(Mutex<HashMap<StreamId, Look>>);

struct Look {
    /// What the caches showed then.
    shown: BTreeSet<(String, String)>,
    there: There,
    asked: Instant,
    pause: Duration,
}

impl Looks {
    /// What Kubernetes said last, if it need not be asked again: the caches show what they showed then, and that was not long
    /// ago. They show each change of what they have shown once, so nothing but what they never showed can be missed.
    fn last(
        &self,
        cluster: &StreamId,
        shown: &BTreeSet<(String, String)>,
        now: Instant,
    ) -> Option<There> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let look = all.get(cluster)?;
        let counts = look.shown == *shown && now.duration_since(look.asked) < look.pause;
        counts.then(|| look.there.clone())
    }

    fn note(
        &self,
        cluster: &StreamId,
        shown: BTreeSet<(String, String)>,
        there: &There,
        now: Instant,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(cluster).filter(|look| look.shown == shown);
        let pause = before.map_or(FIRST_PAUSE, |look| (look.pause * 2).min(LAST_PAUSE));
        let look = Look {
            shown,
            there: there.clone(),
            asked: now,
            pause,
        };
        all.insert(cluster.clone(), look);
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: &StreamId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(cluster);
    }
}

fn api<K>(cluster: &Cluster, context: &Context) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned,
{
    Api::namespaced(context.client.clone(), cluster.namespace.as_str())
}
