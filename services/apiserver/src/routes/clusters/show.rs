//! `POST /showclusters`.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use pgo_api::{
    Outcome, ShowClusterDeployment, ShowClusterDetail, ShowClusterReplica, ShowClusterRequest,
    ShowClusterResponse, ShowClusterService,
};
use pgo_crd::{PgclusterSpec, PgoConfig, Pgreplica, StorageSpec, label};
use serde_json::{Value, json};

use super::{Selection, pod};
use crate::{refusal::Refusal, request::Call};

/// State and message of a Pgcluster that the reconciler has not looked at yet, as in 4.1.
const CREATED: (&str, &str) = ("pgcluster Created", "Created, not processed yet");

/// The image of clusters that name none, as in 4.1.
const IMAGE: &str = "crunchy-postgres";

/// Value of labels that tell of an applied policy: the key is the policy.
const POLICY_LABEL: &str = "pgpolicy";

pub(crate) async fn show(
    call: Arc<Call>,
    request: ShowClusterRequest,
) -> Result<ShowClusterResponse, Refusal> {
    let (app, namespace) = (&*call.app, request.namespace.as_str());
    let selection = Selection::of(&request.selector, request.all_flag, &request.cluster_name);
    let clusters = selection.clusters(app, namespace).await?;
    let mut results = Vec::with_capacity(clusters.len());
    if !clusters.is_empty() {
        let members = ListParams::default().labels(&selection.of_members());
        let (pods, services, replicas): (Api<Pod>, Api<Service>, Api<Pgreplica>) =
            (app.api(namespace), app.api(namespace), app.api(namespace));
        let (pods, services, replicas) = futures::try_join!(
            pods.list(&members),
            services.list(&members),
            replicas.list(&members),
        )?;
        let members = Members {
            pods: pods.items,
            services: services.items,
            replicas: replicas.items,
        };
        let config = app.configuration.now();
        results.extend(
            clusters
                .into_iter()
                .map(|cluster| detail(cluster, &members, &config))
                .filter(|detail| has_tag(detail, &request.ccp_image_tag)),
        );
    }
    Ok(ShowClusterResponse {
        results,
        outcome: Outcome::ok(),
    })
}

/// What belongs to clusters.
struct Members {
    pods: Vec<Pod>,
    services: Vec<Service>,
    replicas: Vec<Pgreplica>,
}

/// Whether the cluster is shown with the tag that is wanted, its own or that of pgo.yaml.
fn has_tag(detail: &ShowClusterDetail, wanted: &str) -> bool {
    wanted.is_empty() || detail.cluster["spec"]["ccpimagetag"].as_str() == Some(wanted)
}

/// The objects that carry the cluster's name, in order of their own.
fn of<'a, K: Resource>(cluster: &str, objects: &'a [K]) -> Vec<&'a K> {
    let mut own: Vec<&K> = objects
        .iter()
        .filter(|object| {
            object.labels().get(label::PG_CLUSTER).map(String::as_str) == Some(cluster)
        })
        .collect();
    own.sort_by_key(|object| object.name_any());
    own
}

/// A cluster and what belongs to it.
fn detail(cluster: DynamicObject, members: &Members, config: &PgoConfig) -> ShowClusterDetail {
    let name = cluster.name_any();
    let pods: Vec<&Pod> = of(&name, &members.pods)
        .into_iter()
        .filter(|pod| pod::is_shown(pod))
        .collect();
    let policies: Vec<String> = cluster
        .labels()
        .iter()
        .filter(|(_, value)| *value == POLICY_LABEL)
        .map(|(key, _)| key.clone())
        .collect();
    let deployments: BTreeSet<String> = pods
        .iter()
        .filter(|pod| pod::is_instance(pod))
        .map(|pod| pod::deployment(pod))
        .collect();
    ShowClusterDetail {
        deployments: deployments
            .into_iter()
            .map(|name| ShowClusterDeployment {
                name,
                policy_labels: policies.clone(),
            })
            .collect(),
        pods: pods.iter().map(|pod| pod::shown(pod, &name)).collect(),
        services: of(&name, &members.services)
            .into_iter()
            .filter(|service| !is_repository(service))
            .map(shown_service)
            .collect(),
        replicas: replicas(&cluster, &of(&name, &members.replicas)),
        cluster: shown_cluster(cluster, config),
    }
}

/// The replicas: those that were asked for, but where one of them is the primary, the first instance in its place.
fn replicas(cluster: &DynamicObject, asked: &[&Pgreplica]) -> Vec<ShowClusterReplica> {
    let primary = cluster.data["status"]["currentPrimary"].as_str();
    let names = asked.iter().map(|replica| replica.name_any());
    let names = names.map(|name| match primary {
        Some(primary) if primary == name => cluster.name_any(),
        _ => name,
    });
    names.map(|name| ShowClusterReplica { name }).collect()
}

