//! Minor upgrades: refused without a change, else one instance after another, the primary last.

mod cancelled;
mod faults;
mod in_place;

use std::collections::BTreeSet;

use pgo_core::{
    AgentPhase, Found, Image, Kind, Outcome, Plan, ProbeFacts, Step, Takeover, TakeoverCause,
    UpgradeRequest, Waiting,
};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::{InstanceName, OperationId, Term};

use crate::world::World;

/// The image that clusters of [`World`] are made from holds this.
const FORMER: &str = "15.18";

const NEW: &str = "p/crunchy-postgres:15.20";

impl World {
    /// The version in the image that the pod of an instance was made from: its tag, where that is a version.
    pub fn version_of(&self, instance: &InstanceName) -> String {
        let pod = self.observed.pods.get(instance);
        let made = pod.and_then(|pod| pod.form.as_ref()?.image().map(str::to_owned));
        version_in(&made.unwrap_or_default())
    }

    /// A probe comes, or goes.
    pub fn probe(&mut self, step: &Step) {
        match step {
            Step::MakeProbe {
                image, operation, ..
            } => {
                let uid = self.uid("probe");
                let found = match image.0.contains("none") {
                    true => Found::Unusable("no such image".to_owned()),
                    false => Found::Version(version_in(&image.0)),
                };
                assert!(self.observed.probe.is_none(), "a second probe");
                self.observed.probe = Some(ProbeFacts {
                    uid,
                    operation: operation.to_string(),
                    terminating: false,
                    found,
                });
            }
            Step::RemoveProbe { uid } => {
                let removed = self.observed.probe.take();
                assert_eq!(removed.map(|probe| probe.uid).as_ref(), Some(uid));
            }
            other => panic!("{other:?} is no probe's"),
        }
    }

    /// Where the primary's pod is gone and autofail is on, a replica that follows takes over.
    fn hand_over(&mut self) {
        let stays = self.observed.autofail != Some(true);
        if stays || self.observed.pods.contains_key(&self.primary) {
            return;
        }
        let agents = &self.observed.agents;
        let mut follow = agents.iter().filter(|(_, agent)| agent.follows());
        if let Some(next) = follow.next().map(|(name, _)| name.clone()) {
            self.lead(&next);
        }
    }

    /// The agents carry out the change of the primary that is planned, where they can.
    fn switch(&mut self, plan: &Plan) {
        for step in &plan.steps {
            if let Step::Switchover { to, .. } = step {
                let agent = self.observed.agent(to);
                if agent.is_some_and(|agent| agent.follows()) {
                    self.lead(&to.clone());
                }
            }
        }
    }

    /// This instance is the primary from now on.
    fn lead(&mut self, next: &InstanceName) {
        let former = std::mem::replace(&mut self.primary, next.clone());
        let before = self.observed.takeovers.last();
        self.observed.takeovers.push(Takeover {
            term: before.map_or(Term(2), |before| Term(before.term.0 + 1)),
            from: former.to_string(),
            to: next.to_string(),
            cause: TakeoverCause::Released,
            former_timeline: Some(1),
            timeline: 2,
            lsn: "0/3000148".to_owned(),
            lost: Some(0),
            unfit: None,
            heard: Some(self.now),
            at: self.now,
        });
        for instance in [next, &former] {
            let agent = self.observed.agent(instance);
            if agent.is_some_and(|agent| agent.phase == AgentPhase::Running) {
                self.say_of(instance, AgentPhase::Running, None);
            }
        }
        let ip = self.observed.pods.get(next).and_then(|pod| pod.ip.clone());
        if let Some(endpoints) = &mut self.observed.endpoints {
            endpoints.addresses = ip.into_iter().collect();
        }
    }

    fn image_of(&self, instance: &str) -> String {
        let instance: InstanceName = instance.parse().expect("a name");
        let form = self.observed.pods[&instance].form.as_ref();
        form.and_then(|form| form.image())
            .unwrap_or_default()
            .to_owned()
    }

