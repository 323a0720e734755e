//! The times of `pgo watch`: where it begins, and when it ends.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::{cli::wait::duration, client::clock};

/// How long after its end an event of before may come: it goes from the cluster's status through nsqd into the log, which takes
/// milliseconds, on a machine under load a tenth of a second. What waits for longer, since nsqd or the event service is away, comes with
/// the time at which it happened, and is found by whoever asks later.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(2);

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Time(Timestamp),
    After(String),
}

/// When to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With what is there now, whatever the time of each side's clock.
    Now,
    /// When all that happened until then is there.
    At(Timestamp),
}

impl End {
    /// Whether an event of that time is shown.
    pub fn shows(self, time: Timestamp) -> bool {
        match self {
            Self::Now => true,
            Self::At(end) => time <= end,
        }
    }

    /// As of when the log has all of it. Each connection is asked for after now.
    pub fn complete(self) -> Timestamp {
        match self {
            Self::Now => Timestamp::MIN,
            Self::At(time) => time.checked_add(UNDER_WAY).unwrap_or(Timestamp::MAX),
        }
    }

    /// Waits until the time has come.
    pub async fn comes(self) {
        if let Self::At(time) = self {
            clock::reached(time).await;
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::At(time) => write!(f, "{time}"),
        }
    }
}

/// The first moment of a day.
fn day(text: &str) -> Option<Timestamp> {
    // A longer text may have a time of a place that is not known.
    let day: jiff::civil::Date = (text.len() == 10).then(|| text.parse().ok())??;
    Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A time, a day, how long ago, the beginning, or a cursor.
pub fn since(text: &str) -> Result<Place, String> {
    if text == "beginning" {
        return Ok(Place::Time(Timestamp::UNIX_EPOCH));
    }
    let ago = |text| Timestamp::now().checked_sub(duration(text).ok()?).ok();
    let time = text.parse().ok().or_else(|| day(text));
    if let Some(time) = time.or_else(|| ago(text)) {
        return Ok(Place::Time(time));
    }
    let cursor = text.split_once(':').is_some_and(|(epoch, offset)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_alphanumeric()) && digits(offset)
    });
    match cursor {
        true => Ok(Place::After(text.to_owned())),
        false => Err(
            "write it as 10m, 1h30m, 7d, 2026-01-31T12:00:00Z, 2026-01-31, beginning, or a cursor that -o json showed"
                .to_owned(),
        ),
    }
}

/// A time, in how long, or now.
pub fn until(text: &str) -> Result<End, String> {
    let now = Timestamp::now();
    if text == "now" {
        return Ok(End::Now);
    }
    let ahead = |text| now.checked_add(duration(text).ok()?).ok();
    let time = text.parse().ok().or_else(|| day(text));
    time.or_else(|| ahead(text))
        .map(End::At)
        .ok_or_else(|| "write it as now, 10m, 2026-01-31T12:00:00Z, or 2026-01-31".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_how_long_ago_or_a_cursor() {
        let time = "2026-01-31T12:00:00Z";
        assert_eq!(since(time), Ok(Place::Time(time.parse().unwrap())));
        let Ok(Place::Time(hour)) = since("1h") else {
            panic!("not a time");
        };
        let seconds = Timestamp::now().duration_since(hour).as_secs();
        assert!((3590..3660).contains(&seconds));
        let day = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(since("2026-01-31"), Ok(Place::Time(day)));
        assert_eq!(since("beginning"), Ok(Place::Time(Timestamp::UNIX_EPOCH)));
        assert!(matches!(since("7d"), Ok(Place::Time(_))));
        assert!(since("2026-01-31T12:00:00").is_err(), "of which zone?");
        assert_eq!(since("0a1b:17"), Ok(Place::After("0a1b:17".to_owned())));
        for wrong in ["yesterday", "a:", ":1", "a/b:1"] {
            assert!(since(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }

    #[test]
    fn until_is_now_a_time_or_in_how_long() {
        let Ok(End::At(hour)) = until("1h") else {
            panic!("not a time");
        };
        let ahead = hour.duration_since(Timestamp::now()).as_secs();
        assert!((3500..=3600).contains(&ahead));
        assert_eq!(until("now"), Ok(End::Now));
        assert!(until("tomorrow").unwrap_err().contains("now"));
    }

    #[test]
    fn what_is_under_way_is_waited_for_unless_only_what_is_there_is_asked_for() {
        let time = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(End::At(time).complete().duration_since(time), UNDER_WAY);
        assert!(End::Now.complete() < Timestamp::UNIX_EPOCH);
        assert_eq!(End::At(Timestamp::MAX).complete(), Timestamp::MAX);
    }

    #[test]
    fn what_happened_after_the_end_is_not_shown() {
        let end: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert!(End::At(end).shows(end) && End::Now.shows(Timestamp::MAX));
        assert!(!End::At(end).shows(end + SignedDuration::from_millis(1)));
    }
}
