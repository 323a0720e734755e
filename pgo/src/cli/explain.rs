//! `pgo explain`.

use clap::Args;
use pgo_events::{EventType, Published, reference};
use serde_json::json;

use super::{Failure, Output};
use crate::output::{self, pad};

/// Explain an event: what it means, what to do about it, and what is in it
///
/// Without a name all types are listed. No apiserver is asked: the client knows the events of its own version.
#[derive(Args)]
#[command(after_help = "Examples:\n  pgo explain CreateClusterFailure\n  pgo explain -o json")]
pub struct Arguments {
    /// Type of the event, as pgo watch -o json shows it; a part of it is enough where only one type has it
    #[arg(value_name = "EVENT")]
    event: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Looks into the catalogue.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let printed = match arguments.event.as_deref() {
        None if json => {
            let all: Vec<_> = EventType::ALL.iter().copied().map(described).collect();
            output::print_json(&all)
        }
        None => output::print(&list()),
        Some(name) => {
            let event_type = find(name)?;
            match json {
                true => output::print_json(&described(event_type)),
                false => output::print(&reference::explain(event_type)),
            }
        }
    };
    printed.map_err(Failure::Output)
}

/// The type of that name, in whatever case, or the only one that has it in its name.
pub(super) fn find(name: &str) -> Result<EventType, Failure> {
    let wanted = name.to_ascii_lowercase();
    let all = || EventType::ALL.iter().copied();
    let lower = |event_type: EventType| event_type.as_str().to_ascii_lowercase();
    if let Some(exact) = all().find(|event_type| lower(*event_type) == wanted) {
        return Ok(exact);
    }
    let alike: Vec<EventType> = all().filter(|t| lower(*t).contains(&wanted)).collect();
    match alike.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::Failed(format!(
            "there is no event {name:?}; pgo explain lists all types"
        ))),
        several => {
            let names: Vec<&str> = several.iter().map(|t| t.as_str()).collect();
            Err(Failure::Failed(format!(
                "there is no event {name:?}; did you mean one of {}?",
                names.join(", ")
            )))
        }
    }
}

fn list() -> String {
    let rows = EventType::ALL.iter().map(|event_type| {
        let about = event_type.about();
        let later = match about.published {
            Published::Now => "",
            Published::Later(_) => " (not published yet)",
            Published::Never => " (never published)",
        };
        let (name, severity) = (pad(about.name, 28), pad(about.severity.as_str(), 5));
        format!("{name}  {severity}  {}{later}\n", about.meaning())
    });
    rows.collect()
}

fn described(event_type: EventType) -> serde_json::Value {
    let about = event_type.about();
    let fields: Vec<_> = about
        .fields
        .iter()
        .map(|field| json!({ "name": field.as_str(), "meaning": field.meaning() }))
        .collect();
    json!({
        "type": about.name,
        "meaning": about.meaning(),
        "advice": about.advice,
        "severity": about.severity,
        "stage": about.stage,
        "operation": about.operation.map(|operation| operation.what()),
        "topics": about.topics,
        "fields": fields,
        "published": about.published == Published::Now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_by_its_name_and_by_a_part_that_only_it_has() {
        assert_eq!(find("createcluster").unwrap(), EventType::CreateCluster);
        assert_eq!(find("HistoryC").unwrap(), EventType::HistoryCut);
    }

    #[test]
    fn what_names_several_types_or_none_says_what_there_is() {
        let why = |name| find(name).unwrap_err().to_string();
        assert!(why("createclust").contains("CreateClusterFailure"));
        assert!(why("nosuch").contains("pgo explain lists"));
    }
}
