//! What the apiserver and its clients say to each other: types, routes, permissions and texts.
//!
//! ```text
//! pgo, or any client ── request ──► route table ──► permission ──► handler (apiserver)
//!                    ◄─ response ─  { …, "Code": "ok" | "error", "Msg": "…" }
//! ```
//!
//! Field names are those of PGO 4.1 (its Go structs, unchanged), so that its clients work. As there, names in a
//! request match in any case, unknown ones are ignored, missing and `null` ones take the zero value. Failures of a
//! command are HTTP 200 with `Code` `error`; only authentication and routing use the status code.
//!
//! [`ROUTES`] is the whole of 4.1's table, also what is answered with [`texts::not_available`] for now, and
//! the routes that are new here.

mod backup;
mod cancel;
mod cluster;
mod dead_letter;
mod dump;
mod events;
mod failover;
mod inspection;
mod job;
mod permission;
mod policy;
mod restart;
mod restore;
mod route;
mod scale;
mod schedule;
mod service;
mod status;
pub mod texts;
mod upgrade;
mod wire;

pub use backup::{
    AskedBackup, BackupTrial, CreateBackrestBackupRequest, CreateBackrestBackupResponse,
    CreateDrillRequest, CreateDrillResponse, ShowBackrestDetail, ShowBackrestQuery,
    ShowBackrestResponse,
};
pub use cancel::{CancelWorkflowRequest, CancelWorkflowResponse, CancelledWorkflow};
pub use cluster::{
    ClusterTestDetail, ClusterTestRequest, ClusterTestResponse, ClusterTestResult,
    CreateClusterRequest, CreateClusterResponse, DeleteClusterRequest, DeleteClusterResponse,
    ShowClusterDeployment, ShowClusterDetail, ShowClusterPod, ShowClusterReplica,
    ShowClusterRequest, ShowClusterResponse, ShowClusterService,
};
pub use dead_letter::{
    DeadLetterDetail, DeadLetterRequest, DeadLetterResponse, ShowDeadLetterResponse,
};
pub use dump::{
    CreateDumpRequest, CreateDumpResponse, DeleteBackupQuery, DeleteBackupResponse, DumpItem,
    DumpList, DumpSpec, RestoreBaseRequest, RestoreDumpRequest, ShowDumpQuery, ShowDumpResponse,
};
pub use events::{EventsQuery, KEEP_ALIVE, NotALine, STREAM_TYPE, StreamLine};
pub use failover::{
    CreateFailoverRequest, CreateFailoverResponse, FailoverTarget, QueryFailoverResponse,
    UpdateClusterRequest, UpdateClusterResponse,
};
pub use inspection::{
    DfDetail, DfQuery, DfResponse, FilesRequest, FilesResponse, ShowWorkflowDetail,
    ShowWorkflowResponse,
};
pub use job::{
    AskedJob, BenchmarkDetail, CreateBenchmarkRequest, CreateBenchmarkResponse,
    DeleteBenchmarkResponse, LoadRequest, LoadResponse, SelectBenchmarkRequest,
    ShowBenchmarkResponse,
};
pub use permission::{Permission, UnknownPermission};
pub use policy::{
    ApplyPolicyRequest, ApplyPolicyResponse, CreatePolicyRequest, DeletePolicyRequest,
    DeletePolicyResponse, PolicyList, ShowPolicyRequest, ShowPolicyResponse,
};
pub use restart::{
    AskedRestart, QueryRestartResponse, ReloadRequest, ReloadResponse, RestartRequest,
    RestartResponse, RestartTarget,
};
pub use restore::{RestoreRequest, RestoreResponse};
pub use route::{Carrier, Endpoint, Method, Methods, NamespaceCheck, NoRoute, ROUTES, Route};
pub use scale::{
    ClusterScaleResponse, ScaleDownQuery, ScaleDownResponse, ScaleQuery, ScaleQueryResponse,
    ScaleQueryTarget,
};
pub use schedule::{
    CreateScheduleRequest, CreateScheduleResponse, DeleteScheduleResponse, ScheduleDetail,
    SelectScheduleRequest, ShowScheduleResponse,
};
pub use service::{KeyValue, NodeInfo, StatusDetail, StatusQuery, StatusResponse, VersionResponse};
pub use status::{
    StatusCluster, StatusInstance, StatusLag, StatusProvenRestore, StatusSynchronous,
    StatusTakeover,
};
pub use upgrade::{AskedUpgrade, CreateUpgradeRequest, CreateUpgradeResponse};
pub use wire::{Code, Outcome, RequestHead, Response, Secret};

/// The version that client and apiserver compare; a client of any other is refused
/// ([`texts::VERSION_MISMATCH`]), so it stays 4.1's for its clients to work.
pub const PGO_VERSION: &str = "4.1.0";

/// Most clusters of one request to create some: all are made within its deadline.
pub const LONGEST_SERIES: i64 = 200;

/// Value of the header `WWW-Authenticate`, set on every answer, also those that succeed.
pub const WWW_AUTHENTICATE: &str = "Basic realm=\"Restricted\"";
