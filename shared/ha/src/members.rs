//! Who votes and for whose answer commits wait: one change at a time, in the order in which nothing is lost.
//!
//! What the Lease records must hold for every commit acknowledged so far, and so for every configuration under which
//! one was or will be. What lets a commit through sooner (one more in the set, a lower k) is recorded first and configured
//! then; what makes it wait for more (one less in the set, a higher k) is configured first, and recorded once it holds for
//! what was acknowledged before.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Record, Rules, Synchronous, VoterId};

/// What is wanted of the membership. Whoever wants it has seen that those who join stream, and that those who leave are
/// gone for good or for the set time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// The voters.
    pub voters: BTreeSet<VoterId>,
    /// The synchronous rule.
    pub synchronous: Synchronous,
    /// For how many answers commits wait while fewer than the rule asks for could answer and the user chose not to wait for
    /// those. The rule is recorded all the same: what it promised goes on to hold, and what is acknowledged by less is
    /// promised to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<usize>,
}

impl Wanted {
    /// Whether commits are to wait for fewer than the rule asks for.
    #[must_use]
    pub fn falls_back(&self) -> bool {
        self.in_force() != self.synchronous
    }

    /// The rule that PostgreSQL is to go by.
    fn in_force(&self) -> Synchronous {
        match self.fallback.filter(|fewer| *fewer < self.synchronous.k) {
            None => self.synchronous.clone(),
            Some(0) => Synchronous::default(),
            Some(fewer) => Synchronous {
                k: fewer,
                set: self.synchronous.set.clone(),
            },
        }
    }
}

/// The next step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is as wanted.
    Done,
    /// Write this membership to the Lease.
    Record(Wanted),
    /// Tell PostgreSQL. Who left the set loses its walsender, every other walsender has read the new rule, and then the
    /// WAL's end is taken: what k of the new set have flushed up to it, was before.
    Configure(Synchronous),
    /// k of the configured set have not yet flushed up to the place taken after it was configured.
    Wait,
    /// k replicas cannot answer where the set has fewer; nothing is changed.
    Impossible,
}

/// Whether every commit that `stricter` lets through would have been let through by `looser`.
#[must_use]
pub fn implies(stricter: &Synchronous, looser: &Synchronous) -> bool {
    looser.k <= stricter.k && (stricter.set.is_subset(&looser.set) || looser.k == 0)
}

/// Both rules in one that holds wherever one of them does.
fn loosest(a: &Synchronous, b: &Synchronous) -> Synchronous {
    let k = a.k.min(b.k);
    let set = if k == 0 {
        BTreeSet::new()
    } else {
        a.set.union(&b.set).copied().collect()
    };
    Synchronous { k, set }
}

