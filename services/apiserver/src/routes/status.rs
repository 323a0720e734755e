//! `/status`: figures about one namespace and the nodes.
//!
//! A figure that cannot be had is zero, empty or `error`, as in 4.1, and the answer is never a refusal; its `Msg`, which
//! is empty else, names those figures and the reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Node, PersistentVolumeClaim, Pod},
    },
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use pgo_api::{
    KeyValue, NodeInfo, Outcome, StatusCluster, StatusDetail, StatusQuery, StatusResponse,
};
use pgo_core::Kind;
use pgo_crd::{PgInstallation, Pgcluster, label, quantity};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    app::App,
    refusal::Refusal,
    request::Call,
    routes::clusters::{
        self,
        pod::{self, Containers},
    },
};

/// Name of the one PgInstallation.
const INSTALLATION: &str = "pgo";

/// The size of a claim that is known.
const STORAGE: &str = "storage";

pub(super) async fn status(call: Arc<Call>, query: StatusQuery) -> Result<StatusResponse, Refusal> {
    let (app, namespace) = (&*call.app, query.namespace.as_str());
    let (start, found, pods, jobs, claims, nodes) = futures::join!(
        start_time(app),
        listed_clusters(app, namespace),
        listed::<Pod>(app, namespace, label::PG_CLUSTER),
        listed::<Job>(app, namespace, label::PGBACKUP),
        listed::<PersistentVolumeClaim>(app, namespace, label::PGREMOVE),
        nodes(app),
    );
    let mut missing = Missing::default();
    let start = missing.or_note("OperatorStartTime", start.map(Some));
    let pods = missing.or_note("NumDatabases, DbTags, NotReady, Labels", pods);
    let jobs = missing.or_note("NumBackups", jobs);
    let claims = missing.or_note("NumClaims, VolumeCap", claims);
    let nodes = missing.or_note("Nodes", nodes);
    let clusters = missing.or_note(
        "PendingRestart, FallenBack, ClustersNotReady, Clusters",
        found,
    );
    Ok(StatusResponse {
        result: StatusDetail {
            operator_start_time: start.map_or_else(|| "error".to_owned(), shown),
            num_databases: count(pods.iter().filter(|pod| pod::is_instance(pod)).count()),
            num_backups: count(jobs.len()),
            num_claims: count(claims.len()),
            volume_cap: volume_cap(&claims),
            db_tags: images(&pods),
            not_ready: not_ready(&pods),
            nodes: nodes.iter().map(node_info).collect(),
            labels: labels(&pods),
            pending_restart: clusters.iter().flat_map(pending_restart).collect(),
            fallen_back: clusters.iter().filter_map(fallen_back).collect(),
            clusters_not_ready: clusters_not_ready(&clusters),
            not_available: not_available(app),
            clusters: clusters.iter().map(cluster).collect(),
        },
        outcome: missing.outcome(),
    })
}

/// Figures that could not be had, each with the reason.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    /// What was asked for, else nothing; then the `figures` that are made of it are missing.
    fn or_note<T: Default>(&mut self, figures: &str, asked: Result<T, Refusal>) -> T {
        asked.unwrap_or_else(|Refusal(why)| {
            tracing::warn!(figures, why, "figures of the status are missing");
            self.0.push(format!("{figures}: {why}"));
            T::default()
        })
    }

    fn outcome(self) -> Outcome {
        let mut outcome = Outcome::ok();
        if !self.0.is_empty() {
            outcome.msg = format!("figures that could not be had: {}", self.0.join("; "));
        }
        outcome
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Objects that carry a label.
async fn listed<K>(app: &App, namespace: &str, label: &str) -> Result<Vec<K>, Refusal>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let api: Api<K> = app.api(namespace);
    Ok(api.list(&ListParams::default().labels(label)).await?.items)
}

/// The Pgclusters as they are there: one that cannot be understood must not hide the others.
async fn listed_clusters(app: &App, namespace: &str) -> Result<Vec<DynamicObject>, Refusal> {
    let resource = ApiResource::erase::<Pgcluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(app.client.clone(), namespace, &resource);
    let mut found = api.list(&ListParams::default()).await?.items;
    found.sort_by_key(ResourceExt::name_any);
    Ok(found)
}

