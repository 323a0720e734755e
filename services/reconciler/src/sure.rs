//! Step 3, commit, on what is sure: the Pgtasks on which the next status rests are read from Kubernetes itself. A cache may
//! show one open that came to its end, of which the status remembers nothing any more.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::try_join_all;
use kube::{Api, ResourceExt as _, core::DeserializeGuard};
use pgo_core::{Cluster, ClusterStatus, rests_on};
use pgo_crd::{Pgcluster, PgoConfig, Pgtask};

use crate::{
    call::call,
    context::Context,
    error::Error,
    observe::{Tasks, asked_by},
};

/// What a reconcile goes by.
pub struct Shown<'a> {
    /// The Pgcluster, as it was read before anything else.
    pub object: &'a Pgcluster,
    /// `pgo.yaml`.
    pub config: &'a PgoConfig,
    /// The Pgtasks, as the cache shows them.
    pub tasks: Tasks,
}

/// The status that follows by `commit`, and the cluster with the requests by which it does.
///
/// # Errors
/// Kubernetes does not say how a Pgtask is.
pub async fn surely(
    mut shown: Shown<'_>,
    mut cluster: Cluster,
    context: &Context,
    commit: impl Fn(&Cluster) -> ClusterStatus,
) -> Result<(Cluster, ClusterStatus), Error> {
    let status = shown.object.status.as_ref();
    let status = status.map(|status| status.0.clone()).unwrap_or_default();
    let mut sure = BTreeSet::new();
    loop {
        let next = commit(&cluster);
        let mut names = rests_on(&status, &next);
        names.retain(|name| !sure.contains(name));
        if names.is_empty() {
            return Ok((cluster, next));
        }
        let found = read(&names, &cluster, context).await?;
        shown.tasks.retain(|task| !names.contains(&task.name_any()));
        shown.tasks.extend(found);
        let tasks = shown.tasks.iter();
        let tasks = tasks.filter_map(|task| task.0.as_ref().ok());
        let asked = asked_by(shown.object, tasks, shown.config);
        cluster = asked.of(cluster);
        sure.append(&mut names);
    }
}

/// The Pgtasks of these names that there are, by Kubernetes itself.
async fn read(
    names: &BTreeSet<String>,
    cluster: &Cluster,
    context: &Context,
) -> Result<Tasks, Error> {
    let namespace = cluster.namespace.as_str();
    let api: Api<DeserializeGuard<Pgtask>> = Api::namespaced(context.client.clone(), namespace);
    let each = names
        .iter()
        .map(|name| call("read Pgtask", name, api.get_opt(name)));
    let found = try_join_all(each).await?;
    Ok(found.into_iter().flatten().map(Arc::new).collect())
}
