//! `pgo watch`.
//!
//! ```text
//! flags ─► query (what the apiserver leaves out already) ─► follow ─► shown, waited for, counted ─► end
//! ```

mod chosen;
mod times;

use std::{sync::Arc, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};
use pgo_api::{EventsQuery, PGO_VERSION, StreamLine};
use pgo_events::{
    EventType, Severity, Topic, TypePattern, UnknownSeverity, UnknownTopic, cloudevent::CloudEvent,
};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{Failure, direct, wait::duration};
use crate::{
    client::{
        Api,
        events::{self, News},
    },
    output::{self, Colours, event::Line},
};
use chosen::{filter, further_topics, named_clusters};
use times::{End, Place, since, until};

/// Show events as they happen
///
/// One line per event: time, cluster, what, result, duration, who asked, whom it is about, and the step or the cause. It begins with what
/// happens from now on, unless --since or --last say otherwise, and continues where it was when the connection was lost.
/// Events of all namespaces the user may read are shown; with --namespace, of that one (PGO_NAMESPACE does not count
/// here). It ends with the first interrupt, or where --until, --count or --for say.
///
/// Exit status, besides those of every command: 3 where --for was not seen before --timeout, --until or --count ended it, or where
/// --timeout ended it before all until --until was there; 4 where the operation that
/// --for waits for ended otherwise.
#[derive(Args)]
#[command(
    group = ArgGroup::new("awaited").args(["wanted", "until"]).multiple(true),
    after_help = "Topics: alltopic, clustertopic, backuptopic, loadtopic, postgresusertopic, policytopic, pgpooltopic, pgbouncertopic, pgotopic, pgousertopic\n\nExamples:\n  pgo watch alltopic\n  pgo watch clustertopic hippo --since 1h\n  pgo watch alltopic --last 20 -o json\n  pgo watch alltopic --severity warn --type '*Failure'\n  pgo watch alltopic --filter \"durationms > 5000 AND EXISTS cause\"\n  pgo watch clustertopic hippo --for CreateClusterCompleted --timeout 60s"
)]
pub struct Arguments {
    /// Topic to watch; alltopic has all events
    topic: String,
    /// Only events of these clusters
    #[arg(value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// Only events of clusters with these labels
    #[arg(short, long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only events of these types; * stands for any text
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = type_name)]
    types: Vec<String>,
    /// Only events at least this grave: debug, info, warn or error
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<Severity>,
    /// Only events for which this CloudEvents SQL expression is true
    #[arg(long, value_name = "CESQL", value_parser = filter)]
    filter: Option<String>,
    /// Begin with the events since then: 10m or 7d ago, a time such as 2026-01-31T12:00:00Z, a day (UTC), the beginning, or
    /// after a cursor
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with = "last")]
    since: Option<Place>,
    /// Begin with so many of the last events
    #[arg(long, value_name = "NUMBER")]
    last: Option<u32>,
    /// End when all that happened until then was shown: until now (what is there), in 10m, or a time
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<End>,
    /// End after so many events
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with the first event of this type, whether --type and --severity show it or not; * stands for any text
    #[arg(long = "for", value_name = "TYPE", value_parser = type_name)]
    wanted: Option<String>,
    /// How long --for waits, and --until for what was not there yet
    #[arg(long, value_name = "DURATION", requires = "awaited", value_parser = duration)]
    timeout: Option<Duration>,
    /// Form of the output, instead of a line per event
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,
    #[command(flatten)]
    direct: direct::DirectFlags,
}

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A JSON object per line: the cursor and the event.
    Json,
    /// A YAML document per event.
    Yaml,
    /// A line with key, severity and operation too.
    Wide,
    /// A JSON object per line: the event as a CloudEvent.
    Cloudevents,
}

/// A pattern, or the name of a type that there is.
fn type_name(text: &str) -> Result<String, String> {
    let fits = |event_type: &&EventType| TypePattern::of(text).fits(event_type.as_str());
    if text.contains('*') || EventType::ALL.iter().any(|event_type| fits(&event_type)) {
        return Ok(text.to_owned());
    }
    let why = super::explain::find(text).map_or_else(
        |unknown| unknown.to_string(),
        |alike| format!("there is no event {text:?}; did you mean {alike}?"),
    );
    let end = if why.ends_with('?') { "" } else { "." };
    Err(format!(
        "{why}{end} An apiserver of a later version may have more; write {text}* for one of those"
    ))
}

