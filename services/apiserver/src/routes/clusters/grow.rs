//! Larger volumes, as a request asks for them: what is written into the specs for it. What cannot be is refused here where that
//! can be told at once; the reconciler judges each claim again.

use std::cmp::Ordering;

use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use pgo_crd::{PgoConfig, Pgreplica, StorageSpec, label, quantity};
use pgo_ids::ClusterName;
use pgo_objects::{Holds, holds};
use serde_json::{Value, json};

use crate::{app::App, refusal::Refusal};

/// Refuses what is no size.
pub(super) fn check(size: &str) -> Result<(), Refusal> {
    match quantity::whole(size) {
        Ok(0) => Err(Refusal(format!(
            "{size:?} is no size of a volume; give one such as 2Gi"
        ))),
        Ok(_) => Ok(()),
        Err(problem) => Err(Refusal(problem.to_string())),
    }
}

/// Storage classes that let volumes grow, by name.
pub(super) async fn growing_classes(app: &App) -> Result<Vec<String>, Refusal> {
    let classes: Api<StorageClass> = Api::all(app.client.clone());
    let classes = classes.list(&ListParams::default()).await?;
    let growing = classes.iter();
    let growing = growing.filter(|class| class.allow_volume_expansion == Some(true));
    Ok(growing.map(kube::ResourceExt::name_any).collect())
}

/// Has the replicas of a cluster that have a storage of their own ask for no less, and gives what is to be written into the
/// Pgcluster's spec.
pub(super) async fn prepare(
    app: &App,
    cluster: &DynamicObject,
    (size, classes): (&str, &[String]),
) -> Result<Value, Refusal> {
    let spec = spec(cluster, &app.configuration.now(), size).map_err(Refusal)?;
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let claims: Api<PersistentVolumeClaim> = app.api(&namespace);
    let members = ListParams::default().labels(&format!("{}={name}", label::PG_CLUSTER));
    let wrong = |error: String| Refusal(format!("cluster {name}: {error}"));
    let own: ClusterName = name
        .parse()
        .map_err(|_| wrong("it has no name".to_owned()))?;
    for claim in claims.list(&members).await? {
        if holds(&claim.metadata, &own) == Some(Holds::Data) {
            may_grow(&claim, classes).map_err(wrong)?;
        }
    }
    let replicas: Api<Pgreplica> = app.api(&namespace);
    for replica in replicas.list(&ListParams::default()).await? {
        let own = &replica.spec.replicastorage.size;
        let is_smaller = quantity::compare(own, size) == Ok(Ordering::Less);
        if replica.spec.clustername == name && is_smaller {
            let patch = json!({"spec": {"replicastorage": {"size": size}}});
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            replicas
                .patch(&replica.name_any(), &parameters, &patch)
                .await?;
        }
    }
    Ok(spec)
}

/// Whether the claim of an instance lets its volume grow.
fn may_grow(claim: &PersistentVolumeClaim, classes: &[String]) -> Result<(), String> {
    let name = claim.name_any();
    let class = claim.spec.as_ref();
    let class = class.and_then(|spec| spec.storage_class_name.as_deref());
    match class.filter(|class| !class.is_empty()) {
        Some(class) if classes.iter().any(|one| one == class) => Ok(()),
        Some(class) => Err(format!(
            "PersistentVolumeClaim {name} is of StorageClass {class}, which does not allow volumes to grow \
             (allowVolumeExpansion)"
        )),
        None => Err(format!(
            "PersistentVolumeClaim {name} has no storage class that could enlarge its volume"
        )),
    }
}

