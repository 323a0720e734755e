//! Many clusters at once: whether all get ready, and when.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    figures::{Figure, Sample, count, verdict},
    programs::{apply, clean_up_after, kubectl, ms, namespace, unique, until},
};

/// Clusters.
const CLUSTERS: usize = 50;

/// All of them share the machine's two cores.
const LIMIT: Duration = Duration::from_secs(900);

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let clusters = count(CLUSTERS)?;
    let series = unique("bench-many");
    let selector = format!("bench={series}");
    let of = |kinds| ["delete", kinds, "--selector", &selector, "--timeout=600s"];
    let (all, ready, failed) = clean_up_after(together(&series, clusters), || {
        kubectl(&of("pgclusters"))?;
        kubectl(&of("persistentvolumeclaims,secrets"))
    })?;
    Ok(vec![Figure {
        what: format!("{clusters} clusters created at once, to all Ready"),
        aim: "no failure",
        measured: format!(
            "{:.0} s to the last, median {:.0} s, {failed} failures",
            all.as_secs_f64(),
            ready.quantile(0.5) / 1000.0
        ),
        met: verdict(failed == 0 && ready.len() == clusters, (clusters, CLUSTERS)),
    }])
}

/// How long until the last was ready, how long each took, and how many said that they failed on the way.
fn together(series: &str, clusters: usize) -> anyhow::Result<(Duration, Sample, usize)> {
    let namespace = namespace()?;
    let items: Vec<Value> = (0..clusters)
        .map(|number| {
            json!({
                "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
                "metadata": {"name": format!("{series}-{number}"), "namespace": namespace, "labels": {"bench": series, "pgo-backrest": "false"}},
                "spec": {"userlabels": {"bench": series}, "PrimaryStorage": {
                    "storagetype": "dynamic", "storageclass": "local", "size": "300Mi", "fsgroup": "26"}},
            })
        })
        .collect();
    let begun = Instant::now();
    apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
    let mut ready: Vec<Option<f64>> = vec![None; clusters];
    let mut failed = std::collections::BTreeSet::new();
    let selector = format!("bench={series}");
    until(
        "all clusters ready",
        LIMIT,
        Duration::from_millis(500),
        || {
            let list: Value = serde_json::from_str(&kubectl(&[
                "get",
                "pgclusters",
                "--selector",
                &selector,
                "--output",
                "json",
            ])?)?;
            for object in list["items"].as_array().into_iter().flatten() {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let number = name
                    .rsplit('-')
                    .next()
                    .and_then(|number| number.parse::<usize>().ok());
                let operations = object["status"]["operations"].as_array();
                if operations.is_some_and(|all| all.iter().any(|one| one["outcome"] == "Failed")) {
                    failed.insert(name.to_owned());
                }
                if object["status"]["phase"] == "Ready"
                    && let Some(slot) = number.and_then(|number| ready.get_mut(number))
                {
                    slot.get_or_insert_with(|| ms(begun.elapsed()));
                }
            }
            Ok(ready.iter().all(Option::is_some).then_some(()))
        },
    )?;
    let all = begun.elapsed();
    Ok((
        all,
        Sample::of(ready.into_iter().flatten().collect()),
        failed.len(),
    ))
}
