//! The fields that some types of events have and others have not.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number from 0 on.
    Number,
    /// `true` or `false`.
    Flag,
}

macro_rules! fields {
    ($($field:ident = $wire:literal $kind:ident $from_41:literal $in_line:literal $meaning:literal;)+) => {
        /// A field of a payload.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $(#[doc = $meaning] $field,)+
        }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$field),+];

            /// Name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$field => $wire,)+ }
            }

            /// What it holds.
            #[must_use]
            pub fn kind(self) -> FieldKind {
                match self { $(Self::$field => FieldKind::$kind,)+ }
            }

            /// Whether 4.1 has it; an event of such a field's type always carries it then, empty where nothing is known.
            #[must_use]
            pub fn is_of_41(self) -> bool {
                match self { $(Self::$field => $from_41,)+ }
            }

            /// How a line for people tells what it holds, `{}`; empty where it does not tell whom or what the event is about.
            #[must_use]
            pub fn in_line(self) -> &'static str {
                match self { $(Self::$field => $in_line,)+ }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$field => $meaning,)+ }
            }
        }
    };
}

// Their order is that of a line, too.
fields! {
    ClusterName = "clustername" Text true "" "The cluster.";
    WorkflowId = "workflowid" Text true "" "4.1's name for the operation's id.";
    ErrorMessage = "errormessage" Text true "" "4.1's name for the cause of a failure.";
    ReplicaName = "replicaname" Text true "{}" "The replica.";
    Target = "target" Text true "to {}" "The instance that becomes primary.";
    DeploymentName = "deploymentname" Text true "{}" "The former primary.";
    Label = "label" Text true "{}" "The label, as it was asked for.";
    BackupType = "backuptype" Text true "{}" "pgbackrest, pgbasebackup or pgdump.";
    Path = "path" Text true "in {}" "Where the backup lies.";
    LoadConfig = "loadconfig" Text true "{}" "The table that is loaded.";
    PostgresUserName = "postgresusername" Text true "{}" "The role of PostgreSQL.";
    PostgresPassword = "postgrespassword" Text true "" "Always empty: 4.1 told the password.";
    Managed = "managed" Flag true "" "Whether PGO keeps the password.";
    PolicyName = "policyname" Text true "{}" "The policy.";
    CreatedUserName = "createdusername" Text true "{}" "The user of PGO.";
    UpdatedUserName = "updatedusername" Text true "{}" "The user of PGO.";
    DeletedUserName = "deletedusername" Text true "{}" "The user of PGO.";
    CreatedRoleName = "createdrolename" Text true "{}" "The role of PGO.";
    UpdatedRoleName = "updatedrolename" Text true "{}" "The role of PGO.";
    DeletedRoleName = "deletedRolename" Text true "{}" "The role of PGO.";
    CreatedNamespace = "creatednamespace" Text true "{}" "The namespace.";
    DeletedNamespace = "deletednamespace" Text true "{}" "The namespace.";
    FormerPrimary = "formerprimary" Text false "from {}" "The instance that was primary.";
    Instance = "instance" Text false "{}" "The instance.";
    Primary = "primary" Text false "primary {}" "The primary at that time.";
    FormerVersion = "formerversion" Text false "from {}" "The version of PostgreSQL before.";
    Version = "version" Text false "to {}" "The version of PostgreSQL from now on.";
    Timeline = "timeline" Number false "timeline {}" "PostgreSQL's timeline from now on; that of before where a change of the primary begins or fails before an election, a rewind begins or fails, or WAL was lost.";
    Lsn = "lsn" Text false "at {}" "The WAL position at which the timeline begins or, of a replica, up to which it has come; up to which was restored; where a change of the primary begins or fails before an election, up to which its target has; where a rewind begins or fails, or WAL was lost, at which the primary's history leaves the timeline.";
    LostBytes = "lostbytes" Number false "{} bytes of WAL lost" "WAL of the former primary that the new one does not have, in bytes.";
    LagBytes = "lagbytes" Number false "{} bytes behind" "How far the replica is behind, in bytes of WAL.";
    SizeBytes = "sizebytes" Number false "{} bytes" "Size of what was backed up, restored, loaded or removed, in bytes.";
    Rows = "rows" Number false "{} rows" "How many rows were loaded.";
    Damaged = "damaged" Flag false "" "Whether the backup was made and has pages with wrong checksums.";
    StartWal = "startwal" Text false "" "The first WAL segment that the backup needs, or needed.";
    StopWal = "stopwal" Text false "" "The last WAL segment that the backup needs, or needed.";
    Schedule = "schedule" Text false "{}" "The schedule.";
    Due = "due" Text false "due {}" "When the run was due (RFC 3339).";
    Service = "service" Text false "{}" "The service of PGO.";
    Pod = "pod" Text false "pod {}" "The pod of the process.";
    Leader = "leader" Text false "pod {}" "The pod that leads, or led.";
    Certificate = "certificate" Text false "{}" "The Secret that holds the certificate.";
    Expires = "expires" Text false "ends {}" "When it ends (RFC 3339).";
    Volume = "volume" Text false "volume {}" "The volume's claim.";
    UsedPercent = "usedpercent" Number false "{}% used" "How much of it is used, in percent.";
    FullInSeconds = "fullinseconds" Number false "full in {} s" "When it is full at the present rate, in seconds from now.";
    Waiting = "waiting" Number false "{} waiting" "How many events wait to be stored.";
    Skipped = "skipped" Number false "{} left out" "How many progress events were left out.";
    Unpublished = "unpublished" Number false "{} not published" "How many events were not published.";
}

/// A text that names no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no field {0:?}")]
pub struct UnknownField(pub String);

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let mut all = Self::ALL.iter().copied();
        all.find(|field| field.as_str() == text)
            .ok_or_else(|| UnknownField(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom or what of the cluster, or of PGO, an event is about, for people: what its fields tell of it, in the order of the
/// catalogue. A type that is not known has its own fields no less. Empty where the type says all.
#[must_use]
pub fn about(event: &Value) -> String {
    let told = Field::ALL.iter().filter_map(|field| {
        let value = match &event[field.as_str()] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let is_told = !value.is_empty() && !field.in_line().is_empty();
        is_told.then(|| field.in_line().replace("{}", &value))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What a field of one event holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Datum {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(u64),
    /// Text.
    Text(String),
}

impl Datum {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::Flag(_) => FieldKind::Flag,
            Self::Number(_) => FieldKind::Number,
            Self::Text(_) => FieldKind::Text,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What stands where 4.1 always has something and nothing is known.
    pub(crate) fn nothing(kind: FieldKind) -> Self {
        match kind {
            FieldKind::Flag => Self::Flag(false),
            FieldKind::Number => Self::Number(0),
            FieldKind::Text => Self::Text(String::new()),
        }
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Datum {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Datum {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}
