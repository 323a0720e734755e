//! `pgo show backup`: what pgBackRest has, or which dumps or copies by `pg_basebackup` there are.

mod dumps;

use clap::Args;
use pgo_api::{
    BackupTrial, Endpoint, PGO_VERSION, ShowBackrestDetail, ShowBackrestQuery, ShowBackrestResponse,
};

use super::{
    Failure, Output, Report,
    backup::BackupType,
    select::{Selected, Selection, each, shows},
};
use crate::{client::Api, output};

/// Show the backups of clusters
///
/// They are shown as pgBackRest shows them, asked in the cluster's repository; with --output json as its JSON. Behind that each has
/// a line that says whether it was restored for trial: proven, failed, running or not yet; and, with DAMAGED, that pages in it had
/// wrong checksums when it was made. Exit status 2 where a cluster that was
/// named is not there. With --backup-type=pgdump the dumps are shown, by
/// their names, with --backup-type=pgbasebackup the copies by pg_basebackup.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    kind: BackupType,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.kind.check()?;
        self.selection.requests().map(|_| ())
    }
}

/// Asks for each name; what was not found is told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    if arguments.kind.is_dump() {
        return dumps::run(arguments, api, dumps::OF_DUMPS).await;
    }
    if arguments.kind.is_base() {
        return dumps::run(arguments, api, dumps::OF_COPIES).await;
    }
    let json = arguments.output.is_json();
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let namespace = &api.settings().namespace;
    let ask = async |selected: &Selected| {
        let query = ShowBackrestQuery {
            version: PGO_VERSION.to_owned(),
            selector: selected.selector.clone(),
            namespace: namespace.clone(),
            format: if json { "json" } else { "" }.to_owned(),
        };
        // The path has a name in any case; a selector goes before it.
        let name = match selected.name.as_str() {
            "" => "all",
            name => name,
        };
        api.get_of(Endpoint::ShowBackrest, name, &query.to_query())
            .await
    };
    let take = |report: &mut Report, selected: &Selected, answer: ShowBackrestResponse| {
        if !json && shows(&answer.outcome, &answer.items) {
            report.print(&render(&answer.items));
        }
        let found = !answer.items.is_empty() || answer.outcome.failure().is_some();
        if !found && !selected.name.is_empty() {
            missing.push(selected.name.clone());
        }
        items.extend(answer.items);
    };
    let requests = arguments.selection.requests()?;
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &items) {
        report.print_json(&ShowBackrestResponse { items, outcome });
    }
    if !missing.is_empty() {
        report.problem(format!(
            "not found in namespace {namespace}: {}",
            missing.join(", ")
        ));
    }
    report.end()
}

fn render(items: &[ShowBackrestDetail]) -> String {
    let item = |item: &ShowBackrestDetail| {
        let (name, info) = (&item.name, &item.info);
        output::lines(&format!(
            "\nbackrest : {name}\n{info}\n{}",
            trials(&item.trials)
        ))
    };
    match items {
        [] => "No pgBackRest found.\n".to_owned(),
        some => some.iter().map(item).collect(),
    }
}

/// What stands with one that pgBackRest found damaged.
const DAMAGED: &str = "DAMAGED: pgBackRest found pages with wrong checksums in it";

/// Each backup, with what became of it when it was restored for trial.
fn trials(trials: &[BackupTrial]) -> String {
    if trials.is_empty() {
        return String::new();
    }
    let widest = trials.iter().map(|one| one.backup.len()).max();
    let width = widest.unwrap_or_default().max("BACKUP".len());
    let line = |backup: &str, outcome: &str, rest: &str| {
        let line = format!("    {backup:width$}  {outcome:8}  {rest}");
        format!("{}\n", line.trim_end())
    };
    let rows = trials.iter().map(|one| {
        let mark = if one.damaged { DAMAGED } else { "" };
        let rest = [one.at.as_str(), mark, one.cause.as_str()];
        let rest: Vec<&str> = rest.into_iter().filter(|text| !text.is_empty()).collect();
        line(&one.backup, &one.outcome, &rest.join("  "))
    });
    line("BACKUP", "RESTORE", "") + &rows.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backup_has_a_line_that_says_whether_it_is_proven() {
        let trial = |backup: &str, outcome: &str, at: &str, cause: &str| BackupTrial {
            backup: backup.to_owned(),
            outcome: outcome.to_owned(),
            at: at.to_owned(),
            cause: cause.to_owned(),
            damaged: backup.ends_with('D'),
        };
        let items = [ShowBackrestDetail {
            name: "hippo".to_owned(),
            info: "stanza: db".to_owned(),
            trials: vec![
                trial("20261126-210300F", "proven", "2026-11-26T21:10:00Z", ""),
                trial("20261127-210300F", "not yet", "", ""),
                trial("20261127-220300D", "failed", "2026-11-27T22:10:00Z", "no"),
                trial("20261127-230300D", "not yet", "", ""),
            ],
            ..ShowBackrestDetail::default()
        }];
        assert_eq!(
            render(&items),
            "\nbackrest : hippo\nstanza: db\n    BACKUP            RESTORE\n    \
             20261126-210300F  proven    2026-11-26T21:10:00Z\n    20261127-210300F  not yet\n    \
             20261127-220300D  failed    2026-11-27T22:10:00Z  DAMAGED: pgBackRest found pages with wrong checksums in it  no\n    \
             20261127-230300D  not yet   DAMAGED: pgBackRest found pages with wrong checksums in it\n"
        );
    }
}
