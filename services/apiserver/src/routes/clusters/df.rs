//! `/df/{name}`: how full the volumes of clusters are, those of instances and of repositories of backups, as their agents say. One
//! that does not answer has a row all the same.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use kube::{Api, ResourceExt as _, api::ListParams};
use pgo_api::{DfDetail, DfQuery, DfResponse, Outcome};
use pgo_core::Fill;
use pgo_crd::label;
use pgo_proto::agent::{InstanceState, RepositoryState, Role};

use super::{Selection, pod};
use crate::{agents, app::App, refusal::Refusal, request::Call};

/// Instances that are asked at a time. Those that do not answer take their deadline, and a request has one, too.
const AT_ONCE: usize = 128;

/// Resource of a claim's size.
const STORAGE: &str = "storage";

/// Name of the volume with the data in 4.1's pods and ours.
const DATA: &str = "pgdata";

pub(crate) async fn df(call: Arc<Call>, query: DfQuery) -> Result<DfResponse, Refusal> {
    let (app, namespace) = (&*call.app, query.namespace.as_str());
    let selection = Selection::by_word(&query.selector, false, &call.variable());
    let clusters = selection.clusters(app, namespace).await?;
    let names: Vec<String> = clusters.iter().map(kube::ResourceExt::name_any).collect();
    if names.is_empty() {
        return Ok(answer(Vec::new()));
    }
    let members = ListParams::default().labels(&selection.of_members());
    let (pods, claims): (Api<Pod>, Api<PersistentVolumeClaim>) =
        (app.api(namespace), app.api(namespace));
    let (pods, claims) = futures::try_join!(pods.list(&members), claims.list(&members))?;
    let claims = claims.items.into_iter();
    let claims: BTreeMap<String, PersistentVolumeClaim> =
        claims.map(|claim| (claim.name_any(), claim)).collect();
    let mut pods = pods.items;
    let has_volume = |pod: &Pod| pod::is_instance(pod) || pod::is_repository(pod);
    pods.retain(|pod| has_volume(pod) && names.contains(&cluster_of(pod)));
    pods.sort_by_key(|pod| (cluster_of(pod), pod::is_repository(pod), pod.name_any()));
    let claims = Arc::new(claims);
    let rows = futures::stream::iter(pods)
        .map(|pod| of_pod(call.app.clone(), pod, claims.clone()))
        .buffered(AT_ONCE);
    Ok(answer(rows.collect().await))
}

fn answer(results: Vec<DfDetail>) -> DfResponse {
    DfResponse {
        results,
        outcome: Outcome::ok(),
    }
}

fn cluster_of(pod: &Pod) -> String {
    pod.labels()
        .get(label::PG_CLUSTER)
        .cloned()
        .unwrap_or_default()
}

/// Asks an instance's agent, and by that its PostgreSQL; or that of a repository.
async fn of_pod(
    app: Arc<App>,
    pod: Pod,
    claims: Arc<BTreeMap<String, PersistentVolumeClaim>>,
) -> DfDetail {
    if pod::is_repository(&pod) {
        let state = agents::repository(&app, &pod).await;
        return of_repository(&pod, &claims, state);
    }
    let state = agents::state(&app, &pod);
    let (state, size) = futures::join!(state, agents::database_size(&app, &pod));
    row(&pod, &claims, state, size)
}

/// What is known of an instance.
fn row(
    pod: &Pod,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
    state: Option<InstanceState>,
    size: Result<u64, String>,
) -> DfDetail {
    let claim = claim_of(pod).unwrap_or_default();
    let (working, pg_bytes, problem) = match (&state, size) {
        (Some(_), Ok(bytes)) => (true, bytes, String::new()),
        (_, Ok(bytes)) => (false, bytes, "its agent tells no state".to_owned()),
        (_, Err(why)) => (false, 0, why),
    };
    let state = state.unwrap_or_default();
    let fill = Fill {
        bytes: state.volume_bytes,
        used: state.volume_used,
    };
    let role = match state.role() {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Unspecified => "",
    };
    let claimed = claims.get(&claim).and_then(size_of);
    DfDetail {
        name: pod.name_any(),
        pg_size: match working {
            true => pretty(pg_bytes),
            false => String::new(),
        },
        claim_size: claimed.unwrap_or_default(),
        percent: fill.percent().into(),
        working,
        cluster: cluster_of(pod),
        role: role.to_owned(),
        claim,
        volume_bytes: fill.bytes,
        volume_used: fill.used,
        pg_bytes,
        problem,
    }
}