/// What the spec of a cluster is to say, as far as it changes.
fn spec(cluster: &DynamicObject, config: &PgoConfig, size: &str) -> Result<Value, String> {
    let said = |field: &str, default: &str| {
        let said = serde_json::from_value(cluster.data["spec"][field].clone());
        let said: StorageSpec = said.unwrap_or_default();
        let nothing = StorageSpec {
            name: said.name.clone(),
            ..StorageSpec::default()
        };
        let default = config.storage.get(default).map(StorageSpec::from);
        match default.filter(|_| said == nothing) {
            // What goes by default is written down: a size alone would be another storage.
            Some(default) => StorageSpec {
                name: said.name,
                ..default
            },
            None => said,
        }
    };
    let name = cluster.name_any();
    let of_primary = said("PrimaryStorage", &config.primary_storage);
    let of_replicas = said("ReplicaStorage", &config.replica_storage);
    if matches!(of_primary.storagetype.as_str(), "create" | "emptydir") {
        return Err(format!(
            "cluster {name}: its storage is of type {}, of which volumes do not grow",
            of_primary.storagetype
        ));
    }
    if quantity::compare(size, &of_primary.size) == Ok(Ordering::Less) {
        return Err(format!(
            "cluster {name}: its volumes are to have {}; a volume cannot be made smaller",
            of_primary.size
        ));
    }
    let with_size = |storage: StorageSpec| StorageSpec {
        size: size.to_owned(),
        ..storage
    };
    let mut spec = json!({});
    let replicas_grow = quantity::compare(&of_replicas.size, size) == Ok(Ordering::Less);
    if replicas_grow {
        spec["ReplicaStorage"] = json!(with_size(of_replicas));
    }
    spec["PrimaryStorage"] = json!(with_size(of_primary));
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use kube::api::ApiResource;
    use pgo_crd::Pgcluster;

    use super::*;

    fn cluster(spec: Value) -> DynamicObject {
        let resource = ApiResource::erase::<Pgcluster>(&());
        DynamicObject::new("hippo", &resource).data(json!({ "spec": spec }))
    }

    fn config() -> PgoConfig {
        let text = "
Cluster: {CCPImagePrefix: p, CCPImageTag: t, User: testuser, Database: userdb}
PrimaryStorage: fast
BackupStorage: fast
ReplicaStorage: fast
Storage:
  fast: {AccessMode: ReadWriteOnce, Size: 1Gi, StorageType: dynamic, StorageClass: fast}
Pgo: {PGOImagePrefix: p, PGOImageTag: t}
";
        PgoConfig::parse(text).expect("usable")
    }

    #[test]
    fn the_size_alone_changes_and_what_goes_by_default_is_written_with_it() {
        let own = json!({"PrimaryStorage": {"size": "1Gi", "storageclass": "own", "name": "hippo"},
            "ReplicaStorage": {"size": "5Gi"}});
        let written = spec(&cluster(own), &config(), "2Gi").expect("it can grow");
        assert_eq!(written["PrimaryStorage"]["size"], "2Gi");
        assert_eq!(written["PrimaryStorage"]["storageclass"], "own");
        assert!(written["ReplicaStorage"].is_null(), "it is larger already");

        let written = spec(&cluster(json!({})), &config(), "2Gi").expect("it can grow");
        for field in ["PrimaryStorage", "ReplicaStorage"] {
            assert_eq!(written[field]["size"], "2Gi");
            assert_eq!(written[field]["storageclass"], "fast");
        }
    }

    #[test]
    fn what_cannot_grow_and_what_would_be_smaller_is_refused() {
        for (storage, words) in [
            (json!({"size": "3Gi"}), "cannot be made smaller"),
            (
                json!({"size": "1Gi", "storagetype": "emptydir"}),
                "of type emptydir",
            ),
            (
                json!({"size": "1Gi", "storagetype": "create"}),
                "of type create",
            ),
        ] {
            let refused = spec(
                &cluster(json!({"PrimaryStorage": storage})),
                &config(),
                "2Gi",
            );
            let why = refused.expect_err("refused");
            assert!(why.contains(words), "{why}");
        }
        for wrong in ["", "much", "0"] {
            check(wrong).expect_err("no size");
        }
    }

    #[test]
    fn only_a_class_that_allows_it_lets_volumes_grow() {
        let claim = |class: Value| -> PersistentVolumeClaim {
            let claim = json!({"metadata": {"name": "hippo"}, "spec": {"storageClassName": class}});
            serde_json::from_value(claim).expect("a claim")
        };
        let classes = ["fast".to_owned()];
        may_grow(&claim(json!("fast")), &classes).expect("it may");
        let why = may_grow(&claim(json!("slow")), &classes).expect_err("not allowed");
        assert!(why.contains("StorageClass slow"), "{why}");
        may_grow(&claim(Value::Null), &classes).expect_err("nobody enlarges it");
    }
}
