//! Clusters that cannot stand side by side: an object of one has the name that an object of the other needs.

use pgo_core::backup::{REPOSITORY, REPOSITORY_CLAIM};
use pgo_ids::ClusterName;

use crate::{drill::DRILL, identity::REPLICA_SERVICE, probe::PROBE};

/// A cluster that another one cannot stand beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub cluster: ClusterName,
    /// The object that both need, and what each needs it for.
    pub object: String,
}

/// What a cluster makes beside objects that have its own name, of a kind of which it has one of that name, too: the kind,
/// what comes behind the cluster's name, what it is for, and what the object of the cluster's own name is for.
const FURTHER: [(&str, &str, &str, &str); 5] = [
    ("Service", REPLICA_SERVICE, "its replicas", "its primary"),
    ("Pod", PROBE, "a look into an image", "its first instance"),
    ("Pod", DRILL, "the trial of a backup", "its first instance"),
    ("Service", REPOSITORY, "its backups", "its primary"),
    (
        "PersistentVolumeClaim",
        REPOSITORY_CLAIM,
        "its backups",
        "its first instance",
    ),
];

/// All clusters that this one cannot stand beside.
#[must_use]
pub fn rivals(cluster: &ClusterName) -> Vec<Rival> {
    let rivals = FURTHER.iter().flat_map(|(kind, end, of_short, of_long)| {
        let name = cluster.as_str();
        let longer = format!("{name}{end}");
        let shorter = name.strip_suffix(end);
        let pairs = [
            Some((longer.clone(), name.to_owned(), longer)),
            shorter.map(|shorter| (shorter.to_owned(), shorter.to_owned(), name.to_owned())),
        ];
        pairs
            .into_iter()
            .flatten()
            .filter_map(move |(rival, short, long)| {
                Some(Rival {
                    cluster: rival.parse().ok()?,
                    object: format!(
                        "{kind} {long}, {short} for {of_short} and {long} for {of_long}"
                    ),
                })
            })
    });
    rivals.collect()
}
