//! Backups by pgBackRest: what a Pgcluster wants of them, and the Pgtasks that ask for one, under 4.1's names.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use pgo_core::{
    BackupRequest, Backups,
    backup::{REPOSITORY, options::BackupOptions},
};

use crate::{
    Pgcluster, PgoConfig, Pgtask, TaskType,
    convert::{actor, invalid, setting, switch},
    invalid::{Faults, InvalidSpec},
    label,
    places::{one_place, places, retention},
    volume::{self, storage_or},
};

/// Parameter of a Pgtask: what pgBackRest is to do.
pub const COMMAND: &str = "backrest-command";

/// Parameter of a Pgtask: options for it.
pub const OPTIONS: &str = "backrest-opts";

/// Parameter of a Pgtask, and user label of a Pgcluster: where backups lie, `local`, `s3` or both, as a comma list.
pub const STORAGE_TYPE: &str = "backrest-storage-type";

/// The command that makes a backup.
pub const BACKUP: &str = "backup";

/// 4.1's scheduler names the stanza, which is always this one.
const STANZA: &str = "--stanza=db";

/// After how many seconds a WAL file is archived that is not full, where nobody says it (4.1).
const ARCHIVE_TIMEOUT: u32 = 60;

/// The longest such time (PostgreSQL's `archive_timeout`).
const LONGEST_TIMEOUT: u32 = i32::MAX.cast_unsigned() / 2;

/// Longest name of a Service (RFC 1035, section 2.3.1).
const LONGEST_SERVICE: usize = 63;

/// What a cluster is to have of backups: it has them where it says so itself, else where `pgo.yaml` says it of all.
pub(crate) fn backups(
    object: &Pgcluster,
    config: &PgoConfig,
    name: &str,
) -> Result<Option<Backups>, InvalidSpec> {
    if !has_backrest(object.labels(), &object.spec.userlabels, config)? {
        volume::check("BackrestStorage", &object.spec.backrest_storage)?;
        return Ok(None);
    }
    let spec = &object.spec;
    let mut faults = Faults::default();
    faults.note(fits(name));
    let places = faults.note(places(object, config));
    let storage = storage_or(
        ("BackrestStorage", &spec.backrest_storage),
        &config.backrest_storage,
        config,
    );
    let storage = faults.note(storage);
    let timeout = faults.note(archive_timeout(object, config));
    faults.none()?;
    let made = || {
        Some(Backups {
            storage: storage?,
            places: places?,
            retention: retention(object, config),
            archive_timeout: timeout?,
            drills: spec
                .restore_drills
                .unwrap_or_else(|| config.cluster.restore_drills()),
        })
    };
    Ok(made())
}

/// Whether a Pgcluster with these labels and user labels has pgBackRest: 4.1 has it as a label of the Pgcluster; else as its user
/// labels and `Cluster.Backrest` of `pgo.yaml` say.
///
/// # Errors
/// It is said, and is neither `true` nor `false`.
pub fn has_backrest(
    labels: &BTreeMap<String, String>,
    userlabels: &BTreeMap<String, String>,
    config: &PgoConfig,
) -> Result<bool, InvalidSpec> {
    let said = switch(label::PGO_BACKREST, labels, userlabels)?;
    Ok(said.unwrap_or(config.cluster.backrest))
}

/// A Service has the cluster's name with more behind it.
fn fits(name: &str) -> Result<(), InvalidSpec> {
    let most = LONGEST_SERVICE - REPOSITORY.len();
    if name.len() <= most {
        return Ok(());
    }
    let problem = format!(
        "the repository of pgBackRest needs a Service {name}{REPOSITORY}, and its name would have more than {LONGEST_SERVICE} \
         characters; give the cluster a name of at most {most}, or the label {}=false",
        label::PGO_BACKREST
    );
    Err(InvalidSpec::of("metadata.name".to_owned(), problem))
}

fn archive_timeout(object: &Pgcluster, config: &PgoConfig) -> Result<u32, InvalidSpec> {
    let key = "archive-timeout";
    let said = setting(&object.spec.userlabels, key);
    let of_all = Some(config.cluster.archive_timeout.as_str()).filter(|text| !text.is_empty());
    let Some(text) = said.or(of_all) else {
        return Ok(ARCHIVE_TIMEOUT);
    };
    let parsed = text.parse::<u32>().ok();
    parsed
        .filter(|seconds| *seconds <= LONGEST_TIMEOUT)
        .map_or_else(
            || {
                let problem =
                    format!("{text:?} is not a number of seconds from 0 to {LONGEST_TIMEOUT}");
                invalid(&format!("userlabels.{key}"), problem)
            },
            Ok,
        )
}

/// The backups by pgBackRest that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn backup_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<BackupRequest> {
    crate::restarting::in_order(tasks, |task| backup_request(task, cluster))
}

/// The backup that a Pgtask asks for, where it does.
#[must_use]
pub fn backup_request(task: &Pgtask, cluster: &Pgcluster) -> Option<BackupRequest> {
    Some(BackupRequest {
        operation: crate::restarting::asked(task, cluster, TaskType::Backrest)?,
        actor: actor(task),
        options: options(task),
    })
}

/// Options for pgBackRest, or why what a task asks for cannot be done.
fn options(task: &Pgtask) -> Result<BackupOptions, String> {
    let parameter = |key: &str| {
        let value = task.spec.parameters.get(key);
        value.map(String::as_str).unwrap_or_default()
    };
    match parameter(COMMAND) {
        "" | BACKUP => {}
        other => {
            return Err(format!(
                "parameters.{COMMAND}: {other:?} is nothing that a task can ask for; give {BACKUP}"
            ));
        }
    }
    let place = one_place(parameter(STORAGE_TYPE))
        .map_err(|problem| format!("parameters.{STORAGE_TYPE}: {problem}"))?;
    let text = parameter(OPTIONS).trim();
    let text = match text.strip_prefix(STANZA) {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => rest,
        _ => text,
    };
    let options = BackupOptions::parse(text).map_err(|error| error.to_string())?;
    Ok(options.within(place))
}
