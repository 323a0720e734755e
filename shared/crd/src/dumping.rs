//! Dumps by `pg_dump`, backups by `pg_basebackup`, and restores of both: the Pgtasks that ask for one, under 4.1's names.

use kube::ResourceExt as _;
use pgo_core::{
    BackupRemoval, DumpKind, DumpRequest, DumpWish, Removed, Storage, StorageKind,
    dump::{
        base::BaseOptions,
        options::{DumpOptions, LoadOptions},
    },
};
use pgo_ids::OperationId;

use crate::{
    NODE_LABEL, Pgcluster, PgoConfig, Pgtask, StorageSpec, TaskType,
    convert::{actor, is_later, operation},
    restarting::{asked, in_order},
    volume::storage_or,
};

/// Parameter of a Pgtask that asks for a dump: options for the program.
pub const DUMP_OPTIONS: &str = "pgdump-opts";

/// Parameter of the same: whether all databases are meant, `true` or `false`; `--dump-all` in the options says so, too.
pub const DUMP_ALL: &str = "pgdump-all";

/// Parameter of the same: the database; empty means the cluster's.
pub const DUMP_DATABASE: &str = "pgdump-db";

/// Parameter of the same: the claim; empty means that of the cluster's dumps.
pub const DUMP_CLAIM: &str = "pvc-name";

/// Parameter of a Pgtask that asks for the restore of a dump: the cluster.
pub const LOAD_CLUSTER: &str = "pgrestore-from-cluster";

/// Parameter of the same: the claim; empty means that of the cluster's dumps.
pub const LOAD_CLAIM: &str = "pgrestore-from-pvc";

/// Parameter of the same: name of the dump, which is when it was begun; empty means the newest.
pub const LOAD_DUMP: &str = "pgrestore-pitr-target";

/// Parameter of the same: the database; empty means that which was dumped.
pub const LOAD_DATABASE: &str = "pgrestore-db";

/// Parameter of the same: options for `pg_restore`.
pub const LOAD_OPTIONS: &str = "pgrestore-opts";

/// Parameter of a Pgtask that asks for a backup by `pg_basebackup`: options for the program. Its claim is in [`DUMP_CLAIM`].
pub const BASE_OPTIONS: &str = "pgbasebackup-opts";

/// Parameter of a Pgtask that asks for the restore of such a backup: the cluster.
pub const BASE_FROM_CLUSTER: &str = "pgbasebackup-restore-from-cluster";

/// Parameter of the same: the claim with the backups; empty means that of the cluster.
pub const BASE_FROM_CLAIM: &str = "pgbasebackup-restore-from-pvc";

/// Parameter of the same: the claim that is made, and the name of the cluster that can be made on it.
pub const BASE_TO: &str = "pgbasebackup-restore-to-pvc";

/// Parameter of the same: where the backup lies on its claim, or its name; empty means the newest.
pub const BASE_PATH: &str = "pgbasebackup-restore-backup-path";

/// The dumps, and restores of some, that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn dump_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
    config: &PgoConfig,
) -> Vec<DumpRequest> {
    in_order(tasks, |task| dump_request(task, cluster, config))
}

/// Id of the dump, or of the restore of one, that a Pgtask asks for, where it asks for one of this very cluster.
#[must_use]
pub fn dump_operation(task: &Pgtask, cluster: &Pgcluster) -> Option<OperationId> {
    let restore = |what: TaskType, of: &str| {
        let is_asked = task.spec.tasktype == what.as_str()
            && said(task, of) == cluster.name_any()
            && task.namespace() == cluster.namespace()
            && is_later(task, cluster);
        is_asked.then(|| operation(task, what.as_str())).flatten()
    };
    asked(task, cluster, TaskType::Pgdump)
        .or_else(|| asked(task, cluster, TaskType::Pgbasebackup))
        .or_else(|| restore(TaskType::Pgrestore, LOAD_CLUSTER))
        .or_else(|| restore(TaskType::PgbasebackupRestore, BASE_FROM_CLUSTER))
}

fn dump_request(task: &Pgtask, cluster: &Pgcluster, config: &PgoConfig) -> Option<DumpRequest> {
    let operation = dump_operation(task, cluster)?;
    let is = |what: TaskType| task.spec.tasktype == what.as_str();
    let (kind, claim, wanted) = if is(TaskType::Pgdump) {
        (DumpKind::Make, DUMP_CLAIM, make(task, config))
    } else if is(TaskType::Pgbasebackup) {
        (DumpKind::BaseBackup, DUMP_CLAIM, base(task, config))
    } else if is(TaskType::PgbasebackupRestore) {
        let wanted = base_restore(task);
        (DumpKind::BaseRestore, BASE_FROM_CLAIM, wanted)
    } else {
        (DumpKind::Load, LOAD_CLAIM, load(task))
    };
    let named = given(task, claim);
    let wanted = wanted.and_then(|wanted| match &named {
        Some(name) if !is_claim(name) => Err(format!(
            "parameters.{claim}: {name:?} is the name of no claim"
        )),
        _ => Ok(wanted),
    });
    Some(DumpRequest {
        operation,
        actor: actor(task),
        kind,
        claim: named,
        wanted,
    })
}

/// Parameter of a Pgtask that removes backups: `pgbasebackup`, as without it, or `pgdump`.
pub const REMOVED_TYPE: &str = "backup-type";

