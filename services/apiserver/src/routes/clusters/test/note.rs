//! Notes on the Pgclusters what a test of their connections has shown, for the reconciler to tell. A test only looks: it is
//! answered also where that cannot be noted, and the answer says so.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{ResourceExt as _, api::DynamicObject};
use pgo_crd::{MOST_TESTS, TestNote};
use pgo_ids::OperationId;
use uuid::Uuid;

use super::{
    super::noting::{DEADLINE, Place, note},
    Shown,
};
use crate::request::Call;

/// Notes what each cluster has shown. What is noted is told, whatever ends afterwards; of the others it is said why it is not,
/// or may not be.
pub(super) async fn all(
    call: &Arc<Call>,
    namespace: &str,
    (clusters, shown): (&[DynamicObject], &[Shown]),
    began: Timestamp,
) -> Vec<String> {
    let ended = Timestamp::now();
    let (mut untold, mut noting) = (Vec::new(), Vec::new());
    for (cluster, shown) in clusters.iter().zip(shown) {
        let name = cluster.name_any();
        if let Some(why) = hindrance(cluster) {
            untold.push(format!("{name}: {why}"));
            continue;
        }
        let broken = shown.iter().filter_map(|(psql, worked)| {
            let why = worked.as_ref().err()?;
            Some(format!("{psql}: {why}"))
        });
        let shown = TestNote {
            user: call.caller.name.clone(),
            began,
            ended,
            tried: shown.len(),
            broken: broken.collect(),
        };
        let place = Place {
            namespace: namespace.to_owned(),
            name: name.clone(),
            uid: cluster.uid(),
        };
        let id = OperationId::from(Uuid::new_v4());
        let (call, annotation) = (call.clone(), shown.annotation(id));
        // What was begun is finished, also when the client goes away.
        let one = async move { note(&call, &place, id, annotation).await };
        noting.push((name, tokio::spawn(one)));
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    for (name, noted) in noting {
        let why = match tokio::time::timeout_at(deadline, noted).await {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) => "the apiserver ends".to_owned(),
            Err(_) => {
                let seconds = DEADLINE.as_secs();
                format!(
                    "Kubernetes has not taken the note within {seconds} s; it is told if that is taken yet"
                )
            }
        };
        untold.push(format!("{name}: {why}"));
    }
    for why in &untold {
        tracing::warn!(why, "a test is not told as an event");
    }
    untold
}

/// Why nothing can be noted on a cluster.
fn hindrance(cluster: &DynamicObject) -> Option<String> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return Some("the cluster is being deleted".to_owned());
    }
    let has_room = TestNote::has_room(cluster.annotations().keys());
    (!has_room).then(|| {
        format!("{MOST_TESTS} tests before it wait for the reconciler, which tells them; see that it runs")
    })
}
