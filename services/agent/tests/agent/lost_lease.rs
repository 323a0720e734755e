//! The Lease is lost with all that it recorded, and made anew.

use pgo_agent::ha::lease::{self, Reading};
use pgo_ha::Record;
use pgo_proto::agent::{InstanceState, Role};

use crate::{
    replica::{has, pair, write},
    rig::{PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// What the Lease records.
pub fn record(rig: &Rig) -> Option<Record> {
    let name = "hippo".parse().expect("a name");
    match lease::read(&rig.store.lease_now(), &name) {
        Ok(Reading::Recorded { record, .. }) => Some(record),
        _ => None,
    }
}

/// Waits until the instance says why it does not serve.
async fn waits(rig: &Rig) {
    let waits = |state: &InstanceState| {
        state.role() != Role::Primary && state.error.contains("the Lease of the cluster was lost")
    };
    rig.until("waiting for somebody who is certain", waits)
        .await;
}

#[test]
fn who_serves_goes_on_in_a_term_above_all_others_and_is_followed() {
    let name = "lost_lease::who_serves_goes_on_in_a_term_above_all_others_and_is_followed";
    unprivileged(name, &PROGRAMS, async || {
        let (mut former, mut primary) = pair().await;
        former.until_voters(1).await;
        let client = former.connect().await.expect("the application gets in");
        write(&client, 1).await;
        drop(client);
        former.stop().await;
        primary.until_primary().await;
        former.start().await;
        former.until_streaming_from("hippo-abcd").await;
        let client = primary.connect().await.expect("the application gets in");
        let postmaster = primary.postmaster();

        // Whom the Lease names makes no difference.
        primary.store.lose_lease("hippo", 7);
        eventually("recorded again", async || record(&primary).is_some()).await;
        let recorded = record(&primary).expect("recorded");
        assert_eq!((recorded.term.0, recorded.voters.len()), (7, 1));
        write(&client, 2).await;
        assert_eq!(primary.postmaster(), postmaster);
        assert_eq!(former.until_running().await.role(), Role::Replica);
        has(&former, &[1, 2]).await;

        drop(client);
        primary.stop().await;
        assert_eq!(former.until_primary().await.term, 8);
        has(&former, &[1, 2]).await;
        former.stop().await;
    });
}

#[test]
fn a_former_primary_takes_no_lease_of_a_cluster_that_had_others() {
    let name = "lost_lease::a_former_primary_takes_no_lease_of_a_cluster_that_had_others";
    unprivileged(name, &PROGRAMS, async || {
        let (mut former, mut primary) = pair().await;
        former.until_voters(1).await;
        former.crash().await;
        primary.until_primary().await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        primary.store.set_away(true);
        primary.crash().await;
        // As if it were a new cluster.
        primary.store.lose_lease("hippo", 1);
        primary.store.set_away(false);
        former.start().await;
        waits(&former).await;
        primary.start().await;
        waits(&primary).await;
        assert_eq!(record(&primary), None);

        primary.store.lose_lease("hippo", 7);
        primary.store.give_lease("hippo-abcd");
        let state = primary.until_primary().await;
        assert_eq!((state.term, state.timeline), (7, 7));
        has(&primary, &[1]).await;
        former.until_streaming_from("hippo-abcd").await;
        has(&former, &[1]).await;
        primary.stop().await;
        former.stop().await;
    });
}
