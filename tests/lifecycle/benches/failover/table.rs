//! The rows as they stand in docs/performance.md.

use crate::{
    peer::Peer,
    rows::{Row, Run},
};

/// What belongs to every figure.
const CONDITIONS: &str = "The longest pause between two acknowledged writes. The client's deadlines for a connection and for a \
statement are 1 s; kube-proxy gathers changes for 100 ms (minSyncPeriod).";

/// What stands above the rows.
pub fn head() -> String {
    let peers = Peer::ALL.map(Peer::title).join(" | ");
    let rule = "---|".repeat(Peer::ALL.len());
    format!("{CONDITIONS}\n\n| figure | aim | {peers} | met |\n|---|---|{rule}---|\n")
}

/// A row, from the runs of each [`Peer`] in their order; the aim is PGO's.
pub fn line(row: Row, runs: &[Vec<Run>]) -> String {
    let (what, aim) = row.title();
    let cells: Vec<String> = runs.iter().map(|runs| cell(runs)).collect();
    let met = match runs
        .first()
        .and_then(|own| Some((own, middle_and_end(own)?)))
    {
        None => "",
        Some((own, (median, worst))) if row.met(own, median, worst) => "yes",
        Some(_) => "no",
    };
    format!("| {what} | {aim} | {} | {met} |\n", cells.join(" | "))
}

/// Median and worst, in milliseconds.
fn middle_and_end(runs: &[Run]) -> Option<(f64, f64)> {
    let mut pauses: Vec<f64> = runs.iter().map(|run| run.pause).collect();
    pauses.sort_by(f64::total_cmp);
    Some((*pauses.get(pauses.len() / 2)?, *pauses.last()?))
}

fn cell(runs: &[Run]) -> String {
    let Some((median, worst)) = middle_and_end(runs) else {
        return "not measured".to_owned();
    };
    let changed = runs.iter().filter(|run| run.changed).count();
    let missing: u64 = runs.iter().map(|run| run.missing).sum();
    let mut text = format!(
        "median {:.2} s, worst {:.2} s, {} runs; another primary in {changed}",
        median / 1000.0,
        worst / 1000.0,
        runs.len(),
    );
    if runs.iter().any(|run| run.fenced.is_some()) {
        let fenced = runs.iter().filter(|run| run.fenced == Some(true)).count();
        text.push_str(&format!(", the former one had stopped before in {fenced}"));
    }
    let failed: u64 = runs.iter().map(|run| run.failed).sum();
    text.push_str(&format!(
        "; {failed} writes failed, {missing} acknowledged rows missing"
    ));
    text
}
