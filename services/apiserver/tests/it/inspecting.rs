//! What is beside the databases: how full volumes are, files, and how far operations are.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use pgo_proto::agent::{
    DatabaseSizeRequest, DatabaseSizeResponse, DropSlotRequest, DropSlotResponse, Entry,
    FailoverRequest, FailoverResponse, InstanceState, ListFolderRequest, ListFolderResponse,
    ReadFileRequest, ReadFileResponse, ReloadRequest, ReloadResponse, RestartRequest,
    RestartResponse, Role, StayRequest, StayResponse, SwitchoverRequest, SwitchoverResponse,
    WatchRequest,
    agent_server::{Agent, AgentServer},
    inspection_server::{Inspection, InspectionServer},
};
use pgo_tls::{Authority, TlsFiles, grpc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::{
    harness::{
        Apiserver, Client, authority, create_request, identity, installation, start_plain,
        try_start,
    },
    kubernetes::Kubernetes,
    repository::Repository,
};

const MIB: u64 = 1 << 20;

/// An agent of cluster `hippo`.
struct FakeAgent {
    serving: JoinHandle<()>,
    #[allow(dead_code, reason = "the folder is there as long as this is")]
    folder: TempDir,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeAgent {
    /// At this address, on the port of agents.
    async fn start(address: [u8; 4], authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        identity(authority, "hippo.pgouser1.agent.pgo", folder.path());
        let files = Arc::new(TlsFiles::open(folder.path()).unwrap());
        let at = SocketAddr::from((address, pgo_objects::AGENT_PORT));
        let listener = grpc::listen(at, files).await.unwrap();
        let served = grpc::server()
            .add_service(AgentServer::new(Said))
            .add_service(InspectionServer::new(Said))
            .serve_with_incoming(listener);
        Self {
            serving: tokio::spawn(async move { served.await.unwrap() }),
            folder,
        }
    }
}

/// What it says.
struct Said;

fn never<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not asked for here"))
}

#[tonic::async_trait]
impl Agent for Said {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<InstanceState, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let state = InstanceState {
            role: Role::Primary.into(),
            volume_bytes: 100 * MIB,
            volume_used: 71 * MIB,
            ..InstanceState::default()
        };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(state)))))
    }

    async fn drop_slot(
        &self,
        _: Request<DropSlotRequest>,
    ) -> Result<Response<DropSlotResponse>, Status> {
        never()
    }

    async fn switchover(
        &self,
        _: Request<SwitchoverRequest>,
    ) -> Result<Response<SwitchoverResponse>, Status> {
        never()
    }

    async fn stay(&self, _: Request<StayRequest>) -> Result<Response<StayResponse>, Status> {
        never()
    }

    async fn failover(
        &self,
        _: Request<FailoverRequest>,
    ) -> Result<Response<FailoverResponse>, Status> {
        never()
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        never()
    }

    async fn restart(
        &self,
        _: Request<RestartRequest>,
    ) -> Result<Response<RestartResponse>, Status> {
        never()
    }
}

#[tonic::async_trait]
impl Inspection for Said {
    async fn database_size(
        &self,
        _: Request<DatabaseSizeRequest>,
    ) -> Result<Response<DatabaseSizeResponse>, Status> {
        Ok(Response::new(DatabaseSizeResponse { bytes: 30 * MIB }))
    }

    async fn list_folder(
        &self,
        request: Request<ListFolderRequest>,
    ) -> Result<Response<ListFolderResponse>, Status> {
        let entry = Entry {
            name: request.into_inner().path,
            mode: 0o100_600,
            links: 1,
            owner: "postgres".to_owned(),
            group: "postgres".to_owned(),
            size: 3,
            ..Entry::default()
        };
        Ok(Response::new(ListFolderResponse {
            folder: false,
            entries: vec![entry],
            left_out: 0,
        }))
    }

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        match request.into_inner().path.as_str() {
            "PG_VERSION" => Ok(Response::new(ReadFileResponse {
                text: "15\n".to_owned(),
            })),
            path => Err(Status::failed_precondition(format!("{path} is outside"))),
        }
    }
}

fn pod(kubernetes: &Kubernetes, name: &str, service: &str, address: &str) {
    kubernetes.put("pods", "pgouser1", json!({
        "metadata": {"name": name, "namespace": "pgouser1", "labels": {
            "vendor": "crunchydata", "pg-cluster": "hippo", "deployment-name": name, "service-name": service,
        }},
        "spec": {"nodeName": "node1", "containers": [{"name": "database"}],
            "volumes": [{"name": "pgdata", "persistentVolumeClaim": {"claimName": name}}]},
        "status": {"phase": "Running", "podIP": address, "containerStatuses": [
            {"name": "database", "ready": true, "image": "", "imageID": "", "restartCount": 0}]},
    }));
    kubernetes.put(
        "persistentvolumeclaims",
        "pgouser1",
        json!({
            "metadata": {"name": name, "labels": {"pg-cluster": "hippo"}},
            "spec": {}, "status": {"capacity": {"storage": "1Gi"}},
        }),
    );
}

