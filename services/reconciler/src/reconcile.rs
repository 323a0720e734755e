//! One reconcile of one cluster, as the list of its steps; each is a file.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt as _, runtime::controller::Action};
use pgo_core::{Cluster, ClusterStatus, Phase, Plan, commit, plan, worth_writing};
use pgo_crd::Pgcluster;

use crate::{
    context::Context,
    error::Error,
    execute::execute,
    observe,
    project::project,
    sure::{Shown, surely},
    write,
};

/// A cluster on its way is looked at again after this, besides being woken by each change.
const SOON: Duration = Duration::from_secs(1);

/// A cluster at rest is looked at again after this, in case a change was missed.
const LATER: Duration = Duration::from_secs(300);

/// Brings a cluster nearer to what was asked for, and tells what happened.
pub async fn reconcile(object: Arc<Pgcluster>, context: Arc<Context>) -> Result<Action, Error> {
    let begin = std::time::Instant::now();
    let cached = object.resource_version();
    let object = context.newest(object);
    let newest = object.resource_version() != cached;
    let config = context.config.borrow().clone();
    let tasks = context.cache.tasks.state();
    let requests = observe::requests(&object, &tasks, &config, &context).await?;
    let Some(cluster) = pgo_crd::cluster(&object, &config, requests) else {
        tracing::error!(
            cluster = object.name_any(),
            "the Pgcluster has a name that its schema refuses; rename it"
        );
        return Ok(Action::await_change());
    };
    let observed = observe::observe(&object, &cluster, &tasks, &context).await?;
    let status = object
        .status
        .clone()
        .map(|status| status.0)
        .unwrap_or_default();
    let now = Timestamp::now();
    let eventing = context.publishing.eventing(&cluster.stream);
    let shown = Shown {
        object: &object,
        config: &config,
        tasks,
    };
    let judged = surely(shown, cluster, &context, |cluster| {
        commit(&status, cluster, &observed, eventing, now)
    });
    let (cluster, mut next) = judged.await?;
    if !worth_writing(&status, &next, eventing, now) {
        next = status.clone();
    }
    let written = status.journal.outbox.last;
    let outbox = &mut next.journal.outbox;
    let publishing = &context.publishing;
    publishing.make_room(&cluster.stream, outbox, written).await;
    let object = write::status(object, &next, &context).await?;
    context.offer(&cluster, &next.journal.outbox).await;
    context.metrics.drilled(&status, &next);
    let plan = plan(&next, &cluster, &observed, now);
    let done = execute(&plan.steps, &object, &cluster, &context).await;
    let news = remember_refusal(&done, &cluster, &context);
    done?;
    let noted = project(&object, &cluster, &next, &context).await;
    context.metrics.reconciled(begin.elapsed());
    let gone = plan.steps.contains(&pgo_core::Step::RemoveFinalizer);
    if gone {
        context.forget(&cluster.stream);
        return Ok(Action::await_change());
    }
    tracing::debug!(
        cluster = %cluster.name, namespace = %cluster.namespace, phase = next.phase.as_str(),
        waiting_for = plan.waiting_for, "reconciled"
    );
    let restless = news || newest || !noted || !plan.steps.is_empty() || plan.waiting_for.is_some();
    Ok(Action::requeue(pause(&next, restless, (&plan, now))))
}

/// Notes for the next look what Kubernetes refused of this plan, if it did; whether that is news.
fn remember_refusal(done: &Result<(), Error>, cluster: &Cluster, context: &Context) -> bool {
    let refused = done
        .as_ref()
        .err()
        .filter(|error| error.is_refusal())
        .map(ToString::to_string);
    context.set_refused(cluster.stream.as_str(), refused)
}

/// How long until the next look, if nothing wakes it; not later than when the plan knows that more can be done.
fn pause(status: &ClusterStatus, restless: bool, (plan, now): (&Plan, Timestamp)) -> Duration {
    let at_rest = matches!(status.phase, Phase::Ready | Phase::Failed) && !restless;
    let outbox = &status.journal.outbox;
    let is_stored = !outbox.waits() || outbox.unpublished.is_some();
    if !at_rest || !is_stored {
        return SOON;
    }
    let left = plan
        .look_at
        .and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    left.map_or(LATER, |left| left.clamp(SOON, LATER))
}
