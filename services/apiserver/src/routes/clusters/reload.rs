//! `POST /reload`: has PostgreSQL read its configuration anew. The reconciler has the agents do it; the answer waits for what
//! comes of it, as in 4.1, whose clients print it.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use pgo_api::{Outcome, ReloadRequest, ReloadResponse, texts};
use pgo_core::{Operation, Outcome as Ended};
use pgo_crd::Pgcluster;

use super::{ask, ending, task};
use crate::{refusal::Refusal, request::Call};

/// How long the end of a reload is waited for. It has 30 s; the handler has some more.
const WAIT: Duration = Duration::from_secs(40);

pub(crate) async fn reload(
    call: Arc<Call>,
    request: ReloadRequest,
) -> Result<ReloadResponse, Refusal> {
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a reload broke off: {error}")))?
}

async fn all(call: &Call, request: &ReloadRequest) -> Result<ReloadResponse, Refusal> {
    let wanted = (request.args.as_slice(), request.selector.as_str());
    let namespace = request.namespace.as_str();
    let (clusters, mut problems) = ask::clusters(&call.app, namespace, wanted).await?;
    let reloads = clusters.iter().map(|cluster| one(call, namespace, cluster));
    let mut results = Vec::new();
    for reloaded in futures::future::join_all(reloads).await {
        match reloaded {
            Ok(mut texts) => results.append(&mut texts),
            Err(Refusal(why)) => problems.push(why),
        }
    }
    let outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    Ok(ReloadResponse { results, outcome })
}

/// Asks for a cluster's reload and waits for its end; what is to be said of it.
async fn one(call: &Call, namespace: &str, cluster: &Pgcluster) -> Result<Vec<String>, Refusal> {
    let name = cluster.name_any();
    let id = ask::one(call, namespace, cluster, task::reload).await?;
    let place = (namespace, name.as_str());
    let ended = ending::ended(&call.app, place, ("reload", id), WAIT).await?;
    told(&name, &ended)
}

fn told(name: &str, ended: &Operation) -> Result<Vec<String>, Refusal> {
    let cause = ended.cause.clone();
    match ended.outcome {
        Some(Ended::Completed) => {
            let pending =
                cause.map(|cause| format!("{cause}; pgo restart {name} brings them into force"));
            Ok([texts::reloaded(name)].into_iter().chain(pending).collect())
        }
        _ => Err(Refusal(format!(
            "cluster {name}: {}",
            cause.unwrap_or_default()
        ))),
    }
}
