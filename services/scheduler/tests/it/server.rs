//! An API server in memory: ConfigMaps, Pgclusters and Pgtasks, with what the scheduler does with them; for who has a right
//! to them.

mod answer;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use pgo_k8s::rights::{self, Rights};
use pgo_scheduler::{RIGHTS, rounds::Clock};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Namespace of the schedules.
pub const NS: &str = "pgouser1";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// Nothing is done, and that is said.
    Failed,
    /// It is done, and the answer does not come.
    Unanswered,
    /// Nothing is done, and no answer comes.
    Lost,
}

/// What is asked: verb and resource.
pub type Asked<'a> = (&'a str, &'a str);

type Fates = Box<dyn FnMut(Asked<'_>) -> Fate + Send>;

#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<Change>,
    clock: Clock,
}

/// A version of an object of a resource, as a watch tells it.
#[derive(Clone)]
struct Change {
    version: u64,
    resource: String,
    line: String,
}

/// Resource and name.
type Place = (String, String);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<Place, Value>,
    history: Vec<Change>,
    /// Values that annotations of schedules had, in order: of which schedule, key, value.
    notes: Vec<(String, String, String)>,
    /// Tasks that were made while another one of the same cluster was not over.
    overlaps: Vec<String>,
    /// Ids of the operations for which a task was made, in order.
    made: Vec<String>,
    /// Ids of runs that were noted on a Pgcluster, with what was noted.
    told: Vec<(String, Value)>,
    refuses: bool,
    refusals: usize,
    fates: Option<Fates>,
    /// How long each request takes.
    delay: Duration,
    /// Requests other than watches that go on, and the most there were.
    under_way: usize,
    most_under_way: usize,
    /// Watches bring nothing.
    stalls: bool,
    watches: usize,
    requests: Vec<rights::Request>,
}

impl Server {
    pub fn new() -> Self {
        Self::at(Arc::new(Timestamp::now))
    }

