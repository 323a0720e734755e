//! What an object was made for, to be held against what is wanted now.
//!
//! ```text
//! Desired ──► Form ──► annotation of the object ──► Form ─┐
//!    └──────► Form ──────────────────────────────────────┴─► which fields of the spec differ
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Desired, Storage, StorageKind};

/// Field of a pod's form: the image with PostgreSQL.
const IMAGE: &str = "ccpimage, ccpimagetag";

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
        let Storage {
            kind,
            class,
            access_mode,
            size,
            // Of the pod.
            fs_group: _,
            supplemental_groups: _,
            match_labels,
        } = &self.storage;
        Form::from([
            ("PrimaryStorage.storagetype", kind.as_str().to_owned()),
            (
                "PrimaryStorage.storageclass",
                class.clone().unwrap_or_default(),
            ),
            ("PrimaryStorage.accessmode", access_mode.clone()),
            ("PrimaryStorage.size", size.clone()),
            ("PrimaryStorage.matchLabels", pairs(match_labels)),
        ])
    }

    /// What a pod is made for.
    #[must_use]
    pub fn pod_form(&self) -> Form {
        let resources = &self.resources;
        let groups: Vec<String> = self
            .storage
            .supplemental_groups
            .iter()
            .map(i64::to_string)
            .collect();
        let on_a_claim = self.storage.kind != StorageKind::EmptyDir;
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        Form::from([
            (IMAGE, self.image.0.clone()),
            ("Pgo.PGOImageTag of pgo.yaml", self.agent_image.0.clone()),
            ("port", self.port.to_string()),
            ("database", self.database.clone()),
            ("user", self.user.to_string()),
            ("PrimaryStorage.storagetype", on_a_claim.to_string()),
            (
                "PrimaryStorage.fsgroup",
                text(
                    self.storage
                        .fs_group
                        .map(|group| group.to_string())
                        .as_ref(),
                ),
            ),
            ("PrimaryStorage.supplementalgroups", groups.join(",")),
            (
                "ContainerResources",
                [
                    &resources.requests_cpu,
                    &resources.requests_memory,
                    &resources.limits_cpu,
                    &resources.limits_memory,
                ]
                .map(String::as_str)
                .join(" "),
            ),
            (
                "userlabels.NodeLabelKey",
                text(self.node.as_ref().map(ToString::to_string).as_ref()),
            ),
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
        ])
    }
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
