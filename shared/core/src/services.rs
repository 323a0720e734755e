//! Services of PGO: which of their processes run, and which of them leads. Changes are told as events of the one
//! PgInstallation, also those that happened while nobody looked: Kubernetes remembers how a container ended last.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, EventType, Field};
use serde::{Deserialize, Serialize};

use crate::{
    Journal,
    journal::{Notice, Subject},
};

/// How long a Lease may be overdue before its holder counts as gone: clocks differ, and the next look is soon.
const OVERDUE: SignedDuration = SignedDuration::from_secs(5);

/// How the container of a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When it had begun.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub at: Option<Timestamp>,
    /// Exit code; 128 and the signal's number where one killed it.
    pub exit_code: i32,
    /// Kubernetes' word for why, such as `OOMKilled`.
    pub reason: String,
}

impl Ending {
    fn text(&self) -> String {
        let code = self.exit_code;
        let signal = match code {
            129..=192 => format!(", signal {}", code - 128),
            _ => String::new(),
        };
        let reason = match self.reason.as_str() {
            "" | "Error" => String::new(),
            "OOMKilled" => " (OOMKilled: out of memory)".to_owned(),
            reason => format!(" ({reason})"),
        };
        format!("exit code {code}{signal}{reason}")
    }
}

/// A process of a service, as its pod shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// The service.
    pub service: String,
    /// The pod.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Since when its container runs; none where it does not.
    pub running: Option<Timestamp>,
    /// How it ended last.
    pub ended: Option<Ending>,
}

/// The Lease of a service's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The service.
    pub service: String,
    /// Who holds it.
    pub holder: Option<String>,
    /// Until when it is the holder's.
    pub until: Option<Timestamp>,
}

/// What of a process was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The service.
    pub service: String,
    /// The pod.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Whether it runs.
    pub running: bool,
    /// When the ending that was told last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// Where to tell of services.
pub(crate) struct Told<'a> {
    pub journal: &'a mut Journal,
    pub subject: Subject<'a>,
    pub now: Timestamp,
}

impl Told<'_> {
    /// Tells of the processes that are there, and gives what is remembered of them.
    pub(crate) fn processes(&mut self, known: &[Process], found: &[ProcessFacts]) -> Vec<Process> {
        let present: BTreeSet<&str> = found.iter().map(|facts| facts.uid.as_str()).collect();
        let gone = known.iter().filter(|p| p.running);
        for process in gone.filter(|process| !present.contains(process.uid.as_str())) {
            self.stopped(process, None, "its pod is gone".to_owned());
        }
        let mut next: Vec<Process> = found
            .iter()
            .map(|facts| {
                let process = known.iter().find(|process| process.uid == facts.uid);
                self.process(process, facts)
            })
            .collect();
        next.sort_by(|a, b| (&a.service, &a.pod, &a.uid).cmp(&(&b.service, &b.pod, &b.uid)));
        next
    }

    fn process(&mut self, known: Option<&Process>, facts: &ProcessFacts) -> Process {
        let ended = facts.ended.as_ref();
        let mut process = known.cloned().unwrap_or_else(|| Process {
            service: facts.service.clone(),
            pod: facts.pod.clone(),
            uid: facts.uid.clone(),
            running: false,
            // What ended before anybody looked was never told to have begun.
            ended: ended.and_then(|ending| ending.at),
        });
        let news = ended.filter(|ending| ending.at != process.ended);
        if let Some(ending) = news {
            if !process.running {
                self.started(&process, ending.began);
            }
            self.stopped(&process, ending.at, ending.text());
            (process.running, process.ended) = (false, ending.at);
        }
        match (process.running, facts.running) {
            (false, Some(since)) => self.started(&process, Some(since)),
            (true, None) => {
                let unknown = "its container does not run, and Kubernetes does not say why";
                self.stopped(&process, None, unknown.to_owned());
            }
            _ => {}
        }
        process.running = facts.running.is_some();
        process
    }

    /// Tells who leads, and gives what is remembered of it: the leader by service.
    pub(crate) fn leaders(
        &mut self,
        known: &BTreeMap<String, String>,
        found: &[LeaseFacts],
    ) -> BTreeMap<String, String> {
        let mut next = BTreeMap::new();
        for lease in found {
            let overdue = lease
                .until
                .is_some_and(|until| self.now.duration_since(until) > OVERDUE);
            let holder = lease.holder.as_ref().filter(|holder| !holder.is_empty());
            let leader = holder.filter(|_| !overdue);
            let former = known.get(&lease.service);
            if let Some(former) = former.filter(|former| Some(*former) != leader) {
                let cause = match leader {
                    Some(leader) => format!("{leader} leads now"),
                    None if overdue => "it does not renew its Lease".to_owned(),
                    None => "it gave its Lease back".to_owned(),
                };
                self.leader(EventType::LeaderLost, (&lease.service, former), cause);
            }
            if let Some(leader) = leader {
                if former != Some(leader) {
                    let cause = format!("{leader} leads");
                    self.leader(EventType::LeaderElected, (&lease.service, leader), cause);
                }
                next.insert(lease.service.clone(), leader.clone());
            }
        }
        next
    }

    fn started(&mut self, process: &Process, at: Option<Timestamp>) {
        let cause = format!("{} runs", process.pod);
        self.notice(EventType::ServiceStarted, process, at, cause);
    }

    fn stopped(&mut self, process: &Process, at: Option<Timestamp>, how: String) {
        let cause = format!("{}: {how}", process.pod);
        self.notice(EventType::ServiceStopped, process, at, cause);
    }

    fn notice(
        &mut self,
        event_type: EventType,
        process: &Process,
        time: Option<Timestamp>,
        cause: String,
    ) {
        let details = vec![
            (Field::Service, Datum::from(process.service.as_str())),
            (Field::Pod, Datum::from(process.pod.as_str())),
        ];
        let about = format!("process {}", process.uid);
        self.tell(event_type, (about, time), cause, details);
    }

    fn leader(&mut self, event_type: EventType, (service, leader): (&str, &str), cause: String) {
        let details = vec![
            (Field::Service, Datum::from(service)),
            (Field::Leader, Datum::from(leader)),
        ];
        let about = format!("leader of {service}");
        self.tell(event_type, (about, None), cause, details);
    }

    fn tell(
        &mut self,
        event_type: EventType,
        (about, time): (String, Option<Timestamp>),
        cause: String,
        details: Vec<(Field, Datum)>,
    ) {
        let notice = Notice {
            event_type,
            about,
            time,
            cause,
            since: None,
            details,
        };
        self.journal.tell(self.subject, notice, self.now);
    }
}
