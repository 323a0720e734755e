//! `--wait`: follows clusters until they are ready or gone, or until what was asked for of them is over.
//!
//! ```text
//! GET /events ─────────► a line per step, the cause of a failure, and a reason to look now
//! POST /showclusters ──► whether it is so: each second, and after each end of an operation; and the step of a creation
//! ```
//!
//! Only what `/showclusters` says counts as success, so a stream of events that is lost, or silent (`DISABLE_EVENTING`), makes
//! it less talkative, not wrong: the step at which a creation is stands in the status, too, and what was passed between two
//! looks is not told then.

mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use jiff::{Span, SpanRelativeTo};
use pgo_api::{EventsQuery, PGO_VERSION};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};

pub use self::work::Work;
use super::{
    Failure, Report,
    select::{Place, Selected},
    show_cluster,
};
use crate::{
    client::{
        Api, ClientError,
        events::{self, News},
    },
    output::{
        self, ago,
        event::{Line, Stage},
        pad, plain,
    },
};

/// Topic of what is done with clusters.
pub const CLUSTERS: &str = "clustertopic";
/// Topic of the steps of backups.
pub const BACKUPS: &str = "backuptopic";
/// Topic of the steps of loads.
pub const LOADS: &str = "loadtopic";
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the stream of events may take to begin; the request is made without it then.
const STREAM_BEGINS: Duration = Duration::from_secs(3);

/// What is said of an operation that has begun.
pub const STARTED: &str = "started";

/// Flags of the commands that can wait.
#[derive(Args, Clone, Debug)]
pub struct WaitFlags {
    /// Follow the work until it is done or failed
    #[arg(long)]
    pub wait: bool,
    /// How long to wait: 90s, 10m, 1h; at most a year
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "wait", value_parser = limit)]
    pub timeout: Duration,
}

/// A duration as people write it; a bare number is seconds, a day is 24 hours, a week seven days.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let read = seconds.or_else(|| {
        let span = text.parse::<Span>().ok()?;
        let days = SpanRelativeTo::days_are_24_hours();
        span.to_duration(days).ok()?.try_into().ok()
    });
    read.ok_or_else(|| "write it as 90s, 10m, 1h30m or 7d".to_owned())
}

/// Longest wait. A clock cannot be set as late as some durations would have it.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration that can be waited for.
fn limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long > LONGEST => Err("at most a year (8784h) can be waited for".to_owned()),
        limit => Ok(limit),
    }
}

/// What is being waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Ready,
    Gone,
    Done(Work),
}

impl Goal {
    /// Type of the operation's events, without the stage; none where its id says enough.
    fn operation(self) -> Option<&'static str> {
        match self {
            Self::Ready => Some("CreateCluster"),
            Self::Gone => Some("DeleteCluster"),
            Self::Done(Work::Scale) => Some("ScaleCluster"),
            Self::Done(_) => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Gone => "gone",
            Self::Done(work) => work.words().0,
        }
    }
}

/// The stream of events, open since before the request.
pub struct Following {
    api: Arc<Api>,
    news: Option<mpsc::Receiver<News>>,
    /// Progress goes to standard error, where standard output is for JSON.
    aside: bool,
    began: Instant,
    limit: Duration,
    /// What is known of each cluster that is not there yet.
    pending: BTreeMap<Place, Known>,
    /// Operations to follow; empty: any.
    operations: Vec<String>,
    /// Replicas that are to join: clusters and names.
    joining: Vec<(String, String)>,
    /// How many of the clusters failed to get there.
    failures: usize,
    /// Steps of creations that were told, as clusters and texts: the stream and the status tell of the same.
    told: BTreeSet<(Place, String)>,
}

/// How many of the clusters that were followed got there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub done: usize,
    pub failed: usize,
    /// It was not over when the wait ended.
    pub left: usize,
}

/// What is known of a cluster.
#[derive(Default)]
struct Known {
    seen: bool,
    why_not: Option<String>,
}

impl Following {
    /// Opens the stream of the command's namespace, if the flags say so.
    pub async fn begin(flags: &WaitFlags, api: &Arc<Api>, aside: bool) -> Option<Self> {
        let namespace = &api.settings().namespace;
        Self::begin_in((CLUSTERS, namespace), flags, api, aside).await
    }

