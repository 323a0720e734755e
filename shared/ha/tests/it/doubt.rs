//! A write of the Lease that had no answer, and what is begun meanwhile.

use std::{collections::BTreeSet, time::Duration};

use pgo_ha::{Effect, Input, Synchronous, members::Wanted};

use crate::cluster::{Cluster, TICK, id, position};

/// The rules by which the first instance was told to serve, since it was looked last.
fn serves_by(cluster: &mut Cluster) -> Vec<Synchronous> {
    let log = std::mem::take(&mut cluster.log).into_iter();
    log.filter_map(|(node, effect)| match effect {
        Effect::Serve { synchronous, .. } if node == 0 => Some(synchronous),
        _ => None,
    })
    .collect()
}

#[test]
fn a_server_that_begins_anew_goes_by_no_less_than_a_rule_that_may_be_recorded() {
    let mut cluster = Cluster::of(3);
    cluster.pass(Duration::from_secs(5));
    let voters = BTreeSet::from([id(1), id(2)]);
    let rule = Synchronous {
        k: 1,
        set: voters.clone(),
    };
    let wanted = Wanted {
        voters,
        synchronous: rule.clone(),
        fallback: None,
    };
    cluster.tell(0, Input::Members(wanted));
    cluster.answers = false;
    cluster.tell(0, Input::Held);
    assert_eq!(cluster.record.synchronous, rule, "it is recorded");
    // Which it is not told of, and cannot read.
    cluster.api = false;
    serves_by(&mut cluster);
    cluster.tell(0, Input::ServersStopped(Some(position())));
    cluster.pass(TICK);
    assert_eq!(serves_by(&mut cluster), []);
    (cluster.api, cluster.answers) = (true, true);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(serves_by(&mut cluster), [rule]);
}
