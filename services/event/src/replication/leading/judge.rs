//! Who may lead, and what two logs have in common.

use std::{collections::BTreeSet, sync::Arc};

use pgo_proto::event::copy_response::What;

use super::CannotLead;
use crate::{
    log::{self, Lineage, Log, Offset, Tail, Term},
    replication::register::Roster,
};

/// Begins the epoch that the lineage ends with.
pub(super) async fn go_on_without(
    log: &Arc<Log>,
    other: &str,
    lineage: Lineage,
) -> Result<(), CannotLead> {
    tracing::error!(
        other,
        "going on without the other replica, which had events that this one has not; readers are told that history was cut"
    );
    let log = log.clone();
    let begun = tokio::task::spawn_blocking(move || log.adopt(lineage));
    begun.await.map_err(|_| CannotLead::Faster)??;
    Ok(())
}

/// Whether it is the first one of a StatefulSet that begins, which is older than the others, and this is not it.
pub(in crate::replication) fn is_for_the_first(log: &Log, me: &str) -> bool {
    log.end() == log.oldest() && !me.ends_with("-0")
}

/// Replicas that have as much as this one, and more where the end of its log was damaged: none where that cannot be.
pub(super) fn to_ask(log: &Log, roster: &Roster, me: &str) -> BTreeSet<String> {
    let others = roster.in_sync.iter().filter(|name| *name != me);
    match log.tail() {
        Tail::Proven => BTreeSet::new(),
        Tail::Whole | Tail::Torn => others.cloned().collect(),
    }
}

/// The replica that has what this one may lack, if there is one.
pub(super) fn behind(log: &Log, roster: &Roster, me: &str) -> Option<String> {
    let has_all = roster.in_sync.contains(me) && log.lineage().continues(&roster.epoch);
    let nobody = roster.in_sync.is_empty();
    (!has_all && !nobody).then(|| {
        let mut others = roster.in_sync.iter().filter(|name| *name != me);
        others
            .next()
            .cloned()
            .unwrap_or_else(|| roster.leader.clone())
    })
}

/// What a log that ends at `end` must do before it can go on from there; nothing if it is the same up to there.
pub(super) fn fits(
    log: &Log,
    epoch: &str,
    end: Offset,
    last_term: Term,
) -> Result<Option<What>, log::Error> {
    let oldest = log.oldest();
    if !log.lineage().continues(epoch) || end < oldest {
        return Ok(Some(What::StartAt(oldest)));
    }
    if end == oldest {
        // Nothing here to compare with: the same only if there is nothing there either.
        return Ok((last_term != 0).then_some(What::StartAt(oldest)));
    }
    let common = log.common(end, last_term)?;
    if common < end {
        return Ok(Some(What::CutTo(common)));
    }
    let differs = log.term_before(end)? != last_term;
    Ok(differs.then(|| What::CutTo(end - 1)))
}
