//! Claims of the world, and what enlarges their volumes.

use pgo_core::{ClaimFacts, ClaimPhase, ClaimSize, Desired, Step};
use pgo_ids::InstanceName;

use super::World;

impl World {
    pub(super) fn make_claim(&mut self, instance: &InstanceName, desired: &Desired) {
        let claim = ClaimFacts {
            uid: self.uid("claim"),
            first_since: None,
            phase: ClaimPhase::Pending,
            has_volume: false,
            form: Some(desired.claim_form()),
            size: ClaimSize {
                requested: desired.storage.size.clone(),
                capacity: desired.storage.size.clone(),
                class: Some("fast".to_owned()),
                growable: None,
                said: None,
            },
            complaint: None,
            terminating: false,
        };
        let claims = &mut self.observed.claims;
        claims.entry(instance.clone()).or_insert(claim);
    }

    pub(super) fn grow_claim(&mut self, step: &Step) {
        let Step::GrowClaim {
            instance,
            uid,
            size,
            form,
        } = step
        else {
            panic!("{step:?} enlarges no claim");
        };
        let claim = self.observed.claims.get_mut(instance).expect("its claim");
        assert_eq!(claim.uid, *uid);
        size.clone_into(&mut claim.size.requested);
        claim.form = Some(form.clone());
    }

    pub(super) fn mark_claim(&mut self, step: &Step) {
        let Step::MarkClaim {
            instance,
            uid,
            since,
        } = step
        else {
            panic!("{step:?} marks no claim");
        };
        let claim = self.observed.claims.get_mut(instance).expect("its claim");
        assert_eq!(claim.uid, *uid);
        claim.first_since = Some(*since);
    }

    /// Whether the storage class lets volumes grow is known from now on.
    pub fn class_allows(&mut self, growable: bool) {
        for claim in self.observed.claims.values_mut() {
            claim.size.growable = Some(growable);
        }
    }

    /// Whoever enlarges volumes has done so.
    pub fn volumes_have_grown(&mut self) {
        for claim in self.observed.claims.values_mut() {
            claim.size.capacity.clone_from(&claim.size.requested);
        }
    }
}
