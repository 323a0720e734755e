//! What people see of a failover: the lines of `pgo watch`, one after another.

use crate::harness::{Cluster, pgo};

/// A line: what, how it stands, how long it took, and whom, what and why.
struct Line {
    what: String,
    stage: String,
    took: String,
    story: String,
}

/// All lines about a cluster until now.
fn lines(cluster: &Cluster) -> Vec<Line> {
    let shown = pgo(&[
        "watch",
        "clustertopic",
        &cluster.name,
        "--since",
        "beginning",
        "--until",
        "now",
    ]);
    let lines = shown.ok().out;
    let columns = lines.lines().map(|line| {
        let columns = line.split("  ").map(str::trim);
        columns.filter(|column| !column.is_empty()).collect()
    });
    let read = columns.filter_map(|columns: Vec<&str>| {
        let [_, _, what, stage, took, _, story @ ..] = columns.as_slice() else {
            return None;
        };
        Some(Line {
            what: (*what).to_owned(),
            stage: (*stage).to_owned(),
            took: (*took).to_owned(),
            story: story.join("  "),
        })
    });
    read.collect()
}

/// Timeline and position in a line.
fn place(line: &Line) -> (u32, &str) {
    let (_, rest) = line.story.split_once("timeline ").expect(&line.story);
    let (timeline, rest) = rest.split_once(", at ").expect(&line.story);
    let end = rest.find([',', ':']).unwrap_or(rest.len());
    let lsn = &rest[..end];
    assert!(lsn.contains('/'), "{}", line.story);
    (timeline.parse().expect(&line.story), lsn)
}

/// The one failover of a cluster from its begin until all is as it was, each step with who, where, how much and how long.
pub fn is_told(cluster: &Cluster, former: &str, replica: &str) {
    let all = lines(cluster);
    let shown: Vec<String> = all
        .iter()
        .map(|line| {
            let Line {
                what, stage, took, ..
            } = line;
            format!("{what} {stage} {took} {}", line.story)
        })
        .collect();
    let only = |what: &str, stage: &str| {
        let is_it = |line: &&Line| line.what.ends_with(what) && line.stage == stage;
        let found: Vec<&Line> = all.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{what} {stage}: {shown:#?}");
        let at = all.iter().position(|line| std::ptr::eq(line, found[0]));
        (at, found[0])
    };
    let told = [
        only("FailoverCluster", "started"),
        only("FailoverCluster", "progress"),
        only("FailoverCluster", "completed"),
        only("CommitsLost", "notice"),
        only("ClusterRecovered", "notice"),
    ];
    assert!(told.is_sorted_by_key(|(at, _)| *at), "{shown:#?}");
    let [began, elected, ended, compared, recovered] = told.map(|(_, line)| line);

    let whom = format!("to {replica}, from {former}, timeline ");
    for line in [began, elected, ended] {
        assert!(line.story.starts_with(&whom), "{}", line.story);
    }
    let why = format!(": {former} was not heard any more");
    assert!(began.story.ends_with(&why), "{}", began.story);
    let how = format!(": {replica} was elected in term ");
    assert!(elected.story.contains(&how), "{}", elected.story);
    assert!(ended.story.contains(&why), "{}", ended.story);
    let ((before, left), (timeline, begins)) = (place(began), place(elected));
    assert!(before < timeline, "{before} is followed by {timeline}");
    assert_eq!(left, begins, "it goes on where the former one is left");
    assert_eq!(place(ended), (timeline, begins));
    assert_eq!(place(compared).0, before);
    let lost = compared.story.contains(" bytes of WAL lost: ");
    assert!(lost, "{}", compared.story);
    for line in [ended, recovered] {
        assert_ne!(line.took, "-", "{}: it says how long", line.what);
    }
}
