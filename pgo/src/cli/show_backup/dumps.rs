//! `pgo show backup --backup-type=pgdump`, and `pgbasebackup`.

use jiff::Timestamp;
use pgo_api::{
    DumpItem, DumpList, Endpoint, PGO_VERSION, ShowDumpQuery, ShowDumpResponse, StatusQuery,
};
use serde_json::json;

use super::{Arguments, Failure, Report};
use crate::{
    cli::select::{Selected, each, shows},
    client::Api,
    output,
};

/// What is shown: where it is asked for, and how it is printed.
#[derive(Clone, Copy)]
pub struct What {
    endpoint: Endpoint,
    fields: fn(&DumpItem) -> String,
    nothing: fn(&str) -> String,
}

/// Dumps.
pub const OF_DUMPS: What = What {
    endpoint: Endpoint::ShowDump,
    fields: dump,
    nothing: |name| format!("No pgDumps found for {name}.\n"),
};

/// Copies by `pg_basebackup`.
pub const OF_COPIES: What = What {
    endpoint: Endpoint::ShowBackup,
    fields: copy,
    nothing: |_| "No backups found.\n".to_owned(),
};

/// Asks for each name.
pub async fn run(arguments: &Arguments, api: &Api, what: What) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let version = PGO_VERSION.to_owned();
        let namespace = api.settings().namespace.clone();
        let query = match what.endpoint {
            // 4.1 knows no selector there, and PGO goes by one.
            Endpoint::ShowBackup if selected.selector.is_empty() => {
                StatusQuery { version, namespace }.to_query()
            }
            _ => ShowDumpQuery {
                version,
                selector: selected.selector.clone(),
                namespace,
            }
            .to_query(),
        };
        api.get_of(what.endpoint, name(selected), &query).await
    };
    let take = |report: &mut Report, selected: &Selected, answer: ShowDumpResponse| {
        let found = answer.backup_list.items;
        if !json && answer.outcome.failure().is_none() {
            report.print(&render(&found, name(selected), what));
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
            "nothing was asked for in namespace {namespace} of: {}",
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

fn render(items: &[DumpItem], name: &str, what: What) -> String {
    match items {
        [] => (what.nothing)(name),
        some => some.iter().map(what.fields).collect(),
    }
}

fn storage(item: &DumpItem, key: &str) -> String {
    let value = item.spec.storagespec[key].as_str();
    value.unwrap_or_default().to_owned()
}

/// As 4.1's client has it, and the dumps that are known, as it has those of pg_basebackup.
fn dump(item: &DumpItem) -> String {
    let spec = &item.spec;
    let fields = vec![
        ("PVC Name", spec.backuppvc.clone()),
        ("Access Mode", storage(item, "accessmode")),
        ("PVC Size", storage(item, "size")),
        ("Creation", created(item)),
        ("CCPImageTag", spec.ccpimagetag.clone()),
        ("Backup Status", spec.backupstatus.clone()),
        ("Backup Host", spec.backuphost.clone()),
        ("Backup User Secret", spec.backupusersecret.clone()),
        ("Backup Port", spec.backupport.clone()),
        ("Backup Opts", spec.backupopts.clone()),
    ];
    print("pgdump", item, fields)
}

/// As 4.1's client has it.
fn copy(item: &DumpItem) -> String {
    let spec = &item.spec;
    let fields = vec![
        ("Namespace", spec.namespace.clone()),
        ("PVC Name", spec.backuppvc.clone()),
        ("Access Mode", storage(item, "accessmode")),
        ("PVC Size", storage(item, "size")),
        ("Creation", created(item)),
        ("CCPImageTag", spec.ccpimagetag.clone()),
        ("Backup Status", spec.backupstatus.clone()),
        ("Backup Host", spec.backuphost.clone()),
        ("Backup Secret", spec.backupusersecret.clone()),
        ("Backup Port", spec.backupport.clone()),
    ];
    print("pgbackup", item, fields)
}

fn print(what: &str, item: &DumpItem, mut fields: Vec<(&str, String)>) -> String {
    let spec = &item.spec;
    let made = spec.toc.iter().flatten();
    fields.extend(made.map(|(_, path)| ("Backup Path", path.clone())));
    let fields = fields
        .iter()
        .map(|(label, value)| format!("\t{label}:\t{value}\n"));
    let fields: String = fields.collect();
    output::lines(&format!("\n{what} : {}\n{fields}", spec.name))
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