/// A severity.
fn severity(text: &str) -> Result<Severity, String> {
    text.parse()
        .map_err(|unknown: UnknownSeverity| unknown.to_string())
}

impl Arguments {
    /// The address of an nsqd that is read directly, as 4.1 does it.
    pub fn direct(&self) -> Result<Option<direct::Watch>, Failure> {
        let Some(address) = self.direct.address() else {
            return Ok(None);
        };
        let chosen = [
            (
                "CLUSTER",
                further_topics(&self.clusters).len() < self.clusters.len(),
            ),
            ("--selector", self.selector.is_some()),
            ("--type", !self.types.is_empty()),
            ("--severity", self.severity.is_some()),
            ("--filter", self.filter.is_some()),
            ("--since", self.since.is_some()),
            ("--last", self.last.is_some()),
            ("--until", self.until.is_some()),
            ("--count", self.count.is_some()),
            ("--for", self.wanted.is_some()),
            ("--output", self.output.is_some()),
        ];
        match chosen.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Failure::Usage(format!(
                "{name} does not go with --pgo-event-address: nsqd has neither filters nor a history; leave out one of them"
            ))),
            None => Ok(Some(direct::Watch {
                address: address.to_owned(),
                topic: self.topic.clone(),
            })),
        }
    }

    /// Judges the topic, which an nsqd that is read directly may have others of, and the names of clusters.
    pub fn check(&self) -> Result<(), Failure> {
        let topic = self.topic.parse::<Topic>();
        match (self.direct.address(), topic) {
            (Some(_), _) => Ok(()),
            (None, Ok(_)) => named_clusters(&self.clusters).map(drop),
            (None, Err(unknown)) => {
                let unknown: UnknownTopic = unknown;
                Err(Failure::Usage(unknown.to_string()))
            }
        }
    }

    fn query(&self, api: &Api, clusters: &[&str]) -> EventsQuery {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        let (since, cursor) = match &self.since {
            None => (None, None),
            Some(Place::Time(time)) => (Some(time.to_string()), None),
            Some(Place::After(cursor)) => (None, Some(cursor.clone())),
        };
        EventsQuery {
            topic: self.topic.clone(),
            namespace: api.settings().namespace_flag.clone().unwrap_or_default(),
            version: PGO_VERSION.to_owned(),
            since,
            last: self.last,
            cursor,
            clusters: clusters.join(","),
            selector: text(&self.selector),
            types: self.asked_types().join(","),
            severity: self.asked_severity(),
            filter: text(&self.filter),
        }
    }

    /// Types of which at least those are needed that are shown and those that are waited for; none: all.
    fn asked_types(&self) -> Vec<String> {
        let mut types = self.types.clone();
        if let (Some(wanted), false) = (&self.wanted, types.is_empty()) {
            types.push(wanted.clone());
            types.extend(other_end(wanted).map(|other| other.as_str().to_owned()));
        }
        types
    }

    /// The severity from which on events are needed; none: all.
    fn asked_severity(&self) -> String {
        let Some(least) = self.severity else {
            return String::new();
        };
        let awaited = EventType::ALL.iter().copied().filter(|one| {
            self.wanted.as_ref().is_some_and(|wanted| {
                TypePattern::of(wanted).fits(one.as_str()) || other_end(wanted) == Some(*one)
            })
        });
        let needed = awaited.map(EventType::severity).chain([least]).min();
        needed.unwrap_or(least).as_str().to_owned()
    }

    /// Whether an event is shown: what comes for the sake of --for alone is not.
    fn shows(&self, event_type: &str, event: &Value) -> bool {
        if self.wanted.is_none() {
            return true;
        }
        let patterns = self.types.iter().map(|text| TypePattern::of(text));
        let of_type = self.types.is_empty() || { patterns }.any(|pattern| pattern.fits(event_type));
        let severity = event["severity"].as_str().unwrap_or_default();
        let at_least = |least| severity.parse().is_ok_and(|one: Severity| one >= least);
        of_type && self.severity.is_none_or(at_least)
    }
}

