//! `pgo watch`.
//!
//! ```text
//! flags ─► query (what the apiserver leaves out already) ─► follow ─► shown, waited for, counted ─► end
//! ```

use std::{sync::Arc, time::Duration};

use cesql::Expression;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
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

/// Show events as they happen
///
/// One line per event: time, cluster, what, result, duration, who asked, and the step or the cause. It begins with what
/// happens from now on, unless --since or --last say otherwise, and continues where it was when the connection was lost.
/// Events of all namespaces the user may read are shown; with --namespace, of that one (PGO_NAMESPACE does not count
/// here). It ends with the first interrupt, or where --until, --count or --for say.
///
/// Exit status, besides those of every command: 3 where --for was not seen within --timeout, 4 where the operation that
/// --for waits for ended otherwise.
#[derive(Args)]
#[command(
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
    /// End then: now, in 10m, or at a time
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// End after so many events
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with the first event of this type, whether --type and --severity show it or not; * stands for any text
    #[arg(long = "for", value_name = "TYPE", value_parser = type_name)]
    wanted: Option<String>,
    /// How long --for waits
    #[arg(long, value_name = "DURATION", requires = "wanted", value_parser = duration)]
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

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Time(Timestamp),
    After(String),
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

/// An expression of CloudEvents SQL, as it was written.
fn filter(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Ok(String::new()),
        false => match text.parse::<Expression>() {
            Ok(_) => Ok(text.to_owned()),
            Err(wrong) => Err(format!("column {}: {}", wrong.column(), wrong.fault())),
        },
    }
}

/// The first moment of a day.
fn day(text: &str) -> Option<Timestamp> {
    // A longer text may have a time of a place that is not known.
    let day: jiff::civil::Date = (text.len() == 10).then(|| text.parse().ok())??;
    Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A time, a day, how long ago, the beginning, or a cursor.
fn since(text: &str) -> Result<Place, String> {
    if text == "beginning" {
        return Ok(Place::Time(Timestamp::UNIX_EPOCH));
    }
    let ago = |text| Timestamp::now().checked_sub(duration(text).ok()?).ok();
    let time = text.parse().ok().or_else(|| day(text));
    if let Some(time) = time.or_else(|| ago(text)) {
        return Ok(Place::Time(time));
    }
    let cursor = text.split_once(':').is_some_and(|(epoch, offset)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_alphanumeric()) && digits(offset)
    });
    match cursor {
        true => Ok(Place::After(text.to_owned())),
        false => Err(
            "write it as 10m, 1h30m, 7d, 2026-01-31T12:00:00Z, 2026-01-31, beginning, or a cursor that -o json showed"
                .to_owned(),
        ),
    }
}

/// A time, in how long, or now.
fn until(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let ahead = |text| now.checked_add(duration(text).ok()?).ok();
    let time = match text {
        "now" => Some(now),
        text => text
            .parse()
            .ok()
            .or_else(|| day(text))
            .or_else(|| ahead(text)),
    };
    time.ok_or_else(|| "write it as now, 10m, 2026-01-31T12:00:00Z, or 2026-01-31".to_owned())
}

impl Arguments {
    /// The address of an nsqd that is read directly, as 4.1 does it.
    pub fn direct(&self) -> Result<Option<direct::Watch>, Failure> {
        let Some(address) = self.direct.address() else {
            return Ok(None);
        };
        let chosen = [
            ("CLUSTER", !self.clusters.is_empty()),
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

    /// Judges the topic, which an nsqd that is read directly may have others of.
    pub fn check(&self) -> Result<(), Failure> {
        let topic = self.topic.parse::<Topic>();
        match (self.direct.address(), topic) {
            (Some(_), _) | (None, Ok(_)) => Ok(()),
            (None, Err(unknown)) => {
                let unknown: UnknownTopic = unknown;
                Err(Failure::Usage(unknown.to_string()))
            }
        }
    }

    fn query(&self, api: &Api) -> EventsQuery {
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
            clusters: self.clusters.join(","),
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
    let mut news = events::follow(api.clone(), arguments.query(&api));
    let mut watch = Watch {
        colours: Colours::detect(),
        left: arguments.count,
        arguments,
    };
    let ends = watch.arguments.until.map(from_now);
    let gives_up = watch.arguments.timeout;
    let (at_end, late) = (after(ends), after(gives_up));
    tokio::pin!(at_end, late);
    loop {
        let told = tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            told = news.recv() => told,
            () = &mut late => return Err(watch.too_late()),
            () = &mut at_end, if ends.is_some_and(|ends| !ends.is_zero()) => return watch.end(),
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

/// How long until then; nothing where it has been.
fn from_now(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
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
                output::note(&format!("pgo: {}; trying again", output::plain(&why)));
            }
            News::Back => output::note("pgo: connected again"),
            // All that was there has been shown; a time that has been has no more.
            News::CaughtUp => {
                let over = |until: Timestamp| until <= Timestamp::now();
                if self.arguments.until.is_some_and(over) {
                    return Some(self.end());
                }
            }
            News::Ended(why) => return Some(Err(why.into())),
        }
        None
    }

    fn take_event(&mut self, cursor: String, event: Value) -> Option<Result<(), Failure>> {
        let line = Line::of(&event);
        let after_end = |until: Timestamp| line.at.is_some_and(|at| at > until);
        if self.arguments.until.is_some_and(after_end) {
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
        (*left == 0).then(|| self.end())
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

    /// The end was reached; what was waited for was not there.
    fn end(&self) -> Result<(), Failure> {
        match self.arguments.wanted {
            Some(_) => Err(self.too_late()),
            None => Ok(()),
        }
    }

    fn too_late(&self) -> Failure {
        let wanted = self.arguments.wanted.as_deref().unwrap_or_default();
        Failure::NotSeen(match self.arguments.timeout {
            Some(timeout) => format!("{wanted} was not seen within {}", output::ago(timeout)),
            None => format!("{wanted} was not seen"),
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
    fn since_is_a_time_how_long_ago_or_a_cursor() {
        let time = "2026-01-31T12:00:00Z";
        assert_eq!(since(time), Ok(Place::Time(time.parse().unwrap())));
        let Ok(Place::Time(hour)) = since("1h") else {
            panic!("not a time");
        };
        let seconds = Timestamp::now().duration_since(hour).as_secs();
        assert!((3590..3660).contains(&seconds));
        let day = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(since("2026-01-31"), Ok(Place::Time(day)));
        assert_eq!(since("beginning"), Ok(Place::Time(Timestamp::UNIX_EPOCH)));
        assert!(matches!(since("7d"), Ok(Place::Time(_))));
        assert!(since("2026-01-31T12:00:00").is_err(), "of which zone?");
        assert_eq!(since("0a1b:17"), Ok(Place::After("0a1b:17".to_owned())));
        for wrong in ["yesterday", "a:", ":1", "a/b:1"] {
            assert!(since(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }

    #[test]
    fn until_is_now_a_time_or_in_how_long() {
        let ahead = until("1h")
            .unwrap()
            .duration_since(Timestamp::now())
            .as_secs();
        assert!((3500..=3600).contains(&ahead));
        assert!(until("now").unwrap() <= Timestamp::now());
        assert!(until("tomorrow").unwrap_err().contains("now"));
    }

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
