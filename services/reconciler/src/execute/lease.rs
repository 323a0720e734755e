//! What the reconciler says in a cluster's Lease, which is its agents' otherwise: by compare-and-swap.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt as _, api::PostParams};
use pgo_core::{Cluster, Fixture};
use pgo_objects::{fixture_name, is_owned};

use crate::{call::call, context::Context, error::Error};

/// Says something to the agents: an annotation and its value.
///
/// # Errors
/// An agent wrote the Lease meanwhile, or Kubernetes failed.
pub async fn say(
    cluster: &Cluster,
    (annotation, value): (&str, String),
    context: &Context,
) -> Result<(), Error> {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), cluster.namespace.as_str());
    let name = fixture_name(Fixture::Lease, &cluster.name);
    let on = format!("Lease {name}");
    let found = call("read", &on, api.get_opt(&name)).await?;
    let Some(mut lease) = found.filter(|lease| is_owned(&lease.metadata, &cluster.stream)) else {
        return Ok(());
    };
    if lease.annotations().get(annotation) == Some(&value) {
        return Ok(());
    }
    let annotations = &mut lease.metadata.annotations;
    annotations
        .get_or_insert_with(BTreeMap::new)
        .insert(annotation.to_owned(), value);
    let parameters = PostParams::default();
    let written = call("write", &on, api.replace(&name, &parameters, &lease));
    written.await.map(drop)
}