    /// Opens the stream of a topic and a namespace, or of all that the user may see where that is empty, if the flags say so.
    pub async fn begin_in(
        (topic, namespace): (&str, &str),
        flags: &WaitFlags,
        api: &Arc<Api>,
        aside: bool,
    ) -> Option<Self> {
        if !flags.wait {
            return None;
        }
        let query = EventsQuery {
            topic: topic.to_owned(),
            namespace: namespace.to_owned(),
            version: PGO_VERSION.to_owned(),
            ..EventsQuery::default()
        };
        let mut news = events::follow(api.clone(), query, None);
        let begun = timeout(STREAM_BEGINS, async {
            loop {
                match news.recv().await {
                    Some(News::CaughtUp { .. }) => return Ok(()),
                    Some(News::Ended(why)) => return Err(why.to_string()),
                    None => return Err("it ended".to_owned()),
                    Some(_) => {}
                }
            }
        });
        let missing = match begun.await {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_) => Some("it did not begin in time".to_owned()),
        };
        if let Some(why) = &missing {
            output::note(&format!(
                "pgo: not every step will be shown, there is no stream of events: {why}"
            ));
        }
        Some(Self {
            api: api.clone(),
            news: missing.is_none().then_some(news),
            aside,
            began: Instant::now(),
            limit: flags.timeout,
            pending: BTreeMap::new(),
            operations: Vec::new(),
            joining: Vec::new(),
            failures: 0,
            told: BTreeSet::new(),
        })
    }

    /// Until each can be used; the operations are those the answer named.
    pub async fn until_ready(
        mut self,
        names: Vec<String>,
        operations: Vec<String>,
        report: &mut Report,
    ) {
        self.operations = operations;
        self.follow(Goal::Ready, places(names), report).await;
    }

    /// Until none is there any more.
    pub async fn until_gone(self, names: Vec<String>, report: &mut Report) {
        self.follow(Goal::Gone, places(names), report).await;
    }

    /// Until what was asked for is done, as clusters and operations; one that fails does not keep the others.
    pub async fn until_done(
        mut self,
        work: Work,
        asked: Vec<(Place, String)>,
        report: &mut Report,
    ) -> Tally {
        let (clusters, operations) = asked.into_iter().unzip();
        self.operations = operations;
        self.follow(Goal::Done(work), clusters, report).await
    }

    /// Until the replicas, as clusters and names, have joined; one that fails does not keep the others.
    pub async fn until_joined(mut self, replicas: Vec<(String, String)>, report: &mut Report) {
        let names = replicas.iter().map(|(cluster, _)| cluster.clone());
        let clusters = places(names.collect());
        self.joining = replicas;
        self.follow(Goal::Done(Work::Scale), clusters, report).await;
    }

    async fn follow(mut self, goal: Goal, clusters: Vec<Place>, report: &mut Report) -> Tally {
        if clusters.is_empty() {
            return Tally::default();
        }
        report.tell_problems("waiting for the rest");
        let unknown = |cluster| (cluster, Known::default());
        self.pending = clusters.into_iter().map(unknown).collect();
        let all = self.pending.len();
        if let Err(failure) = self.until(goal, report).await {
            report.problem(failure);
        }
        let (failed, left) = (self.failures, self.pending.len());
        Tally {
            done: all.saturating_sub(failed + left),
            failed,
            left,
        }
    }

    async fn until(&mut self, goal: Goal, report: &mut Report) -> Result<(), Failure> {
        let deadline = self.began + self.limit;
        let mut tick = interval(PAUSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.pending.is_empty() {
            tokio::select! {
                () = sleep_until(deadline) => return Err(self.late(goal)),
                news = next(&mut self.news) => match news {
                    Some(News::Event { event, .. }) => {
                        if self.tell(goal, &Line::of(&event), report)? {
                            tick.reset_immediately();
                        }
                    }
                    Some(_) => {}
                    None => self.news = None,
                },
                _ = tick.tick() => match timeout_at(deadline, self.look(goal, report)).await {
                    Ok(looked) => looked?,
                    Err(_) => return Err(self.late(goal)),
                },
            }
        }
        Ok(())
    }

    /// Shows an event of an operation that is being followed; whether it ended well. A failure is a failure.
    fn tell(&mut self, goal: Goal, line: &Line, report: &mut Report) -> Result<bool, Failure> {
        let ours = self.operations.is_empty() || self.operations.contains(&line.operation);
        let what = goal.operation();
        let is_other = what.is_some_and(|what| what != line.what);
        let is_it = |place: &&Place| {
            let namespace = place.namespace.as_ref();
            place.name == line.cluster
                && namespace.is_none_or(|namespace| *namespace == line.namespace)
        };
        let Some(cluster) = self.pending.keys().find(is_it).cloned() else {
            return Ok(false);
        };
        if is_other || !ours {
            return Ok(false);
        }
        match line.stage {
            // The look that follows says the same of it, and goes on with the others.
            Stage::Failed if matches!(goal, Goal::Done(_)) => return Ok(true),
            Stage::Failed => return Err(self.failed(goal, &cluster, &line.detail)),
            Stage::Completed => return Ok(true),
            Stage::Progress => self.step(goal, &cluster, &line.detail, report),
            Stage::Started => self.step(goal, &cluster, STARTED, report),
            Stage::Notice => {}
        }
        Ok(false)
    }

    /// Asks for each cluster how it is, and drops those that have reached the goal.
    async fn look(&mut self, goal: Goal, report: &mut Report) -> Result<(), Failure> {
        let clusters: Vec<Place> = self.pending.keys().cloned().collect();
        for place in clusters {
            let there = match self.ask(&place).await {
                Ok(there) => there,
                // The apiserver refuses also what it cannot look at just now.
                Err(error) if error.may_pass() || matches!(error, ClientError::Refused(_)) => {
                    self.known(&place).why_not = Some(error.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let reached = match (goal, &there) {
                (Goal::Ready, Some(cluster)) => show_cluster::is_ready(cluster),
                (Goal::Ready, None) if self.known(&place).seen => {
                    return Err(self.failed(goal, &place, "it was deleted meanwhile"));
                }
                (Goal::Gone, there) => there.is_none(),
                (Goal::Done(work), Some(cluster)) => match self.over(work, &place.name, cluster) {
                    Some(Ok(())) => true,
                    Some(Err(why)) => {
                        // The others go on, and are waited for.
                        let failure = self.failed(goal, &place, &why);
                        self.pending.remove(&place);
                        self.failures += 1;
                        report.problem(failure);
                        continue;
                    }
                    None => false,
                },
                (Goal::Done(_), None) => {
                    return Err(self.failed(goal, &place, "it was deleted meanwhile"));
                }
                (Goal::Ready, None) => false,
            };
            if reached {
                self.pending.remove(&place);
                self.say(&place, goal.as_str(), report);
                continue;
            }
            if let Some(cluster) = there {
                self.note(goal, &place, &cluster, report)?;
            }
        }
        Ok(())
    }

    /// Notes how a cluster is that has not reached the goal, and tells the step of its creation.
    fn note(
        &mut self,
        goal: Goal,
        place: &Place,
        cluster: &Value,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let why_not = show_cluster::not_ready(cluster);
        if goal == Goal::Ready && cluster.pointer("/status/phase") == Some(&"Failed".into()) {
            return Err(self.failed(goal, place, &why_not.unwrap_or_default()));
        }
        *self.known(place) = Known {
            seen: true,
            why_not,
        };
        if let Some(step) = show_cluster::step(cluster).filter(|_| goal == Goal::Ready) {
            self.step(goal, place, &step, report);
        }
        Ok(())
    }

    /// A cluster as it is now; nothing where it is not there.
    async fn ask(&self, place: &Place) -> Result<Option<Value>, ClientError> {
        let selected = Selected {
            name: place.name.clone(),
            selector: String::new(),
            all: false,
        };
        let namespace = place.namespace.as_deref();
        let namespace = namespace.unwrap_or(&self.api.settings().namespace);
        let answer = show_cluster::ask(&self.api, namespace, &selected, "").await?;
        let results = answer.whole()?.results;
        Ok(results.into_iter().next().map(|one| one.cluster))
    }

    /// How what was asked for of a cluster ended, if it has.
    fn over(&self, work: Work, name: &str, cluster: &Value) -> Option<Result<(), String>> {
        if work != Work::Scale {
            return self.ended(cluster);
        }
        let ours = self.joining.iter().filter(|(of, _)| of == name);
        let ends = ours.map(|(_, replica)| joined(cluster, replica));
        let ends: Vec<Option<Result<(), String>>> = ends.collect();
        if ends.iter().any(Option::is_none) {
            return None;
        }
        let failed = ends.into_iter().flatten().filter_map(Result::err);
        let failed: Vec<String> = failed.collect();
        Some(match failed.is_empty() {
            true => Ok(()),
            false => Err(failed.join("; ")),
        })
    }

    /// How the operation of a cluster ended, if it has.
    fn ended(&self, cluster: &Value) -> Option<Result<(), String>> {
        let operations = cluster.pointer("/status/operations")?.as_array()?;
        let ours = operations.iter().find(|operation| {
            let id = operation["id"].as_str().unwrap_or_default();
            self.operations.iter().any(|known| known == id)
        })?;
        let cause = ours["cause"].as_str().unwrap_or_default();
        match ours["outcome"].as_str()? {
            "Completed" => Some(Ok(())),
            _ => Some(Err(cause.to_owned())),
        }
    }

    fn known(&mut self, cluster: &Place) -> &mut Known {
        self.pending.entry(cluster.clone()).or_default()
    }

    /// Tells a step, of a creation once, whoever says it first.
    fn step(&mut self, goal: Goal, cluster: &Place, what: &str, report: &mut Report) {
        let step = (cluster.clone(), what.to_owned());
        if goal != Goal::Ready || self.told.insert(step) {
            self.say(cluster, what, report);
        }
    }

    fn say(&self, cluster: &Place, what: &str, report: &mut Report) {
        let after = pad(&ago(self.began.elapsed()), 6);
        let line = plain(&format!("{after}  {cluster}  {what}"));
        match self.aside {
            true => output::note(&line),
            false => report.print(&format!("{line}\n")),
        }
    }

    fn failed(&self, goal: Goal, cluster: &Place, cause: &str) -> Failure {
        let cause = match cause {
            "" => "no cause was given; see pgo show cluster",
            cause => cause,
        };
        let after = ago(self.began.elapsed());
        Failure::Failed(match goal {
            Goal::Ready => {
                format!("cluster {cluster} failed to become ready after {after}: {cause}")
            }
            Goal::Gone => format!("cluster {cluster} failed to be deleted after {after}: {cause}"),
            Goal::Done(work) => {
                let (_, what) = work.words();
                format!("cluster {cluster} failed to {what} after {after}: {cause}")
            }
        })
    }

    fn late(&self, goal: Goal) -> Failure {
        let of = |(cluster, known): (&Place, &Known)| match &known.why_not {
            Some(why) => format!("{cluster} ({why})"),
            None => cluster.to_string(),
        };
        let left: Vec<String> = self.pending.iter().map(of).collect();
        Failure::Failed(format!(
            "not {} within {}: {}; the work goes on, a longer --timeout waits longer",
            goal.as_str(),
            ago(self.limit),
            left.join(", ")
        ))
    }
}

/// Clusters of the command's namespace.
fn places(names: Vec<String>) -> Vec<Place> {
    names.into_iter().map(Place::from).collect()
}

/// Whether a replica has joined its cluster, or why it failed to; nothing while neither is known.
fn joined(cluster: &Value, replica: &str) -> Option<Result<(), String>> {
    let all = |key: &str| {
        let found = cluster.pointer(key).and_then(Value::as_array);
        found.map(Vec::as_slice).unwrap_or_default()
    };
    let mut replicas = all("/status/replicas").iter();
    if replicas.any(|one| one["name"] == replica && one["joined"] == true) {
        return Some(Ok(()));
    }
    let mut operations = all("/status/operations").iter().rev();
    let newest =
        operations.find(|one| one["kind"] == "ScaleCluster" && one["instance"] == replica)?;
    let cause = newest["cause"].as_str().unwrap_or_default();
    (newest["outcome"] == "Failed").then(|| Err(format!("replica {replica}: {cause}")))
}

/// The next news; for ever nothing where there is no stream.
async fn next(news: &mut Option<mpsc::Receiver<News>>) -> Option<News> {
    match news {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_people_write_it() {
        let seconds = |text| duration(text).map(|read| read.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("7d"), seconds("168h"));
        assert_eq!(seconds("1w 1d"), seconds("8d"));
        for wrong in ["", "soon", "-5s", "10 parsecs", "1 month"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_replica_has_joined_by_the_status_and_failed_by_its_newest_operation() {
        let operation = |instance: &str, outcome: Value| serde_json::json!({"kind": "ScaleCluster", "instance": instance, "outcome": outcome, "cause": "no disk"});
        let cluster = serde_json::json!({"status": {
            "replicas": [{"name": "a", "joined": true}, {"name": "b"}, {"name": "c"}, {"name": "d"}],
            "operations": [
                operation("b", "Failed".into()), operation("c", "Failed".into()), operation("c", Value::Null),
            ],
        }});
        assert_eq!(joined(&cluster, "a"), Some(Ok(())));
        let failed = Err("replica b: no disk".to_owned());
        assert_eq!(joined(&cluster, "b"), Some(failed));
        assert_eq!(joined(&cluster, "c"), None, "it is tried again");
        assert_eq!(joined(&cluster, "d"), None);
    }

    #[test]
    fn a_wait_has_an_end() {
        assert_eq!(limit("8784h"), Ok(LONGEST));
        for long in ["8785h", "9223372036854775807", "18446744073709551615"] {
            assert!(limit(long).unwrap_err().contains("a year"), "{long}");
        }
    }
}