/// The removals of copies by `pg_basebackup`, or of dumps, that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn removal_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<BackupRemoval> {
    in_order(tasks, |task| {
        Some(BackupRemoval {
            operation: removal_operation(task, cluster)?,
            actor: actor(task),
            what: removed(task)?,
        })
    })
}

/// Id of the removal of backups that a Pgtask asks for, where it asks for one of this very cluster.
#[must_use]
pub fn removal_operation(task: &Pgtask, cluster: &Pgcluster) -> Option<OperationId> {
    let is_meant = said(task, "is-backup") == "true" && said(task, "is-replica") != "true";
    removed(task)?;
    asked(task, cluster, TaskType::DeleteData).filter(|_| is_meant)
}

fn removed(task: &Pgtask) -> Option<Removed> {
    match said(task, REMOVED_TYPE) {
        "" => Some(Removed::Copies),
        word => [Removed::Copies, Removed::Dumps]
            .into_iter()
            .find(|what| what.tool() == word),
    }
}

fn said<'a>(task: &'a Pgtask, key: &str) -> &'a str {
    let value = task.spec.parameters.get(key);
    value.map(|value| value.trim()).unwrap_or_default()
}

fn given(task: &Pgtask, key: &str) -> Option<String> {
    Some(said(task, key).to_owned()).filter(|text| !text.is_empty())
}

fn make(task: &Pgtask, config: &PgoConfig) -> Result<DumpWish, String> {
    let mut text = said(task, DUMP_OPTIONS).to_owned();
    match said(task, DUMP_ALL) {
        "" | "false" => {}
        "true" => text.push_str(" --dump-all"),
        other => {
            return Err(format!(
                "parameters.{DUMP_ALL}: {other:?} is not true or false"
            ));
        }
    }
    let options = DumpOptions::parse(&text).map_err(|error| error.to_string())?;
    Ok(DumpWish::Make {
        database: given(task, DUMP_DATABASE),
        options,
        storage: dump_storage(&task.spec.storagespec, config)?,
    })
}

/// What a claim for dumps is made of: what is said, else the entry `BackupStorage` of `pgo.yaml`, else that of the data.
fn dump_storage(spec: &StorageSpec, config: &PgoConfig) -> Result<Storage, String> {
    let default = match config.backup_storage.as_str() {
        "" => &config.primary_storage,
        entry => entry,
    };
    let storage = storage_or(("storagespec", spec), default, config);
    let storage = storage.map_err(|invalid| invalid.to_string())?;
    if storage.kind == StorageKind::EmptyDir {
        return Err(
            "the storage is emptydir: a dump would go with the pod that makes it; name another one"
                .to_owned(),
        );
    }
    Ok(storage)
}

fn load(task: &Pgtask) -> Result<DumpWish, String> {
    let options =
        LoadOptions::parse(said(task, LOAD_OPTIONS)).map_err(|error| error.to_string())?;
    let dump = given(task, LOAD_DUMP);
    if let Some(name) = dump.as_ref().filter(|name| !is_dump(name)) {
        return Err(format!(
            "{name:?} is the name of no dump; pgo show backup {} --backup-type=pgdump names them",
            said(task, LOAD_CLUSTER)
        ));
    }
    Ok(DumpWish::Load {
        dump,
        database: given(task, LOAD_DATABASE),
        options,
        node_label: node_label(task),
    })
}

fn base(task: &Pgtask, config: &PgoConfig) -> Result<DumpWish, String> {
    let options =
        BaseOptions::parse(said(task, BASE_OPTIONS)).map_err(|error| error.to_string())?;
    Ok(DumpWish::BaseBackup {
        options,
        storage: dump_storage(&task.spec.storagespec, config)?,
    })
}

fn base_restore(task: &Pgtask) -> Result<DumpWish, String> {
    let (path, to) = (said(task, BASE_PATH), said(task, BASE_TO));
    let backup = given(task, BASE_PATH);
    let backup = backup.map(|_| {
        base_name(path).ok_or_else(|| {
            format!("parameters.{BASE_PATH}: {path:?} is the path of no backup, such as hippo-backups/2026-11-27-03-15-00")
        })
    });
    let to = to
        .parse()
        .map_err(|error| format!("parameters.{BASE_TO}: {to:?} can be no cluster: {error}"))?;
    Ok(DumpWish::BaseRestore {
        backup: backup.transpose()?,
        to,
        node_label: node_label(task),
    })
}

/// Label of the nodes that the pod prefers, where one is asked for.
fn node_label(task: &Pgtask) -> Option<String> {
    let [key, value] = NODE_LABEL.map(|key| given(task, key));
    key.zip(value).map(|(key, value)| format!("{key}={value}"))
}

/// The name of the backup that lies at this path on its claim.
#[must_use]
pub fn base_name(path: &str) -> Option<String> {
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    is_dump(name).then(|| name.to_owned())
}

/// Whether a dump can have this name: it is the name of a folder.
#[must_use]
pub fn is_dump(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_digit() || c == '-')
}

/// Whether a claim can have this name (Kubernetes: a DNS subdomain).
#[must_use]
pub fn is_claim(name: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inner = |c: char| is_edge(c) || c == '-' || c == '.';
    name.len() <= 253
        && name.starts_with(is_edge)
        && name.ends_with(is_edge)
        && name.chars().all(is_inner)
}