/// Cluster `hippo` with its agent at `address`, and a replica whose agent does not answer.
async fn with_agent(address: [u8; 4]) -> (Apiserver, FakeAgent) {
    let (kubernetes, authority) = (installation(), authority());
    pgo_tls::provider();
    let agent = FakeAgent::start(address, &authority).await;
    let plain = ["--disable-tls=true"];
    let apiserver = try_start(&kubernetes, authority, &plain).await.unwrap();
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let [a, b, c, d] = address;
    pod(&kubernetes, "hippo", "hippo", &format!("{a}.{b}.{c}.{d}"));
    let nobody = format!("{a}.{b}.{c}.{}", d + 1);
    pod(&kubernetes, "hippo-abcd", "hippo-replica", &nobody);
    (apiserver, agent)
}

async fn df(client: &Client, name: &str) -> Value {
    let path = format!("/df/{name}?selector=&version=4.1.0&namespace=pgouser1");
    client.get(&path).await.done()
}

#[tokio::test]
async fn an_instance_that_does_not_answer_has_a_row_and_keeps_no_other_from_its_own() {
    let (apiserver, _agent) = with_agent([127, 2, 0, 1]).await;
    let client = apiserver.plain();
    for name in ["hippo", "all"] {
        let answer = df(&client, name).await;
        let rows = answer["Results"].as_array().unwrap();
        assert_eq!(
            rows[0],
            json!({
                "Name": "hippo", "PGSize": "30 MB", "ClaimSize": "1Gi", "Pct": 71, "Working": true,
                "Cluster": "hippo", "Role": "primary", "Claim": "hippo", "PGBytes": 30 * MIB,
                "VolumeBytes": 100 * MIB, "VolumeUsed": 71 * MIB,
            })
        );
        let down = &rows[1];
        assert_eq!(down["Name"], "hippo-abcd");
        assert_eq!((&down["Working"], &down["Pct"]), (&json!(false), &json!(0)));
        assert_eq!(down["ClaimSize"], "1Gi");
        assert!(!down["Problem"].as_str().unwrap().is_empty(), "{down}");
        assert_eq!(rows.len(), 2);
    }
    assert_eq!(df(&client, "nosuch").await["Results"], json!([]));
}

#[tokio::test]
async fn the_volume_of_a_repository_has_a_row_behind_those_of_instances() {
    let (kubernetes, authority) = (installation(), authority());
    let at = [127, 2, 0, 9];
    let _repository = Repository::start(&authority, at.into(), Err("nothing")).await;
    let apiserver = try_start(&kubernetes, authority, &["--disable-tls=true"])
        .await
        .unwrap();
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    pod(&kubernetes, "hippo", "hippo", "127.2.0.10");
    let name = "hippo-backrest-shared-repo-abc";
    kubernetes.put("pods", "pgouser1", json!({
        "metadata": {"name": name, "namespace": "pgouser1", "labels": {
            "vendor": "crunchydata", "pg-cluster": "hippo", "pgo-backrest-repo": "true",
        }},
        "spec": {"nodeName": "node1", "containers": [{"name": "database"}], "volumes": [
            {"name": "tls", "secret": {"secretName": "hippo-tls"}},
            {"name": "backrestrepo", "persistentVolumeClaim": {"claimName": "hippo-pgbr-repo"}}]},
        "status": {"phase": "Running", "podIP": "127.2.0.9"},
    }));
    let answer = df(&client, "hippo").await;
    let rows = answer["Results"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["Name"], "hippo");
    let row = &rows[1];
    assert_eq!(
        (&row["Name"], &row["Role"]),
        (&json!(name), &json!("repository"))
    );
    assert_eq!((&row["Working"], &row["Pct"]), (&json!(true), &json!(25)));
    assert_eq!(row["Claim"], "hippo-pgbr-repo");
    assert_eq!(
        (&row["VolumeBytes"], &row["VolumeUsed"]),
        (&json!(400), &json!(100))
    );
}

async fn files(client: &Client, route: &str, args: Value) -> Value {
    let request = json!({"Namespace": "pgouser1", "Args": args});
    client.post(route, request).await.json()
}

#[tokio::test]
async fn files_of_the_primary_are_shown_as_its_agent_gives_them() {
    let (apiserver, _agent) = with_agent([127, 2, 0, 3]).await;
    let client = apiserver.plain();
    let shown = files(
        &client,
        "/cat",
        json!(["hippo", "PG_VERSION", "PG_VERSION"]),
    )
    .await;
    assert_eq!(
        shown,
        json!({"Results": ["15\n", "15\n"], "Code": "ok", "Msg": ""})
    );
    let listed = files(&client, "/ls", json!(["hippo", "PG_VERSION"])).await;
    let expected = "-rw------- 1 postgres postgres 3 Jan  1  1970 PG_VERSION\n";
    assert_eq!(listed["Results"], json!([expected]));
    let refused = files(&client, "/cat", json!(["hippo", "/etc/shadow"])).await;
    assert_eq!(
        refused,
        json!({"Results": [], "Code": "error", "Msg": "/etc/shadow is outside"})
    );
}

