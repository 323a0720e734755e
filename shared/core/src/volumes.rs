//! How full the volumes of a cluster are. One that fills is told at 70, 85 and 95 per cent, each once, with the time that is
//! left at the present rate; and again only after it had room.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, EventType, Field};
use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{
    Cluster, ClusterStatus, ConditionStatus, Observed, RESULT_ROOM, backup::repository_claim_name,
    journal::Notice, status::set_condition,
};

/// A volume has room again when it is this much, in per cent, below the first level: what goes up and down about a level is
/// told once.
const HYSTERESIS: u8 = 5;

/// How many measures are remembered for the rate.
const MARKS: usize = 3;

/// The rate is that of the remembered measures that are not older. What was measured before a longer calm would make it seem
/// slow.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// How full a volume is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// What is used and what can still be.
    pub bytes: u64,
    /// What is used.
    pub used: u64,
}

impl Fill {
    /// How much is used, in per cent, rounded down.
    #[must_use]
    pub fn percent(self) -> u8 {
        let percent = u128::from(self.used) * 100 / u128::from(self.bytes).max(1);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }
}

/// How full a volume is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// There is time to make room.
    Filling,
    /// There is not much time.
    NearlyFull,
    /// Writes are about to fail.
    AlmostFull,
}

impl Level {
    /// All there are, the lowest first.
    pub const ALL: [Self; 3] = [Self::Filling, Self::NearlyFull, Self::AlmostFull];

    /// From how much on it is so, in per cent.
    #[must_use]
    pub fn percent(self) -> u8 {
        match self {
            Self::Filling => 70,
            Self::NearlyFull => 85,
            Self::AlmostFull => 95,
        }
    }

    /// One word, as a condition's reason.
    fn reason(self) -> &'static str {
        match self {
            Self::Filling => "Filling",
            Self::NearlyFull => "NearlyFull",
            Self::AlmostFull => "AlmostFull",
        }
    }

    /// The highest one that is reached.
    fn of(percent: u8) -> Option<Self> {
        let mut levels = Self::ALL.into_iter().rev();
        levels.find(|level| percent >= level.percent())
    }
}

/// What was measured once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// When it was heard.
    pub at: Timestamp,
    /// What was used, in bytes.
    pub used: u64,
}

/// A volume as it was measured last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// What is used and what can still be, in bytes.
    pub bytes: u64,
    /// What is used, in bytes; to about a hundredth of the volume.
    pub used: u64,
    /// How full it was told to be; none where it has room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Level>,
    /// The last measures that differ, oldest first.
    #[serde(default)]
    pub marks: Vec<Mark>,
}

impl VolumeStatus {
    fn fill(&self) -> Fill {
        Fill {
            bytes: self.bytes,
            used: self.used,
        }
    }

    /// In how many seconds it is full at the present rate; none where it does not fill, or that is not known.
    #[must_use]
    pub fn full_in_seconds(&self) -> Option<u64> {
        let (last, earlier) = self.marks.split_last()?;
        let age = |mark: &&Mark| last.at.duration_since(mark.at) <= RECENT;
        let since = earlier.iter().find(age).or(earlier.last())?;
        let grown = last
            .used
            .checked_sub(since.used)
            .filter(|grown| *grown > 0)?;
        let took = last.at.duration_since(since.at).as_millis();
        let took = u128::try_from(took).unwrap_or(0).max(1);
        let left = u128::from(self.bytes.saturating_sub(last.used));
        let seconds = left * took / u128::from(grown) / 1000;
        Some(u64::try_from(seconds).unwrap_or(u64::MAX))
    }

    /// How full it is, and how much time is left at the present rate, for people.
    fn words(&self, volume: &str) -> String {
        let left = self.full_in_seconds();
        let until =
            left.map(|left| format!("; at the present rate it is full in {}", roughly(left)));
        used(volume, self.fill()) + &until.unwrap_or_default()
    }

    fn learn(&mut self, fill: Fill, now: Timestamp) {
        (self.bytes, self.used) = (fill.bytes, fill.used);
        if self.marks.last().is_none_or(|last| last.used != fill.used) {
            self.marks.push(Mark {
                at: now,
                used: fill.used,
            });
        }
        let surplus = self.marks.len().saturating_sub(MARKS);
        self.marks.drain(..surplus);
    }
}

/// A volume as somebody measures it.
struct Measured {
    /// Name of the claim; of the instance where its data is on none.
    volume: String,
    /// Whose data is on it; none for another volume of the cluster.
    instance: Option<InstanceName>,
    fill: Fill,
}

/// So full, in percent, that a WAL file of 16 MiB finds no room on a volume of up to 1.6 GB; on a larger one it soon finds none.
const FULL: u8 = 99;

/// Name of the repository's volume, if it is full.
pub(crate) fn full_repository(cluster: &Cluster, observed: &Observed) -> Option<String> {
    let mut all = measured(cluster, observed).filter(|one| one.instance.is_none());
    let full = all.find(|one| one.fill.percent() >= FULL);
    full.map(|one| one.volume)
}

