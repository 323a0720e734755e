//! PgInstallation: PGO itself, and the stream of events that belong to no cluster.

use kube::{CustomResource, KubeSchema};
use pgo_core::installation::InstallationStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What an administrator wants of PGO.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "PgInstallation",
    plural = "pginstallations",
    singular = "pginstallation",
    namespaced,
    status = "PgInstallationStatus",
    derive = "PartialEq",
    doc = "An installation of PGO",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == 'pgo'").message("there is one PgInstallation, named pgo")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.state) || self.state in ['', 'Running', 'Stopped']")
        .message("state is Running or Stopped")
)]
pub struct PgInstallationSpec {
    /// `Running` or `Stopped`: the installer sets the latter before it ends the apiserver and the scheduler. When they have
    /// ended that is told, and the rest is taken away.
    #[schemars(length(max = 16))]
    #[serde(default)]
    pub state: String,
}

/// State, operations and outbox. Only the reconciler writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PgInstallationStatus(
    #[schemars(schema_with = "schema::installation_status")] pub InstallationStatus,
);
