//! Where the backups of a cluster lie, and how many of them stay: what a Pgcluster says, and `pgo.yaml` where it says nothing.

use pgo_core::{Bucket, KeptBy, Place, Places, Retention};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterConfig, Pgcluster, PgoConfig, STORAGE_TYPE,
    convert::{invalid, setting},
    invalid::InvalidSpec,
};

/// The most backups, or days, that can be asked for (pgBackRest, `repo-retention-full`).
pub(crate) const MOST: u32 = 9_999_999;

/// How many backups stay, as a Pgcluster says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionSpec {
    /// How many full backups stay, or for how many days they do.
    #[schemars(range(min = 1, max = 9_999_999))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<u32>,
    /// What that counts: `count` for backups, `time` for days. Without it, backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_type: Option<FullType>,
    /// How many differential backups stay.
    #[schemars(range(min = 1, max = 9_999_999))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<u32>,
}

/// pgBackRest's words for what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FullType {
    /// Backups.
    Count,
    /// Days.
    Time,
}

impl From<FullType> for KeptBy {
    fn from(word: FullType) -> Self {
        match word {
            FullType::Count => Self::Count,
            FullType::Time => Self::Days,
        }
    }
}

/// How many backups of a cluster stay. What it says itself counts alone: half of it and half of `pgo.yaml` would be nobody's.
pub(crate) fn retention(object: &Pgcluster, config: &PgoConfig) -> Retention {
    match &object.spec.backrest_retention {
        Some(said) => Retention {
            full: said.full,
            by: said.full_type.map(KeptBy::from).unwrap_or_default(),
            diff: said.diff,
        },
        None => of_all(&config.cluster),
    }
}

fn of_all(cluster: &ClusterConfig) -> Retention {
    Retention {
        full: cluster.backrest_retention_full.parse().ok(),
        by: match cluster.backrest_retention_full_type.as_str() {
            "time" => KeptBy::Days,
            _ => KeptBy::Count,
        },
        diff: cluster.backrest_retention_diff.parse().ok(),
    }
}

/// The places that a list of 4.1's words names.
///
/// # Errors
/// One of them is no place.
pub fn storage_types(list: &str) -> Result<Vec<Place>, String> {
    let words = list.split(',').map(str::trim);
    let words = words.filter(|_| !list.trim().is_empty());
    let read = |word: &str| match word {
        "local" => Ok(Place::Local),
        "s3" => Ok(Place::S3),
        other => Err(format!("{other:?} is not local or s3")),
    };
    words.map(read).collect()
}

/// The one place where something is to be done; none where it is to be done in all that the cluster has.
pub(crate) fn one_place(list: &str) -> Result<Option<Place>, String> {
    let places = storage_types(list)?;
    let first = places.first().copied();
    Ok(first.filter(|first| places.iter().all(|place| place == first)))
}

/// Where the backups of a cluster lie.
pub(crate) fn places(object: &Pgcluster, config: &PgoConfig) -> Result<Places, InvalidSpec> {
    let said = setting(&object.spec.userlabels, STORAGE_TYPE).unwrap_or_default();
    let field = format!("userlabels.{STORAGE_TYPE}");
    let places = storage_types(said).or_else(|problem| invalid(&field, problem))?;
    if !places.contains(&Place::S3) {
        return Ok(Places::Local);
    }
    let bucket = bucket(&config.cluster).or_else(|key| {
        invalid(
            &field,
            format!("s3 needs a bucket: Cluster.{key} is not set in pgo.yaml"),
        )
    })?;
    Ok(match places.contains(&Place::Local) {
        true => Places::Both(bucket),
        false => Places::S3(bucket),
    })
}

/// The bucket of `pgo.yaml`.
///
/// # Errors
/// The key that is missing.
pub fn bucket(cluster: &ClusterConfig) -> Result<Bucket, &'static str> {
    let given = |key, value: &str| match value.is_empty() {
        true => Err(key),
        false => Ok(value.to_owned()),
    };
    Ok(Bucket {
        name: given("BackrestS3Bucket", &cluster.backrest_s3_bucket)?,
        endpoint: given("BackrestS3Endpoint", &cluster.backrest_s3_endpoint)?,
        region: given("BackrestS3Region", &cluster.backrest_s3_region)?,
        in_path: cluster.backrest_s3_uri_style == "path",
    })
}
