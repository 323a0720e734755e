//! The stage hands: what Kubernetes' scheduler, kubelets and volumes, and the agent that holds a Lease, would do to the
//! objects.

use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    process::ChildStdin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Binding, PersistentVolumeClaim, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt as _, watcher},
};
use pgo_control_plane::{NAMESPACE, Process, object};
use pgo_crd::{Pgcluster, label};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use crate::{LIMIT, agents::Line};

/// What the hands do, each by itself.
const WORKS: usize = 5;

/// Objects of a kind that are handled at the same time.
const AT_ONCE: usize = 4;

/// How much of an error is told: some hold the whole object.
const MOST_SAID: usize = 300;

/// Nodes that pods are said to be on.
const NODES: usize = 50;

/// The hands at work, and what they have seen; they rest when this value goes.
pub struct Hands {
    stage: Arc<Stage>,
    work: JoinSet<anyhow::Result<()>>,
}

struct Stage {
    client: Client,
    /// Where each instance is; an address is given once.
    addresses: Mutex<HashMap<String, IpAddr>>,
    /// Clusters that are ready, all instances of them.
    ready: watch::Sender<HashSet<String>>,
    agents: Mutex<(ChildStdin, Process)>,
}

/// Begins to work.
///
/// # Errors
/// The agents cannot be spoken to.
pub fn begin(client: &Client, mut agents: Process) -> anyhow::Result<Hands> {
    let input = agents.input()?;
    let stage = Arc::new(Stage {
        client: client.clone(),
        addresses: Mutex::default(),
        ready: watch::Sender::default(),
        agents: Mutex::new((input, agents)),
    });
    let mut work = JoinSet::new();
    work.spawn(stage.clone().work(Stage::run_pod));
    work.spawn(stage.clone().work(Stage::bind_claim));
    work.spawn(stage.clone().work(Stage::lead));
    work.spawn(stage.clone().work(Stage::hold));
    work.spawn(stage.clone().work(Stage::count));
    Ok(Hands { stage, work })
}

impl Hands {
    /// Waits until so many clusters are ready.
    ///
    /// # Errors
    /// None more is ready for long, or the hands cannot go on.
    pub async fn until_ready(&self, count: usize) -> anyhow::Result<()> {
        let mut ready = self.stage.ready.subscribe();
        while ready.borrow_and_update().len() < count {
            anyhow::ensure!(self.work.len() == WORKS, "the hands rest");
            let changed = tokio::time::timeout(LIMIT, ready.changed()).await;
            changed.with_context(|| format!("waiting for {count} clusters to be ready"))??;
        }
        Ok(())
    }

    /// Has the agents tell where they are so often.
    pub fn tell_every(&self, period: Duration) {
        self.stage.tell(&Line::TellEvery(period));
    }
}

/// The cluster that an object belongs to by its label.
fn cluster_of(object: &impl Resource) -> Option<String> {
    object
        .meta()
        .labels
        .as_ref()?
        .get(label::PG_CLUSTER)
        .cloned()
}

