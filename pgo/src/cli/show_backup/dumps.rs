//! `pgo show backup --backup-type=pgdump`.

use jiff::Timestamp;
use pgo_api::{DumpItem, DumpList, Endpoint, PGO_VERSION, ShowDumpQuery, ShowDumpResponse};
use serde_json::json;

use super::{Arguments, Failure, Report};
use crate::{
    cli::select::{Selected, each, shows},
    client::Api,
    output,
};

/// Asks for each name.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let query = ShowDumpQuery {
            version: PGO_VERSION.to_owned(),
            selector: selected.selector.clone(),
            namespace: api.settings().namespace.clone(),
        };
        let name = name(selected);
        api.get_of(Endpoint::ShowDump, name, &query.to_query())
            .await
    };
    let take = |report: &mut Report, selected: &Selected, answer: ShowDumpResponse| {
        let found = answer.backup_list.items;
        if !json && answer.outcome.failure().is_none() {
            report.print(&render(&found, name(selected)));
        }
        let is_missing = found.is_empty() && answer.outcome.failure().is_none();
        if is_missing && !selected.name.is_empty() {
            missing.push(selected.name.clone());
        }
        items.extend(found);
    };
    let requests = arguments.selection.requests()?;
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &items) {
        report.print_json(&ShowDumpResponse {
            backup_list: DumpList {
                metadata: json!({}),
                items,
            },
            outcome,
        });
    }
    if !missing.is_empty() {
        let namespace = &api.settings().namespace;
        report.problem(format!(
            "no dump was asked for in namespace {namespace} of: {}",
            missing.join(", ")
        ));
    }
    report.end()
}

/// The path has a name in any case; a selector goes before it.
fn name(selected: &Selected) -> &str {
    match selected.name.as_str() {
        "" => "all",
        name => name,
    }
}

fn render(items: &[DumpItem], name: &str) -> String {
    match items {
        [] => format!("No pgDumps found for {name}.\n"),
        some => some.iter().map(one).collect(),
    }
}

/// As 4.1's client has it, and the dumps that are known, as it has those of pg_basebackup.
fn one(item: &DumpItem) -> String {
    let spec = &item.spec;
    let storage = |key: &str| {
        spec.storagespec[key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut fields = vec![
        ("PVC Name", spec.backuppvc.clone()),
        ("Access Mode", storage("accessmode")),
        ("PVC Size", storage("size")),
        ("Creation", created(item)),
        ("CCPImageTag", spec.ccpimagetag.clone()),
        ("Backup Status", spec.backupstatus.clone()),
        ("Backup Host", spec.backuphost.clone()),
        ("Backup User Secret", spec.backupusersecret.clone()),
        ("Backup Port", spec.backupport.clone()),
        ("Backup Opts", spec.backupopts.clone()),
    ];
    let made = spec.toc.iter().flatten();
    fields.extend(made.map(|(_, path)| ("Backup Path", path.clone())));
    let fields = fields
        .iter()
        .map(|(label, value)| format!("\t{label}:\t{value}\n"));
    let fields: String = fields.collect();
    output::lines(&format!("\npgdump : {}\n{fields}", spec.name))
}

/// Go's form of a time, as 4.1 prints it.
fn created(item: &DumpItem) -> String {
    let text = item.metadata["creationTimestamp"]
        .as_str()
        .unwrap_or_default();
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => text.to_owned(),
    }
}
