//! A Lease that records nothing: that of a new cluster, or one that was made anew since the former one is lost.
//!
//! The record says who may elect whom, so without it nobody can be elected. An instance begins, or goes on, only where
//! nothing was promised to anybody, where it serves with authority, or where it is told that no other one serves.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use pgo_ha::{Input, Position, Record, Server};
use pgo_ids::Term;

use super::{Driver, leases::Write};
use crate::{
    ha::lease::{self, Reading, TAKE_UP},
    store::Store,
};

/// How long the first primary of a cluster that is made from data waits to know how far that reaches. Without it, the data is
/// taken to be on the first timeline, and PostgreSQL says so where it is not.
const DATA_DEADLINE: Duration = Duration::from_secs(5);

impl<S: Store> Driver<S> {
    /// What becomes of a Lease that records nothing; none where it is being written.
    pub(super) fn found_empty(&mut self, lease: &Lease, reading: Reading) -> Option<Input> {
        // A cluster that has recorded something is not new, whatever the Lease says.
        let begun =
            self.agent.seen.is_some() || self.parts.volume.has_promised_to(lease::cluster(lease));
        match reading {
            Reading::Anew {
                version,
                term,
                chosen,
            } => self.found_anew(lease, (version, term), chosen),
            Reading::First | Reading::Of(_) if begun => {
                self.found_anew(lease, (lease::version(lease), Term(1)), false)
            }
            Reading::First if self.is_apart() => Some(self.others_go_on()),
            Reading::First => self.begin(lease),
            Reading::Of(first) => {
                self.wait_for(format!("waiting for the primary, {first}, to serve"));
                Some(Input::LeaseUnknown)
            }
            Reading::Recorded { .. } => Some(Input::LeaseUnknown),
        }
    }

    /// The first primary of a new cluster, which may be made from data that was kept.
    fn begin(&mut self, lease: &Lease) -> Option<Input> {
        let reaches = self.agent.flushed;
        let waits = self.parts.volume.has_data()
            && reaches == Position::default()
            && self.begun.elapsed() < DATA_DEADLINE;
        if waits {
            return Some(Input::LeaseUnknown);
        }
        if let Err(error) = self.parts.volume.forget_comparison() {
            tracing::warn!(%error, "what a deleted cluster lost may be told of this one");
        }
        let record = if reaches.timeline.0 > 1 {
            Record::taken_up(self.agent.me, self.above(Term(1)), reaches)
        } else {
            Record::first(self.agent.me)
        };
        self.take_up(lease, &record)
    }

    fn found_anew(
        &mut self,
        lease: &Lease,
        (version, term): (pgo_ha::Version, Term),
        chosen: bool,
    ) -> Option<Input> {
        let anew = Input::LeaseAnew { version, term };
        if self.agent.server == Server::Primary {
            self.lease = Some(lease.clone());
            return Some(anew);
        }
        let reaches = self.agent.flushed;
        if chosen && self.agent.server == Server::Replica && reaches != Position::default() {
            let record = Record::taken_up(self.agent.me, self.above(term), reaches);
            tracing::warn!(term = %record.term, "this instance goes on by a Lease that was made anew");
            return self.take_up(lease, &record);
        }
        self.lease_is_lost = true;
        self.wait_for(if chosen {
            "the Lease was made anew and is given to this instance, which does not know yet how far its data reaches"
                .to_owned()
        } else {
            format!(
                "the Lease of the cluster was lost with what it recorded, and made anew; whether another instance serves is \
                 not certain, so this one does not. Where none does, annotate the Lease with {TAKE_UP} and the name of the \
                 instance that is to go on (docs/high-availability.md, \"When the Lease is lost\")"
            )
        });
        Some(anew)
    }

    /// A term for a record that follows none: above what was promised here, too.
    fn above(&self, term: Term) -> Term {
        term.max(self.agent.promise.term)
    }

    fn take_up(&mut self, lease: &Lease, record: &Record) -> Option<Input> {
        // The request that the protocol waits for goes on as this write.
        self.write(lease, &lease::version(lease), record, Write::First);
        None
    }
}
