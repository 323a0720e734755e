//! The clusters that are asked for.

use anyhow::Context as _;
use kube::{Api, Client, api::PostParams};
use pgo_control_plane::{NAMESPACE, object};
use pgo_crd::Pgcluster;
use serde_json::json;

/// Asks for a cluster of three, as `pgo create cluster --replica-count=2 --autofail` does.
pub async fn make(client: &Client, number: usize) -> anyhow::Result<()> {
    let api: Api<Pgcluster> = Api::namespaced(client.clone(), NAMESPACE);
    let made = api.create(&PostParams::default(), &wanted(number)?).await;
    made.context("make a Pgcluster").map(drop)
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
