//! Conditions of objects whose status is nothing but 4.1's state and these.

use jiff::Timestamp;
use pgo_core::{Condition, ConditionStatus};
use serde_json::Value;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word for why.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The conditions of an object with this verdict among them; none where they say it already.
pub fn with(
    present: &[Value],
    verdict: &Verdict,
    generation: i64,
    now: Timestamp,
) -> Option<Vec<Value>> {
    let (ours, mut others): (Vec<Value>, Vec<Value>) = present
        .iter()
        .cloned()
        .partition(|condition| condition["type"] == verdict.name);
    let former = ours.into_iter().next().unwrap_or_default();
    let mut condition = Condition {
        name: verdict.name.to_owned(),
        status: verdict.status,
        reason: verdict.reason.to_owned(),
        message: verdict.message.clone(),
        last_transition_time: now,
        observed_generation: generation,
    };
    let told = |condition: &Condition| serde_json::to_value(condition).unwrap_or_default();
    let since = former["lastTransitionTime"]
        .as_str()
        .and_then(|time| time.parse().ok());
    if let Some(since) = since.filter(|_| former["status"] == told(&condition)["status"]) {
        condition.last_transition_time = since;
    }
    // A generation alone is news of our own: it changes with what is projected into a spec.
    let is_told = ["status", "reason", "message"]
        .iter()
        .all(|key| former[key] == told(&condition)[key]);
    if is_told {
        return None;
    }
    others.push(told(&condition));
    Some(others)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(status: ConditionStatus, message: &str) -> Verdict {
        Verdict {
            name: "Complete",
            status,
            reason: "Reason",
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_told_is_not_told_again_and_others_stay() {
        let now = Timestamp::UNIX_EPOCH;
        let later: Timestamp = "2026-10-15T10:11:12Z".parse().expect("a time");
        let others = json!({"type": "Theirs", "status": "Unknown"});
        let no = verdict(ConditionStatus::False, "not yet");
        let first = with(std::slice::from_ref(&others), &no, 1, now).expect("news");
        assert_eq!((first.len(), &first[0]), (2, &others));
        assert_eq!(with(&first, &no, 2, later), None);

        let why = verdict(ConditionStatus::False, "still not");
        let second = with(&first, &why, 2, later).expect("news");
        assert_eq!(
            second[1]["lastTransitionTime"],
            first[1]["lastTransitionTime"]
        );
        let yes = verdict(ConditionStatus::True, "done");
        let third = with(&second, &yes, 2, later).expect("news");
        assert_eq!(third[1]["lastTransitionTime"], later.to_string());
        assert_eq!(third.len(), 2);
    }
}
