//! What a primary that gives up in order says, to replicas that do not have all that it had.

use std::time::Duration;

use jiff::SignedDuration;
use pgo_agent::ha::lease::{Cause, TAKEOVERS, Takeover};
use pgo_proto::agent::InstanceState;
use tonic::Code;

use crate::{
    replica::{has, pair, write},
    rig::{PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// The last change of the primary that the Lease tells of.
pub fn takeover(rig: &Rig) -> Takeover {
    takeovers(rig).pop().expect("a change of the primary")
}

/// All of them.
pub fn takeovers(rig: &Rig) -> Vec<Takeover> {
    let annotations = rig.store.lease_now().metadata.annotations.expect("some");
    let written = annotations.get(TAKEOVERS);
    let read = written.map(|text| serde_json::from_str(text).expect("changes of the primary"));
    read.unwrap_or_default()
}

/// How long who may lack something waits.
const PRECEDENCE: SignedDuration = SignedDuration::from_secs(1);

/// For less than this a replica that is cut off still counts as one that streams.
const SHORT: Duration = Duration::from_secs(1);

/// Lets a replica receive no more WAL; for half a minute it still votes.
async fn cut(replica: &Rig) {
    replica
        .execute("ALTER SYSTEM SET primary_slot_name = 'none'")
        .await;
    replica.execute("SELECT pg_reload_conf()").await;
    let cut = |state: &InstanceState| !state.streaming;
    replica.until("cut off", cut).await;
    tokio::time::sleep(SHORT).await;
}

#[test]
fn what_a_hand_over_in_order_loses_is_written_down() {
    let name = "handover::what_a_hand_over_in_order_loses_is_written_down";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.until_voters(1).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        has(&replica, &[1]).await;
        cut(&replica).await;
        write(&client, 2).await;
        drop(client);
        primary.stop().await;
        replica.until_primary().await;
        let takeover = takeover(&replica);
        assert_eq!(takeover.cause, Cause::Released);
        assert!(takeover.lost.is_some_and(|lost| lost > 0), "{takeover:?}");
        assert_eq!(takeover.unfit, None);
        let timelines = (takeover.former_timeline, takeover.timeline);
        assert_eq!(timelines, (Some(1), 2));
        has(&replica, &[1]).await;
        replica.stop().await;
    });
}

#[test]
fn a_primary_that_was_told_to_stay_is_the_primary_again_and_nobody_else_meanwhile() {
    let name =
        "handover::a_primary_that_was_told_to_stay_is_the_primary_again_and_nobody_else_meanwhile";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        primary.store.set_autofail(false);
        primary.until_voters(1).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        drop(client);
        let denied = primary
            .stay("apiserver.pgo")
            .await
            .expect_err("no task of its");
        assert_eq!(denied.code(), Code::PermissionDenied);
        primary.stay("reconciler.pgo").await.expect("told");
        primary.stop().await;
        has(&replica, &[1]).await;
        assert!(takeovers(&replica).is_empty());
        primary.start().await;
        primary.until_primary().await;
        replica.until_streaming_from("hippo").await;
        assert!(takeovers(&replica).is_empty());
        // It counts for that end only.
        primary.until_voters(1).await;
        primary.stop().await;
        replica.until_primary().await;
        assert_eq!(takeover(&replica).cause, Cause::Released);
        replica.stop().await;
    });
}

#[test]
fn who_lacks_something_waits_a_moment_for_who_has_everything() {
    let name = "handover::who_lacks_something_waits_a_moment_for_who_has_everything";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        let mut others = ["hippo-efgh", "hippo-ijkl"].map(|name| primary.beside(name));
        for other in &mut others {
            other.start().await;
            other.until_streaming_from("hippo").await;
        }
        primary.until_voters(3).await;
        let client = primary.connect().await.expect("the application gets in");
        write(&client, 1).await;
        // Two of three votes are enough: those two can elect one of them without the third.
        for other in &others {
            has(other, &[1]).await;
            cut(other).await;
        }
        write(&client, 2).await;
        has(&replica, &[1, 2]).await;
        drop(client);
        // It would be first, but is gone.
        replica.crash().await;
        primary.stop().await;
        eventually("another one leads", async || {
            !takeovers(&primary).is_empty()
        })
        .await;
        let takeover = takeover(&primary);
        assert_eq!(takeover.cause, Cause::Released);
        assert!(takeover.lost.is_some_and(|lost| lost > 0), "{takeover:?}");
        let heard = takeover.heard.expect("heard");
        let waited = takeover.at.duration_since(heard);
        assert!(waited >= PRECEDENCE, "{waited:#}");
        for other in &mut others {
            other.stop().await;
        }
    });
}
