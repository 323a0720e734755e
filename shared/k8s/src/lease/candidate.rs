//! What a candidate does about a Lease it has read: a decision of the Lease, the candidate's memory and the time.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// There is none: make it.
    Create,
    /// Nobody holds it, or its holder let it run out: take it over.
    Take,
    /// It is ours: say that we are still here.
    Renew,
    /// Somebody holds it.
    Wait,
}

/// A version of a Lease, and when this process saw it for the first time.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What a candidate remembers of the Lease.
///
/// Times are of the local clock only: the holder's `renewTime` may be of a clock that goes wrong, so a Lease has run out
/// when this process has seen no change of it for its duration.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    seen: Option<Seen>,
}

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Self {
            identity,
            duration,
            seen: None,
        }
    }

    /// Judges the Lease as read at `now` (the time of the answer, not of the question).
    pub(super) fn judge(&mut self, lease: Option<&Lease>, now: Instant) -> Move {
        let Some(lease) = lease else {
            self.seen = None;
            return Move::Create;
        };
        match holder(lease) {
            None => Move::Take,
            Some(holder) if holder == self.identity => Move::Renew,
            Some(_) if self.unchanged_for(lease, now) >= self.duration_of(lease) => Move::Take,
            Some(_) => Move::Wait,
        }
    }

    fn unchanged_for(&mut self, lease: &Lease, now: Instant) -> Duration {
        let version = lease.metadata.resource_version.clone();
        match &self.seen {
            Some(seen) if seen.version == version => now.saturating_duration_since(seen.at),
            _ => {
                self.seen = Some(Seen { version, at: now });
                Duration::ZERO
            }
        }
    }

    /// The holder wrote how long it counts on the Lease; where it is unreadable, it is what we would write.
    fn duration_of(&self, lease: &Lease) -> Duration {
        lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.duration, Duration::from_secs)
    }

    /// A Lease that this candidate holds from the beginning.
    pub(super) fn first(&self, name: &str, namespace: &str, now: Timestamp) -> Lease {
        let nobody = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        };
        self.held(&nobody, now)
    }

    /// The Lease as it is when this candidate takes or renews it; its `resourceVersion` stays, so that the write fails
    /// where somebody else wrote meanwhile.
    pub(super) fn held(&self, lease: &Lease, now: Timestamp) -> Lease {
        let mut spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.lease_transitions = Some(next_transition(lease));
            spec.acquire_time = Some(MicroTime(now));
            spec.holder_identity = Some(self.identity.clone());
        }
        spec.renew_time = Some(MicroTime(now));
        spec.lease_duration_seconds = Some(whole_seconds(self.duration));
        with_spec(lease, spec)
    }

    /// The Lease as it is when this candidate gives it back; others take it at once.
    pub(super) fn released(&self, lease: &Lease, now: Timestamp) -> Lease {
        let mut spec = lease.spec.clone().unwrap_or_default();
        spec.holder_identity = None;
        spec.acquire_time = None;
        spec.renew_time = Some(MicroTime(now));
        with_spec(lease, spec)
    }
}

/// Who holds a Lease; the empty name, which other implementations write on release, is nobody.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

fn with_spec(lease: &Lease, spec: LeaseSpec) -> Lease {
    Lease {
        metadata: lease.metadata.clone(),
        spec: Some(spec),
    }
}

/// Changes of the holder are counted from the second one on, as the API's definition has it.
fn next_transition(lease: &Lease) -> i32 {
    match &lease.spec {
        Some(spec) => spec.lease_transitions.unwrap_or(0).saturating_add(1),
        None => 0,
    }
}

/// The API has whole seconds; others must not take over before the holder has given up, so it is rounded up.
fn whole_seconds(duration: Duration) -> i32 {
    let up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(up).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn candidate(identity: &str) -> Candidate {
        Candidate::new(identity.to_owned(), DURATION)
    }

    fn lease_of(identity: &str, version: &str) -> Lease {
        let mut lease = candidate(identity).first("lease", "pgo", Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn a_missing_lease_is_made_and_a_free_one_taken() {
        let mut one = candidate("one");
        let now = Instant::now();
        assert_eq!(one.judge(None, now), Move::Create);
        let free = one.released(&lease_of("one", "1"), Timestamp::UNIX_EPOCH);
        assert_eq!(one.judge(Some(&free), now), Move::Take);
        assert_eq!(candidate("two").judge(Some(&free), now), Move::Take);
    }

    #[test]
    fn the_holder_renews_also_after_a_restart() {
        let lease = lease_of("one", "1");
        assert_eq!(
            candidate("one").judge(Some(&lease), Instant::now()),
            Move::Renew
        );
    }

    #[test]
    fn a_holders_clock_does_not_matter() {
        let mut lease = lease_of("one", "1");
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::MIN));
        }
        assert_eq!(
            candidate("two").judge(Some(&lease), Instant::now()),
            Move::Wait
        );
    }

    #[test]
    fn taking_counts_a_transition_and_renewing_does_not() {
        let at = |second| Timestamp::new(second, 0).expect("a time");
        let first = candidate("one").first("lease", "pgo", at(1));
        let renewed = candidate("one").held(&first, at(2));
        let taken = candidate("two").held(&renewed, at(3));
        let transitions = |lease: &Lease| lease.spec.as_ref().and_then(|s| s.lease_transitions);
        assert_eq!(transitions(&first), Some(0));
        assert_eq!(transitions(&renewed), Some(0));
        assert_eq!(transitions(&taken), Some(1));
        let acquired = |lease: &Lease| lease.spec.as_ref().and_then(|s| s.acquire_time.clone());
        assert_eq!(acquired(&renewed), Some(MicroTime(at(1))));
        assert_eq!(acquired(&taken), Some(MicroTime(at(3))));
    }

    proptest! {
        #[test]
        fn a_lease_is_taken_only_after_its_duration_without_a_change(
            looks in prop::collection::vec((0u64..8_000, any::<bool>()), 1..60),
        ) {
            let mut two = candidate("two");
            let start = Instant::now();
            let mut now = start;
            let mut version = 1;
            let mut first_seen = None;
            for (pause, changes) in looks {
                now += Duration::from_millis(pause);
                if changes {
                    version += 1;
                    first_seen = None;
                }
                let since = *first_seen.get_or_insert(now);
                let moved = two.judge(Some(&lease_of("one", &version.to_string())), now);
                let expected = if now - since >= DURATION { Move::Take } else { Move::Wait };
                prop_assert_eq!(moved, expected);
            }
        }
    }
}
