//! `pgo delete backup`.

use clap::Args;
use pgo_api::{DeleteBackupQuery, DeleteBackupResponse, Endpoint, PGO_VERSION};

use super::{
    Failure, Output, Report,
    backup::{PGBASEBACKUP, PGDUMP},
    prompt::{self, Answer},
    select::{Selected, each, shows},
};
use crate::{client::Api, output};

/// Delete the copies by pg_basebackup of clusters, or their dumps
///
/// The claim CLUSTER-backup goes, with all that is on it, or that of the dumps, backup-CLUSTER-pgdump-pvc. What is on claims that were
/// named with --pvc-name stays. Of backups by pgBackRest so many stay as the retention of the cluster says.
#[derive(Args)]
pub struct Arguments {
    /// Names of clusters
    #[arg(value_name = "CLUSTER")]
    names: Vec<String>,
    /// Which backups: pgbasebackup or pgdump
    #[arg(long, value_name = "PROGRAM", default_value = PGBASEBACKUP)]
    backup_type: String,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        if ![PGBASEBACKUP, PGDUMP].contains(&self.backup_type.as_str()) {
            return Err(Failure::Usage(format!(
                "--backup-type={} cannot be deleted; there are pgbasebackup and pgdump",
                self.backup_type
            )));
        }
        match self.names.is_empty() {
            true => Err(Failure::Usage("name one or more clusters".to_owned())),
            false => Ok(()),
        }
    }
}

/// Asks the user, then the apiserver for each name; refusals are told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let json = arguments.output.is_json();
    let of_dumps = Some(arguments.backup_type.clone()).filter(|word| word == PGDUMP);
    let query = DeleteBackupQuery {
        version: PGO_VERSION.to_owned(),
        namespace: api.settings().namespace.clone(),
        backuptype: of_dumps.unwrap_or_default(),
    };
    let query = query.to_query();
    let requests = arguments.names.iter().map(|name| Selected {
        name: name.clone(),
        selector: String::new(),
        all: false,
    });
    let ask = async |selected: &Selected| {
        api.get_of(Endpoint::DeleteBackup, &selected.name, &query)
            .await
    };
    let (mut results, mut report) = (Vec::new(), Report::default());
    let take = |report: &mut Report, _: &Selected, answer: DeleteBackupResponse| {
        if !json {
            for name in &answer.results {
                report.print(&format!("Deleted backup {name}\n"));
            }
        }
        results.extend(answer.results);
    };
    let outcome = each(requests.collect(), &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&DeleteBackupResponse {
            results,
            operation: String::new(),
            outcome,
        });
    }
    report.end()
}