    /// Asks by a Pgtask.
    fn ask(&mut self, image: &str) -> OperationId {
        let id = OperationId::derived(
            &self.cluster.stream,
            &format!("ask {}", self.cluster.upgrades.len()),
        );
        self.cluster.upgrades.push(UpgradeRequest {
            operation: id,
            actor: "alice".to_owned(),
            made: Some(self.now),
            image: Ok(Image(image.to_owned())),
        });
        id
    }

    /// Goes on until nothing is left to do; the pods that were removed, in their order.
    fn go_on(&mut self) -> Vec<InstanceName> {
        let mut removed = Vec::new();
        for _ in 0..200 {
            let plan = self.turn();
            removed.extend(taken(&plan));
            let agents = self.observed.agents.values();
            let all_run = agents
                .filter(|agent| agent.phase == AgentPhase::Running)
                .count()
                == self.observed.pods.len();
            if plan == Plan::default() && self.status.upgrading().is_none() && all_run {
                return removed;
            }
        }
        panic!("the upgrade does not end: {:?}", self.status.upgrade);
    }

    /// One reconcile, and what follows from it.
    fn turn(&mut self) -> Plan {
        let plan = self.reconcile();
        self.project_count();
        self.switch(&plan);
        self.progress();
        self.hand_over();
        self.wait(1);
        plan
    }

    fn project_count(&mut self) {
        if let Some(count) = self.status.replica_count {
            self.cluster.replica_count = count.wanted;
        }
    }

    /// How the newest upgrade ended, and why.
    fn ended(&self) -> (Outcome, String) {
        let newest = self.status.journal.newest(Kind::UpgradeCluster);
        let newest = newest.expect("an upgrade");
        (
            newest.outcome.expect("ended"),
            newest.cause.clone().unwrap_or_default(),
        )
    }
}

fn version_in(image: &str) -> String {
    match image.rsplit(':').next() {
        Some(tag) if tag.contains('.') => tag.to_owned(),
        _ => FORMER.to_owned(),
    }
}

fn taken(plan: &Plan) -> Vec<InstanceName> {
    let steps = plan.steps.iter();
    steps
        .filter_map(|step| match step {
            Step::RemovePod { instance, .. } => Some(instance.clone()),
            _ => None,
        })
        .collect()
}

fn with_replicas(count: u32) -> World {
    let mut world = World::unseen();
    world.cluster.replica_count = count;
    for _ in 0..60 {
        let plan = world.turn();
        let waits = world.status.replicas.iter().any(|known| !known.ready);
        if world.status.is_ready() && plan == Plan::default() && !waits {
            // Nothing of the creation is in the way.
            world.wait(60);
            return world;
        }
    }
    panic!("nothing settles: {:?}", world.status.replicas);
}

/// The same, where autofail is on or off and that is in force.
fn with_replicas_and_autofail(count: u32, autofail: bool) -> World {
    let mut world = with_replicas(count);
    world.wanted().autofail = autofail;
    for _ in 0..3 {
        world.turn();
    }
    assert_eq!(world.observed.autofail, Some(autofail));
    world
}

