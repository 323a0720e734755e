//! `POST /upgrades`: asks for a minor upgrade by a Pgtask; the reconciler does it.
//!
//! What can be told at once is refused here. The reconciler judges again when the turn of a cluster comes: it alone knows
//! what the image holds.

use std::sync::Arc;

use kube::{Api, ResourceExt as _, api::DynamicObject};
use pgo_api::{AskedUpgrade, CreateUpgradeRequest, CreateUpgradeResponse, Outcome, texts};
use pgo_core::{ClusterStatus, Image, Kind};
use pgo_crd::{Pgcluster, PgoConfig, Pgtask, upgrade_requests};
use pgo_ids::{ClusterName, OperationId, StreamId};
use uuid::Uuid;

use super::{
    Selection,
    task::{self, Subject},
};
use crate::{doorbell::doorbell, refusal::Refusal, request::Call};

/// What becomes of the request for one cluster.
enum Asked {
    /// It is asked for.
    Created(AskedUpgrade),
    /// There is nothing to do.
    Same(String),
}

pub(crate) async fn upgrade(
    call: Arc<Call>,
    request: CreateUpgradeRequest,
) -> Result<CreateUpgradeResponse, Refusal> {
    let all = request.args.iter().any(|name| name == "all");
    let names = match request.selector.is_empty() && !all {
        true => request.args.clone(),
        false => vec![String::new()],
    };
    if names.is_empty() {
        return Err(Refusal(
            "name one or more clusters, or give a selector".to_owned(),
        ));
    }
    let namespaces = namespaces(&call, &request, all)?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move {
        let mut answer = Answer::default();
        for namespace in namespaces.iter().map(String::as_str) {
            ask(
                &call,
                &request,
                (namespace, names.as_slice(), all),
                &mut answer,
            )
            .await;
        }
        answer.end()
    });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for upgrades broke off: {error}")))
}

/// The namespaces to look in: the one that is named, or all that the user may use.
fn namespaces(
    call: &Call,
    request: &CreateUpgradeRequest,
    all: bool,
) -> Result<Vec<String>, Refusal> {
    let access = &call.app.access;
    if !request.all_namespaces {
        access.namespace(&call.caller, &request.namespace)?;
        return Ok(vec![request.namespace.clone()]);
    }
    if !all || !request.namespace.is_empty() {
        return Err(Refusal(
            "AllNamespaces is for all clusters, and names no namespace; leave one of both out"
                .to_owned(),
        ));
    }
    Ok(access.usable(&call.caller))
}

/// What has become of a request so far.
#[derive(Default)]
struct Answer {
    response: CreateUpgradeResponse,
    problems: Vec<String>,
    /// How many clusters were found.
    found: usize,
}

impl Answer {
    fn end(mut self) -> CreateUpgradeResponse {
        self.response.outcome = Outcome::ok();
        if !self.problems.is_empty() {
            self.response.outcome = Outcome::error(self.problems.join("; "));
        } else if self.found == 0 {
            texts::NO_CLUSTERS.clone_into(&mut self.response.outcome.msg);
        }
        self.response
    }
}

/// Asks for each cluster of a namespace; what stands in the way of one does not keep the others.
async fn ask(
    call: &Call,
    request: &CreateUpgradeRequest,
    (namespace, names, all): (&str, &[String], bool),
    answer: &mut Answer,
) {
    // Two namespaces may have a cluster of the same name.
    let (within, of) = match request.all_namespaces {
        true => (format!("{namespace}/"), format!("namespace {namespace}: ")),
        false => (String::new(), String::new()),
    };
    for name in names {
        let selection = Selection::of(&request.selector, all, name);
        let clusters = match selection.clusters(&call.app, namespace).await {
            Ok(clusters) => clusters,
            Err(Refusal(why)) => {
                answer.problems.push(format!("{of}{why}"));
                continue;
            }
        };
        let is_named = !name.is_empty();
        if clusters.is_empty() && is_named {
            answer.problems.push(texts::not_a_cluster(name));
        }
        answer.found += clusters.len();
        for cluster in &clusters {
            let shown = format!("{within}{}", cluster.name_any());
            let response = &mut answer.response;
            match ask_one(call, &request.ccp_image_tag, namespace, cluster).await {
                Ok(Asked::Created(asked)) => {
                    response.results.push(texts::created_upgrade(&shown));
                    response.upgrades.push(asked);
                }
                Ok(Asked::Same(tag)) if is_named => {
                    answer.problems.push(texts::same_image_tag(&tag));
                }
                // Whoever asks for all does not know which have it.
                Ok(Asked::Same(tag)) => {
                    let text = format!("{shown} has image tag {tag} already");
                    response.results.push(text);
                }
                Err(Refusal(why)) => answer.problems.push(format!("{of}{why}")),
            }
        }
    }
}

