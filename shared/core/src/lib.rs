//! The decisions of PGO: what is wanted, what is there, what to do next, and what to say of it.
//!
//! ```text
//!  Pgcluster ──► Desired ─┐
//!                         ├─► plan() ───► Plan ───► (executor, elsewhere) ──┐
//!  Kubernetes ─► Observed ┤                                                 │
//!  agents     ─►          └─► commit() ─► ClusterStatus with its outbox     │
//!        ▲                                                                  │
//!        └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing here does I/O, reads a clock, draws a random number or logs. Time is an argument.

mod applied;
mod asked;
mod backlog;
pub mod backup;
pub mod cancel;
mod certificate;
mod commit;
mod crash;
mod deletion;
mod desired;
pub mod drill;
pub mod dump;
mod failover;
mod form;
mod growth;
pub mod installation;
pub mod job;
mod journal;
mod milestone;
mod notes;
mod observed;
mod options;
mod password;
mod plan;
mod policy;
mod problem;
mod protection;
pub mod quantity;
mod reload;
mod replicas;
mod restart;
pub mod restore;
mod scheduled;
mod scheduling;
pub mod services;
mod serving;
mod settings;
mod silence;
mod slots;
mod status;
mod synchronous;
mod takeover;
mod tested;
mod upgrade;
mod volumes;
mod wal;
mod worker;
mod worth;

pub use asked::rests_on;
pub use backup::{
    Archive, BackupRequest, BackupRun, BackupSet, Backups, Bucket, DatabaseHost, Done, KeptBy,
    LastBackup, Place, Places, RESULT_ARCHIVING, RESULT_WHOLE, Repository, RepositoryFacts,
    Retention, Stanza, Work, repository_claim_name,
};
pub use certificate::Certificate;
pub use commit::{Cluster, commit};
pub use crash::Crashes;
pub use deletion::{DeleteRequest, unrecorded};
pub use desired::{
    Desired, Image, NodePreference, Resources, ServiceType, Storage, StorageKind, UserSecret,
};
pub use drill::{
    DrillFacts, DrillFound, DrillPlace, DrillPolicy, DrillReport, DrillRequest, DrillRun,
    DrillStage, DrillUntried, DrillVerdict, Drills, ProvenRestore, RESULT_PROVEN, UntriedBackup,
    is_drilled, wants_drill,
};
pub use dump::{
    BackupRemoval, DumpFacts, DumpKind, DumpMade, DumpOrder, DumpRequest, DumpResult, DumpRun,
    DumpState, DumpWish, DumpWork, Removed, base_claim_name, dump_claim_name, dump_pod_name,
};
pub use failover::{FailoverRequest, MOST_LAG};
pub use form::Form;
pub use growth::ClaimSize;
pub use job::{
    BenchmarkWork, JobFacts, JobKind, JobOrder, JobRequest, JobResult, JobRun, JobState, JobWish,
    JobWork, LoadFormat, LoadWork, job_name,
};
pub use journal::{DeleteOptions, Journal, Kind, Operation, Outcome};
pub use milestone::{Data, Milestone};
pub use notes::{ChangedBy, Notes, Test, Update};
pub use observed::{
    AddressFamily, AgentFacts, AgentPhase, Backup, ClaimFacts, ClaimPhase, Endpoints, Fixture,
    Follower, Lost, Observed, PodFacts, PodPhase, Role, Unwilling, Waiting,
};
pub use options::OptionsError;
pub use plan::{FirstLease, Plan, Step, plan};
pub use policy::{PolicyAnswer, PolicyPlace, PolicyRequest, PolicyRun, PolicyServer};
pub use problem::Problem;
pub use protection::{Lack, Protection};
pub use reload::{ReloadRequest, Reloads};
pub use replicas::{Needs, Replica, ReplicaCount, ReplicaStatus, ScaleDownRequest, WantedReplica};
pub use restart::{Restart, RestartRequest, Turn};
pub use restore::{
    Reached, RestoreFacts, RestoreMark, RestoreOrder, RestoreRequest, RestoreRun, RestoreStage,
    Restored,
};
pub use scheduled::{RunVerdict, ScheduledRun};
pub use scheduling::{ScheduleChange, ScheduleRequest};
pub use settings::Settings;
pub use slots::{KeptWal, WalStatus};
pub use status::{
    ClusterStatus, Condition, ConditionStatus, InstanceStatus, LastTakeover, Phase, RESULT_BACKLOG,
    RESULT_READY, RESULT_ROOM, RESULT_UP_TO_DATE,
};
pub use synchronous::{Commits, Synchronous};
pub use takeover::{Promotion, Takeover, TakeoverCause};
pub use upgrade::{
    Found, Images, MinorVersion, ProbeFacts, Upgrade, UpgradeRequest, UpgradeStage, wants_upgrade,
};
pub use volumes::{Fill, Level, Mark, VolumeStatus};
pub use worker::{WorkerPod, WorkerState};
pub use worth::worth_writing;
