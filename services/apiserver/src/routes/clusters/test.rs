//! `POST /testclusters`: connects as each user of a cluster through each of its Services. What came of it is noted on the
//! Pgcluster, and told from there.

mod note;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use pgo_api::{
    ClusterTestDetail, ClusterTestRequest, ClusterTestResponse, ClusterTestResult, Outcome, texts,
};
use pgo_crd::{PgoConfig, label};
use pgo_tls::TlsFiles;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Selection, is_ready,
    pod::{self, Containers},
};
use crate::{refusal::Refusal, request::Call, routes::status};

/// How long a connection and its query may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A node follows a change of a Service within about a second (kube-proxy's `minSyncPeriod`); until then nobody listens
/// on a new one's address.
const SERVICE_LAG: Duration = Duration::from_secs(2);

/// Pause before the next try meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections tried at a time.
const AT_ONCE: usize = 32;

/// Characters of a reason at most: a cluster has many connections, and all that do not work are in one annotation.
const LONGEST_REASON: usize = 160;

/// The database that every cluster has.
const MAINTENANCE_DATABASE: &str = "postgres";

pub(crate) async fn test(
    call: Arc<Call>,
    request: ClusterTestRequest,
) -> Result<ClusterTestResponse, Refusal> {
    let (app, namespace) = (&*call.app, request.namespace.as_str());
    let selection = Selection::by_word(&request.selector, request.all_flag, &request.cluster_name);
    let clusters = selection.clusters(app, namespace).await?;
    if clusters.is_empty() {
        return Ok(answer(Vec::new()));
    }
    let members = ListParams::default().labels(&selection.of_members());
    let (pods, services, secrets): (Api<Pod>, Api<Service>, Api<Secret>) =
        (app.api(namespace), app.api(namespace), app.api(namespace));
    let (pods, services, secrets) = futures::try_join!(
        pods.list(&members),
        services.list(&members),
        secrets.list(&members),
    )?;
    let members = Members {
        pods: pods.items,
        services: services.items,
        secrets: secrets.items,
    };
    let config = app.configuration.now();
    let (mut tested, mut planned, mut unready) = (Vec::new(), Vec::new(), Vec::new());
    for cluster in clusters {
        let name = cluster.name_any();
        match probes(&cluster, namespace, &members, &config) {
            Some(probes) => {
                planned.push(probes);
                tested.push(cluster);
            }
            None => unready.push(name),
        }
    }
    let began = Timestamp::now();
    // All at once, whatever cluster they are for; the order stays.
    let all: Vec<Probe> = planned.iter().flatten().cloned().collect();
    let tls = app.tls_files.clone();
    let tried: Vec<Result<(), String>> = futures::stream::iter(all)
        .map(|probe| probe.works(tls.clone()))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut tried = tried.into_iter();
    let shown: Vec<Shown> = planned
        .iter()
        .map(|probes| {
            let commands = probes.iter().map(Probe::psql);
            commands.zip(&mut tried).collect()
        })
        .collect();
    let untold = note::all(&call, namespace, (&tested, &shown), began).await;
    let mut answer = answer(tested.iter().zip(shown).map(result).collect());
    if !untold.is_empty() {
        // A remark: the test was made. 4.1's client does not show it.
        answer.outcome.msg = format!("the test is not told as an event: {}", untold.join("; "));
    }
    if let Some(why) = not_ready(&selection, &unready) {
        answer.outcome = Outcome::error(why);
    }
    Ok(answer)
}

/// What a test of a cluster has shown: the command that connects like each probe, and why it does not work, if so.
type Shown = Vec<(String, Result<(), String>)>;

/// 4.1's text where a cluster is not ready. A request that names one cluster knows which; another is told their names.
fn not_ready(selection: &Selection, unready: &[String]) -> Option<String> {
    match (unready, selection) {
        ([], _) => None,
        (_, Selection::One(_)) => Some(texts::NOT_READY.to_owned()),
        (names, _) => Some(format!("{}: {}", texts::NOT_READY, names.join(", "))),
    }
}

/// As 4.1 answers, without the reasons; and how its instances stood to each other.
fn result((cluster, shown): (&DynamicObject, Shown)) -> ClusterTestResult {
    let item = |(psql_string, worked): (String, Result<(), String>)| ClusterTestDetail {
        psql_string,
        working: worked.is_ok(),
    };
    ClusterTestResult {
        cluster_name: cluster.name_any(),
        items: shown.into_iter().map(item).collect(),
        standing: Some(status::cluster(cluster)),
    }
}

fn answer(results: Vec<ClusterTestResult>) -> ClusterTestResponse {
    ClusterTestResponse {
        results,
        outcome: Outcome::ok(),
    }
}