    /// One with a clock of its own.
    pub fn at(clock: Clock) -> Self {
        Self {
            state: Arc::default(),
            changes: broadcast::Sender::new(16_384),
            clock,
        }
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, NS)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state")
    }

    /// Makes a schedule of a cluster that is not there, or changes it; its annotations stay.
    pub fn apply(&self, name: &str, timetable: &str) {
        self.apply_copy(name, "hippo", timetable);
    }

    /// The same of one that applies a policy to a cluster.
    pub fn apply_policy(&self, name: &str, cluster: &str, timetable: &str) {
        let policy = json!({"name": "p", "database": "d", "secret": "s"});
        let what = json!({"type": "policy", "policy": policy});
        self.apply_schedule(name, cluster, timetable, what);
    }

    /// The same of one with copies by `pg_basebackup`.
    pub fn apply_copy(&self, name: &str, cluster: &str, timetable: &str) {
        let what = json!({"type": "pgbasebackup", "pgbasebackup": {"backupVolume": "v"}});
        self.apply_schedule(name, cluster, timetable, what);
    }

    /// The same of one with backups.
    pub fn apply_backup(&self, name: &str, cluster: &str, backup: &str, timetable: &str) {
        let target = format!("pg-cluster={cluster}");
        let what = json!({"type": "pgbackrest", "pgbackrest": {"label": target, "type": backup}});
        self.apply_schedule(name, cluster, timetable, what);
    }

    fn apply_schedule(&self, name: &str, cluster: &str, timetable: &str, what: Value) {
        let mut schedule = json!({
            "version": "v1", "cluster": cluster, "namespace": NS, "schedule": timetable,
        });
        merge(&mut schedule, &what);
        let mut state = self.state();
        let place = ("configmaps".to_owned(), name.to_owned());
        let mut map = state.objects.get(&place).cloned().unwrap_or_else(
            || json!({"metadata": {"name": name, "labels": {"crunchy-scheduler": "true"}}}),
        );
        map["data"] = json!({name: schedule.to_string()});
        self.store(&mut state, &place, map);
    }

    /// Makes a cluster with these labels.
    pub fn make_cluster(&self, name: &str, labels: Value) {
        let place = ("pgclusters".to_owned(), name.to_owned());
        let cluster = json!({"metadata": {"name": name, "labels": labels}});
        self.store(&mut self.state(), &place, cluster);
    }

    /// Somebody makes a task that asks something of a cluster.
    pub fn make_task(&self, name: &str, tasktype: &str, cluster: &str) {
        let place = ("pgtasks".to_owned(), name.to_owned());
        let task = json!({
            "metadata": {"name": name},
            "spec": {"tasktype": tasktype, "parameters": {"pg-cluster": cluster}},
        });
        self.store(&mut self.state(), &place, task);
    }

    /// Changes an object.
    pub fn edit(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let place = (resource.to_owned(), name.to_owned());
        let mut state = self.state();
        let mut object = state.objects.get(&place).cloned().expect("the object");
        change(&mut object);
        self.store(&mut state, &place, object);
    }

    /// The reconciler ends a task.
    pub fn end_task(&self, name: &str, completed: bool) {
        let condition = if completed {
            json!({"type": "Complete", "status": "True", "reason": "Completed"})
        } else {
            json!({"type": "Complete", "status": "False", "reason": "Failed"})
        };
        self.edit("pgtasks", name, |task| {
            task["status"] = json!({"conditions": [condition]});
        });
    }

    /// Removes an object.
    pub fn remove(&self, resource: &str, name: &str) {
        let place = (resource.to_owned(), name.to_owned());
        self.discard(&mut self.state(), &place);
    }

    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        let place = (resource.to_owned(), name.to_owned());
        self.state().objects.get(&place).cloned()
    }

    /// Names of the objects of a resource.
    pub fn names(&self, resource: &str) -> Vec<String> {
        let state = self.state();
        let of = state.objects.keys().filter(|(of, _)| of == resource);
        of.map(|(_, name)| name.clone()).collect()
    }

    pub fn made(&self) -> Vec<String> {
        self.state().made.clone()
    }

    pub fn told(&self) -> Vec<(String, Value)> {
        self.state().told.clone()
    }

    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// What becomes of each request from now on.
    pub fn set_fates(&self, fates: impl FnMut(Asked<'_>) -> Fate + Send + 'static) {
        self.state().fates = Some(Box::new(fates));
    }

    pub fn set_delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    pub fn most_under_way(&self) -> usize {
        self.state().most_under_way
    }

    /// From now on, watches bring nothing.
    pub fn stall(&self) {
        self.state().stalls = true;
    }

    /// How many watches were begun.
    pub fn watches(&self) -> usize {
        self.state().watches
    }

    /// The version of what was stored last.
    pub fn version(&self) -> String {
        self.state().version.to_string()
    }

    /// How many patches were refused.
    pub fn refusals(&self) -> usize {
        self.state().refusals
    }

    /// Rights to what is in a namespace with clusters that were no use so far. Those to the Lease are about nothing of that;
    /// `pgo-k8s` has a test of them.
    pub fn unused_rights(&self) -> Vec<String> {
        let of_schedules = Rights {
            operator: &[],
            ..RIGHTS
        };
        of_schedules.unused("pgo", &self.state().requests)
    }

    /// The values that an annotation had, one after the other.
    pub fn notes(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let notes = state.notes.iter().filter(|(_, key, _)| key == name);
        notes.map(|(_, _, value)| value.clone()).collect()
    }

    /// Annotations that a schedule had, one after the other.
    pub fn notes_of(&self, schedule: &str) -> Vec<(String, String)> {
        let state = self.state();
        let notes = state.notes.iter().filter(|(of, ..)| of == schedule);
        notes
            .map(|(_, key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub fn overlaps(&self) -> Vec<String> {
        self.state().overlaps.clone()
    }

    pub fn annotation(&self, map: &str, name: &str) -> Option<String> {
        let map = self.get("configmaps", map)?;
        let value = &map["metadata"]["annotations"][name];
        value.as_str().map(str::to_owned)
    }

    fn store(&self, state: &mut State, place: &Place, mut object: Value) -> Value {
        state.version += 1;
        let is_new = !state.objects.contains_key(place);
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(NS);
        metadata["resourceVersion"] = json!(state.version.to_string());
        if is_new {
            metadata["uid"] = json!(format!("uid-{}", state.version));
            metadata["creationTimestamp"] = json!((self.clock)());
        }
        state.objects.insert(place.clone(), object.clone());
        let kind = if is_new { "ADDED" } else { "MODIFIED" };
        self.say(state, kind, place, &object);
        object
    }

    fn discard(&self, state: &mut State, place: &Place) {
        if let Some(mut object) = state.objects.remove(place) {
            state.version += 1;
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            self.say(state, "DELETED", place, &object);
        }
    }

    fn say(&self, state: &mut State, kind: &str, (resource, _): &Place, object: &Value) {
        let change = Change {
            version: state.version,
            resource: resource.clone(),
            line: format!("{}\n", json!({"type": kind, "object": object})),
        };
        state.history.push(change.clone());
        // Nobody watches yet.
        let _ = self.changes.send(change);
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