#[test]
fn replicas_come_first_and_the_primary_last() {
    let mut world = with_replicas_and_autofail(2, true);
    let replicas: Vec<InstanceName> = world
        .status
        .replicas
        .iter()
        .map(|r| r.name.clone())
        .collect();
    world.ask(NEW);
    let removed = world.go_on();
    assert_eq!(removed.len(), 3, "{removed:?}");
    let first: BTreeSet<_> = removed[..2].iter().collect();
    assert_eq!(first, replicas.iter().collect());
    assert_eq!(removed[2], World::instance());
    for instance in world.observed.pods.keys() {
        assert_eq!(world.image_of(instance.as_str()), NEW);
    }
    assert_eq!(world.ended(), (Outcome::Completed, String::new()));
    assert_ne!(world.primary, World::instance(), "it has handed over first");
    assert_eq!(world.count("SwitchoverClusterCompleted"), 1);
    assert_eq!(world.status.images.as_ref().expect("known").in_force.0, NEW);
    assert!(world.observed.probe.is_none());

    let told = world.told();
    let completed = told
        .iter()
        .find(|e| e.event_type().as_str() == "UpgradeClusterCompleted");
    let completed = completed.expect("told");
    assert_eq!(completed.payload.text(Field::FormerVersion), Some(FORMER));
    assert_eq!(completed.payload.text(Field::Version), Some("15.20"));
    let primary = world.primary.to_string();
    assert_eq!(completed.payload.text(Field::Primary), Some(&*primary));
    let timeline = completed.payload.get(Field::Timeline);
    assert_eq!(timeline, Some(&Datum::Number(2)));
    let of_instances = told
        .iter()
        .filter(|e| e.event_type().as_str() == "UpgradeInstanceCompleted");
    let of_instances: Vec<_> = of_instances
        .map(|e| (e.payload.text(Field::Primary), e.payload.text(Field::Lsn)))
        .collect();
    let replica = (Some("hippo"), Some("0/3000148"));
    let former = (Some(&*primary), Some("0/3000148"));
    assert_eq!(of_instances, [replica, replica, former]);
    // All of it says on which timeline it was, and what begins with an instance, how far that had come.
    let upgrades = told
        .iter()
        .filter(|e| e.event_type().as_str().starts_with("Upgrade"));
    for event in upgrades {
        let timeline = event.payload.get(Field::Timeline);
        let known = [Some(&Datum::Number(1)), Some(&Datum::Number(2))];
        assert!(known.contains(&timeline), "{event:?}");
    }
    let mut begun = told.iter();
    let begun = begun.find(|e| e.event_type().as_str() == "UpgradeInstance");
    let begun = &begun.expect("told").payload;
    assert_eq!(begun.text(Field::Lsn), Some("0/3000148"));
    assert_eq!(completed.eventheader.username, "alice");
    assert_eq!(world.count("UpgradeInstanceCompleted"), 3);
    assert_eq!(world.count("UpgradeClusterProgress"), 4);
    world.check_stream();
}