/// Prints until it is interrupted, the end that was asked for, or there is nothing to be had any more.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(unable)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(unable)?;
    let (until, gives_up) = (arguments.until, arguments.timeout);
    let query = arguments.query(&api, &named_clusters(&arguments.clusters)?);
    for topic in further_topics(&arguments.clusters) {
        output::note(&format!(
            "pgo: one topic is watched at a time, {} now; {topic} is left out, alltopic has them all",
            arguments.topic
        ));
    }
    let mut news = events::follow(api.clone(), query, until.map(End::complete));
    let mut watch = Watch {
        colours: Colours::detect(),
        left: arguments.count,
        away: false,
        has_come: false,
        arguments,
    };
    let (time_comes, late) = (reached(until), after(gives_up));
    tokio::pin!(time_comes, late);
    loop {
        let told = tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            told = news.recv() => told,
            () = &mut late => return Err(watch.too_late()),
            () = &mut time_comes, if !watch.has_come => {
                watch.has_come = true;
                watch.tell_that_it_goes_on();
                continue;
            }
        };
        let Some(told) = told else {
            return Ok(());
        };
        if let Some(end) = watch.take(told) {
            return end;
        }
    }
}

fn unable(error: std::io::Error) -> Failure {
    Failure::Failed(format!("cannot wait for signals: {error}"))
}

/// For ever without a time.
async fn reached(end: Option<End>) {
    match end {
        Some(end) => end.comes().await,
        None => std::future::pending().await,
    }
}

/// For ever without a duration.
async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// What is shown, and when it is enough.
struct Watch {
    arguments: Arguments,
    colours: Colours,
    /// Events that may still come.
    left: Option<u64>,
    /// There is no connection just now.
    away: bool,
    /// The time of --until.
    has_come: bool,
}

impl Watch {
    /// Shows what was told; the end, if this is it.
    fn take(&mut self, told: News) -> Option<Result<(), Failure>> {
        match told {
            News::Event { cursor, event } => return self.take_event(cursor, event),
            News::Cut(text) => {
                if self.arguments.output == Some(Form::Json) {
                    let line = StreamLine::Cut { text }.to_line();
                    return self.print(&output::json(&line)).err().map(Err);
                }
                output::note(&format!(
                    "pgo: events are missing here: {}",
                    output::plain(&text)
                ));
            }
            News::Lost(why) => {
                self.away = true;
                output::note(&format!("pgo: {}; trying again", output::plain(&why)));
                self.tell_that_it_goes_on();
            }
            News::Back => {
                self.away = false;
                output::note("pgo: connected again");
            }
            // That the time has come does not say that all until then has.
            News::CaughtUp { as_of } => {
                let until = self.arguments.until;
                if let Some(until) = until.filter(|until| until.complete() <= as_of) {
                    return Some(self.end(|| format!("by {until}")));
                }
            }
            News::Ended(why) => return Some(Err(why.into())),
        }
        None
    }

    fn take_event(&mut self, cursor: String, event: Value) -> Option<Result<(), Failure>> {
        let line = Line::of(&event);
        let is_after = |until: End| line.at.is_some_and(|at| !until.shows(at));
        if self.arguments.until.is_some_and(is_after) {
            return None;
        }
        let event_type = event.pointer("/eventheader/EventType");
        let event_type = event_type
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let cause = line.detail.clone();
        let shown = self.arguments.shows(&event_type, &event);
        if shown && let Err(failure) = self.show(&line, cursor, event) {
            return Some(Err(failure));
        }
        if let Some(wanted) = &self.arguments.wanted {
            if TypePattern::of(wanted).fits(&event_type) {
                return Some(Ok(()));
            }
            if other_end(wanted).is_some_and(|other| other.as_str() == event_type) {
                return Some(Err(Failure::EndedOtherwise(format!(
                    "{event_type} came instead of {wanted}: {cause}"
                ))));
            }
        }
        let left = self.left.as_mut().filter(|_| shown)?;
        *left = left.saturating_sub(1);
        let count = self.arguments.count.filter(|_| *left == 0)?;
        Some(self.end(|| format!("among the {count} events of --count")))
    }

