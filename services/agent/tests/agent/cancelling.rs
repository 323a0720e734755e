//! Backups that are cancelled, with a real pgBackRest: the repository stays as good as it was.

use pgo_proto::agent::RepositoryState;
use tonic::Code;

use crate::{
    repository::{archived, backup},
    rig::{PROGRAMS, eventually},
    unprivileged::unprivileged,
};

/// Who orders work.
const DECIDES: &str = "reconciler.pgo";

#[test]
fn a_backup_that_is_cancelled_ends_and_the_next_one_succeeds() {
    let name = "cancelling::a_backup_that_is_cancelled_ends_and_the_next_one_succeeds";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut rig) = archived().await;
        rig.execute("CREATE TABLE big AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 100000) g")
            .await;
        let slow = || backup(&["--type=full", "--compress-type=gz", "--compress-level=9"]);
        repository
            .begin(DECIDES, "one", &rig, slow())
            .await
            .expect("begun");
        let copies =
            |state: &RepositoryState| state.running.as_ref().is_some_and(|work| work.percent > 0);
        repository.until("copying", copies).await;

        let refused = repository.cancel("apiserver.pgo", "one").await;
        let code = refused.expect_err("it may only look").code();
        assert_eq!(code, Code::PermissionDenied);
        let nameless = repository.cancel(DECIDES, "").await;
        assert_eq!(nameless.expect_err("no id").code(), Code::InvalidArgument);
        // What is not known has no part in what runs.
        repository.cancel(DECIDES, "other").await.expect("nothing");
        for _ in 0..2 {
            repository.cancel(DECIDES, "one").await.expect("told");
        }
        let (done, state) = repository.until_done("one").await;
        assert_eq!((done.ok, done.error.as_str()), (false, "cancelled"));
        assert_eq!((done.backup, state.running), (None, None));
        assert!(state.backups.is_empty(), "{:?}", state.backups);
        eventually("no command of pgBackRest is left", async || {
            let all = repository.processes().into_iter();
            all.filter(|line| line.ends_with(" backup ")).count() == 0
        })
        .await;
        // It is over: once more it is neither cancelled nor begun.
        repository.cancel(DECIDES, "one").await.expect("over");
        repository
            .begin(DECIDES, "one", &rig, slow())
            .await
            .expect("over");

        repository
            .begin(DECIDES, "two", &rig, backup(&["--type=full"]))
            .await
            .expect("begun");
        let (done, state) = repository.until_done("two").await;
        assert!(done.ok, "{done:?}\n{}", repository.log());
        let good = done.backup.expect("a backup");
        let labels: Vec<_> = state.backups.iter().map(|set| &set.label).collect();
        assert_eq!(labels, [&good.label]);
        // Nothing that is over changes by it.
        repository.cancel(DECIDES, "two").await.expect("over");
        let (done, _) = repository.until_done("two").await;
        assert!(done.ok, "{done:?}");
        let text = repository.info(false).await.expect("told");
        assert!(text.contains(&good.label), "{text}");
        repository.stop().await;
        rig.stop().await;
    });
}
