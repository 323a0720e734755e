//! Of replicas that are as far the one that the Lease prefers takes over.

use std::time::Instant;

use pgo_proto::agent::InstanceState;

use crate::{
    replica::three,
    rig::{PROGRAMS, Rig},
    unprivileged::unprivileged,
};

/// One instance ends, in order or not, and the preferred one of the two others follows; then all are there again.
async fn change(all: &mut [Rig; 3], from: usize, to: usize, in_order: bool) {
    let names = ["hippo", "hippo-abcd", "hippo-efgh"];
    let store = all[from].store.clone();
    store.set_preferred(names[to]);
    let begin = Instant::now();
    if in_order {
        all[from].stop().await;
    } else {
        all[from].crash().await;
    }
    let [first, second] = [1, 2].map(|next| (from + next) % 3);
    let follower = tokio::select! {
        _ = all[first].until_primary() => first,
        _ = all[second].until_primary() => second,
    };
    println!("{} followed within {:?}", names[follower], begin.elapsed());
    assert_eq!(names[follower], names[to]);
    all[from].start().await;
    for other in [first, second, from].into_iter().filter(|one| *one != to) {
        all[other].until_streaming_from(names[to]).await;
    }
    all[to].until_voters(2).await;
}

/// Whom an instance is to prefer it knows, and says so, while the primary serves.
async fn told(all: &[Rig; 3], preferred: &str) {
    all[0].store.set_preferred(preferred);
    for rig in all {
        let tells = |state: &InstanceState| state.preferred == [preferred];
        rig.until("whom it prefers", tells).await;
    }
}

#[test]
fn of_two_that_are_as_far_the_preferred_one_follows() {
    let name = "preferred::of_two_that_are_as_far_the_preferred_one_follows";
    unprivileged(name, &PROGRAMS, async || {
        let mut all: [Rig; 3] = three(0).await.into();
        told(&all, "hippo-efgh").await;
        // By chance it would be so once in 32 times.
        change(&mut all, 0, 1, true).await;
        change(&mut all, 1, 0, true).await;
        change(&mut all, 0, 2, false).await;
        change(&mut all, 2, 1, false).await;
        change(&mut all, 1, 2, true).await;
        for place in [2, 1, 0] {
            all[place].stop().await;
        }
    });
}
