//! Asking the reconciler for something by a Pgtask, for each of the clusters that a request is about.

use kube::{Api, ResourceExt as _, api::DynamicObject};
use pgo_api::texts;
use pgo_crd::{Pgcluster, Pgtask};
use pgo_ids::OperationId;
use uuid::Uuid;

use super::{
    Selection,
    scale::identity,
    task::{self, Subject},
};
use crate::{app::App, doorbell::doorbell, refusal::Refusal, request::Call};

/// The clusters that a request names or selects, and what is wrong with it for others: 4.1's text for a name that no cluster
/// has.
pub(super) async fn clusters(
    app: &App,
    namespace: &str,
    (names, selector): (&[String], &str),
) -> Result<(Vec<Pgcluster>, Vec<String>), Refusal> {
    let all = names.iter().any(|name| name == "all");
    if selector.is_empty() && names.is_empty() {
        let text = "name one or more clusters, or give a selector";
        return Err(Refusal(text.to_owned()));
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    if !selector.is_empty() || all {
        let selection = Selection::of(selector, all, "");
        found = selection.clusters(app, namespace).await?;
        if found.is_empty() && !selector.is_empty() {
            problems.push(texts::no_pods(selector));
        } else if found.is_empty() {
            problems.push(texts::NO_CLUSTERS.to_owned());
        }
    } else {
        for name in names {
            let named = Selection::of("", false, name);
            let mut named = named.clusters(app, namespace).await?;
            if named.is_empty() {
                problems.push(texts::not_found(name));
            }
            found.append(&mut named);
        }
    }
    let mut clusters = Vec::with_capacity(found.len());
    for object in found {
        match understood(object) {
            Ok(cluster) => clusters.push(cluster),
            Err(why) => problems.push(why),
        }
    }
    Ok((clusters, problems))
}

fn understood(object: DynamicObject) -> Result<Pgcluster, String> {
    let name = object.name_any();
    let parsed = object.try_parse();
    parsed.map_err(|error| format!("{name} cannot be understood: {error}"))
}

/// Stores the task that `make` gives for a new id; one that is over makes way for it.
///
/// # Errors
/// The cluster is on its way out, a task of the same name is not over, or Kubernetes refuses.
pub(super) async fn one(
    call: &Call,
    namespace: &str,
    cluster: &Pgcluster,
    make: impl FnOnce(&Subject<'_>, OperationId) -> Pgtask,
) -> Result<OperationId, Refusal> {
    let id = OperationId::from(Uuid::new_v4());
    by_id(call, namespace, cluster, (id, make)).await
}

/// The same for an id that the caller has drawn.
///
/// # Errors
/// As of [`one`].
pub(super) async fn by_id(
    call: &Call,
    namespace: &str,
    cluster: &Pgcluster,
    (id, make): (
        OperationId,
        impl FnOnce(&Subject<'_>, OperationId) -> Pgtask,
    ),
) -> Result<OperationId, Refusal> {
    let (name, uid) = identity(cluster)?;
    if cluster.metadata.deletion_timestamp.is_some() {
        return Err(Refusal(format!("cluster {name} is being deleted")));
    }
    let subject = Subject {
        namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let task = make(&subject, id);
    let what = match task.spec.tasktype.as_str() {
        "backrest" => "backup".to_owned(),
        "drill" => "restore drill".to_owned(),
        "pgdump" => "dump".to_owned(),
        "pgbasebackup" => "backup".to_owned(),
        "pgbasebackuprestore" => "restore of a backup".to_owned(),
        "pgrestore" => "restore of a dump".to_owned(),
        "applypolicy" => "policy".to_owned(),
        "delete-data" => "removal".to_owned(),
        other => other.to_owned(),
    };
    let tasks: Api<Pgtask> = call.app.api(namespace);
    let is_former = |found: &Pgtask| task::is_anothers(found, &uid) || task::is_over(found);
    let stored = task::create(&tasks, &task, is_former).await;
    let stored = stored.map_err(|error| match error {
        kube::Error::Api(status) if status.is_already_exists() => Refusal(format!(
            "cluster {name}: a {what} was asked for and is not over; see pgo show cluster {name}"
        )),
        error => error.into(),
    })?;
    let rung = doorbell(pgo_bus::Kind::Pgtask, &stored, Some(id));
    call.app.bell.tell(rung);
    tracing::info!(
        cluster = %name, what, operation = %id, user = call.caller.name,
        "something was asked for by a task"
    );
    Ok(id)
}