fn is_repository(service: &Service) -> bool {
    service.labels().contains_key(label::BACKREST_REPO)
}

pub(super) fn shown_service(service: &Service) -> ShowClusterService {
    let spec = service.spec.as_ref();
    let given = spec.and_then(|spec| spec.external_ips.as_ref()?.first().cloned());
    let balancer = service.status.as_ref().and_then(|status| {
        status
            .load_balancer
            .as_ref()?
            .ingress
            .as_ref()?
            .first()?
            .ip
            .clone()
    });
    let name = service.name_any();
    ShowClusterService {
        cluster_ip: spec
            .and_then(|spec| spec.cluster_ip.clone())
            .unwrap_or_default(),
        external_ip: balancer.or(given).unwrap_or_default(),
        pgbouncer: name.ends_with("-pgbouncer"),
        name,
        ..ShowClusterService::default()
    }
}

/// The Pgcluster as 4.1's client expects it: every field of 4.1's spec is there, state and message are never empty, and
/// what is only for us (the outbox, bookkeeping of Kubernetes) is not.
fn shown_cluster(mut cluster: DynamicObject, config: &PgoConfig) -> Value {
    cluster.metadata.managed_fields = None;
    let mut value = json!({
        "kind": "Pgcluster",
        "apiVersion": "crunchydata.com/v1",
        "metadata": cluster.metadata,
        "spec": cluster.data["spec"].take(),
        "status": cluster.data["status"].take(),
    });
    // A spec that does not fit is shown as it is.
    if let Ok(spec) = serde_json::from_value::<PgclusterSpec>(value["spec"].clone())
        && let Ok(complete) = serde_json::to_value(complete(spec, config))
    {
        value["spec"] = complete;
    }
    let status = &mut value["status"];
    if !status.is_object() {
        *status = json!({});
    }
    if let Some(fields) = status.as_object_mut() {
        fields.remove("outbox");
        let state = fields
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if state.is_empty() {
            fields.insert("state".to_owned(), CREATED.0.into());
            fields.insert("message".to_owned(), CREATED.1.into());
        }
    }
    value
}

/// A storage with what `pgo.yaml` names where it says nothing itself: such a storage is taken whole or not at all. The
/// claim's name, which PGO fills in, says nothing.
fn fill_storage(storage: &mut StorageSpec, config: &PgoConfig, named: &str) {
    let name = std::mem::take(&mut storage.name);
    if *storage == StorageSpec::default()
        && let Some(default) = config.storage.get(named)
    {
        *storage = StorageSpec::from(default);
    }
    storage.name = name;
}

/// A spec with what `pgo.yaml` gives where it says nothing itself, as when `pgo` had made it.
fn complete(mut spec: PgclusterSpec, config: &PgoConfig) -> PgclusterSpec {
    let fill = |field: &mut String, default: &str| {
        if field.is_empty() {
            default.clone_into(field);
        }
    };
    fill(&mut spec.ccpimage, IMAGE);
    fill(&mut spec.ccpimagetag, &config.cluster.ccp_image_tag);
    fill(&mut spec.port, &config.cluster.port);
    fill(&mut spec.user, &config.cluster.user);
    fill(&mut spec.database, &config.cluster.database);
    for (storage, named) in [
        (&mut spec.primary_storage, &config.primary_storage),
        (&mut spec.replica_storage, &config.replica_storage),
        (&mut spec.backrest_storage, &config.backrest_storage),
    ] {
        fill_storage(storage, config, named);
    }
    spec
}

#[cfg(test)]
mod tests {
    use pgo_crd::StorageConfig;

    use super::*;

