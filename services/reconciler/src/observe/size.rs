//! The sizes of claims and of their volumes; and whether storage classes let volumes grow, which is asked only where one is to.

use std::{cmp::Ordering, collections::BTreeMap};

use k8s_openapi::{
    api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use pgo_core::{ClaimSize, Cluster, ClusterStatus, Observed, quantity};
use pgo_crd::Pgcluster;

use crate::call::call;

/// Resource of a claim's size.
const STORAGE: &str = "storage";

/// What a claim says of its size.
pub fn of(claim: &PersistentVolumeClaim) -> ClaimSize {
    let size = |sizes: Option<&BTreeMap<String, Quantity>>| {
        let size = sizes.and_then(|sizes| sizes.get(STORAGE));
        size.map(|size| size.0.clone()).unwrap_or_default()
    };
    let (spec, status) = (claim.spec.as_ref(), claim.status.as_ref());
    let asked = spec.and_then(|spec| spec.resources.as_ref());
    // FileSystemResizePending, Resizing, and what went wrong: all are about that.
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let said = conditions.find(|condition| condition.status == "True");
    let said = said.map(|condition| match condition.message.as_deref() {
        None | Some("") => condition.type_.clone(),
        Some(message) => message.to_owned(),
    });
    ClaimSize {
        requested: size(asked.and_then(|asked| asked.requests.as_ref())),
        capacity: size(status.and_then(|status| status.capacity.as_ref())),
        class: spec
            .and_then(|spec| spec.storage_class_name.clone())
            .filter(|class| !class.is_empty()),
        growable: None,
        said,
    }
}

/// Finds out whether the classes of those claims allow it that are to have larger volumes than they ask for.
pub async fn see_classes(
    observed: &mut Observed,
    (object, cluster): (&Pgcluster, &Cluster),
    client: &Client,
) {
    let nothing = ClusterStatus::default();
    let status = object.status.as_ref().map_or(&nothing, |status| &status.0);
    let claims = observed.claims.iter_mut();
    let outgrown = claims.filter(|(instance, claim)| {
        let desired = cluster.desired_of(status, instance);
        let size = desired.map(|desired| desired.storage.size);
        let more = size.map(|size| quantity::compare(&size, &claim.size.requested));
        claim.has_volume && claim.size.class.is_some() && more == Some(Ok(Ordering::Greater))
    });
    let outgrown: Vec<_> = outgrown.map(|(_, claim)| claim).collect();
    if outgrown.is_empty() {
        return;
    }
    let api: Api<StorageClass> = Api::all(client.clone());
    let classes = call("list", "StorageClasses", api.list(&ListParams::default())).await;
    let classes = match classes {
        Ok(classes) => classes.items,
        Err(error) => {
            tracing::warn!(cluster = %cluster.name, %error, "whether volumes may grow is not known");
            return;
        }
    };
    for claim in outgrown {
        let own = |class: &&StorageClass| Some(class.name_any()) == claim.size.class;
        let class = classes.iter().find(own);
        let allows = class.is_some_and(|class| class.allow_volume_expansion == Some(true));
        claim.size.growable = Some(allows);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_says_its_sizes_its_class_and_what_it_waits_for() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}},
            "status": {"capacity": {"storage": "1Gi"}, "conditions": [
                {"type": "Resizing", "status": "False", "message": "no more"},
                {"type": "FileSystemResizePending", "status": "True", "message": "Waiting for user to (re-)start a pod"},
            ]},
        }))
        .expect("a claim");
        let expected = ClaimSize {
            requested: "2Gi".to_owned(),
            capacity: "1Gi".to_owned(),
            class: Some("fast".to_owned()),
            growable: None,
            said: Some("Waiting for user to (re-)start a pod".to_owned()),
        };
        assert_eq!(of(&claim), expected);
        assert_eq!(of(&PersistentVolumeClaim::default()), ClaimSize::default());
    }
}