/// What belongs to clusters.
struct Members {
    pods: Vec<Pod>,
    services: Vec<Service>,
    secrets: Vec<Secret>,
}

/// One connection to try.
#[derive(Clone)]
struct Probe {
    address: String,
    port: String,
    user: String,
    password: Vec<u8>,
    database: String,
    /// The name in the certificate of the cluster's PostgreSQL.
    identity: String,
    /// Not worth a try: an instance behind the Service is not ready.
    hopeless: bool,
}

/// The connections to try for a cluster, in order of Service, Secret, database; nothing where the cluster is not ready.
fn probes(
    cluster: &DynamicObject,
    namespace: &str,
    members: &Members,
    config: &PgoConfig,
) -> Option<Vec<Probe>> {
    let name = cluster.name_any();
    let pods = own(&name, &members.pods);
    let not_ready = |kind: &str| {
        pods.iter().any(|pod| {
            pod::is_shown(pod) && pod::kind(pod, &name) == kind && !Containers::of(pod).all_ready()
        })
    };
    // The condition is there before the kubelet's next look at the pod: who waited for it need not wait again.
    if not_ready("primary") && !is_ready(cluster) {
        return None;
    }
    let said = |field: &str, default: &str| {
        let value = cluster.data["spec"][field].as_str().unwrap_or_default();
        if value.is_empty() { default } else { value }.to_owned()
    };
    let port = said("port", &config.cluster.port);
    let database = said("database", &config.cluster.database);
    let databases: BTreeSet<&str> = BTreeSet::from([MAINTENANCE_DATABASE, &database]);
    let secrets = own(&name, &members.secrets);
    let users: Vec<(String, Vec<u8>)> = secrets
        .iter()
        .filter_map(|secret| credentials(secret))
        .collect();
    let identity = format!("{name}.{namespace}.agent.pgo");
    let mut probes = Vec::new();
    let services = own(&name, &members.services);
    for service in services.into_iter().filter(|one| !is_of_backups(one)) {
        let address = service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.clone());
        let hopeless = service.name_any() != name && not_ready("replica");
        for (user, password) in &users {
            for database in &databases {
                probes.push(Probe {
                    address: address.clone().unwrap_or_default(),
                    port: port.clone(),
                    user: user.clone(),
                    password: password.clone(),
                    database: (*database).to_owned(),
                    identity: identity.clone(),
                    hopeless,
                });
            }
        }
    }
    Some(probes)
}

/// The objects that carry the cluster's name, in order of their own.
fn own<'a, K: Resource>(cluster: &str, objects: &'a [K]) -> Vec<&'a K> {
    let mut own: Vec<&K> = objects
        .iter()
        .filter(|object| {
            object.labels().get(label::PG_CLUSTER).map(String::as_str) == Some(cluster)
        })
        .collect();
    own.sort_by_key(|object| object.name_any());
    own
}

/// Whether a Service leads to the repository of backups, where no PostgreSQL is.
fn is_of_backups(service: &Service) -> bool {
    service.labels().contains_key(label::BACKREST_REPO)
}

/// User and password in a Secret, if it is a user's.
fn credentials(secret: &Secret) -> Option<(String, Vec<u8>)> {
    let data = secret.data.as_ref()?;
    let user = String::from_utf8(data.get("username")?.0.clone()).ok()?;
    Some((user, data.get("password")?.0.clone()))
}