impl Stage {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Handles each object of a kind as often as it changes.
    async fn work<K, F>(self: Arc<Self>, handle: fn(Arc<Self>, K) -> F) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let changes = watcher(self.api::<K>(), watcher::Config::default()).applied_objects();
        changes
            .map_err(anyhow::Error::from)
            .try_for_each_concurrent(AT_ONCE, |object| {
                let handled = handle(self.clone(), object);
                async move {
                    // It changed meanwhile: it comes again.
                    handled.await.or_else(|error| {
                        let said = error.to_string();
                        let said: String = said.chars().take(MOST_SAID).collect();
                        eprintln!("{said}");
                        Ok(())
                    })
                }
            })
            .await
    }

    fn tell(&self, line: &Line) {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_string(line).unwrap_or_default();
        if let Err(error) = writeln!(agents.0, "{text}") {
            eprintln!("the agents are gone: {error}");
        }
    }

    /// An address for an instance that has none yet, and its number. EndpointSlices take none of the loopback network;
    /// these are set apart for benchmarks (RFC 2544, appendix C.2.2).
    fn new_address(&self, instance: &str) -> Option<(usize, IpAddr)> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.contains_key(instance) {
            return None;
        }
        let number = addresses.len() + 1;
        let [.., high, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
        let address = Ipv4Addr::new(198, 18, high, low).into();
        addresses.insert(instance.to_owned(), address);
        Some((number, address))
    }

    /// The scheduler and the kubelet: a pod gets a node, then an address, and runs.
    async fn run_pod(self: Arc<Self>, pod: Pod) -> anyhow::Result<()> {
        let (name, Some(cluster)) = (pod.name_any(), cluster_of(&pod)) else {
            return Ok(());
        };
        if pod
            .status
            .as_ref()
            .is_some_and(|status| status.pod_ip.is_some())
        {
            return Ok(());
        }
        let Some((number, ip)) = self.new_address(&name) else {
            return Ok(());
        };
        let node = format!("node-{:02}.example.org", number % NODES);
        let binding: Binding = object(json!({
            "metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }))?;
        let api: Api<Pod> = self.api();
        let _: Value = api
            .create_subresource("binding", &name, &PostParams::default(), &binding)
            .await?;
        let uid = pod.uid().unwrap_or_default();
        self.tell(&Line::Pod {
            cluster,
            instance: name.clone(),
            uid: uid.clone(),
            ip,
        });
        let status = json!({"status": running(&pod, ip)});
        api.patch_status(&name, &PatchParams::default(), &merge(&status))
            .await?;
        Ok(())
    }

    /// The volumes: a claim is bound.
    async fn bind_claim(self: Arc<Self>, claim: PersistentVolumeClaim) -> anyhow::Result<()> {
        if claim
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Bound")
        {
            return Ok(());
        }
        let (name, api) = (claim.name_any(), self.api::<PersistentVolumeClaim>());
        let volume = format!("pvc-{}", claim.uid().unwrap_or_default());
        let annotations = json!({
            "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
            "volume.kubernetes.io/storage-provisioner": "example.org/local", "volume.kubernetes.io/selected-node": "node-07",
        });
        let spec =
            json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume}});
        api.patch(&name, &PatchParams::default(), &merge(&spec))
            .await?;
        let status = json!({"status": {
            "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        }});
        api.patch_status(&name, &PatchParams::default(), &merge(&status))
            .await?;
        Ok(())
    }

    /// The agent of the primary leads the Service to itself.
    async fn lead(self: Arc<Self>, slice: EndpointSlice) -> anyhow::Result<()> {
        let Some(cluster) = cluster_of(&slice).filter(|_| slice.endpoints.is_empty()) else {
            return Ok(());
        };
        let ip = {
            let addresses = self
                .addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            addresses.get(&cluster).copied()
        };
        let Some(ip) = ip else {
            return Ok(());
        };
        let endpoints = json!({
            "endpoints": [{
                "addresses": [ip], "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": cluster, "namespace": NAMESPACE},
            }],
        });
        let api: Api<EndpointSlice> = self.api();
        api.patch(
            &slice.name_any(),
            &PatchParams::default(),
            &merge(&endpoints),
        )
        .await?;
        Ok(())
    }

    /// The agent of the primary records in the Lease what the protocol wants there, as long as in earnest.
    async fn hold(self: Arc<Self>, lease: Lease) -> anyhow::Result<()> {
        const RECORD: &str = "pgo.crunchydata.com/record";
        let Some(cluster) =
            cluster_of(&lease).filter(|_| !lease.annotations().contains_key(RECORD))
        else {
            return Ok(());
        };
        let voters: Vec<String> = (0..3).map(|_| uuid::Uuid::new_v4().to_string()).collect();
        let record = json!({
            "term": 1, "holder": voters[0], "voters": [voters[1], voters[2]],
            "synchronous": {"k": 0, "set": []}, "start": {"timeline": 1, "lsn": 0}, "path": [],
        });
        let instances: serde_json::Map<String, Value> = voters
            .iter()
            .map(|voter| {
                (
                    voter.clone(),
                    json!({"name": cluster, "address": "198.18.0.1:8445", "port": 5432}),
                )
            })
            .collect();
        let annotations = json!({
            RECORD: record.to_string(), "pgo.crunchydata.com/instances": Value::from(instances).to_string(),
            "pgo.crunchydata.com/term": "1",
        });
        // Microseconds are all that a Lease takes.
        let now = Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string();
        let patch = json!({
            "metadata": {"annotations": annotations},
            "spec": {"acquireTime": now, "renewTime": now, "leaseTransitions": 0},
        });
        let api: Api<Lease> = self.api();
        api.patch(&lease.name_any(), &PatchParams::default(), &merge(&patch))
            .await?;
        Ok(())
    }

    /// Counts the clusters whose instances all work.
    async fn count(self: Arc<Self>, cluster: Pgcluster) -> anyhow::Result<()> {
        let status = serde_json::to_value(&cluster.status)?;
        let instances = status["instances"].as_array().cloned().unwrap_or_default();
        let works = |one: &&Value| {
            one["ready"] == true && (one["role"] == "primary" || one["streaming"] == true)
        };
        if status["phase"] == "Ready" && instances.iter().filter(works).count() == 3 {
            self.ready
                .send_if_modified(|ready| ready.insert(cluster.name_any()));
        }
        Ok(())
    }
}

/// The status of a pod that runs, as a kubelet writes it.
fn running(pod: &Pod, ip: IpAddr) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let conditions = [
        "PodScheduled",
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
    ]
    .map(condition);
    let digest = "0f5a1d7c3b9e8f60112233445566778899aabbccddeeff00112233445566778";
    let container = |name: &str, state: Value| {
        json!({
            "name": name, "ready": true, "started": true, "restartCount": 0,
            "image": format!("localhost/pgo/{name}:debian12-15"), "imageID": format!("sha256:{digest}"),
            "containerID": format!("containerd://{digest}"), "state": state,
        })
    };
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}});
    let init = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.init_containers.clone())
        .unwrap_or_default();
    let init: Vec<Value> = init
        .iter()
        .map(|one| container(&one.name, ended.clone()))
        .collect();
    json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "172.30.0.11",
        "hostIPs": [{"ip": "172.30.0.11"}], "qosClass": "BestEffort", "startTime": now,
        "conditions": conditions,
        "initContainerStatuses": init,
        "containerStatuses": [container("database", json!({"running": {"startedAt": now}}))],
    })
}

/// What a merge patch is made of.
fn merge<T: Serialize>(patch: &T) -> Patch<&T> {
    Patch::Merge(patch)
}
