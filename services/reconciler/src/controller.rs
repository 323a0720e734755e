//! The loop that reconciles each cluster of one namespace whenever something about it changes.

use std::{
    future::{pending, ready},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::{
    Api, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt as _,
        controller::Action,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use pgo_crd::Pgcluster;
use pgo_k8s::ahead;
use pgo_telemetry::CancellationToken;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{context::Context, error::Error, reconcile::reconcile};

/// A Pgcluster as Kubernetes has it. One that cannot be understood must not hide the others.
pub type Stored = DeserializeGuard<Pgcluster>;

/// Clusters that are reconciled at the same time; each waits mostly for the API server.
const CONCURRENCY: u16 = 16;

/// Another write was first: what it wrote is in the cache in a moment.
const AFTER_CONFLICT: Duration = Duration::from_millis(50);

/// Pause after any other error.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Reconciles until told to end; those under way are finished first. `rung` are clusters to look at, with their versions.
pub async fn run(
    (api, rung): (Api<Stored>, impl Stream<Item = (String, String)>),
    context: Arc<Context>,
    woken: UnboundedReceiver<ObjectRef<Stored>>,
    shutdown: CancellationToken,
) {
    let (changes, ahead) = ahead::watch(api, watcher::Config::default());
    let (clusters, writer) = reflector::store();
    // Failures end here: the controller would pause for them, and with it all that wakes a reconcile otherwise.
    let changes = changes.reflect(writer).applied_objects().filter(|change| {
        if let Err(error) = change {
            tracing::warn!(%error, "the watch of clusters was interrupted; it begins again");
        }
        ready(change.is_ok())
    });
    let controller = Controller::for_stream(changes, clusters.clone());
    let reconciling = controller
        .with_config(kube::runtime::controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(UnboundedReceiverStream::new(woken))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            reconcile_stored,
            |_, error, context| again(error, &context),
            context,
        )
        .for_each(|result| {
            if let Err(error) = result {
                // A cluster that was woken and is gone is no error.
                tracing::debug!(%error, "a reconcile did not get to its end");
            }
            ready(())
        });
    let answering = async {
        ahead.look_at(rung).await;
        pending::<()>().await;
    };
    tokio::select! {
        () = reconciling => {}
        () = nothing_to_finish(&clusters, &shutdown) => {}
        () = answering => {}
    }
}

/// Told to end before the clusters could be listed: the controller would still wait for them.
async fn nothing_to_finish(clusters: &Store<Stored>, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    if clusters.wait_until_ready().now_or_never().is_some() {
        pending::<()>().await;
    }
}

/// Reconciles a cluster that can be understood. Another is left as it is: whatever was written over it would lose events
/// that nobody else has.
async fn reconcile_stored(stored: Arc<Stored>, context: Arc<Context>) -> Result<Action, Error> {
    match &stored.0 {
        Ok(object) => reconcile(Arc::new(object.clone()), context).await,
        Err(unreadable) => {
            context.metrics.failed("unreadable");
            tracing::error!(
                cluster = stored.name_any(),
                namespace = stored.namespace(),
                error = unreadable.error,
                "the Pgcluster cannot be understood, so nothing is done for it, while its database goes on; it was \
                 written by a later version of PGO, which must run again, or by hand, and must be mended"
            );
            Ok(Action::await_change())
        }
    }
}

fn again(error: &Error, context: &Context) -> Action {
    context.metrics.failed(error.label());
    if error.is_conflict() {
        tracing::debug!(%error, "another write was first; trying again");
        return Action::requeue(AFTER_CONFLICT);
    }
    tracing::warn!(%error, "a reconcile did not get to its end; trying again");
    Action::requeue(AFTER_ERROR)
}