#[test]
fn a_single_instance_is_replaced_in_place() {
    let mut world = with_replicas(0);
    world.ask(NEW);
    assert_eq!(world.go_on(), [World::instance()]);
    assert_eq!(world.image_of("hippo"), NEW);
    // What was asked for once is not asked for again.
    world.wait(3600);
    assert_eq!(world.go_on(), []);
    assert_eq!(world.count("UpgradeCluster"), 1);
    world.check_stream();
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_changed() {
    for (image, why) in [
        ("p/crunchy-postgres:none", "no such image"),
        ("p/crunchy-postgres:15.17", "older than 15.18"),
        ("p/crunchy-postgres:16.4", "another major version"),
        ("p/crunchy-postgres:18beta1.0", "no released version"),
        ("p/crunchy-postgres:15", "already"),
    ] {
        let mut world = with_replicas(1);
        let pods = world.observed.pods.clone();
        let id = world.ask(image);
        assert_eq!(world.go_on(), [], "{image}");
        let (outcome, cause) = world.ended();
        assert_eq!(outcome, Outcome::Failed);
        assert!(cause.contains(why), "{image}: {cause}");
        assert!(world.status.journal.knows(id));
        let uids = |pods: &std::collections::BTreeMap<InstanceName, pgo_core::PodFacts>| {
            pods.values().map(|pod| pod.uid.clone()).collect::<Vec<_>>()
        };
        assert_eq!(uids(&world.observed.pods), uids(&pods));
        assert!(world.status.is_ready());
        assert_eq!(world.count("UpgradeClusterFailure"), 1);
        assert!(world.observed.probe.is_none());
        assert_eq!(world.condition("UpToDate").reason, "AsWanted");
        world.check_stream();
    }
}

#[test]
fn it_is_refused_while_anything_else_goes_on_or_an_instance_is_not_well() {
    let mut world = with_replicas(1);
    world.ask("p/crunchy-postgres:15.19");
    world.turn();
    assert!(world.status.upgrading().is_some());
    world.ask(NEW);
    world.turn();
    let mut operations = world.status.journal.operations.iter();
    let refused = operations.find(|o| o.outcome == Some(Outcome::Failed));
    let cause = refused.and_then(|o| o.cause.clone()).unwrap_or_default();
    assert!(cause.contains("another upgrade is going on"), "{cause}");
    assert!(world.status.upgrading().is_some(), "the first goes on");
    world.go_on();
    assert_eq!(world.image_of("hippo"), "p/crunchy-postgres:15.19");
    world.check_stream();

    let mut world = with_replicas(1);
    world.cluster.replica_count = 2;
    world.turn();
    world.ask(NEW);
    world.turn();
    assert!(
        world.ended().1.contains("adding a replica"),
        "{:?}",
        world.ended()
    );

    // A failover: nobody serves.
    let mut world = with_replicas(1);
    world
        .observed
        .endpoints
        .as_mut()
        .expect("made")
        .addresses
        .clear();
    world.ask(NEW);
    world.reconcile();
    assert!(world.ended().1.contains("failover"), "{:?}", world.ended());
}

#[test]
fn a_spec_that_names_another_image_asks_for_it_once() {
    let mut world = with_replicas(1);
    let say = |world: &mut World, image: &str| {
        world.wanted().image = Image(image.to_owned());
        for replica in &mut world.cluster.replicas {
            replica.wanted.as_mut().expect("understood").image = Image(image.to_owned());
        }
        world.cluster.image_said = image.to_owned();
    };
    say(&mut world, "p/crunchy-postgres:14.1");
    assert_eq!(world.go_on(), []);
    assert_eq!(world.ended().0, Outcome::Failed);
    let condition = world.condition("UpToDate").clone();
    assert_eq!(condition.reason, "ImageNotInForce");
    assert!(
        condition.message.contains("another major version"),
        "{condition:?}"
    );
    world.wait(60);
    world.go_on();
    assert_eq!(world.count("UpgradeCluster"), 1);

    // A pod that has to be made anew is made from what is proven.
    world.pod().terminating = true;
    world.go_on();
    assert_eq!(world.image_of("hippo"), "p/crunchy-postgres:15");

    world.cluster.changed_by.image = "kubectl".to_owned();
    say(&mut world, NEW);
    assert_eq!(world.go_on().len(), 2);
    assert_eq!(world.ended().0, Outcome::Completed);
    let asked = world.status.journal.newest(pgo_core::Kind::UpgradeCluster);
    assert_eq!(asked.expect("told").actor, "kubectl");
    assert_eq!(world.condition("UpToDate").reason, "AsWanted");
    world.check_stream();
}

#[test]
fn another_agent_or_registry_of_pgo_itself_replaces_no_pod() {
    let mut world = with_replicas(1);
    let pods = world.observed.pods.clone();
    let wanted = world.wanted();
    wanted.agent_image = Image("p/pgo-agent:2".to_owned());
    wanted.image = Image("q/crunchy-postgres:15".to_owned());
    wanted.log_statement = "all".to_owned();
    for _ in 0..10 {
        assert_eq!(taken(&world.turn()), []);
    }
    for (instance, pod) in &world.observed.pods {
        assert_eq!(pod.uid, pods[instance].uid);
    }
    assert_eq!(world.count("UpgradeCluster"), 0);
}

#[test]
fn a_replica_that_does_not_come_up_gets_its_image_back_and_ends_the_upgrade() {
    let mut world = with_replicas(2);
    world.ask(NEW);
    let mut removed = Vec::new();
    while removed.is_empty() {
        removed = taken(&world.turn());
    }
    let failing = removed[0].clone();
    for _ in 0..3 {
        world.turn();
        if let Some(pod) = world.observed.pods.get_mut(&failing) {
            pod.waiting = Some(Waiting {
                container: "database".to_owned(),
                reason: "ErrImagePull".to_owned(),
                message: "no such image on this node".to_owned(),
            });
        }
    }
    world.reconcile();
    let (outcome, cause) = world.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(
        cause.contains(failing.as_str()) && cause.contains("on this node"),
        "{cause}"
    );
    let removed = world.go_on();
    assert!(
        removed.iter().all(|instance| *instance == failing),
        "{removed:?}"
    );
    for instance in world.observed.pods.keys() {
        assert_eq!(world.image_of(instance.as_str()), "p/crunchy-postgres:15");
    }
    assert!(world.status.is_ready());
    assert_eq!(world.count("UpgradeInstanceFailure"), 1);
    world.check_stream();

    // Asked again, it is done.
    world.wait(10);
    world.ask(NEW);
    world.go_on();
    assert_eq!(world.ended().0, Outcome::Completed);
}

#[test]
fn a_primary_that_does_not_come_up_gets_its_image_back() {
    let mut world = with_replicas(0);
    world.ask(NEW);
    while taken(&world.turn()).is_empty() {}
    for _ in 0..100 {
        world.reconcile();
        world.progress();
        world.wait(1);
        if world.version_of(&World::instance()) == "15.20" {
            world.say(AgentPhase::Failed, Some("it does not start"));
        }
        if world.status.upgrading().is_none() {
            break;
        }
    }
    assert!(
        world.ended().1.contains("it does not start"),
        "{:?}",
        world.ended()
    );
    world.go_on();
    assert_eq!(world.image_of("hippo"), "p/crunchy-postgres:15");
    world.settle();
}

#[test]
fn it_waits_for_its_turn_among_clusters() {
    let mut world = with_replicas(0);
    world.observed.upgrades_full = true;
    world.ask(NEW);
    for _ in 0..100 {
        assert_eq!(
            world.turn().waiting_for,
            Some("the upgrades of other clusters")
        );
    }
    assert_eq!(world.count("UpgradeCluster"), 0);
    world.observed.upgrades_full = false;
    world.go_on();
    assert_eq!(world.ended().0, Outcome::Completed);
}

#[test]
fn a_cluster_that_goes_ends_its_upgrade() {
    let mut world = with_replicas(1);
    world.ask(NEW);
    world.turn();
    world.cluster.deleting = true;
    for _ in 0..60 {
        world.turn();
    }
    assert!(world.gone);
    assert_eq!(world.count("UpgradeClusterFailure"), 1);
    world.check_stream();
}

#[test]
fn a_request_that_a_cache_does_not_show_for_a_moment_is_not_taken_up_again() {
    let mut world = with_replicas(0);
    world.ask("p/crunchy-postgres:none");
    world.go_on();
    // Another process begins with a list that is behind.
    let asked = std::mem::take(&mut world.cluster.upgrades);
    world.turn();
    world.cluster.upgrades = asked;
    world.go_on();
    assert_eq!(world.count("UpgradeCluster"), 1);
    world.check_stream();
}

#[test]
fn it_is_refused_where_the_spec_was_never_understood() {
    let mut world = World::unseen();
    world.cluster.desired = Err("spec.port: 70000 is no port".to_owned());
    for _ in 0..3 {
        world.reconcile();
    }
    world.ask(NEW);
    world.reconcile();
    let (outcome, cause) = world.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(cause.contains("has never been ready"), "{cause}");
    world.check_stream();
}

/// What is told of upgrades.
pub fn told() -> BTreeSet<EventType> {
    let mut told = BTreeSet::new();
    for image in [NEW, "p/crunchy-postgres:none"] {
        let mut world = with_replicas(1);
        world.ask(image);
        world.go_on();
        told.extend(world.told().iter().map(Event::event_type));
    }
    let mut world = with_replicas(0);
    world.ask(NEW);
    while taken(&world.turn()).is_empty() {}
    world.cluster.deleting = true;
    world.turn();
    told.extend(world.told().iter().map(Event::event_type));
    told
}
