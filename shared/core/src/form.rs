//! What an object was made for, to be held against what is wanted now.
//!
//! ```text
//! Desired ──► Form ──► annotation of the object ──► Form ─┐
//!    └──────► Form ──────────────────────────────────────┴─► which fields of the spec differ
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Desired, Resources, Storage, StorageKind, backup::Bucket};

/// Field of a claim's form: the size of the volume.
pub(crate) const SIZE: &str = "PrimaryStorage.size";

/// Field of a pod's form: the image with PostgreSQL.
const IMAGE: &str = "ccpimage, ccpimagetag";

/// Field of a pod's form: the port of PostgreSQL.
const PORT: &str = "port";

/// Field of a pod's form: whether it archives to a repository.
const BACKREST: &str = "metadata.labels.pgo-backrest";

/// Field of a pod's form: what it was made to restore.
const RESTORE: &str = "restore";

/// What an object's content comes from: fields of a Pgcluster's spec, or of `pgo.yaml`, with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// The fields that have another value in `other`. One that only one of the two knows is of another version of PGO and
    /// says nothing.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|(field, value)| {
            let others = other.0.get(field)?;
            (others != value).then_some(field.as_str())
        })
    }

    /// The image with PostgreSQL, of a pod's form.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.0.get(IMAGE).map(String::as_str)
    }

    /// Port of PostgreSQL, of a pod's form.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.get(PORT)?.parse().ok()
    }

    /// Whether the pod of this form archives to the cluster's repository.
    #[must_use]
    pub fn archives(&self) -> bool {
        self.0.get(BACKREST).is_some_and(|value| value == "true")
    }

    /// The value of a field.
    pub(crate) fn value(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// The same with another value of a field.
    pub(crate) fn with(&self, field: &str, value: String) -> Self {
        let mut changed = self.clone();
        changed.0.insert(field.to_owned(), value);
        changed
    }

    /// Whether any field differs.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        self.differing(other).next().is_some()
    }
}

impl<const N: usize> From<[(&str, String); N]> for Form {
    fn from(fields: [(&str, String); N]) -> Self {
        let fields = fields.into_iter();
        Self(
            fields
                .map(|(field, value)| (field.to_owned(), value))
                .collect(),
        )
    }
}

impl Desired {
    /// What the Service is made for.
    #[must_use]
    pub fn service_form(&self) -> Form {
        Form::from([
            ("port", self.port.to_string()),
            (
                "userlabels.service-type",
                self.service_type.as_str().to_owned(),
            ),
            ("userlabels", pairs(&self.labels)),
        ])
    }

    /// What the Service of the replicas is made for.
    #[must_use]
    pub fn replica_service_form(&self) -> Form {
        let desired = Self {
            service_type: self.replica_service_type,
            ..self.clone()
        };
        desired.service_form()
    }

    /// What a claim is made for.
    #[must_use]
    pub fn claim_form(&self) -> Form {
        of_claim("PrimaryStorage", &self.storage)
    }

    /// What a pod is made for.
    #[must_use]
    pub fn pod_form(&self) -> Form {
        let archive_timeout = self.backups.as_ref().map(|one| one.archive_timeout);
        let on_a_claim = self.storage.kind != StorageKind::EmptyDir;
        let mut form = Form::from([
            (IMAGE, self.image.0.clone()),
            ("Pgo.PGOImageTag of pgo.yaml", self.agent_image.0.clone()),
            (PORT, self.port.to_string()),
            ("database", self.database.clone()),
            ("user", self.user.to_string()),
            ("PrimaryStorage.storagetype", on_a_claim.to_string()),
            (
                "PrimaryStorage.fsgroup",
                text(self.storage.fs_group.as_ref()),
            ),
            (
                "PrimaryStorage.supplementalgroups",
                groups(&self.storage.supplemental_groups),
            ),
            ("ContainerResources", resources(&self.resources)),
            ("userlabels.NodeLabelKey", text(self.node.as_ref())),
            (
                "userlabels.custom-config",
                text(self.custom_config.as_ref()),
            ),
            ("userlabels", pairs(&self.labels)),
            (
                "Cluster.LogStatement of pgo.yaml",
                self.log_statement.clone(),
            ),
            (
                "Cluster.LogMinDurationStatement of pgo.yaml",
                self.log_min_duration_statement.to_string(),
            ),
            ("volumeDeadline", self.volume_deadline.to_string()),
            (BACKREST, self.backups.is_some().to_string()),
            ("userlabels.archive-timeout", text(archive_timeout.as_ref())),
            ("userlabels.backrest-storage-type", self.places().to_owned()),
        ]);
        if let Some(order) = &self.restore {
            let said = format!("{} {}", order.operation, order.options.join(" "));
            form.0.insert(RESTORE.to_owned(), said);
        }
        form
    }

