//! `POST /ls` and `POST /cat`: files of a cluster's primary, as far as its agent shows them. 4.1 ran `ls` and `cat` in the
//! container, on whatever there was.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_api::{FilesRequest, FilesResponse, Outcome, texts};

use super::{failover::instances, listing, pod, scale::primary};
use crate::{agents, app::App, refusal::Refusal, request::Call};

/// What means something to a shell; 4.1 handed arguments to one.
const NOT_ALLOWED: [char; 4] = ['&', '|', ';', '>'];

/// Paths of a request at most: one after the other they are asked for within its deadline.
const MOST: usize = 8;

pub(crate) async fn ls(call: Arc<Call>, request: FilesRequest) -> Result<FilesResponse, Refusal> {
    let (pod, paths) = wanted(&call.app, &request).await?;
    let mut results = Vec::new();
    for path in &paths {
        let listed = agents::list(&call.app, &pod, path).await?;
        results.push(listing::text(&listed, Timestamp::now()));
    }
    Ok(answer(results))
}

pub(crate) async fn cat(call: Arc<Call>, request: FilesRequest) -> Result<FilesResponse, Refusal> {
    let (pod, paths) = wanted(&call.app, &request).await?;
    let mut results = Vec::new();
    for path in &paths {
        results.push(agents::read(&call.app, &pod, path).await?);
    }
    Ok(answer(results))
}

fn answer(results: Vec<String>) -> FilesResponse {
    FilesResponse {
        results,
        outcome: Outcome::ok(),
    }
}

/// The pod of the primary, and the paths.
async fn wanted(app: &App, request: &FilesRequest) -> Result<(Pod, Vec<String>), Refusal> {
    let (name, paths) = match request.args.split_first() {
        Some((name, paths)) if !name.is_empty() => (name, paths),
        _ => return Err(Refusal(texts::NO_CLUSTER_NAME.to_owned())),
    };
    if let Some(bad) = paths.iter().find(|path| path.contains(NOT_ALLOWED)) {
        return Err(Refusal(texts::not_allowed(bad)));
    }
    let selection = super::Selection::of("", false, name);
    let found = selection.clusters(app, &request.namespace).await?;
    let found = found.into_iter().next();
    let cluster = found.ok_or_else(|| Refusal(texts::not_found(name)))?;
    if paths.is_empty() || paths.len() > MOST {
        let text = format!("name one to {MOST} paths after the cluster");
        return Err(Refusal(text));
    }
    let cluster = cluster.try_parse().map_err(|error| {
        let why = format!("{name} cannot be understood: {error}");
        Refusal(why)
    })?;
    let leads = primary(&cluster);
    let pods = instances(app, &request.namespace, name).await?;
    let found = pods.into_iter().find(|pod| pod::deployment(pod) == leads);
    let pod = found.ok_or_else(|| {
        let name = cluster.name_any();
        Refusal(format!("cluster {name} has no pod that is its primary now"))
    })?;
    Ok((pod, paths.to_vec()))
}