/// How full the volume with an instance's data is, and how much time is left, for people; none where it has room.
pub(crate) fn warning(status: &ClusterStatus, instance: &InstanceName) -> Option<String> {
    let volume = status.volumes.get(instance.as_str());
    let filling = volume.filter(|volume| volume.told.is_some());
    filling.map(|volume| volume.words(instance.as_str()))
}

/// What is measured now: data, and the repository where it has a volume of its own.
fn measured(cluster: &Cluster, observed: &Observed) -> impl Iterator<Item = Measured> {
    let repository = &observed.repository;
    let claim = repository.claim.as_ref().and(repository.heard());
    let claim = claim.and_then(|agent| agent.volume);
    let backups = claim.map(|fill| Measured {
        volume: repository_claim_name(&cluster.name),
        instance: None,
        fill,
    });
    let data = observed.pods.keys().filter_map(|instance| {
        Some(Measured {
            volume: instance.to_string(),
            instance: Some(instance.clone()),
            fill: observed.agent(instance)?.volume?,
        })
    });
    data.chain(backups)
}

/// Whether a volume is there, also while nobody measures it.
fn is_there(volume: &str, cluster: &Cluster, observed: &Observed) -> bool {
    let mut claims = observed.claims.keys().chain(observed.pods.keys());
    let backups = observed.repository.claim.is_some();
    claims.any(|name| name.as_str() == volume)
        || (backups && repository_claim_name(&cluster.name) == volume)
}

/// Takes over what is measured, and tells what is new. Of a volume that nobody measures what was said last stays.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    next.volumes
        .retain(|volume, _| is_there(volume, cluster, observed));
    let found = measured(cluster, observed);
    for measured in found.filter(|measured| measured.fill.bytes > 0) {
        let status = next
            .volumes
            .entry(measured.volume.clone())
            .or_insert_with(|| VolumeStatus {
                bytes: 0,
                used: 0,
                told: None,
                marks: Vec::new(),
            });
        status.learn(measured.fill, now);
        let percent = measured.fill.percent();
        let reached = Level::of(percent);
        let event_type = if reached > status.told {
            status.told = reached;
            EventType::DiskWarning
        } else if status.told.is_some() && percent < Level::Filling.percent() - HYSTERESIS {
            status.told = None;
            EventType::DiskRecovered
        } else {
            continue;
        };
        let notice = notice(event_type, &measured, status, now);
        next.journal.tell(cluster.subject(), notice, now);
    }
    judge(next, (cluster.generation, now));
}

/// Says whether all volumes have room, once one was measured.
fn judge(next: &mut ClusterStatus, at: (i64, Timestamp)) {
    if next.volumes.is_empty() {
        return;
    }
    let full = next.volumes.iter().filter(|(_, one)| one.told.is_some());
    let full: BTreeMap<&String, &VolumeStatus> = full.collect();
    let worst = full.values().filter_map(|one| one.told).max();
    let words = full.iter().map(|(volume, one)| one.words(volume));
    let (status, reason, message) = match worst {
        None => (
            ConditionStatus::True,
            "Room",
            format!("no volume is {}% used", Level::Filling.percent()),
        ),
        Some(worst) => (
            ConditionStatus::False,
            worst.reason(),
            words.collect::<Vec<_>>().join("; "),
        ),
    };
    set_condition(
        &mut next.conditions,
        (RESULT_ROOM, status),
        reason,
        &message,
        at,
    );
}

fn used(volume: &str, fill: Fill) -> String {
    let mib = |bytes: u64| bytes >> 20;
    format!(
        "volume {volume} is {}% used: {} of {} MiB",
        fill.percent(),
        mib(fill.used),
        mib(fill.bytes)
    )
}

fn notice(
    event_type: EventType,
    measured: &Measured,
    status: &VolumeStatus,
    now: Timestamp,
) -> Notice {
    let left = status
        .full_in_seconds()
        .filter(|_| event_type == EventType::DiskWarning);
    let cause = match event_type {
        EventType::DiskWarning => status.words(&measured.volume),
        _ => used(&measured.volume, measured.fill),
    };
    let number = |number: u64| Datum::Number(number);
    let mut details = vec![
        (Field::Volume, Datum::Text(measured.volume.clone())),
        (Field::UsedPercent, number(measured.fill.percent().into())),
    ];
    let instance = measured.instance.iter();
    details.extend(instance.map(|name| (Field::Instance, Datum::Text(name.to_string()))));
    details.extend(left.map(|left| (Field::FullInSeconds, number(left))));
    let what = event_type.as_str();
    Notice {
        event_type,
        about: format!("{what} {} at {now}", measured.volume),
        time: None,
        cause,
        since: None,
        details,
    }
}

/// A time in the largest unit of which it has two or more.
fn roughly(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_among_all_and_they_rise() {
        // Whoever adds one is led here by the compiler.
        let place = |level: Level| match level {
            Level::Filling => 0,
            Level::NearlyFull => 1,
            Level::AlmostFull => 2,
        };
        assert_eq!(Level::ALL.map(place), [0, 1, 2]);
        assert_eq!(Level::ALL.map(Level::percent), [70, 85, 95]);
        assert!(Level::ALL.is_sorted());
    }

    #[test]
    fn a_time_is_told_roughly() {
        let told = [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ];
        for (seconds, text) in told {
            assert_eq!(roughly(seconds), text);
        }
    }
}