/// How the instances of a cluster stand to each other.
pub(super) fn cluster(cluster: &DynamicObject) -> StatusCluster {
    let data = &cluster.data;
    StatusCluster::read(&cluster.name_any(), &data["spec"], &data["status"])
}

/// The instances of a cluster of which settings wait for a restart.
fn pending_restart(cluster: &DynamicObject) -> Vec<String> {
    let instances = cluster.data["status"]["instances"].as_array();
    let waits = |instance: &&Value| {
        let names = instance["pendingRestart"].as_array();
        names.is_some_and(|names| !names.is_empty())
    };
    let waiting = instances.into_iter().flatten().filter(waits);
    let names = waiting.filter_map(|instance| instance["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Its name, where its commits wait for fewer replicas than the rule asks for.
fn fallen_back(cluster: &DynamicObject) -> Option<String> {
    let mode = &cluster.data["status"]["synchronous"];
    let number = |key: &str| mode[key].as_u64().unwrap_or_default();
    (number("waitFor") < number("rule")).then(|| cluster.name_any())
}

async fn nodes(app: &App) -> Result<Vec<Node>, Refusal> {
    let nodes = Api::<Node>::all(app.client.clone());
    Ok(nodes.list(&ListParams::default()).await?.items)
}

/// When PGO was started last, as its PgInstallation tells.
async fn start_time(app: &App) -> Result<Timestamp, Refusal> {
    let api: Api<PgInstallation> = app.api(&app.operator_namespace);
    let installation = api.get_opt(INSTALLATION).await?;
    let status = installation.and_then(|installation| installation.status);
    let started = status.and_then(|status| Some(status.0.journal.newest(Kind::StartPgo)?.started));
    started.ok_or_else(|| {
        Refusal(format!(
            "no PgInstallation {INSTALLATION} in namespace {} tells of a start of PGO",
            app.operator_namespace
        ))
    })
}

/// As Go prints a time.
fn shown(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%S %z UTC")
        .to_string()
}

/// Sum of the sizes of the claims: those they have, else those they ask for.
fn volume_cap(claims: &[PersistentVolumeClaim]) -> String {
    let mut binary = false;
    let sizes = claims.iter().filter_map(|claim| {
        let have = claim
            .status
            .as_ref()
            .and_then(|status| status.capacity.as_ref());
        let asked = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        let size = have
            .and_then(|sizes| sizes.get(STORAGE))
            .or_else(|| asked?.get(STORAGE))?;
        binary |= size.0.ends_with('i');
        quantity::whole(&size.0).ok()
    });
    let sum = sizes.sum();
    quantity::shown(sum, binary)
}

/// Image to number of containers that run it.
fn images(pods: &[Pod]) -> BTreeMap<String, i64> {
    let mut images = BTreeMap::new();
    let containers = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref())
        .flat_map(|spec| &spec.containers);
    for image in containers.filter_map(|container| container.image.as_ref()) {
        *images.entry(image.clone()).or_default() += 1;
    }
    images
}

/// What pgo.yaml says, for every cluster, also those that kubectl makes, and this version does not do or does not know.
fn not_available(app: &App) -> Vec<String> {
    app.configuration
        .now()
        .not_available()
        .into_iter()
        .collect()
}

/// The instances that are not ready.
fn not_ready(pods: &[Pod]) -> Vec<String> {
    let instances = pods.iter().filter(|pod| pod::is_instance(pod));
    let names: BTreeSet<String> = instances
        .filter(|pod| !Containers::of(pod).all_ready())
        .map(ResourceExt::name_any)
        .collect();
    names.into_iter().collect()
}

/// The clusters that are not ready: one that has no pod, or that pods cannot tell of, must not look well.
fn clusters_not_ready(clusters: &[DynamicObject]) -> Vec<String> {
    let not_ready = clusters.iter().filter(|one| !clusters::is_ready(one));
    not_ready.map(ResourceExt::name_any).collect()
}

fn node_info(node: &Node) -> NodeInfo {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    NodeInfo {
        name: node.name_any(),
        status: conditions
            .and_then(|conditions| conditions.last())
            .map(|condition| condition.type_.clone())
            .unwrap_or_default(),
        labels: node.labels().clone(),
    }
}

/// Every label of the instances with its count, most frequent first.
fn labels(pods: &[Pod]) -> Vec<KeyValue> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod::is_instance(pod)) {
        for (key, value) in pod.labels() {
            *counts.entry(format!("{key}={value}")).or_default() += 1;
        }
    }
    let mut labels: Vec<KeyValue> = counts
        .into_iter()
        .map(|(key, value)| KeyValue { key, value })
        .collect();
    labels.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.key.cmp(&b.key)));
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(json: serde_json::Value) -> PersistentVolumeClaim {
        serde_json::from_value(json).expect("a claim")
    }

    #[test]
    fn sizes_of_claims_are_summed_bound_or_not() {
        let asked = claim(json!({"spec": {"resources": {"requests": {"storage": "300Mi"}}}}));
        let bound = claim(json!({
            "spec": {"resources": {"requests": {"storage": "1Mi"}}},
            "status": {"capacity": {"storage": "600Mi"}},
        }));
        assert_eq!(volume_cap(&[asked, bound]), "900Mi");
        assert_eq!(volume_cap(&[]), "0");
    }

    #[test]
    fn clusters_say_who_waits_for_a_restart_and_who_waits_for_fewer_replicas() {
        let cluster = |status: Value| -> DynamicObject {
            let object = json!({"metadata": {"name": "hippo"}, "status": status});
            serde_json::from_value(object).expect("an object")
        };
        let waits = cluster(json!({
            "instances": [{"name": "hippo", "pendingRestart": ["max_connections"]}, {"name": "hippo-abcd"}],
            "synchronous": {"rule": 1, "waitFor": 0},
        }));
        assert_eq!(pending_restart(&waits), ["hippo"]);
        assert_eq!(fallen_back(&waits).as_deref(), Some("hippo"));
        let whole = cluster(json!({"synchronous": {"rule": 1, "waitFor": 1}}));
        assert!(pending_restart(&whole).is_empty() && fallen_back(&whole).is_none());
        assert_eq!(fallen_back(&cluster(Value::Null)), None);
    }

    #[test]
    fn pods_that_are_not_ready_are_told_apart_from_clusters() {
        let cluster = |name: &str, ready: &str| -> DynamicObject {
            let conditions = json!([{"type": "Ready", "status": ready}]);
            let object = json!({"metadata": {"name": name}, "status": {"conditions": conditions}});
            serde_json::from_value(object).expect("an object")
        };
        let pod = |name: &str, ready: bool| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {"containers": [{"name": "database"}]},
                "status": {"containerStatuses": [
                    {"name": "database", "ready": ready, "image": "", "imageID": "", "restartCount": 0}]},
            }))
            .expect("a pod")
        };
        let pods = [
            pod("hippo", true),
            pod("bad", false),
            pod("rhino-abcd", false),
        ];
        let clusters = [
            cluster("bad", "False"),
            cluster("hippo", "True"),
            cluster("none", "Unknown"),
        ];
        assert_eq!(not_ready(&pods), ["bad", "rhino-abcd"]);
        assert_eq!(clusters_not_ready(&clusters), ["bad", "none"]);
    }

    #[test]
    fn the_start_is_shown_as_go_prints_it() {
        let time = "2019-10-15T09:58:03Z".parse().expect("a time");
        assert_eq!(shown(time), "2019-10-15 09:58:03 +0000 UTC");
    }

    #[test]
    fn labels_come_by_descending_count_then_by_name() {
        let pod = |value: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"labels":
                {"vendor": "crunchydata", "name": value, "deployment-name": value}}}))
            .expect("a pod")
        };
        let labels: Vec<_> = labels(&[pod("a"), pod("b")])
            .into_iter()
            .map(|label| (label.key, label.value))
            .collect();
        let expected = [
            ("vendor=crunchydata", 2),
            ("deployment-name=a", 1),
            ("deployment-name=b", 1),
            ("name=a", 1),
            ("name=b", 1),
        ]
        .map(|(key, count)| (key.to_owned(), count));
        assert_eq!(labels, expected);
    }
}
