//! What the reconciler needs around it: certificates, etcd, an API server with PGO's resources, namespaces, `pgo.yaml`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Resource,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use pgo_crd::Pgcluster;
use pgo_tls::{Authority, LeafSpec};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::process::{Process, free_port};

/// Namespace of the clusters.
pub const NAMESPACE: &str = "pgouser1";

/// How long the API server may take until it answers.
const START: Duration = Duration::from_secs(120);

/// Pause between two questions whether it does.
const PAUSE: Duration = Duration::from_millis(250);

/// How long everything that is issued here lives.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The administrator's token.
const TOKEN: &str = "administrator-of-a-benchmark";

/// Everything around the reconciler; it ends with this value.
pub struct Platform {
    /// The API server.
    pub client: Client,
    /// The same, for the reconciler.
    pub kubeconfig: PathBuf,
    _processes: [Process; 2],
}

/// A certificate of a process, in a folder of its own below `folder`.
pub fn issue(authority: &Authority, identity: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let spec = LeafSpec {
        addresses: vec![[127, 0, 0, 1].into()],
        ..LeafSpec::of_identity(identity, LIFE)
    };
    let leaf = authority.issue(&spec, Timestamp::now())?;
    let own = folder.join(identity);
    fs::create_dir_all(&own)?;
    fs::write(own.join("tls.crt"), &leaf.certificate_pem)?;
    fs::write(own.join("tls.key"), leaf.key_pem.as_bytes())?;
    fs::write(own.join("ca.crt"), authority.certificate_pem())?;
    Ok(own)
}

fn make_authority(folder: &Path) -> anyhow::Result<Authority> {
    let authority = Authority::generate("authority of a benchmark", Timestamp::now(), LIFE)?;
    let own = folder.join("ca");
    fs::create_dir_all(&own)?;
    fs::write(own.join("tls.crt"), authority.certificate_pem())?;
    fs::write(own.join("tls.key"), authority.key_pem().as_bytes())?;
    Ok(authority)
}

