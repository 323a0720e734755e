//! Where the backups of a cluster lie: on the volume of its repository, in S3, or in both.

use core::fmt;

use serde::Serialize;

/// One of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Place {
    /// The volume of the repository.
    Local,
    /// A bucket.
    S3,
}

impl Place {
    /// 4.1's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }

    /// The argument by which pgBackRest takes this place alone: to it each is a repository with a number, which the agents know.
    #[must_use]
    pub fn argument(self) -> String {
        let number = match self {
            Self::Local => 1,
            Self::S3 => 2,
        };
        format!("--repo={number}")
    }

    /// The one that arguments name, where they name one.
    #[must_use]
    pub fn named(arguments: &[String]) -> Option<Self> {
        let all = [Self::Local, Self::S3];
        all.into_iter()
            .find(|place| arguments.contains(&place.argument()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A bucket, and how it is reached. Who may use it stands in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Host of the S3 server, with a port where that is not 443.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// Whether its name stands in the path of a request, instead of before that of the host.
    pub in_path: bool,
}

/// The places of a cluster's backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Places {
    /// The volume alone.
    Local,
    /// A bucket alone.
    S3(Bucket),
    /// Both: each has all.
    Both(Bucket),
}

impl Places {
    /// 4.1's words for them.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3(_) => "s3",
            Self::Both(_) => "local,s3",
        }
    }

    /// The bucket, where there is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        match self {
            Self::Local => None,
            Self::S3(bucket) | Self::Both(bucket) => Some(bucket),
        }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, place: Place) -> bool {
        match self {
            Self::Local => place == Place::Local,
            Self::S3(_) => place == Place::S3,
            Self::Both(_) => true,
        }
    }

    /// Why nothing can be done in the place that arguments name.
    pub(crate) fn refusal(&self, arguments: &[String]) -> Option<String> {
        let place = Place::named(arguments).filter(|place| !self.has(*place))?;
        Some(format!(
            "Storage type '{place}' not allowed. The backups of this cluster are in {}",
            self.as_str()
        ))
    }

    /// What tells the repository in these places from one elsewhere, beside its volume.
    pub(crate) fn mark(&self) -> String {
        match self.bucket() {
            None => String::new(),
            Some(bucket) => format!(" {}:{}/{}", self.as_str(), bucket.endpoint, bucket.name),
        }
    }
}

/// By what full backups are counted that stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum KeptBy {
    /// Their number.
    #[default]
    Count,
    /// Their age in days. The newest that is older stays, too: points in time up to that age rest on it.
    Days,
}

/// How many backups stay when a new one is there, in each place; without a number all do. What rests on a backup goes with it, as
/// does the WAL before the oldest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Full ones.
    pub full: Option<u32>,
    /// What that number counts.
    pub by: KeptBy,
    /// Differential ones.
    pub diff: Option<u32>,
}

impl Retention {
    /// The arguments for pgBackRest, about each place alike.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(full) = self.full {
            let by = match self.by {
                KeptBy::Count => "count",
                KeptBy::Days => "time",
            };
            arguments.push(format!("--repo-retention-full={full}"));
            arguments.push(format!("--repo-retention-full-type={by}"));
        }
        arguments.extend(
            self.diff
                .map(|diff| format!("--repo-retention-diff={diff}")),
        );
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        Bucket {
            name: "backups".to_owned(),
            endpoint: "s3.example.org".to_owned(),
            region: "here".to_owned(),
            in_path: false,
        }
    }

    #[test]
    fn a_place_that_a_cluster_does_not_use_is_refused() {
        let s3 = vec!["--type=full".to_owned(), Place::S3.argument()];
        assert_eq!(Place::named(&s3), Some(Place::S3));
        let refused = Places::Local.refusal(&s3).expect("refused");
        assert_eq!(
            refused,
            "Storage type 's3' not allowed. The backups of this cluster are in local"
        );
        assert_eq!(Places::Both(bucket()).refusal(&s3), None);
        assert_eq!(Places::S3(bucket()).refusal(&s3), None);
        assert_eq!(Places::Local.refusal(&s3[..1]), None);
        let local = [Place::Local.argument()];
        assert!(Places::S3(bucket()).refusal(&local).is_some());
    }

    #[test]
    fn what_stays_is_said_only_where_somebody_says_it() {
        assert_eq!(Retention::default().arguments(), [""; 0]);
        let week = Retention {
            full: Some(7),
            by: KeptBy::Days,
            diff: Some(3),
        };
        let expected = [
            "--repo-retention-full=7",
            "--repo-retention-full-type=time",
            "--repo-retention-diff=3",
        ];
        assert_eq!(week.arguments(), expected);
    }
}
