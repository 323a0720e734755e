//! Making, renewing and removing the objects of a cluster, and never another's that has the same name.
//!
//! ```text
//! make ─► create ─► done
//!            └─ a name that is taken ─► whose is it? ─┬─ ours ─► it stays, or is renewed
//!                                                     ├─ a former cluster's ─► Kubernetes removes it; later
//!                                                     └─ another's ─► refused
//! ```

use std::fmt::Debug;

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    core::NamespaceResourceScope,
};
use pgo_core::Cluster;
use pgo_crd::label;
use pgo_objects::{is_labelled, is_owned, owners, stranger};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{call::call, error::Error};

/// Name under which Kubernetes records what is ours.
const FIELD_MANAGER: &str = pgo_crd::RECONCILER;

/// What becomes of an object of ours that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It stays as it is: somebody else may have changed it since, or it cannot be changed.
    Stays,
    /// It is brought to what it should be.
    Renewed,
}

/// Makes an object of a cluster.
///
/// # Errors
/// One of its name is there that is not the cluster's, or Kubernetes failed.
pub async fn make<K>(
    client: &Client,
    cluster: &Cluster,
    object: &K,
    present: Present,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), cluster.namespace.as_str());
    let name = object.name_any();
    let on = format!("{} {name}", K::kind(&()));
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match call("make", &on, api.create(&parameters, object)).await {
        Err(error) if error.is_conflict() => {}
        result => return result.map(|_| ()),
    }
    let Some(found) = call("read", &on, api.get_metadata_opt(&name)).await? else {
        return Err(Error::Leaving(on));
    };
    match whose(&found.metadata, object.meta(), cluster) {
        Whose::Ours if found.metadata.deletion_timestamp.is_some() => Err(Error::Leaving(on)),
        Whose::Former => Err(Error::Leaving(on)),
        Whose::Foreign(whose) => Err(Error::Foreign { on, whose }),
        Whose::Ours if present == Present::Stays => Ok(()),
        Whose::Ours => renew(&api, found.metadata, object, &on).await,
    }
}

/// Brings an object to what it should be, if it is still as it was `found`.
///
/// What is not wanted any more goes only where server-side apply knows that it is ours. What a create made is made over to
/// it, as kubectl does with what client-side apply made.
async fn renew<K>(api: &Api<K>, found: ObjectMeta, object: &K, on: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let name = object.name_any();
    let mut found = found;
    let mut managers = found.managed_fields.clone().unwrap_or_default();
    let created = managers.iter_mut().find(|fields| {
        let ours = fields.manager.as_deref() == Some(FIELD_MANAGER);
        ours && fields.operation.as_deref() == Some("Update") && fields.subresource.is_none()
    });
    if let Some(created) = created {
        created.operation = Some("Apply".to_owned());
        let patch = json!({"metadata": {
            "resourceVersion": found.resource_version, "managedFields": managers,
        }});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        let patched = call(
            "take over",
            on,
            api.patch_metadata(&name, &parameters, &patch),
        );
        found = patched.await?.metadata;
    }
    let mut wanted = object.clone();
    let metadata = wanted.meta_mut();
    (metadata.uid, metadata.resource_version) = (found.uid, found.resource_version);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&wanted);
    call("apply", on, api.patch(&name, &parameters, &patch))
        .await
        .map(|_| ())
}

/// Whose an object is.
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    /// The cluster's.
    Ours,
    /// That of a former cluster of the same name, so that Kubernetes will remove it.
    Former,
    /// Another's; whose, as a clause.
    Foreign(String),
}

/// Tells by owner and labels. What has no owner when we make it is anybody's who carries the cluster's labels: that of a
/// former cluster whose data was kept, or of somebody who wants it to be used.
fn whose(found: &ObjectMeta, wanted: &ObjectMeta, cluster: &Cluster) -> Whose {
    let name = &cluster.name;
    if owners(wanted).next().is_none() {
        return stranger(found, name).map_or(Whose::Ours, Whose::Foreign);
    }
    if is_labelled(found, name) && is_owned(found, &cluster.stream) {
        return Whose::Ours;
    }
    let is_former =
        owners(found).any(|owner| owner.kind == "Pgcluster" && owner.name == name.as_str());
    let other = found
        .labels
        .as_ref()
        .and_then(|labels| labels.get(label::PG_CLUSTER));
    match (owners(found).next(), other) {
        (Some(_), _) if is_owned(found, &cluster.stream) => Whose::Foreign(format!(
            "has lost its labels {}=crunchydata and {}={name}",
            label::VENDOR,
            label::PG_CLUSTER
        )),
        (Some(_), _) if is_former => Whose::Former,
        (_, Some(other)) if other != name.as_str() => {
            Whose::Foreign(format!("belongs to cluster {other}"))
        }
        (Some(owner), _) => Whose::Foreign(format!("belongs to {} {}", owner.kind, owner.name)),
        (None, _) => Whose::Foreign("was made by somebody else".to_owned()),
    }
}

/// Removes exactly the object of this uid, if it is still there.
///
/// # Errors
/// Kubernetes failed.
pub async fn remove<K>(
    client: &Client,
    cluster: &Cluster,
    (name, uid): (&str, &str),
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), cluster.namespace.as_str());
    let on = format!("{} {name}", K::kind(&()));
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match call("remove", &on, api.delete(name, &parameters)).await {
        Ok(_) => Ok(()),
        // Gone; or, where the precondition did not hold, gone while another one has its name now.
        Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
