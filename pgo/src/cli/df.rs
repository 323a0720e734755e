//! `pgo df`.

use clap::{Args, ValueEnum};
use pgo_api::{DfDetail, DfQuery, DfResponse, Endpoint, PGO_VERSION};

use super::{
    Failure, Report,
    select::{Selected, Selection, each, shows},
};
use crate::{
    client::Api,
    output::{Colours, note, pad, plain},
};

/// Width of 4.1's columns behind the first.
const WIDTH: usize = 10;

/// From how much on 4.1 shows a percentage as bad.
const FULL: i64 = 50;

/// Show how full the volumes of clusters are
///
/// One line per instance, and per repository of backups: size of its databases, capacity of its claim, and how much of the
/// volume is used, in per cent. One that does not answer is down, and is told why on standard error.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Form of the output: wide has further columns
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// JSON on standard output, and nothing else there.
    Json,
    /// With role, bytes used and in all, and claim.
    Wide,
}

/// Asks for each name; the outcome is told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output == Some(Form::Json);
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let query = DfQuery {
            selector: selected.selector.clone(),
            version: PGO_VERSION.to_owned(),
            namespace: api.settings().namespace.clone(),
        };
        // All, and what a selector selects, have no name.
        let name = match selected.name.as_str() {
            "" => "all",
            name => name,
        };
        api.get_of(Endpoint::Df, name, &query.to_query()).await
    };
    let take = |_: &mut Report, selected: &Selected, answer: DfResponse| {
        if answer.outcome.failure().is_none() && answer.results.is_empty() {
            missing.push(match selected.name.as_str() {
                "" => "no instance was found".to_owned(),
                name => format!("no instance of cluster {name} was found"),
            });
        }
        results.extend(answer.results);
    };
    let requests = arguments.selection.requests()?;
    let outcome = each(requests, &mut report, ask, take).await;
    let shown = shows(&outcome, &results);
    if shown && !json {
        let wide = arguments.output == Some(Form::Wide);
        report.print(&render(&results, wide, Colours::detect()));
        for down in results.iter().filter(|one| !one.problem.is_empty()) {
            let told = format!("pgo: {}: {}", plain(&down.name), plain(&down.problem));
            note(&told);
        }
    }
    if shown && json {
        report.print_json(&DfResponse { results, outcome });
    }
    missing.iter().for_each(|one| report.problem(one));
    report.end()
}

fn render(results: &[DfDetail], wide: bool, colours: Colours) -> String {
    if results.is_empty() {
        return "Nothing found.\n".to_owned();
    }
    let names = results.iter().map(|one| one.name.chars().count());
    let first = names.max().unwrap_or_default().max("POD".len()) + 1;
    let mut head = vec!["POD", "STATUS", "PGSIZE", "CAPACITY", "PCTUSED"];
    if wide {
        head.extend(["ROLE", "USED", "SIZE", "CLAIM"]);
    }
    let head = head.into_iter().enumerate();
    let head = head.map(|(at, text)| pad(text, if at == 0 { first } else { WIDTH }));
    let mut text = format!("{}\n\n", head.collect::<String>().trim_end());
    for one in results {
        // Colours have no width.
        let painted = |text: &str, good: bool| {
            let padded = pad(text, WIDTH);
            match good {
                true => colours.good(&padded),
                false => colours.bad(&padded),
            }
        };
        let status = if one.working { "up" } else { "down" };
        let mut line = pad(&plain(&one.name), first);
        line.push_str(&painted(status, one.working));
        line.push_str(&pad(&plain(&one.pg_size), WIDTH));
        line.push_str(&pad(&plain(&one.claim_size), WIDTH));
        let percent = match one.volume_bytes {
            0 => pad("-", WIDTH),
            _ => painted(&one.percent.to_string(), one.percent <= FULL),
        };
        line.push_str(&percent);
        if wide {
            line.push_str(&pad(&plain(&one.role), WIDTH));
            line.push_str(&pad(&mib(one.volume_used), WIDTH));
            line.push_str(&pad(&mib(one.volume_bytes), WIDTH));
            line.push_str(&plain(&one.claim));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn mib(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        bytes => format!("{} MiB", bytes >> 20),
    }
}