async fn ask_one(
    call: &Call,
    tag_wanted: &str,
    namespace: &str,
    found: &DynamicObject,
) -> Result<Asked, Refusal> {
    let cluster = found.name_any();
    let unusable = |what: &str| Refusal(format!("{cluster} has no usable {what}"));
    let name: ClusterName = cluster.parse().map_err(|_| unusable("name"))?;
    let uid: StreamId = found
        .uid()
        .and_then(|uid| uid.parse().ok())
        .ok_or_else(|| unusable("uid"))?;
    let object: Pgcluster = found
        .clone()
        .try_parse()
        .map_err(|error| Refusal(format!("{cluster} cannot be understood: {error}")))?;
    let id = OperationId::from(Uuid::new_v4());
    let subject = Subject {
        namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let task = task::upgrade(&subject, id, tag_wanted);
    let config = call.app.configuration.now();
    let image = wanted(&task, &object, &config)?;
    let status = object.status.clone().map(|status| status.0);
    let status = status.unwrap_or_default();
    let images = status.images.as_ref();
    if images.is_some_and(|images| images.in_force == image && images.others.is_empty()) {
        return Ok(Asked::Same(tag(&image).to_owned()));
    }
    in_the_way(&cluster, &object, &status)?;
    let tasks: Api<Pgtask> = call.app.api(namespace);
    let is_former = |found: &Pgtask| task::is_anothers(found, &uid) || task::is_over(found);
    let stored = task::create(&tasks, &task, is_former).await;
    let stored = stored.map_err(|error| match error {
        kube::Error::Api(status) if status.is_already_exists() => Refusal(format!(
            "cluster {cluster}: an upgrade was asked for and is not over; see pgo show cluster {cluster}"
        )),
        error => error.into(),
    })?;
    let rung = doorbell(pgo_bus::Kind::Pgtask, &stored, Some(id));
    call.app.bell.tell(rung);
    tracing::info!(
        cluster,
        image = image.0,
        user = call.caller.name,
        "an upgrade was asked for"
    );
    Ok(Asked::Created(AskedUpgrade {
        cluster,
        namespace: namespace.to_owned(),
        operation: id.to_string(),
    }))
}

/// Refuses while anything else is done with a cluster, or it is not well.
fn in_the_way(cluster: &str, object: &Pgcluster, status: &ClusterStatus) -> Result<(), Refusal> {
    if object.metadata.deletion_timestamp.is_some() {
        return Err(Refusal(format!("cluster {cluster} is being deleted")));
    }
    let mut operations = status.journal.operations.iter();
    if let Some(running) = operations.find(|operation| operation.is_running()) {
        let since = running.started;
        return Err(Refusal(format!(
            "cluster {cluster}: {} is going on since {since}; wait for its end, then ask again",
            what(running.kind)
        )));
    }
    if !status.is_ready() {
        return Err(Refusal(format!(
            "cluster {cluster} is not ready: {}; a cluster is upgraded only while it is well",
            status.reason
        )));
    }
    Ok(())
}

/// The image that a task asks for.
fn wanted(task: &Pgtask, cluster: &Pgcluster, config: &PgoConfig) -> Result<Image, Refusal> {
    let requests = upgrade_requests(std::iter::once(task), cluster, config);
    let request = requests.into_iter().next();
    request.map_or_else(
        || Err(Refusal("the upgrade cannot be asked for".to_owned())),
        |request| request.image.map_err(Refusal),
    )
}

fn tag(image: &Image) -> &str {
    image.0.rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// The operation with what it does to what.
fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::UpgradeCluster | Kind::UpgradeInstance => "an upgrade",
        other => other.what(),
    }
}
