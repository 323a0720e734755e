//! Times of the wall clock: waiting for one, and what the apiserver's clock says.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use tokio::time::sleep;

/// Longest sleep at a time: a machine that was suspended, or whose clock was set, notices this soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// `Date` leaves the part of the second out (RFC 9110, section 5.6.7).
const DATE_LEAVES_OUT: SignedDuration = SignedDuration::from_secs(1);

/// Waits until the wall clock says so.
pub async fn reached(time: Timestamp) {
    loop {
        let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        sleep(left.min(LONGEST_SLEEP)).await;
    }
}

/// When a request that left at `sent` was surely answered from, by the clocks of both sides: where ours is ahead, what is later by
/// the apiserver's may still be to come.
pub fn as_of(sent: Timestamp, headers: &HeaderMap) -> Timestamp {
    let latest = date(headers).and_then(|date| date.checked_add(DATE_LEAVES_OUT).ok());
    latest.map_or(sent, |latest| latest.min(sent))
}

/// When a request left, by the apiserver's clock where it tells it: that of its answer, which came so much later. By ours it was
/// `sent`.
pub fn sent(sent: Timestamp, answered_after: Duration, headers: &HeaderMap) -> Timestamp {
    let left = date(headers).and_then(|date| date.checked_sub(answered_after).ok());
    left.unwrap_or(sent)
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    Some(rfc2822::parse(date).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_date(date: &'static str) -> HeaderMap {
        [(header::DATE, http::HeaderValue::from_static(date))]
            .into_iter()
            .collect()
    }

    #[test]
    fn the_clock_that_is_behind_counts() {
        let sent: Timestamp = "2026-11-26T02:00:05.5Z".parse().unwrap();
        for (date, expected) in [
            ("Thu, 26 Nov 2026 02:00:05 GMT", "2026-11-26T02:00:05.5Z"),
            ("Thu, 26 Nov 2026 02:00:01 GMT", "2026-11-26T02:00:02Z"),
            ("Thu, 26 Nov 2026 02:09:00 GMT", "2026-11-26T02:00:05.5Z"),
            ("lately", "2026-11-26T02:00:05.5Z"),
        ] {
            assert_eq!(
                as_of(sent, &with_date(date)),
                expected.parse().unwrap(),
                "{date}"
            );
        }
        assert_eq!(as_of(sent, &HeaderMap::new()), sent);
    }

    #[test]
    fn a_request_left_when_the_apiserver_says_less_what_the_answer_took() {
        let ours: Timestamp = "2026-11-26T02:00:05.5Z".parse().unwrap();
        for (date, expected) in [
            ("Thu, 26 Nov 2026 01:00:05 GMT", "2026-11-26T01:00:03Z"),
            ("Thu, 26 Nov 2026 02:09:00 GMT", "2026-11-26T02:08:58Z"),
            ("lately", "2026-11-26T02:00:05.5Z"),
        ] {
            assert_eq!(
                sent(ours, Duration::from_secs(2), &with_date(date)),
                expected.parse().unwrap(),
                "{date}"
            );
        }
    }
}