    /// Says why it does not end though the time has come.
    fn tell_that_it_goes_on(&self) {
        if self.has_come && self.away {
            output::note(
                "pgo: the time of --until has come; it ends when what happened until then was read",
            );
        }
    }

    fn show(&self, line: &Line, cursor: String, event: Value) -> Result<(), Failure> {
        let text = match self.arguments.output {
            None => line.render(self.colours),
            Some(Form::Wide) => line.render_wide(self.colours),
            Some(Form::Json) => output::json(&StreamLine::Event { cursor, event }.to_line()),
            Some(Form::Cloudevents) => {
                let event = CloudEvent::of_json(event).to_structured();
                output::json(&format!("{event}\n"))
            }
            Some(Form::Yaml) => {
                let text = serde_saphyr::to_string(&event).map_err(|error| {
                    Failure::Failed(format!("an event cannot be written as YAML: {error}"))
                })?;
                format!("---\n{}", output::lines(&text))
            }
        };
        self.print(&text)
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        output::print(text).map_err(Failure::Output)
    }

    /// The end was reached; what was waited for was not there, `within` what was looked at.
    fn end(&self, within: impl FnOnce() -> String) -> Result<(), Failure> {
        match &self.arguments.wanted {
            Some(wanted) => Err(Failure::NotSeen(format!(
                "{wanted} was not seen {}",
                within()
            ))),
            None => Ok(()),
        }
    }

    /// What the limit of time cut off.
    fn too_late(&self) -> Failure {
        let within = output::ago(self.arguments.timeout.unwrap_or_default());
        let arguments = &self.arguments;
        Failure::NotSeen(match (&arguments.wanted, arguments.until) {
            (None, Some(until)) => format!(
                "what happened until {until} was not all there within {within}; give --timeout more time, or read on with --since"
            ),
            (wanted, _) => format!(
                "{} was not seen within {within}",
                wanted.as_deref().unwrap_or_default()
            ),
        })
    }
}

/// The failure that comes where the success of an operation is waited for.
fn other_end(wanted: &str) -> Option<EventType> {
    let mut all = EventType::ALL.iter();
    let wanted = all.find(|event_type| event_type.as_str().eq_ignore_ascii_case(wanted))?;
    let operation = wanted.about().operation?;
    (operation.completed() == *wanted).then(|| operation.failed())
}

/// Reads an nsqd directly, without an apiserver.
pub async fn run_direct(watch: direct::Watch, in_namespace: bool) -> Result<(), Failure> {
    if in_namespace {
        // 4.1 takes the flag here, so scripts may give it.
        output::note(
            "pgo: --namespace has no effect with --pgo-event-address: nsqd sends the events of all namespaces",
        );
    }
    let mut interrupted = signal(SignalKind::interrupt()).map_err(unable)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(unable)?;
    tokio::select! {
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
        ended = watch.run() => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_pattern_or_one_that_there_is() {
        for right in [
            "CreateCluster",
            "createclustercompleted",
            "*Failure",
            "New*",
        ] {
            assert_eq!(type_name(right).as_deref(), Ok(right));
        }
        let why = type_name("CreateClusterComplet").unwrap_err();
        assert!(
            why.contains("did you mean CreateClusterCompleted?"),
            "{why}"
        );
        assert!(type_name("Nosuch").unwrap_err().contains("Nosuch*"));
    }

    #[test]
    fn the_other_end_of_a_success_is_its_failure() {
        let failure = EventType::CreateClusterFailure;
        assert_eq!(other_end("createclustercompleted"), Some(failure));
        for none in [
            "CreateCluster",
            "CreateClusterFailure",
            "*Completed",
            "nosuch",
        ] {
            assert_eq!(other_end(none), None, "{none}");
        }
    }
}
