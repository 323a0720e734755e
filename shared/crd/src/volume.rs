//! From a storage as 4.1 writes it to one that the core decides on.

use std::{borrow::Cow, collections::BTreeMap};

use pgo_core::{Storage, StorageKind};

use crate::{
    PgoConfig, StorageSpec,
    convert::invalid,
    demands,
    invalid::{Faults, InvalidSpec},
};

/// The storage that a field of a spec describes, or that of `pgo.yaml` where it says nothing.
pub(crate) fn storage(
    field: &str,
    spec: &StorageSpec,
    config: &PgoConfig,
) -> Result<Storage, InvalidSpec> {
    storage_or((field, spec), &config.primary_storage, config)
}

/// The same, where it says nothing that of another entry of `pgo.yaml`.
pub(crate) fn storage_or(
    (field, spec): (&str, &StorageSpec),
    default: &str,
    config: &PgoConfig,
) -> Result<Storage, InvalidSpec> {
    let spec = said_or_default((field, spec), default, config)?;
    let of = |part: &str| format!("{field}.{part}");
    let kind = match spec.storagetype.as_str() {
        "create" => StorageKind::Create,
        "dynamic" | "" => StorageKind::Dynamic,
        "emptydir" => StorageKind::EmptyDir,
        other => {
            return invalid(
                &of("storagetype"),
                format!("{other:?} cannot be used; give create, dynamic or emptydir"),
            );
        }
    };
    if kind != StorageKind::EmptyDir && spec.size.is_empty() {
        return invalid(&of("size"), "it is empty; give a quantity such as 1Gi");
    }
    let said = parts(field, &spec)?;
    Ok(Storage {
        kind,
        class: (kind == StorageKind::Dynamic && !spec.storageclass.is_empty())
            .then(|| spec.storageclass.clone()),
        access_mode: if spec.accessmode.is_empty() {
            "ReadWriteOnce".to_owned()
        } else {
            spec.accessmode.clone()
        },
        size: spec.size.clone(),
        fs_group: said.fs_group,
        supplemental_groups: said.supplemental_groups,
        match_labels: said.match_labels,
    })
}

/// Whether each part of a storage can be read, also where no volume is made of it yet.
pub(crate) fn check(field: &str, spec: &StorageSpec) -> Result<(), InvalidSpec> {
    parts(field, spec).map(|_| ())
}

/// The parts of a storage that are more than a text.
struct Parts {
    fs_group: Option<i64>,
    supplemental_groups: Vec<i64>,
    match_labels: BTreeMap<String, String>,
}

fn parts(field: &str, spec: &StorageSpec) -> Result<Parts, InvalidSpec> {
    let of = |part: &str| format!("{field}.{part}");
    let mut faults = Faults::default();
    if !spec.size.is_empty() {
        faults.note(demands::size(&of("size"), &spec.size));
    }
    let mode = demands::access_mode(&spec.accessmode);
    faults.note(mode.or_else(|problem| invalid(&of("accessmode"), problem)));
    if !spec.fsgroup.is_empty() && !spec.supplementalgroups.is_empty() {
        faults.note(invalid::<()>(
            field,
            "fsgroup and supplementalgroups cannot both be set; leave one of them out",
        ));
    }
    let fs_group = Some(&spec.fsgroup).filter(|group| !group.is_empty());
    let fs_group = fs_group.and_then(|group| faults.note(number(&of("fsgroup"), group)));
    let groups = spec.supplementalgroups.split(',');
    let supplemental_groups = groups
        .filter(|group| !group.trim().is_empty())
        .filter_map(|group| faults.note(number(&of("supplementalgroups"), group)))
        .collect();
    let match_labels = faults.note(match_labels(&of("matchLabels"), &spec.match_labels));
    faults.none()?;
    Ok(Parts {
        fs_group,
        supplemental_groups,
        match_labels: match_labels.unwrap_or_default(),
    })
}

fn match_labels(field: &str, text: &str) -> Result<BTreeMap<String, String>, InvalidSpec> {
    match text.split_once('=') {
        Some((key, value)) => Ok(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        None if text.is_empty() => Ok(BTreeMap::new()),
        None => invalid(field, format!("{text:?} is not key=value")),
    }
}

/// Whether a storage says anything. The name of the claim is filled in by PGO.
pub(crate) fn says_nothing(spec: &StorageSpec) -> bool {
    let nothing = StorageSpec {
        name: spec.name.clone(),
        ..StorageSpec::default()
    };
    *spec == nothing
}

fn said_or_default<'a>(
    (field, spec): (&str, &'a StorageSpec),
    default: &str,
    config: &PgoConfig,
) -> Result<Cow<'a, StorageSpec>, InvalidSpec> {
    if !says_nothing(spec) {
        return Ok(Cow::Borrowed(spec));
    }
    match config.storage.get(default) {
        Some(named) => Ok(Cow::Owned(StorageSpec::from(named))),
        None => invalid(field, "pgo.yaml names no storage to take by default"),
    }
}

fn number(field: &str, text: &str) -> Result<i64, InvalidSpec> {
    text.trim()
        .parse()
        .or_else(|_| invalid(field, format!("{text:?} is not a number")))
}