    fn cluster(spec: Value, status: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "kind": "Pgcluster", "apiVersion": "crunchydata.com/v1",
            "metadata": {"name": "hippo", "managedFields": [{"manager": "x"}]},
            "spec": spec, "status": status,
        }))
        .expect("an object")
    }

    #[test]
    fn a_cluster_nobody_looked_at_yet_has_4_1s_first_state() {
        let shown = shown_cluster(cluster(json!({}), Value::Null), &PgoConfig::default());
        assert_eq!(
            shown["status"],
            json!({"state": "pgcluster Created", "message": "Created, not processed yet"})
        );
        assert_eq!(shown["spec"]["PrimaryStorage"]["size"], "");
        assert!(shown["metadata"].get("managedFields").is_none());
    }

    #[test]
    fn what_a_spec_leaves_open_is_shown_as_pgo_yaml_has_it() {
        let mut config = PgoConfig::default();
        "debian12-15".clone_into(&mut config.cluster.ccp_image_tag);
        let shown = shown_cluster(cluster(json!({"port": "6000"}), Value::Null), &config);
        assert_eq!(shown["spec"]["ccpimage"], "crunchy-postgres");
        assert_eq!(shown["spec"]["ccpimagetag"], "debian12-15");
        assert_eq!(shown["spec"]["port"], "6000");
    }

    #[test]
    fn a_storage_that_has_only_the_claims_name_is_shown_as_pgo_yaml_has_it() {
        let storage = |size: &str| StorageConfig {
            size: size.to_owned(),
            ..StorageConfig::default()
        };
        let mut config = PgoConfig::default();
        for (name, size) in [("small", "1Gi"), ("large", "5Gi")] {
            config.storage.insert(name.to_owned(), storage(size));
        }
        "small".clone_into(&mut config.primary_storage);
        "large".clone_into(&mut config.replica_storage);
        "small".clone_into(&mut config.backrest_storage);
        let spec = json!({"PrimaryStorage": {"name": "hippo"}, "BackrestStorage": {"size": "9Gi"}});
        let shown = shown_cluster(cluster(spec, Value::Null), &config);
        assert_eq!(shown["spec"]["PrimaryStorage"]["size"], "1Gi");
        assert_eq!(shown["spec"]["PrimaryStorage"]["name"], "hippo");
        assert_eq!(shown["spec"]["ReplicaStorage"]["size"], "5Gi");
        assert_eq!(shown["spec"]["BackrestStorage"]["size"], "9Gi");
    }

    #[test]
    fn the_outbox_is_not_shown_and_operations_are() {
        let status = json!({
            "state": "pgcluster Processed", "message": "m",
            "outbox": {"last": 3, "entries": [{}]}, "operations": [{"id": "1"}],
        });
        let shown = shown_cluster(cluster(json!({}), status), &PgoConfig::default());
        assert!(shown["status"].get("outbox").is_none());
        assert_eq!(shown["status"]["operations"][0]["id"], "1");
        assert_eq!(shown["status"]["state"], "pgcluster Processed");
    }

    #[test]
    fn a_spec_that_does_not_fit_is_shown_as_it_is() {
        let shown = shown_cluster(
            cluster(json!({"port": 5432}), Value::Null),
            &PgoConfig::default(),
        );
        assert_eq!(shown["spec"], json!({"port": 5432}));
    }

    #[test]
    fn a_load_balancers_address_goes_before_an_external_one() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "hippo"},
            "spec": {"clusterIP": "10.1.1.1", "externalIPs": ["1.2.3.4"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}},
        }))
        .expect("a Service");
        assert_eq!(shown_service(&service).external_ip, "5.6.7.8");
        assert_eq!(shown_service(&service).cluster_ip, "10.1.1.1");
    }

    #[test]
    fn only_the_clusters_own_objects_are_shown() {
        let pod = |name: &str, cluster: &str| -> Pod {
            serde_json::from_value(
                json!({"metadata": {"name": name, "labels": {"pg-cluster": cluster}}}),
            )
            .expect("a pod")
        };
        let members = Members {
            pods: vec![
                pod("hippo-b", "hippo"),
                pod("zebra", "zebra"),
                pod("hippo", "hippo"),
            ],
            services: Vec::new(),
            replicas: Vec::new(),
        };
        let config = PgoConfig::default();
        let shown = detail(cluster(json!({}), Value::Null), &members, &config);
        let names: Vec<_> = shown.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["hippo", "hippo-b"]);
        assert_eq!(shown.deployments.len(), 2);
    }

    #[test]
    fn a_replica_that_is_primary_is_none_and_the_first_instance_is_in_its_place() {
        let asked = ["hippo-abcd", "hippo-efgh"].map(|name| {
            let object = json!({
                "kind": "Pgreplica", "apiVersion": "crunchydata.com/v1",
                "metadata": {"name": name}, "spec": {"clustername": "hippo"},
            });
            serde_json::from_value::<Pgreplica>(object).expect("a Pgreplica")
        });
        let asked: Vec<&Pgreplica> = asked.iter().collect();
        let names = |primary: Value| {
            let cluster = cluster(json!({}), json!({"currentPrimary": primary}));
            let shown = replicas(&cluster, &asked).into_iter();
            shown.map(|replica| replica.name).collect::<Vec<_>>()
        };
        assert_eq!(names(json!("hippo")), ["hippo-abcd", "hippo-efgh"]);
        assert_eq!(names(Value::Null), ["hippo-abcd", "hippo-efgh"]);
        assert_eq!(names(json!("hippo-efgh")), ["hippo-abcd", "hippo"]);
    }
}
