//! `pgo watch`.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use pgo_api::{EventsQuery, PGO_VERSION, StreamLine};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Output, wait::duration};
use crate::{
    client::{
        Api,
        events::{self, News},
    },
    output::{self, Colours, event::Line},
};

/// Show events as they happen
///
/// One line per event: time, cluster, what, result, duration, who asked, and the step or the cause. It begins with what
/// happens from now on, unless --since or --last say otherwise, and continues where it was when the connection was lost.
/// Events of all namespaces the user may read are shown; with --namespace, of that one (PGO_NAMESPACE does not count
/// here). It ends with the first interrupt.
#[derive(Args)]
#[command(
    after_help = "Topics: alltopic, clustertopic, backuptopic, loadtopic, postgresusertopic, policytopic, pgpooltopic, pgbouncertopic, pgotopic, pgousertopic\n\nExamples:\n  pgo watch alltopic\n  pgo watch clustertopic --since 1h\n  pgo watch alltopic --last 20 -o json"
)]
pub struct Arguments {
    /// Topic to watch; alltopic has all events
    topic: String,
    /// Begin with the events since then: 10m ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with = "last")]
    since: Option<Timestamp>,
    /// Begin with so many of the last events
    #[arg(long, value_name = "NUMBER")]
    last: Option<u32>,
    #[command(flatten)]
    output: Output,
}

/// A time, or how long ago.
fn since(text: &str) -> Result<Timestamp, String> {
    let ago = |text| Timestamp::now().checked_sub(duration(text).ok()?).ok();
    let time = text.parse().ok().or_else(|| ago(text));
    time.ok_or_else(|| "write it as 10m, 1h30m or 2026-01-31T12:00:00Z".to_owned())
}

/// Prints until it is interrupted or there is nothing to be had any more.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let query = EventsQuery {
        topic: arguments.topic,
        namespace: api.settings().namespace_flag.clone().unwrap_or_default(),
        version: PGO_VERSION.to_owned(),
        since: arguments.since.map(|time| time.to_string()),
        last: arguments.last,
        cursor: None,
    };
    let json = arguments.output.is_json();
    let colours = Colours::detect();
    let mut interrupted = on(SignalKind::interrupt())?;
    let mut terminated = on(SignalKind::terminate())?;
    let mut news = events::follow(api, query);
    loop {
        let told = tokio::select! {
            told = news.recv() => told,
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
        };
        match told {
            Some(News::Ended(why)) => return Err(why.into()),
            Some(news) => show(news, json, colours)?,
            None => return Ok(()),
        }
    }
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::Failed(format!("cannot listen for signals: {error}")))
}

fn json_of(line: &StreamLine) -> String {
    output::json(&line.to_line())
}

/// Whoever read standard output may have enough of it: then the watch is over, and that is no failure.
fn show(news: News, json: bool, colours: Colours) -> Result<(), Failure> {
    let print = |text: &str| output::print(text).map_err(Failure::Output);
    match news {
        News::Event { cursor, event } if json => {
            print(&json_of(&StreamLine::Event { cursor, event }))?;
        }
        News::Event { event, .. } => print(&Line::of(&event).render(colours))?,
        News::Cut(text) if json => print(&json_of(&StreamLine::Cut { text }))?,
        News::Cut(text) => output::note(&format!(
            "pgo: events are missing here: {}",
            output::plain(&text)
        )),
        News::Lost(why) => output::note(&format!("pgo: {why}; trying again")),
        News::Back => output::note("pgo: connected again"),
        News::CaughtUp | News::Ended(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let time = "2026-01-31T12:00:00Z";
        assert_eq!(since(time).unwrap().to_string(), time);
        let hour = Timestamp::now()
            .duration_since(since("1h").unwrap())
            .as_secs();
        assert!((3590..3660).contains(&hour));
        assert!(since("yesterday").unwrap_err().contains("10m"));
    }
}
