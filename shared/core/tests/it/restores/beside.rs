//! A restore beside what works with the database that it would take away.

use jiff::Timestamp;
use pgo_core::{
    BenchmarkWork, DumpOrder, DumpRun, DumpWork, JobOrder, JobRun, JobWork, LoadWork,
    dump::options::DumpFormat,
};

use super::{ask, id, last, with_backups};
use crate::world::World;

fn dump(work: DumpWork, now: Timestamp) -> DumpRun {
    DumpRun {
        order: DumpOrder {
            operation: id(1),
            work,
        },
        claim: "backup-hippo-pgdump-pvc".to_owned(),
        since: now,
        pod: None,
        lost: Vec::new(),
    }
}

fn job(work: JobWork, now: Timestamp) -> JobRun {
    JobRun {
        order: JobOrder {
            operation: id(1),
            work,
        },
        since: now,
        pod: None,
    }
}

fn assert_refused(mut world: World, what: &str) {
    let restore = ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    assert!(world.status.restore.is_none(), "{what}");
    let cause = last(&world, restore).cause.expect("a cause");
    let words = format!(
        "{what} is going on, operation {}, and would be broken off; wait for its end or end it with pgo cancel",
        id(1)
    );
    assert!(cause.starts_with(&words), "{cause}");
}

#[test]
fn it_is_refused_while_something_works_with_the_database() {
    let options = Vec::new;
    let dumps = [
        (
            "a dump",
            DumpWork::Make {
                database: "userdb".to_owned(),
                all: false,
                format: DumpFormat::default(),
                options: options(),
            },
        ),
        (
            "a restore of a dump",
            DumpWork::Load {
                dump: None,
                database: None,
                node_label: None,
                options: options(),
            },
        ),
        (
            "a copy by pg_basebackup",
            DumpWork::BaseBackup {
                source: None,
                options: options(),
            },
        ),
    ];
    for (what, work) in dumps {
        let mut world = with_backups(0);
        world.status.dump = Some(dump(work, world.now));
        assert_refused(world, what);
    }
    let jobs = [
        ("a benchmark", JobWork::Benchmark(BenchmarkWork::default())),
        ("a load", JobWork::Load(LoadWork::default())),
    ];
    for (what, work) in jobs {
        let mut world = with_backups(0);
        world.status.job = Some(job(work, world.now));
        assert_refused(world, what);
    }
}
