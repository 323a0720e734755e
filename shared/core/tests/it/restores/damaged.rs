//! A restore from a backup with damaged pages: it is gone through with, and never told as one from a good backup.

use super::{ask, last, name, reached, says, story, takes_over, until_heard, with_backups};

#[test]
fn a_restore_from_a_backup_with_damaged_pages_says_so_before_and_after() {
    let (mut world, new) = (with_backups(0), name("hippo-abcd"));
    let id = ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    world.progress();
    let agent = world.observed.repository.agent.as_mut().expect("heard");
    let done = agent.done.last_mut().expect("the check");
    done.backup.as_mut().expect("a backup").damaged = true;
    until_heard(&mut world, &new);
    let words = "backup 20261015-093000F (with pages that had wrong checksums when it was made)";
    let steps = story(&world, id);
    let steps: Vec<&String> = steps
        .iter()
        .filter_map(|event| event.step.as_ref())
        .collect();
    assert!(
        steps.iter().any(|step| step.starts_with(words)),
        "{steps:?}"
    );
    says(&mut world, &new, 0, reached());
    takes_over(&mut world, &new);
    let cause = last(&world, id).cause.expect("a cause");
    assert!(cause.contains(words), "{cause}");
}
