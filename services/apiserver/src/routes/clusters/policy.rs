//! `POST /policies/apply`: has SQL run on clusters. The reconciler has the agents of their primaries do it; the answer waits for
//! what comes of it, as in 4.1, whose clients print it.

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt as _};
use pgo_api::{ApplyPolicyRequest, ApplyPolicyResponse, Outcome, texts};
use pgo_core::Outcome as Ended;
use pgo_crd::{Pgcluster, Pgpolicy, label, policy_name};

use super::{Selection, ask, ending, is_object_name, task};
use crate::{refusal::Refusal, request::Call};

/// How long the end is waited for: the handler has some more. What takes longer goes on.
const WAIT: Duration = Duration::from_secs(48);

pub(crate) async fn apply(
    call: Arc<Call>,
    request: ApplyPolicyRequest,
) -> Result<ApplyPolicyResponse, Refusal> {
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request).await });
    asking
        .await
        .map_err(|error| Refusal(format!("applying a policy broke off: {error}")))?
}

async fn all(call: &Call, request: &ApplyPolicyRequest) -> Result<ApplyPolicyResponse, Refusal> {
    let (policy, namespace) = (request.name.as_str(), request.namespace.as_str());
    is_there(call, namespace, policy).await?;
    if request.selector.is_empty() {
        let why = "a policy is applied to the clusters of a selector; give one with --selector";
        return Err(Refusal(why.to_owned()));
    }
    let selection = Selection::of(&request.selector, false, "");
    let (mut clusters, mut problems) = (Vec::new(), Vec::new());
    for found in selection.clusters(&call.app, namespace).await? {
        let name = found.name_any();
        match found.try_parse::<Pgcluster>() {
            Ok(cluster) => clusters.push(cluster),
            Err(error) => problems.push(format!("{name} cannot be understood: {error}")),
        }
    }
    let had_it = clusters.iter().filter(|cluster| has(cluster, policy));
    let before = had_it.map(|cluster| cluster.name_any()).collect();
    let mut names = Vec::new();
    if request.dry_run {
        names.extend(clusters.iter().map(|cluster| cluster.name_any()));
    } else {
        let each = clusters
            .iter()
            .map(|cluster| one(call, (namespace, policy), cluster));
        for applied in futures::future::join_all(each).await {
            match applied {
                Ok(name) => names.push(name),
                Err(Refusal(why)) => problems.push(why),
            }
        }
    }
    let outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    Ok(ApplyPolicyResponse {
        name: names,
        before,
        outcome,
    })
}

/// Whether there is a policy that can be applied.
pub(super) async fn is_there(call: &Call, namespace: &str, policy: &str) -> Result<(), Refusal> {
    let policies: Api<Pgpolicy> = call.app.api(namespace);
    let found = match is_object_name(policy) {
        true => policies.get_metadata_opt(policy).await?,
        false => None,
    };
    if found.is_none() {
        return Err(Refusal(texts::policy_to_apply_not_found(policy)));
    }
    policy_name(policy)?;
    Ok(())
}

/// Whether a policy was applied to a cluster before, by us or by 4.1.
fn has(cluster: &Pgcluster, policy: &str) -> bool {
    let status = cluster.status.as_ref();
    let is_known = status.is_some_and(|status| status.0.applied_policies.contains(policy));
    let label = cluster.labels().get(policy);
    is_known || label.is_some_and(|value| value == label::PGPOLICY)
}

/// Asks for it on one cluster and waits for its end; the cluster's name.
pub(super) async fn one(
    call: &Call,
    (namespace, policy): (&str, &str),
    cluster: &Pgcluster,
) -> Result<String, Refusal> {
    let name = cluster.name_any();
    let make = |subject: &task::Subject<'_>, id| task::policy(subject, policy, id);
    let id = ask::one(call, namespace, cluster, make).await?;
    let place = (namespace, name.as_str());
    let ended = ending::ended(&call.app, place, ("policy", id), WAIT).await?;
    match ended.outcome {
        Some(Ended::Completed) => Ok(name),
        _ => Err(Refusal(format!(
            "cluster {name}: policy {policy} was not applied: {}",
            ended.cause.unwrap_or_default()
        ))),
    }
}