/// What is known of a repository. It has no databases.
fn of_repository(
    pod: &Pod,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
    state: Option<RepositoryState>,
) -> DfDetail {
    let problem = match &state {
        Some(state) => state.error.clone(),
        None => "its agent tells no state".to_owned(),
    };
    let state = state.unwrap_or_default();
    let fill = Fill {
        bytes: state.volume_bytes,
        used: state.volume_used,
    };
    let claim = claim_of(pod).unwrap_or_default();
    let claimed = claims.get(&claim).and_then(size_of);
    DfDetail {
        name: pod.name_any(),
        claim_size: claimed.unwrap_or_default(),
        percent: fill.percent().into(),
        working: problem.is_empty(),
        cluster: cluster_of(pod),
        role: "repository".to_owned(),
        claim,
        volume_bytes: fill.bytes,
        volume_used: fill.used,
        problem,
        ..DfDetail::default()
    }
}

/// The claim that a pod has its data on: an instance's has the volume of that name, a repository's has one claim.
fn claim_of(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let is_data = |volume: &&Volume| volume.name == DATA || pod::is_repository(pod);
    let mut claims = volumes
        .iter()
        .filter(is_data)
        .filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.next().map(|claim| claim.claim_name.clone())
}

/// The size that a claim has, else the one that it asks for.
fn size_of(claim: &PersistentVolumeClaim) -> Option<String> {
    let have = || claim.status.as_ref()?.capacity.as_ref()?.get(STORAGE);
    let asked = || {
        let resources = claim.spec.as_ref()?.resources.as_ref()?;
        resources.requests.as_ref()?.get(STORAGE)
    };
    have().or_else(asked).map(|size| size.0.clone())
}

/// Bytes as PostgreSQL's `pg_size_pretty` writes them: with the first unit of which there are fewer than 10240, rounded.
fn pretty(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    // Twice the number, so that half a unit is seen.
    let mut doubled = u128::from(bytes) * 2;
    while doubled / 2 >= 10 * 1024 && unit + 1 < UNITS.len() {
        doubled /= 1024;
        unit += 1;
    }
    format!("{} {}", doubled.div_ceil(2), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "hippo", "labels": {"pg-cluster": "hippo", "service-name": "hippo"}},
            "spec": {"containers": [], "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "pgdata", "persistentVolumeClaim": {"claimName": "hippo"}},
            ]},
        }))
        .expect("a pod")
    }

    fn claims() -> BTreeMap<String, PersistentVolumeClaim> {
        let claim = serde_json::from_value(json!({
            "metadata": {"name": "hippo"},
            "spec": {"resources": {"requests": {"storage": "2Gi"}}},
            "status": {"capacity": {"storage": "1Gi"}},
        }));
        BTreeMap::from([("hippo".to_owned(), claim.expect("a claim"))])
    }

    #[test]
    fn sizes_are_written_as_postgresql_does() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (31_457_280, "30 MB"),
            (10_752, "11 kB"),
            (10_751, "10 kB"),
            (1 << 40, "1024 GB"),
            (u64::MAX, "16384 PB"),
        ] {
            assert_eq!(pretty(bytes), text);
        }
    }

    #[test]
    fn a_row_has_the_figures_of_the_volume_and_of_its_claim() {
        let state = InstanceState {
            role: Role::Replica.into(),
            volume_bytes: 1000,
            volume_used: 715,
            ..InstanceState::default()
        };
        let row = row(&pod(), &claims(), Some(state), Ok(31_457_280));
        assert_eq!((row.name.as_str(), row.claim.as_str()), ("hippo", "hippo"));
        assert_eq!(
            (row.pg_size.as_str(), row.claim_size.as_str()),
            ("30 MB", "1Gi")
        );
        assert_eq!(
            (row.percent, row.working, row.role.as_str()),
            (71, true, "replica")
        );
    }

    #[test]
    fn without_an_agent_the_claim_is_still_known() {
        let row = row(&pod(), &claims(), None, Err("no answer".to_owned()));
        assert_eq!((row.percent, row.working), (0, false));
        assert_eq!((row.pg_size.as_str(), row.claim_size.as_str()), ("", "1Gi"));
        assert_eq!(row.problem, "no answer");
    }
}