#[tokio::test]
async fn requests_for_files_are_refused_in_4_1s_words() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let many = json!(["hippo", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for (args, words) in [
        (json!([]), "no cluster name was passed"),
        (
            json!(["nosuch", "x"]),
            "nosuch was not found, verify cluster name",
        ),
        (
            json!(["hippo", "/pgdata", "/x;y"]),
            "/x;y contains non-allowed characters [&|;>]",
        ),
        (json!(["hippo"]), "name one to 8 paths after the cluster"),
        (many, "name one to 8 paths after the cluster"),
        (
            json!(["hippo", "x"]),
            "cluster hippo has no pod that is its primary now",
        ),
    ] {
        for route in ["/ls", "/cat"] {
            let refused = files(&client, route, args.clone()).await;
            let expected = json!({"Results": [], "Code": "error", "Msg": words});
            assert_eq!(refused, expected, "{route} {args}");
        }
    }
}

async fn workflow(client: &Client, id: &str) -> Value {
    let path = format!("/workflow/{id}?version=4.1.0&namespace=pgouser1");
    client.get(&path).await.json()
}

/// Creates a cluster and gives the id of its workflow.
async fn create(client: &Client) -> String {
    let answer = client.post("/clusters", create_request("hippo")).await;
    let answer = answer.done();
    let text = answer["Results"][1].as_str().unwrap();
    text.strip_prefix("workflow id ").unwrap().to_owned()
}

/// Has the status of the cluster tell this of its creation.
fn tell(kubernetes: &Kubernetes, id: &str, operation: &Value) {
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let mut known =
        json!({"id": id, "kind": "CreateCluster", "actor": "x", "started": "2026-10-15T10:11:12Z"});
    for (key, value) in operation.as_object().unwrap() {
        known[key] = value.clone();
    }
    cluster["status"] = json!({"phase": "Creating", "instances": [], "conditions": [],
        "operations": [known], "outbox": {"last": 0, "entries": []}});
    kubernetes.put("pgclusters", "pgouser1", cluster);
}

#[tokio::test]
async fn a_workflow_shows_its_task_and_how_far_its_operation_is() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let id = create(&client).await;

    let shown = workflow(&client, &id).await;
    let results = &shown["Results"];
    assert_eq!(shown["Code"], "ok", "{shown}");
    assert_eq!(results["ClusterName"], "hippo");
    assert_eq!(
        (&results["Task"], &results["State"]),
        (&json!("hippo-createcluster"), &json!("waiting"))
    );
    assert!(
        results["Parameters"]["task submitted"].is_string(),
        "{shown}"
    );

    for (operation, state) in [
        (json!({}), "running"),
        (
            json!({"outcome": "Completed", "finished": "2026-10-15T10:11:18Z"}),
            "completed",
        ),
        (json!({"outcome": "Failed", "cause": "no volume"}), "failed"),
    ] {
        tell(&kubernetes, &id, &operation);
        let results = workflow(&client, &id).await["Results"].clone();
        assert_eq!(results["State"], state);
        assert_eq!(results["Started"], "2026-10-15T10:11:12Z");
        assert_eq!(results["Cause"], operation["cause"]);
        assert_eq!(results["Finished"], operation["finished"]);
    }

    // Where the status knows it no more, the task does.
    let mut task = kubernetes
        .get("pgtasks", "pgouser1", "hippo-createcluster")
        .unwrap();
    task["status"] =
        json!({"conditions": [{"type": "Complete", "status": "True", "reason": "Completed"}]});
    kubernetes.put("pgtasks", "pgouser1", task.clone());
    kubernetes.remove("pgclusters", "pgouser1", "hippo");
    assert_eq!(
        workflow(&client, &id).await["Results"]["State"],
        "completed"
    );

    task["metadata"]["name"] = json!("another");
    kubernetes.put("pgtasks", "pgouser1", task);
    let twice = workflow(&client, &id).await;
    let why = twice["Msg"].as_str().unwrap();
    assert!(
        twice["Code"] == "error" && why.contains("more than one task"),
        "{twice}"
    );
    for unknown in ["25927091-b343-4017-be4b-71575f0b3eb5", "a%2Cb"] {
        let refused = workflow(&client, unknown).await;
        assert_eq!(refused["Code"], "error");
        assert_eq!(
            refused["Results"],
            json!({"ClusterName": "", "Parameters": null})
        );
    }
}