/// The next step from what is recorded, and `configured` in PostgreSQL, to what is `wanted`; `held` says that k of the
/// configured set have flushed up to the place taken after it was configured.
#[must_use]
pub fn next_step(
    rules: &Rules,
    record: &Record,
    configured: &Synchronous,
    held: bool,
    wanted: &Wanted,
) -> Step {
    let in_force = wanted.in_force();
    let falls_back = wanted.falls_back();
    let rule = if falls_back && !rules.fallback_keeps_rule {
        &in_force
    } else {
        &wanted.synchronous
    };
    let members = rule.set.is_subset(&wanted.voters);
    if !members || rule.set.len() < rule.k || (rule.k == 0 && !rule.set.is_empty()) {
        return Step::Impossible;
    }
    // First what is recorded covers what is wanted, too; voters that the wider set needs come with it.
    let wider = loosest(&record.synchronous, rule);
    let joined: BTreeSet<VoterId> = record.voters.union(&wanted.voters).copied().collect();
    if rules.added_is_recorded_first && (wider != record.synchronous || joined != record.voters) {
        return Step::Record(Wanted {
            voters: joined,
            synchronous: wider,
            fallback: None,
        });
    }
    let as_wanted = record.voters == wanted.voters && record.synchronous == *rule;
    if !rules.removed_is_recorded_last && !as_wanted {
        return Step::Record(wanted.clone());
    }
    if *configured != in_force {
        return Step::Configure(in_force);
    }
    // By less than the rule nothing is held, so nothing that is stricter can be recorded.
    if as_wanted || falls_back {
        return Step::Done;
    }
    if held
        || implies(rule, &record.synchronous) && implies(&record.synchronous, rule)
        || rule.k == 0
    {
        return Step::Record(wanted.clone());
    }
    Step::Wait
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const RULES: Rules = Rules::PROTOCOL;

    fn id(n: u128) -> VoterId {
        VoterId::from(Uuid::from_u128(n))
    }

    fn membership() -> impl Strategy<Value = Wanted> {
        let voters = prop::collection::btree_set(1_u128..7, 0..6);
        (voters, 0_usize..4).prop_map(|(voters, k)| {
            let voters: BTreeSet<VoterId> = voters.into_iter().map(id).collect();
            let k = k.min(voters.len());
            let set = if k == 0 {
                BTreeSet::new()
            } else {
                voters.clone()
            };
            Wanted {
                voters,
                synchronous: Synchronous { k, set },
                fallback: None,
            }
        })
    }

    fn record(of: &Wanted) -> Record {
        Record {
            voters: of.voters.clone(),
            synchronous: of.synchronous.clone(),
            ..Record::first(id(0))
        }
    }

    proptest! {
        #[test]
        fn each_change_ends_and_what_is_recorded_always_covers_what_is_configured(
            from in membership(), to in membership()
        ) {
            let (mut recorded, mut configured, mut held) = (record(&from), from.synchronous, false);
            // Rules that may still have let commits through which are not known to hold by a later one.
            let mut may_hold = vec![configured.clone()];
            for _ in 0..10 {
                match next_step(&RULES, &recorded, &configured, held, &to) {
                    Step::Done => {
                        prop_assert_eq!(&recorded, &record(&to));
                        prop_assert_eq!(&configured, &to.synchronous);
                        return Ok(());
                    }
                    Step::Record(next) => recorded = record(&next),
                    Step::Configure(rule) => {
                        configured = rule;
                        may_hold.push(configured.clone());
                        held = false;
                    }
                    Step::Wait => {
                        may_hold = vec![configured.clone()];
                        held = true;
                    }
                    Step::Impossible => prop_assert!(false, "{to:?} is possible"),
                }
                for rule in &may_hold {
                    // Without acknowledgers nothing held before and nothing is promised after.
                    let promised = recorded.synchronous.k == 0 || rule.k == 0 || implies(rule, &recorded.synchronous);
                    prop_assert!(promised, "{rule:?} is not covered by {:?}", recorded.synchronous);
                    prop_assert!(recorded.synchronous.set.is_subset(&recorded.voters));
                }
            }
            prop_assert!(false, "not done after ten steps: {:?}", recorded);
        }
    }

    proptest! {
        /// Whatever else changes meanwhile, by a fallback no promise gets weaker, and after it the rule is as it was wanted.
        #[test]
        fn a_fallback_changes_what_is_waited_for_and_no_promise(
            from in membership(), to in membership(), fewer in 0_usize..3
        ) {
            let fallen = Wanted { fallback: Some(fewer), ..to.clone() };
            let (mut recorded, mut configured, mut held) = (record(&from), from.synchronous, false);
            let falls_back = fallen.in_force() != to.synchronous;
            let wanted = [&fallen, &to];
            for (turn, wanted) in wanted.into_iter().enumerate() {
                let mut ended = false;
                for _ in 0..10 {
                    let votes = recorded.votes_needed(&RULES);
                    match next_step(&RULES, &recorded, &configured, held, wanted) {
                        Step::Done => {
                            ended = true;
                            break;
                        }
                        Step::Record(next) => {
                            // During the fallback fewer votes are needed only where the user wants less of the promise.
                            let less = next.synchronous.k < recorded.synchronous.k;
                            prop_assert!(!less || next.synchronous.k >= to.synchronous.k);
                            recorded = record(&next);
                            let may_need_less = less || turn > 0 || !falls_back;
                            prop_assert!(may_need_less || recorded.votes_needed(&RULES) >= votes);
                        }
                        Step::Configure(rule) => (configured, held) = (rule, false),
                        Step::Wait => held = true,
                        Step::Impossible => prop_assert!(false, "{wanted:?} is possible"),
                    }
                }
                prop_assert!(ended, "{recorded:?}");
                prop_assert_eq!(&configured, &wanted.in_force());
            }
            prop_assert_eq!(&recorded, &record(&to));
        }
    }

    #[test]
    fn more_acknowledgers_than_members_are_refused() {
        let wanted = Wanted {
            voters: BTreeSet::from([id(1)]),
            synchronous: Synchronous {
                k: 2,
                set: BTreeSet::from([id(1)]),
            },
            fallback: None,
        };
        let recorded = Record::first(id(0));
        let step = next_step(&RULES, &recorded, &Synchronous::default(), false, &wanted);
        assert_eq!(step, Step::Impossible);
    }
}