impl Platform {
    /// Starts it; its files are below `folder`.
    ///
    /// # Errors
    /// A program is missing, or does not come up.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let authority = make_authority(folder)?;
        issue(&authority, "reconciler.pgo", folder)?;
        let serving = issue(&authority, "localhost", folder)?;
        let (etcd, etcd_url) = start_etcd(folder)?;
        let (apiserver, url) = start_apiserver(folder, &serving, &etcd_url)?;
        let kubeconfig = write_kubeconfig(folder, &serving, &url)?;
        let options = KubeConfigOptions::default();
        let config =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(&kubeconfig)?, &options).await?;
        let platform = Self {
            client: Client::try_from(config)?,
            kubeconfig,
            _processes: [apiserver, etcd],
        };
        platform.until_it_answers().await?;
        platform.install().await?;
        Ok(platform)
    }

    async fn until_it_answers(&self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let begun = Instant::now();
        loop {
            match namespaces.get("default").await {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > START => {
                    return Err(error).context("the API server does not answer");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// What the installer makes that the reconciler reads.
    async fn install(&self) -> anyhow::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for entry in fs::read_dir(root.join("deploy/crds"))? {
            let definition: CustomResourceDefinition =
                serde_saphyr::from_str(&fs::read_to_string(entry?.path())?)?;
            definitions
                .create(&PostParams::default(), &definition)
                .await?;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in ["pgo", NAMESPACE] {
            let labels = json!({"vendor": "crunchydata", "pgo-installation-name": "bench"});
            let namespace = object(json!({"metadata": {"name": name, "labels": labels}}))?;
            namespaces
                .create(&PostParams::default(), &namespace)
                .await?;
        }
        let yaml = fs::read_to_string(root.join("deploy/install/pgo.yaml"))?;
        // What the installer puts in.
        let yaml = yaml
            .replace("@PGO_STORAGE_CLASS@", "local")
            .replace("@CCP_IMAGE_TAG@", "debian12-15")
            .replace("@PGO_IMAGE_TAG@", "v1")
            .replace("@CCP_IMAGE_PREFIX@", "localhost/pgo")
            .replace("@PGO_IMAGE_PREFIX@", "localhost/pgo");
        let config =
            object(json!({"metadata": {"name": "pgo-config"}, "data": {"pgo.yaml": yaml}}))?;
        let configs: Api<ConfigMap> = Api::namespaced(self.client.clone(), "pgo");
        configs.create(&PostParams::default(), &config).await?;
        let clusters: Api<Pgcluster> = self.api();
        let begun = Instant::now();
        while let Err(error) = clusters.list(&kube::api::ListParams::default()).await {
            anyhow::ensure!(
                begun.elapsed() < START,
                "Pgclusters cannot be listed: {error}"
            );
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Asks for a cluster of three, as `pgo create cluster --replica-count=2 --autofail` does.
    pub async fn make_cluster(&self, number: usize) -> anyhow::Result<()> {
        let api: Api<Pgcluster> = self.api();
        let made = api.create(&PostParams::default(), &wanted(number)?).await;
        made.context("make a Pgcluster").map(drop)
    }
}

/// An object that is written as in a manifest.
pub fn object<K: DeserializeOwned>(value: Value) -> anyhow::Result<K> {
    Ok(serde_json::from_value(value)?)
}

/// A Pgcluster with what 4.1 puts into one.
fn wanted(number: usize) -> anyhow::Result<Pgcluster> {
    let name = format!("team-{:02}-orders-{number:04}", number % 20);
    let storage = json!({
        "name": name, "storageclass": "local", "accessmode": "ReadWriteOnce", "size": "1Gi",
        "storagetype": "dynamic", "fsgroup": "26",
    });
    object(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": name, "labels": {
            "name": name, "pg-cluster": name, "pgouser": "pgoadmin", "pgo-version": "4.1.0", "archive": "false",
            "autofail": "true", "crunchy_collect": "false", "crunchy-pgbadger": "false", "pgo-backrest": "false",
            "deployment-name": name, "vendor": "crunchydata", "workflowid": "25927091-b343-4017-be4b-71575f0b3eb5",
        }},
        "spec": {
            "namespace": NAMESPACE, "name": name, "clustername": name, "primaryhost": name, "ccpimage": "crunchy-postgres",
            "ccpimagetag": "debian12-15", "port": "5432", "pgbadgerport": "10000", "exporterport": "9187",
            "user": "testuser", "database": "userdb", "replicas": "2", "strategy": "1", "status": "",
            "PrimaryStorage": storage, "ReplicaStorage": storage, "BackrestStorage": storage,
            "userlabels": {"pgo-version": "4.1.0", "team": format!("team-{:02}", number % 20)},
        },
    }))
}

fn start_etcd(folder: &Path) -> anyhow::Result<(Process, String)> {
    let (client, peer) = (free_port()?, free_port()?);
    let (client, peer) = (
        format!("http://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--unsafe-no-fsync", "--logger=zap", "--log-level=warn"])
        .args([
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
        ])
        .args([
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
        ])
        .arg(format!("--initial-cluster=default={peer}"))
        .stdin(Stdio::null());
    Ok((Process::start(command, &folder.join("etcd.log"))?, client))
}

fn start_apiserver(folder: &Path, serving: &Path, etcd: &str) -> anyhow::Result<(Process, String)> {
    let programs = std::env::var("PGO_BIN").context("PGO_BIN, where kube-apiserver is")?;
    let port = free_port()?;
    let tokens = folder.join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},administrator,1,system:masters\n"))?;
    let authority = folder.join("ca");
    let mut command = Command::new(Path::new(&programs).join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers={etcd}"))
        .arg(format!("--secure-port={port}"))
        // Nobody reaches it by a Service: its own endpoints are left out.
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=10.0.0.1",
            "--endpoint-reconciler-type=none",
        ])
        .arg("--service-cluster-ip-range=10.97.0.0/16")
        .arg("--tls-cert-file")
        .arg(serving.join("tls.crt"))
        .arg("--tls-private-key-file")
        .arg(serving.join("tls.key"))
        .arg("--token-auth-file")
        .arg(&tokens)
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg("--service-account-key-file")
        .arg(authority.join("tls.crt"))
        .arg("--service-account-signing-key-file")
        .arg(authority.join("tls.key"))
        .arg("--authorization-mode=RBAC")
        .stdin(Stdio::null());
    let process = Process::start(command, &folder.join("apiserver.log"))?;
    Ok((process, format!("https://localhost:{port}")))
}

fn write_kubeconfig(folder: &Path, serving: &Path, url: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": url, "certificate-authority": serving.join("ca.crt")}}],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "administrator"}}],
    });
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// What a merge patch is made of.
pub fn merge<T: Serialize>(patch: &T) -> kube::api::Patch<&T> {
    kube::api::Patch::Merge(patch)
}