    /// What the Service of the repository is made for.
    #[must_use]
    pub fn repository_service_form(&self) -> Form {
        Form::from([("userlabels", pairs(&self.labels))])
    }

    /// What the Deployment of the repository is made for.
    #[must_use]
    pub fn repository_form(&self) -> Form {
        let storage = self.backups.as_ref().map(|backups| &backups.storage);
        let group = storage.and_then(|storage| storage.fs_group);
        let further = storage.map(|storage| storage.supplemental_groups.as_slice());
        let on_a_claim = storage.is_some_and(|storage| storage.kind != StorageKind::EmptyDir);
        Form::from([
            (IMAGE, self.image.0.clone()),
            ("Pgo.PGOImageTag of pgo.yaml", self.agent_image.0.clone()),
            ("BackrestStorage.storagetype", on_a_claim.to_string()),
            ("BackrestStorage.fsgroup", text(group.as_ref())),
            (
                "BackrestStorage.supplementalgroups",
                groups(further.unwrap_or_default()),
            ),
            ("userlabels", pairs(&self.labels)),
            ("userlabels.backrest-storage-type", self.places().to_owned()),
            ("Cluster.BackrestS3 of pgo.yaml", self.bucket()),
        ])
    }

    fn places(&self) -> &'static str {
        let backups = self.backups.as_ref();
        backups.map_or("", |backups| backups.places.as_str())
    }

    fn bucket(&self) -> String {
        let backups = self.backups.as_ref();
        let bucket = backups.and_then(|backups| backups.places.bucket());
        bucket.map_or_else(String::new, |bucket| {
            let Bucket {
                name,
                endpoint,
                region,
                in_path,
            } = bucket;
            format!("{name} {endpoint} {region} {in_path}")
        })
    }

    /// What the claim of the repository is made for; nothing where there is none.
    #[must_use]
    pub fn repository_claim_form(&self) -> Form {
        let storage = self.backups.as_ref().map(|backups| &backups.storage);
        storage.map_or_else(Form::default, |storage| {
            of_claim("BackrestStorage", storage)
        })
    }

    /// What the agents' certificate is made for.
    #[must_use]
    pub fn certificate_form(&self) -> Form {
        Form::from([("names", self.certificate_names().join(","))])
    }
}

/// What the claim of a storage is made for, by the field of the spec that describes it.
fn of_claim(field: &str, storage: &Storage) -> Form {
    let Storage {
        kind,
        class,
        access_mode,
        size,
        // Of the pod.
        fs_group: _,
        supplemental_groups: _,
        match_labels,
    } = storage;
    let parts = [
        ("storagetype", kind.as_str().to_owned()),
        ("storageclass", class.clone().unwrap_or_default()),
        ("accessmode", access_mode.clone()),
        ("size", size.clone()),
        ("matchLabels", pairs(match_labels)),
    ];
    let parts = parts.map(|(part, value)| (format!("{field}.{part}"), value));
    Form(BTreeMap::from(parts))
}

/// Nothing where there is nothing.
fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn groups(groups: &[i64]) -> String {
    let groups: Vec<String> = groups.iter().map(i64::to_string).collect();
    groups.join(",")
}

fn resources(resources: &Resources) -> String {
    let Resources {
        requests_cpu,
        requests_memory,
        limits_cpu,
        limits_memory,
    } = resources;
    [requests_cpu, requests_memory, limits_cpu, limits_memory]
        .map(String::as_str)
        .join(" ")
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: [(&str, &str); 2]) -> Form {
        Form::from(fields.map(|(field, value)| (field, value.to_owned())))
    }

    #[test]
    fn what_differs_is_named_and_what_only_one_knows_is_not() {
        let made = form([("port", "5432"), ("database", "userdb")]);
        let wanted = form([("port", "6000"), ("a later field", "x")]);
        let differing: Vec<_> = made.differing(&wanted).collect();
        assert_eq!(differing, ["port"]);
        assert!(made.differs(&wanted) && !made.differs(&made));
    }
}