/// Whether nobody listens there.
fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// On one line, and not longer than [`LONGEST_REASON`].
fn shortened(why: &str) -> String {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Probe {
    /// The command that connects in the same way.
    fn psql(&self) -> String {
        let Self {
            address,
            port,
            user,
            database,
            ..
        } = self;
        format!("psql -p {port} -h {address} -U {user} {database}")
    }

    /// Whether it works, or why not; the reason has nothing in it that is secret.
    async fn works(self, tls: Arc<TlsFiles>) -> Result<(), String> {
        if self.hopeless {
            return Err("an instance behind this Service is not ready".to_owned());
        }
        let began = Instant::now();
        let why = loop {
            match tokio::time::timeout(DEADLINE, self.query(&tls)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if is_refused(&error) && began.elapsed() < SERVICE_LAG => {
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Err(error)) => break format!("{error:#}"),
                Err(_) => break format!("no answer within {} s", DEADLINE.as_secs()),
            }
        };
        tracing::info!(probe = self.psql(), why, "a test of a cluster failed");
        Err(shortened(&why))
    }

    async fn query(&self, tls: &TlsFiles) -> anyhow::Result<()> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.identity)
            .hostaddr(self.address.parse::<IpAddr>()?)
            .port(self.port.parse()?)
            .user(&self.user)
            .password(&self.password)
            .dbname(&self.database)
            .ssl_mode(SslMode::Require)
            .application_name("pgo test");
        let connector = MakeRustlsConnect::new((*tls.client_config()).clone());
        let (client, connection) = config.connect(connector).await?;
        let driver = tokio::spawn(connection);
        let answered = client.simple_query("select now()").await;
        // Closes the connection in good order; whoever cannot wait for that drops it.
        drop(client);
        let ended = driver.await;
        answered?;
        ended??;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster() -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "hippo"}, "spec": {"port": "5432", "database": "userdb"},
        }))
        .expect("a cluster")
    }

    fn member(name: &str, of: &str, more: Value) -> Value {
        let mut object = json!({"metadata": {"name": name, "labels": {"pg-cluster": of}}});
        for (key, value) in more.as_object().expect("an object") {
            object[key] = value.clone();
        }
        object
    }

    fn user(name: &str, user: &str) -> Secret {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let data =
            json!({"data": {"username": STANDARD.encode(user), "password": STANDARD.encode("x")}});
        serde_json::from_value(member(name, "hippo", data)).expect("a Secret")
    }

    fn members() -> Members {
        let service = |name: &str, address: &str| -> Service {
            let spec = json!({"spec": {"clusterIP": address}});
            serde_json::from_value(member(name, "hippo", spec)).expect("a Service")
        };
        let tls = member(
            "hippo-agent-tls",
            "hippo",
            json!({"data": {"tls.key": "eA=="}}),
        );
        let mut repository: Service = service("hippo-backrest-shared-repo", "10.0.0.3");
        let repo = (label::BACKREST_REPO.to_owned(), "true".to_owned());
        repository
            .metadata
            .labels
            .get_or_insert_default()
            .extend([repo]);
        Members {
            pods: Vec::new(),
            services: vec![
                repository,
                service("hippo-replica", "10.0.0.2"),
                service("hippo", "10.0.0.1"),
            ],
            secrets: vec![
                user("hippo-testuser-secret", "testuser"),
                user("hippo-postgres-secret", "postgres"),
                serde_json::from_value(tls).expect("a Secret"),
            ],
        }
    }

    fn pod(service: &str, ready: bool) -> Pod {
        let mut pod = member(
            service,
            "hippo",
            json!({
                "spec": {"containers": [{"name": "database"}]},
                "status": {"containerStatuses": [
                    {"name": "database", "ready": ready, "image": "", "imageID": "", "restartCount": 0}]},
            }),
        );
        pod["metadata"]["labels"]["service-name"] = json!(service);
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn each_service_is_tried_with_each_user_and_database_in_4_1s_order() {
        let probes = probes(&cluster(), "pgouser1", &members(), &PgoConfig::default());
        let shown: Vec<String> = probes.expect("probes").iter().map(Probe::psql).collect();
        assert_eq!(shown.len(), 8);
        assert_eq!(shown[0], "psql -p 5432 -h 10.0.0.1 -U postgres postgres");
        assert_eq!(shown[1], "psql -p 5432 -h 10.0.0.1 -U postgres userdb");
        assert_eq!(shown[2], "psql -p 5432 -h 10.0.0.1 -U testuser postgres");
        assert_eq!(shown[7], "psql -p 5432 -h 10.0.0.2 -U testuser userdb");
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(shortened("no answer\n  at all"), "no answer at all");
        let long = shortened(&"ä".repeat(LONGEST_REASON + 1));
        assert_eq!(long, format!("{}…", "ä".repeat(LONGEST_REASON)));
    }

    #[test]
    fn a_primary_that_is_not_ready_is_told_instead() {
        let mut members = members();
        members.pods.push(pod("hippo", false));
        assert!(probes(&cluster(), "pgouser1", &members, &PgoConfig::default()).is_none());
        let unready = ["hippo".to_owned(), "rhino".to_owned()];
        let one = Selection::of("", false, "hippo");
        assert_eq!(
            not_ready(&one, &unready[..1]).as_deref(),
            Some("cluster not ready yet, try later")
        );
        assert_eq!(
            not_ready(&Selection::All, &unready).as_deref(),
            Some("cluster not ready yet, try later: hippo, rhino")
        );
        assert_eq!(not_ready(&Selection::All, &[]), None);
    }

    #[test]
    fn a_replica_that_is_not_ready_is_not_tried() {
        let mut members = members();
        members
            .pods
            .extend([pod("hippo", true), pod("hippo-replica", false)]);
        let probes = probes(&cluster(), "pgouser1", &members, &PgoConfig::default());
        for probe in probes.expect("probes") {
            assert_eq!(
                probe.hopeless,
                probe.address == "10.0.0.2",
                "{}",
                probe.psql()
            );
        }
    }
}
