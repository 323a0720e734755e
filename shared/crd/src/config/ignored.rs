//! Which keys of a `pgo.yaml` do nothing: those that there are not, and those that mean something only with later work.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{PgoConfig, ResourcesConfig, StorageConfig};

/// Keys of 4.1 that are read and checked, and that nothing goes by yet. What asks for a whole part that is not there
/// ([`PgoConfig::later_work`]) is none of them.
const WITHOUT_EFFECT: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "DefaultLoadResources",
            "DefaultLspvcResources",
            "DefaultRmdataResources",
            "DefaultBackupResources",
            "DefaultBadgerResources",
            "DefaultPgpoolResources",
            "DefaultPgbouncerResources",
        ],
    ),
    (
        "Cluster",
        &[
            "PGBadgerPort",
            "ExporterPort",
            "PasswordAgeDays",
            "BackrestPort",
            "AutofailReplaceReplica",
            "PgmonitorPassword",
        ],
    ),
    ("Pgo", &["AutofailSleepSeconds"]),
];

impl PgoConfig {
    /// All keys of the file that do not do what they ask for: [`Self::later_work`], what nothing goes by and has another
    /// value than without it, and what is no key at all, which says so.
    #[must_use]
    pub fn not_available(&self) -> BTreeSet<String> {
        let mut keys: BTreeSet<String> = self.later_work().into_iter().map(str::to_owned).collect();
        let (now, without) = (json!(self), json!(Self::default()));
        for (section, names) in WITHOUT_EFFECT {
            let pick = |config: &'_ Value, name: &str| match section {
                "" => config[name].clone(),
                section => config[section][name].clone(),
            };
            let set = names
                .iter()
                .filter(|name| pick(&now, name) != pick(&without, name));
            keys.extend(set.map(|name| path(section, name)));
        }
        // Where it names what data is on anyway it asks for nothing.
        if !self.backup_storage.is_empty() && self.backup_storage != self.primary_storage {
            keys.insert("BackupStorage".to_owned());
        }
        keys.extend(
            self.unknown
                .iter()
                .map(|key| format!("{key} (no such setting)")),
        );
        keys
    }
}

fn path(section: &str, name: &str) -> String {
    match section {
        "" => name.to_owned(),
        section => format!("{section}.{name}"),
    }
}

/// The keys of a file that there are not, each with the section it is in.
pub(super) fn unknown(file: &Value) -> BTreeSet<String> {
    let known = json!(PgoConfig::default());
    let mut unknown = surplus("", file, &known);
    for section in ["Cluster", "Pgo"] {
        unknown.extend(surplus(section, &file[section], &known[section]));
    }
    for (section, known) in [
        ("Storage", json!(StorageConfig::default())),
        ("ContainerResources", json!(ResourcesConfig::default())),
    ] {
        for (name, entry) in file[section].as_object().into_iter().flatten() {
            unknown.extend(surplus(&path(section, name), entry, &known));
        }
    }
    unknown
}

fn surplus(section: &str, has: &Value, known: &Value) -> BTreeSet<String> {
    let keys = has.as_object().into_iter().flat_map(|object| object.keys());
    let surplus = keys.filter(|key| known.get(key.as_str()).is_none());
    surplus.map(|key| path(section, key)).collect()
}
