//! The policies of the namespaces that are PGO's: read for who tells of them, and marked when that was told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::PartialObjectMeta,
};
use pgo_core::{
    ConditionStatus, RESULT_READY,
    installation::{InstallationStatus, policies::PolicyFacts},
};
use pgo_crd::{DELETED_BY, POLICY_FINALIZER, Pgpolicy, policy_name};
use serde_json::json;

use crate::conditions::{self, Verdict};

/// The namespaces that are looked after now. Its clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(Arc<Mutex<BTreeSet<String>>>);

impl Namespaces {
    /// One is looked after from now on.
    pub fn gained(&self, namespace: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(namespace.to_owned());
    }

    /// One is looked after no more.
    pub fn lost(&self, namespace: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(namespace);
    }

    fn all(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }
}

/// Every policy there is, as Kubernetes itself shows it: a cache may show one that is gone. Without their SQL.
///
/// # Errors
/// A namespace cannot be read.
pub async fn look(client: &Client, namespaces: &Namespaces) -> anyhow::Result<Vec<PolicyFacts>> {
    let mut found = Vec::new();
    for namespace in namespaces.all() {
        let policies: Api<Pgpolicy> = Api::namespaced(client.clone(), &namespace);
        let list = policies.list_metadata(&ListParams::default()).await;
        let list = list.with_context(|| format!("list Pgpolicies in {namespace}"))?;
        found.extend(list.items.iter().filter_map(facts));
    }
    Ok(found)
}

/// None where it has no uid or namespace, so was never stored.
fn facts(policy: &PartialObjectMeta<Pgpolicy>) -> Option<PolicyFacts> {
    let name = policy.name_any();
    let deleter = policy.annotations().get(DELETED_BY);
    Some(PolicyFacts {
        uid: policy.uid()?.parse().ok()?,
        namespace: policy.namespace()?.parse().ok()?,
        wrong: policy_name(&name).err(),
        name,
        maker: pgo_crd::actor(policy),
        deleter: deleter.cloned().unwrap_or_default(),
        held: policy
            .finalizers()
            .iter()
            .any(|one| one == POLICY_FINALIZER),
        deleting: policy.metadata.deletion_timestamp.is_some(),
    })
}

/// Marks those that were told by a status that is written.
///
/// # Errors
/// Kubernetes refuses; it is tried again with the next look.
pub async fn mark(
    client: &Client,
    policies: &[PolicyFacts],
    status: &InstallationStatus,
) -> anyhow::Result<()> {
    for policy in policies {
        if policy.is_told(&status.told_policies) {
            let marked = mark_one(client, policy).await;
            marked.with_context(|| format!("mark Pgpolicy {}", policy.name))?;
        }
    }
    Ok(())
}

async fn mark_one(client: &Client, policy: &PolicyFacts) -> Result<(), kube::Error> {
    let api: Api<Pgpolicy> = Api::namespaced(client.clone(), policy.namespace.as_str());
    let name = policy.name.as_str();
    // Others may have finalizers there, too.
    let Some(found) = api.get_metadata_opt(name).await? else {
        return Ok(());
    };
    if found.uid().as_deref() != Some(policy.uid.as_str()) {
        return Ok(());
    }
    let parameters = PatchParams::default();
    let mut finalizers = found.finalizers().to_vec();
    match policy.deleting {
        true => finalizers.retain(|one| one != POLICY_FINALIZER),
        false => finalizers.push(POLICY_FINALIZER.to_owned()),
    }
    if !policy.deleting {
        let status = Patch::Merge(status_of(policy, found.metadata.generation.unwrap_or(0)));
        absent(api.patch_status(name, &parameters, &status).await.map(drop))?;
    }
    let patch = json!({"metadata": {"uid": policy.uid.as_str(), "finalizers": finalizers}});
    let patch = Patch::Merge(&patch);
    absent(
        api.patch_metadata(name, &parameters, &patch)
            .await
            .map(drop),
    )
}

/// One that is gone needs no mark.
fn absent(done: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match done {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        done => done,
    }
}

/// 4.1's state, and whether it can be applied.
fn status_of(policy: &PolicyFacts, generation: i64) -> serde_json::Value {
    let verdict = match &policy.wrong {
        None => Verdict {
            name: RESULT_READY,
            status: ConditionStatus::True,
            reason: "Kept",
            message: "it can be applied".to_owned(),
        },
        Some(wrong) => Verdict {
            name: RESULT_READY,
            status: ConditionStatus::False,
            reason: "Invalid",
            message: wrong.clone(),
        },
    };
    let conditions = conditions::with(&[], &verdict, generation, Timestamp::now());
    json!({"status": {
        "state": "pgpolicy Processed",
        "message": "Successfully processed Pgpolicy by controller",
        "conditions": conditions,
    }})
}
