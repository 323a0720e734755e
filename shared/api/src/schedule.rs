//! Schedules: the bodies of `/schedule`, `/scheduleshow` and `/scheduledelete`. 4.1's client sends no version with them.

use crate::wire::wire;

wire! {
    /// `POST /schedule`.
    pub struct CreateScheduleRequest {
        /// Name of one cluster.
        cluster_name: String = "ClusterName",
        /// Sent by no client.
        name: String = "Name",
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// When it is due: five fields of cron, `@daily` and the like, `TZ=Europe/Berlin` in front of fields.
        schedule: String = "Schedule",
        /// `pgbackrest`, `pgbasebackup` or `policy`.
        schedule_type: String = "ScheduleType",
        /// Kubernetes label selector instead of a name.
        selector: String = "Selector",
        /// `full`, `diff` or `incr`.
        backrest_type: String = "PGBackRestType",
        /// `local`, `s3` or both; empty means what the cluster has.
        backrest_storage_type: String = "BackrestStorageType",
        /// Claim for a base backup.
        pvc_name: String = "PVCName",
        /// Options for the tool.
        schedule_options: String = "ScheduleOptions",
        /// Sent by no client.
        storage_config: String = "StorageConfig",
        /// Policy that is applied.
        policy_name: String = "PolicyName",
        /// Database it is applied to.
        database: String = "Database",
        /// Secret with the user that applies it.
        secret: String = "Secret",
    }
}

wire! {
    /// Answer of `POST /schedule`.
    pub response CreateScheduleResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
    }
}

wire! {
    /// `POST /scheduleshow` and `POST /scheduledelete`.
    pub struct SelectScheduleRequest {
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Name of one schedule; before the cluster and the selector.
        schedule_name: String = "ScheduleName",
        /// Name of one cluster, all of whose schedules are meant.
        cluster_name: String = "ClusterName",
        /// Kubernetes label selector of clusters; before the name of one.
        selector: String = "Selector",
    }
}

wire! {
    /// Answer of `POST /scheduleshow`. Nothing selected is no failure.
    pub response ShowScheduleResponse {
        /// One text of several lines per schedule.
        results: Vec<String> = "Results",
        /// New, and only there where there are any: the same with names.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        schedules: Vec<ScheduleDetail> = "Schedules",
    }
}

wire! {
    /// A schedule, and what the scheduler noted of it: times in RFC 3339, with more behind a blank. What is not known is empty.
    pub struct ScheduleDetail {
        /// Its name.
        name: String = "Name",
        /// The cluster it is for.
        cluster: String = "Cluster",
        /// When it is due.
        schedule: String = "Schedule",
        /// `pgbackrest`, `pgbasebackup` or `policy`.
        schedule_type: String = "ScheduleType",
        /// Of a backup by pgBackRest: `full`, `diff` or `incr`.
        backup_type: String = "BackupType",
        /// Of a base backup: the claim it goes to.
        backup_volume: String = "BackupVolume",
        /// The last run that has begun: when it was due, how far it is, its id.
        last_run: String = "LastRun",
        /// When it is due next.
        next_run: String = "NextRun",
        /// The last run that was left out: when it was due, why.
        last_skipped: String = "LastSkipped",
        /// The last run that no scheduler was there for: when it was due, how many there were.
        last_missed: String = "LastMissed",
        /// Why it cannot be kept.
        error: String = "Error",
    }
}

wire! {
    /// Answer of `POST /scheduledelete`. Nothing selected is no failure.
    pub response DeleteScheduleResponse {
        /// One text per schedule.
        results: Vec<String> = "Results",
    }
}
