//! The catalogue: every type of event, by the operation it belongs to, or by itself where it tells a fact.
//!
//! 4.1's types have 4.1's names, topics and fields, and are told when 4.1 tells them. For some operations that is when they
//! begin (the type is the beginning, and `…Completed` is ours), for others when they are done (`…Started` is ours).
//!
//! ```text
//! Operation "what it does" [topics] (fields) Now, or which part of PGO will publish it {
//!     started, progress, failed "what to do" with (other fields) later (if it alone is not published yet), completed "what is so then" on [other topics] and (further fields)
//! }
//! Notice = "name on the wire" [topics] severity (fields) published
//!     "what it means" "what to do"
//! ```

use super::{About, Later, Published, Severity, Stage, declare::catalogue};
use crate::{Field, Topic};

catalogue! {
    operations {
        // Creation and deletion of clusters.
        CreateCluster "a cluster's creation" [Cluster] (ClusterName, WorkflowId) Now {
            started CreateCluster = "CreateCluster";
            progress CreateClusterProgress = "CreateClusterProgress";
            failed CreateClusterFailure = "CreateClusterFailure"
                "Mend the cause; it goes on by itself then, as an operation of its own." with (ClusterName, ErrorMessage, WorkflowId);
            completed CreateClusterCompleted = "CreateClusterCompleted"
                "A new cluster answers on its Service.";
        }
        DeleteCluster "a cluster's deletion" [Cluster] (ClusterName) Now {
            started DeleteCluster = "DeleteCluster";
            progress DeleteClusterProgress = "DeleteClusterProgress";
            failed DeleteClusterFailure = "DeleteClusterFailure"
                "Mend the cause; the deletion goes on by itself, and its end is an operation of its own.";
            completed DeleteClusterCompleted = "DeleteClusterCompleted"
                "A cluster is gone, with its data where that was asked for.";
        }

        // Replicas.
        ScaleCluster "adding a replica" [Cluster] (ClusterName, ReplicaName, Primary) Now {
            started ScaleCluster = "ScaleCluster";
            progress ScaleClusterProgress = "ScaleClusterProgress";
            failed ScaleClusterFailure = "ScaleClusterFailure"
                "Mend the cause, then ask again." with (ClusterName, ReplicaName, ErrorMessage, Primary);
            completed ScaleClusterCompleted = "ScaleClusterCompleted"
                "A replica streams and has caught up: up to this position, on this timeline." and (Timeline, Lsn);
        }
        ScaleDownCluster "removing a replica" [Cluster] (ClusterName, ReplicaName, Primary) Now {
            started ScaleDownCluster = "ScaleDownCluster";
            failed ScaleDownClusterFailure = "ScaleDownClusterFailure"
                "Mend the cause, then ask again.";
            completed ScaleDownClusterCompleted = "ScaleDownClusterCompleted"
                "A replica is gone.";
        }
        RewindReplica "bringing a diverged replica back" [Cluster] (ClusterName, ReplicaName, Primary, Timeline, Lsn, LostBytes) Now {
            started RewindReplica = "RewindReplica";
            failed RewindReplicaFailure = "RewindReplicaFailure"
                "Mend the cause, then ask again.";
            completed RewindReplicaCompleted = "RewindReplicaCompleted"
                "A replica that had diverged follows the primary again.";
        }

        // Who is primary.
        FailoverCluster "a failover" [Cluster] (ClusterName, Target, FormerPrimary, Timeline, Lsn) Now {
            started FailoverCluster = "FailoverCluster";
            progress FailoverClusterProgress = "FailoverClusterProgress";
            failed FailoverClusterFailure = "FailoverClusterFailure"
                "Writes may be impossible: look at the instances with `pgo show cluster` at once."
                with (ClusterName, Target, FormerPrimary, Timeline, Lsn, LostBytes, ErrorMessage);
            completed FailoverClusterCompleted = "FailoverClusterCompleted"
                "Another instance is primary and takes writes." and (LostBytes);
        }
        SwitchoverCluster "a planned change of the primary" [Cluster] (ClusterName, Target, FormerPrimary, Timeline, Lsn) Now {
            started SwitchoverCluster = "SwitchoverCluster";
            progress SwitchoverClusterProgress = "SwitchoverClusterProgress";
            failed SwitchoverClusterFailure = "SwitchoverClusterFailure"
                "Mend the cause, then ask again."
                with (ClusterName, Target, FormerPrimary, Timeline, Lsn, LostBytes, ErrorMessage);
            completed SwitchoverClusterCompleted = "SwitchoverClusterCompleted"
                "Another instance is primary. The lost bytes are what the former one had written and the new one lacks; 0 where it streamed." and (LostBytes);
        }

        // Changes to running clusters.
        UpgradeCluster "a minor upgrade" [Cluster] (ClusterName, Primary, Timeline) Now {
            started UpgradeCluster = "UpgradeCluster";
            progress UpgradeClusterProgress = "UpgradeClusterProgress";
            failed UpgradeClusterFailure = "UpgradeClusterFailure"
                "The cluster serves; the cause says which instance was not upgraded, and why.";
            completed UpgradeClusterCompleted = "UpgradeClusterCompleted"
                "All instances of a cluster run the new version." and (FormerVersion, Version);
        }
        UpgradeInstance "the upgrade of one instance" [Cluster] (ClusterName, Instance, Primary, Timeline, Lsn) Now {
            started UpgradeInstance = "UpgradeInstance";
            failed UpgradeInstanceFailure = "UpgradeInstanceFailure"
                "Mend the cause, then ask again.";
            completed UpgradeInstanceCompleted = "UpgradeInstanceCompleted"
                "One instance runs the new version." and (FormerVersion, Version);
        }
        RestartCluster "a restart" [Cluster] (ClusterName, Primary, Timeline) Now {
            started RestartCluster = "RestartCluster";
            progress RestartClusterProgress = "RestartClusterProgress";
            failed RestartClusterFailure = "RestartClusterFailure"
                "The cause says which instance was not restarted, and why; mend it, then ask again.";
            completed RestartClusterCompleted = "RestartClusterCompleted"
                "PostgreSQL was restarted on each instance that was asked for.";
        }
        ReloadCluster "reloading the configuration" [Cluster] (ClusterName) Now {
            started ReloadClusterStarted = "ReloadClusterStarted";
            failed ReloadClusterFailure = "ReloadClusterFailure"
                "The former configuration goes on; mend the cause, then ask again.";
            completed ReloadCluster = "ReloadCluster"
                "The configuration was reloaded; the cause names settings that wait for a restart, if any do.";
        }
        UpdateCluster "a change of settings" [Cluster] (ClusterName) Now {
            started UpdateCluster = "UpdateCluster";
            failed UpdateClusterFailure = "UpdateClusterFailure"
                "Mend the cause, then ask again.";
            completed UpdateClusterCompleted = "UpdateClusterCompleted"
                "The agents of a cluster work with its new settings.";
        }
        TestCluster "a test of connections" [Cluster] (ClusterName) Now {
            started TestClusterStarted = "TestClusterStarted";
            failed TestClusterFailure = "TestClusterFailure"
                "Try the commands that the cause names, and look at the instances with `pgo show cluster`.";
            completed TestCluster = "TestCluster"
                "The connections of a cluster were tested, and all of them work.";
        }
        CreateLabel "labelling a cluster" [Cluster] (ClusterName, Label) DayTwo {
            started CreateLabelStarted = "CreateLabelStarted";
            failed CreateLabelFailure = "CreateLabelFailure"
                "Mend the cause, then ask again.";
            completed CreateLabel = "CreateLabel"
                "A cluster has a label.";
        }
        DeleteLabel "taking a label away" [Cluster] (ClusterName, Label) DayTwo {
            started DeleteLabelStarted = "DeleteLabelStarted";
            failed DeleteLabelFailure = "DeleteLabelFailure"
                "Mend the cause, then ask again.";
            completed DeleteLabel = "DeleteLabel"
                "A cluster does not have a label any more.";
        }
        Benchmark "a benchmark" [Cluster] (ClusterName) Now {
            started Benchmark = "Benchmark";
            failed BenchmarkFailure = "BenchmarkFailure"
                "Mend the cause, then ask again.";
            completed BenchmarkCompleted = "BenchmarkCompleted"
                "A benchmark is done; the cause has its figures.";
        }

        // Backups and restores.
        CreateBackup "a backup" [Backup] (ClusterName, BackupType) Now {
            started CreateBackup = "CreateBackup";
            progress CreateBackupProgress = "CreateBackupProgress";
            failed CreateBackupFailure = "CreateBackupFailure"
                "There is no new backup that can be relied on: mend the cause and back up again. Where pages are damaged, there is one, \
                 which `path` names: try it by `pgo drill`, and look at the disk of the instance that it was copied from."
                with (ClusterName, BackupType, ErrorMessage, Path, SizeBytes, Damaged, StartWal, StopWal);
            completed CreateBackupCompleted = "CreateBackupCompleted"
                "A backup is complete." on [Cluster, Backup] and (Path, SizeBytes, StartWal, StopWal);
        }
        CreateDump "a dump" [Backup] (ClusterName, BackupType) Now {
            started CreateDump = "CreateDump";
            failed CreateDumpFailure = "CreateDumpFailure"
                "There is no new dump: mend the cause and dump again.";
            completed CreateDumpCompleted = "CreateDumpCompleted"
                "A dump is complete, and was read to its end."
                and (Path, SizeBytes);
        }
        RestoreDump "the restore of a dump" [Backup] (ClusterName, BackupType) Now {
            started RestoreDump = "RestoreDump";
            failed RestoreDumpFailure = "RestoreDumpFailure"
                "Where it was one transaction nothing was changed; the cause has the program's message.";
            completed RestoreDumpCompleted = "RestoreDumpCompleted"
                "What a dump holds is in the database."
                and (Path, SizeBytes);
        }
        RestoreBaseBackup "the restore of a backup by pg_basebackup" [Backup] (ClusterName, BackupType) Now {
            started RestoreBaseBackup = "RestoreBaseBackup";
            failed RestoreBaseBackupFailure = "RestoreBaseBackupFailure"
                "The cluster is as it was; the claim that was made may be removed.";
            completed RestoreBaseBackupCompleted = "RestoreBaseBackupCompleted"
                "The data is on a claim of its own, and came up; the cause says how a cluster is made of it."
                and (Path, Volume, SizeBytes, StartWal, StopWal, Lsn, Timeline);
        }
        DeleteBackup "the removal of backups" [Backup] (ClusterName, BackupType) Now {
            started DeleteBackup = "DeleteBackup";
            failed DeleteBackupFailure = "DeleteBackupFailure"
                "Mend the cause, then ask again.";
            completed DeleteBackupCompleted = "DeleteBackupCompleted"
                "Backups were removed, with the volume's claim; the size is that of those which PGO made there last, 20 at the most."
                and (Volume, SizeBytes);
        }
        RestoreCluster "a restore" [Cluster] (ClusterName) Now {
            started RestoreCluster = "RestoreCluster";
            progress RestoreClusterProgress = "RestoreClusterProgress";
            failed RestoreClusterFailure = "RestoreClusterFailure"
                "The former data is still there; the cause says where.";
            completed RestoreClusterCompleted = "RestoreClusterCompleted"
                "A cluster was restored and takes writes; the data as it was before is on the volume that it names."
                and (Volume, SizeBytes, StartWal, StopWal, Lsn, Timeline);
        }
        VerifyBackup "the verification of a backup" [Backup] (ClusterName, BackupType) Backups {
            started VerifyBackup = "VerifyBackup";
            failed VerifyBackupFailure = "VerifyBackupFailure"
                "Do not rely on this backup: make another one now.";
            completed VerifyBackupCompleted = "VerifyBackupCompleted"
                "A backup's files are whole.";
        }
        VerifyRestore "a restore drill" [Backup] (ClusterName, BackupType, Path) Now {
            started VerifyRestore = "VerifyRestore";
            failed VerifyRestoreFailure = "VerifyRestoreFailure"
                "Where the cause says that the backup could not be tried, nothing is known of it: mend what was in the way, and try it \
                 again. Else do not rely on it: make another one now.";
            completed VerifyRestoreCompleted = "VerifyRestoreCompleted"
                "A backup was restored to a throw-away instance, checked and read in full; the position is the one up to which it was replayed."
                and (SizeBytes, StartWal, StopWal, Lsn, Timeline);
        }

        // Schedules.
        CreateSchedule "making a schedule" [Backup] (ClusterName, Schedule) Now {
            started CreateScheduleStarted = "CreateScheduleStarted";
            failed CreateScheduleFailure = "CreateScheduleFailure"
                "Mend the cause, then ask again.";
            completed CreateSchedule = "CreateSchedule"
                "A schedule is kept from now on.";
        }
        DeleteSchedule "removing a schedule" [Backup] (ClusterName, Schedule) Now {
            started DeleteScheduleStarted = "DeleteScheduleStarted";
            failed DeleteScheduleFailure = "DeleteScheduleFailure"
                "Mend the cause, then ask again.";
            completed DeleteSchedule = "DeleteSchedule"
                "A schedule is not kept any more.";
        }

        // Data and roles in PostgreSQL.
        Load "a load of data" [Load] (ClusterName, LoadConfig) Now {
            started Load = "Load";
            failed LoadFailure = "LoadFailure"
                "No row was loaded, unless the cause says that this is not known: mend it, then ask again.";
            completed LoadCompleted = "LoadCompleted"
                "All rows of a file are in the table."
                and (SizeBytes, Rows);
        }
        CreateUser "making a role of PostgreSQL" [PostgresUser] (ClusterName, PostgresUserName, PostgresPassword, Managed) Users {
            started CreateUserStarted = "CreateUserStarted";
            failed CreateUserFailure = "CreateUserFailure"
                "Mend the cause, then ask again.";
            completed CreateUser = "CreateUser"
                "A role of PostgreSQL was made.";
        }
        DeleteUser "removing a role of PostgreSQL" [PostgresUser] (ClusterName, PostgresUserName, Managed) Users {
            started DeleteUserStarted = "DeleteUserStarted";
            failed DeleteUserFailure = "DeleteUserFailure"
                "Mend the cause, then ask again.";
            completed DeleteUser = "DeleteUser"
                "A role of PostgreSQL was removed.";
        }
        ChangePasswordUser "changing a role's password" [PostgresUser] (ClusterName, PostgresUserName, PostgresPassword) Users {
            started ChangePasswordUserStarted = "ChangePasswordUserStarted";
            failed ChangePasswordUserFailure = "ChangePasswordUserFailure"
                "Mend the cause, then ask again.";
            completed ChangePasswordUser = "ChangePasswordUser"
                "A role has another password.";
        }

        // Policies.
        CreatePolicy "making a policy" [Policy] (PolicyName) Now {
            started CreatePolicyStarted = "CreatePolicyStarted";
            failed CreatePolicyFailure = "CreatePolicyFailure"
                "Mend the cause, then ask again.";
            completed CreatePolicy = "CreatePolicy"
                "A policy was made.";
        }
        ApplyPolicy "applying a policy" [Policy] (ClusterName, PolicyName) Now {
            started ApplyPolicyStarted = "ApplyPolicyStarted";
            failed ApplyPolicyFailure = "ApplyPolicyFailure"
                "The cause has PostgreSQL's message and line; mend the policy and apply it again.";
            completed ApplyPolicy = "ApplyPolicy"
                "A policy was applied to a cluster.";
        }
        DeletePolicy "removing a policy" [Policy] (ClusterName, PolicyName) Now {
            started DeletePolicyStarted = "DeletePolicyStarted";
            failed DeletePolicyFailure = "DeletePolicyFailure"
                "Mend the cause, then ask again." later Policies;
            completed DeletePolicy = "DeletePolicy"
                "A policy was removed.";
        }

        // Connection poolers.
        CreatePgpool "adding pgpool" [Pgpool] (ClusterName) Proxies {
            started CreatePgpoolStarted = "CreatePgpoolStarted";
            failed CreatePgpoolFailure = "CreatePgpoolFailure"
                "Mend the cause, then ask again.";
            completed CreatePgpool = "CreatePgpool"
                "Adding pgpool is done.";
        }
        DeletePgpool "removing pgpool" [Pgpool] (ClusterName) Proxies {
            started DeletePgpoolStarted = "DeletePgpoolStarted";
            failed DeletePgpoolFailure = "DeletePgpoolFailure"
                "Mend the cause, then ask again.";
            completed DeletePgpool = "DeletePgpool"
                "Removing pgpool is done.";
        }
        CreatePgbouncer "adding pgBouncer" [Pgbouncer] (ClusterName) Proxies {
            started CreatePgbouncerStarted = "CreatePgbouncerStarted";
            failed CreatePgbouncerFailure = "CreatePgbouncerFailure"
                "Mend the cause, then ask again.";
            completed CreatePgbouncer = "CreatePgbouncer"
                "Adding pgBouncer is done.";
        }
        DeletePgbouncer "removing pgBouncer" [Pgbouncer] (ClusterName) Proxies {
            started DeletePgbouncerStarted = "DeletePgbouncerStarted";
            failed DeletePgbouncerFailure = "DeletePgbouncerFailure"
                "Mend the cause, then ask again.";
            completed DeletePgbouncer = "DeletePgbouncer"
                "Removing pgBouncer is done.";
        }

        // Users, roles and namespaces of PGO.
        PgoCreateUser "making a user of PGO" [PgoUser] (CreatedUserName) Namespaces {
            started PgoCreateUserStarted = "PGOCreateUserStarted";
            failed PgoCreateUserFailure = "PGOCreateUserFailure"
                "Mend the cause, then ask again.";
            completed PgoCreateUser = "PGOCreateUser"
                "A user of PGO was made.";
        }
        PgoUpdateUser "changing a user of PGO" [PgoUser] (UpdatedUserName) Namespaces {
            started PgoUpdateUserStarted = "PGOUpdateUserStarted";
            failed PgoUpdateUserFailure = "PGOUpdateUserFailure"
                "Mend the cause, then ask again.";
            completed PgoUpdateUser = "PGOUpdateUser"
                "A user of PGO was changed.";
        }
        PgoDeleteUser "removing a user of PGO" [PgoUser] (DeletedUserName) Namespaces {
            started PgoDeleteUserStarted = "PGODeleteUserStarted";
            failed PgoDeleteUserFailure = "PGODeleteUserFailure"
                "Mend the cause, then ask again.";
            completed PgoDeleteUser = "PGODeleteUser"
                "A user of PGO was removed.";
        }
        PgoCreateRole "making a role of PGO" [PgoUser] (CreatedRoleName) Namespaces {
            started PgoCreateRoleStarted = "PGOCreateRoleStarted";
            failed PgoCreateRoleFailure = "PGOCreateRoleFailure"
                "Mend the cause, then ask again.";
            completed PgoCreateRole = "PGOCreateRole"
                "A role of PGO was made.";
        }
        PgoUpdateRole "changing a role of PGO" [PgoUser] (UpdatedRoleName) Namespaces {
            started PgoUpdateRoleStarted = "PGOUpdateRoleStarted";
            failed PgoUpdateRoleFailure = "PGOUpdateRoleFailure"
                "Mend the cause, then ask again.";
            completed PgoUpdateRole = "PGOUpdateRole"
                "A role of PGO was changed.";
        }
        PgoDeleteRole "removing a role of PGO" [PgoUser] (DeletedRoleName) Namespaces {
            started PgoDeleteRoleStarted = "PGODeleteRoleStarted";
            failed PgoDeleteRoleFailure = "PGODeleteRoleFailure"
                "Mend the cause, then ask again.";
            completed PgoDeleteRole = "PGODeleteRole"
                "A role of PGO was removed.";
        }
        PgoCreateNamespace "taking a namespace in" [Pgo] (CreatedNamespace) Namespaces {
            started PgoCreateNamespaceStarted = "PGOCreateNamespaceStarted";
            failed PgoCreateNamespaceFailure = "PGOCreateNamespaceFailure"
                "Mend the cause, then ask again.";
            completed PgoCreateNamespace = "PGOCreateNamespace"
                "A namespace may hold clusters.";
        }
        PgoDeleteNamespace "removing a namespace" [Pgo] (DeletedNamespace) Namespaces {
            started PgoDeleteNamespaceStarted = "PGODeleteNamespaceStarted";
            failed PgoDeleteNamespaceFailure = "PGODeleteNamespaceFailure"
                "Mend the cause, then ask again.";
            completed PgoDeleteNamespace = "PGODeleteNamespace"
                "A namespace was removed.";
        }

        // PGO itself.
        StartPgo "the start of PGO" [Pgo] () Now {
            started PgoStart = "PGOStart";
            failed PgoStartFailure = "PGOStartFailure"
                "Look at their pods in PGO's namespace; databases go on meanwhile.";
            completed PgoStartCompleted = "PGOStartCompleted"
                "Every service of PGO is ready.";
        }
        StopPgo "the stop of PGO" [Pgo] () Now {
            started PgoStop = "PGOStop";
            failed PgoStopFailure = "PGOStopFailure"
                "Look at the pods that the cause names, and at their nodes; databases go on meanwhile.";
            completed PgoStopCompleted = "PGOStopCompleted"
                "PGO takes no requests and runs no schedules any more; what is left of it only tells this, and goes next.";
        }
    }

    notices {
        ReplicaAdded = "ReplicaAdded" [Cluster] Info (ClusterName, ReplicaName, Primary, Timeline, Lsn) Now
            "A replica streams from the primary and may take over."
            "Nothing to do.";
        ReplicaRemoved = "ReplicaRemoved" [Cluster] Warn (ClusterName, ReplicaName, Primary, Timeline) Now
            "A replica does not belong to the cluster any more: it was removed, or has been away too long."
            "Look at its pod and node if nobody removed it.";
        ReplicaLagging = "ReplicaLagging" [Cluster] Warn (ClusterName, ReplicaName, Primary, Timeline, Lsn, LagBytes) Now
            "A replica is far behind the primary."
            "Look at the replica's node, disk and network, and for long queries on it.";
        ReplicaCaughtUp = "ReplicaCaughtUp" [Cluster] Info (ClusterName, ReplicaName, Primary, Timeline, Lsn, LagBytes) Now
            "A replica that was behind is near the primary again."
            "Nothing to do.";
        ReplicaWalAtRisk = "ReplicaWalAtRisk" [Cluster] Warn (ClusterName, ReplicaName, Primary, Timeline, Lsn) Now
            "The primary keeps more WAL for a replica that is away, or far behind, than it may; what is too much goes soon."
            "Bring the replica back, or raise max_slot_wal_keep_size; else it copies its data anew.";
        ReplicaWalLost = "ReplicaWalLost" [Cluster] Warn (ClusterName, ReplicaName, Primary, Timeline, Lsn) Now
            "The primary has let the WAL go that a replica needs, so that its own volume does not run full."
            "Nothing to do: the replica copies its data anew when it is back.";
        PrimaryNotReady = "PrimaryNotReady" [Cluster] Warn (ClusterName, Primary) Now
            "The primary does not answer on the cluster's Service; the cause says what is known."
            "A failover follows where it is switched on; else look at the primary's pod.";
        PrimaryReady = "PrimaryReady" [Cluster] Info (ClusterName, Primary, Timeline) Now
            "The primary answers again; the duration is how long it did not."
            "Nothing to do.";
        PrimaryDeleted = "PrimaryDeleted" [Cluster] Warn (ClusterName, DeploymentName) Never
            "In 4.1 the former primary was deleted during a failover; PGO keeps it and has it follow the new one (RewindReplica)."
            "Nothing to do.";
        CommitsLost = "CommitsLost" [Cluster] Error (ClusterName, FormerPrimary, Timeline, Lsn, LostBytes) Now
            "A former primary had commits that its successor does not have and that may have been acknowledged, or whether it had any could not be found out: in the asynchronous mode, or while commits waited for fewer replicas than asked for."
            "Have applications write again what they know to have written then; a synchronous mode without the fallback loses none.";
        NoCommitsLost = "NoCommitsLost" [Cluster] Info (ClusterName, FormerPrimary, Timeline, Lsn, LostBytes) Now
            "A former primary is back and had no acknowledged commit that its successor does not have; in a synchronous mode, none that had waited until replicas had it on disk."
            "Nothing to do.";
        InstanceReplaced = "InstanceReplaced" [Cluster] Warn (ClusterName, Instance) Now
            "The container of an instance ended again and again, so its pod is made anew; its data stays."
            "Look at the cause if it comes again: the pause before the next one grows up to 5 minutes.";
        ClusterDegraded = "ClusterDegraded" [Cluster] Warn (ClusterName, Instance) Now
            "A cluster serves, with less protection than was asked for; the cause says what has been missing for a while."
            "Mend the cause before the next fault.";
        ClusterRecovered = "ClusterRecovered" [Cluster] Info (ClusterName) Now
            "A cluster is protected again as was asked for; the duration is how long it was not."
            "Nothing to do.";
        SyncFallbackBegan = "SyncFallbackBegan" [Cluster] Warn (ClusterName, Primary) Now
            "Commits wait for fewer replicas than the synchronous mode asks for, as the user chose; what is acknowledged \
            meanwhile may be lost with its primary."
            "Bring the missing replicas back; whoever would rather wait switches the fallback off.";
        SyncFallbackEnded = "SyncFallbackEnded" [Cluster] Info (ClusterName, Primary) Now
            "Commits wait for as many replicas as the synchronous mode asks for again; the duration is how long they did not."
            "Nothing to do.";
        ArchivingFailed = "ArchivingFailed" [Backup] Warn (ClusterName) Now
            "WAL is not archived; it stays on the primary's volume until it is."
            "Mend the cause before the volume is full; the disk warnings say how long that takes.";
        ArchivingRecovered = "ArchivingRecovered" [Backup] Info (ClusterName) Now
            "WAL is archived again, and all that waited has been."
            "Nothing to do.";
        ScheduleRun = "ScheduleRun" [Backup] Info (ClusterName, Schedule, Due) Now
            "A run of a schedule was due and has begun."
            "Nothing to do.";
        ScheduleRunSkipped = "ScheduleRunSkipped" [Backup] Warn (ClusterName, Schedule, Due) Now
            "A run of a schedule was due and was left out; the cause says why."
            "Make the schedule rarer, or the work shorter, if runs overlap.";
        ScheduleRunMissed = "ScheduleRunMissed" [Backup] Warn (ClusterName, Schedule, Due) Now
            "A run of a schedule was due while nobody was there to begin it."
            "See why PGO was away at that time.";
        PgoUpdateConfig = "PGOUpdateConfig" [Pgo] Info () Now
            "PGO works with a changed `pgo.yaml`. What a cluster was made with stays; new ones follow it."
            "Nothing to do.";
        ServiceStarted = "ServiceStarted" [Pgo] Info (Service, Pod) Now
            "A process of a service of PGO runs, for the first time or again."
            "Nothing to do.";
        ServiceStopped = "ServiceStopped" [Pgo] Warn (Service, Pod) Now
            "A process of a service of PGO ended; the cause says how. What it does waits, or another does it."
            "Look at its pod in PGO's namespace if it does not start again, or nobody stopped it.";
        LeaderElected = "LeaderElected" [Pgo] Info (Service, Leader) Now
            "Another replica of a service leads."
            "Nothing to do.";
        LeaderLost = "LeaderLost" [Pgo] Warn (Service, Leader) Now
            "A replica of a service does not lead any more; the cause says whether another does."
            "See why it ended or lost touch with Kubernetes if none follows within a minute.";
        CertificateWarning = "CertificateWarning" [Cluster, Pgo] Warn (ClusterName, Certificate, Expires) Now
            "A certificate ends soon: an agent's that could not be renewed, or one of PGO's own services, told 30 days, 7 days and a day before."
            "The cause says why, or how to renew it; connections are refused after its end.";
        CertificateRenewed = "CertificateRenewed" [Cluster, Pgo] Info (ClusterName, Certificate, Expires) Now
            "A certificate was renewed."
            "Nothing to do.";
        DiskWarning = "DiskWarning" [Cluster] Warn (ClusterName, Instance, Volume, UsedPercent, FullInSeconds) Now
            "A volume is nearly full: told at 70, 85 and 95 %."
            "Make room or make the volume larger before it is full.";
        DiskRecovered = "DiskRecovered" [Cluster] Info (ClusterName, Instance, Volume, UsedPercent) Now
            "A volume has room again."
            "Nothing to do.";
        EventBacklog = "EventBacklog" [Cluster, Pgo] Warn (ClusterName, Waiting) Now
            "Events of a cluster, or of PGO, wait to be stored, for too long or too many; steps are left out from here on."
            "See that nsqd and the event service run.";
        EventBacklogCleared = "EventBacklogCleared" [Cluster, Pgo] Info (ClusterName, Skipped) Now
            "All events that waited are stored; `skipped` steps were left out meanwhile."
            "Nothing to do.";
        HistoryCut = "HistoryCut" [Cluster, Pgo] Warn (ClusterName, Unpublished) Now
            "The `unpublished` events before this one were not published: eventing was switched off, or they could neither be stored nor wait. The cause says which."
            "Where eventing was on, see why nsqd or the event service was away, and why Kubernetes took no PgEventPage (quota, rights).";
    }
}
