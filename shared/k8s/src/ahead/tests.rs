//! The order of what a watch brings and what was read, against every order that can be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use proptest::prelude::*;

use super::*;

fn object(name: &str, version: u64) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.metadata.resource_version = Some(version.to_string());
    map
}

/// The objects as one knows them who follows the events.
#[derive(Default)]
struct Follower {
    known: BTreeMap<String, u64>,
    listing: BTreeMap<String, u64>,
}

impl Follower {
    fn take(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(o) => drop(self.listing.insert(o.name_any(), version(&o))),
            Event::InitDone => self.known = std::mem::take(&mut self.listing),
            Event::Apply(o) => {
                let new = version(&o);
                let before = self.known.insert(o.name_any(), new);
                assert!(before.is_none_or(|before| before <= new), "it goes back");
            }
            Event::Delete(o) => drop(self.known.remove(&o.name_any())),
        }
    }
}

/// What happens in Kubernetes, and what is seen of it.
#[derive(Clone, Debug)]
enum Step {
    Store(u8),
    Remove(u8),
    /// The watch brings its next event.
    Watch,
    /// The watch begins anew with a list.
    List,
    /// An object is read as it is.
    Ask(u8),
    /// What was read longest ago arrives.
    Arrive,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3u8).prop_map(Step::Store),
        2 => (0..3u8).prop_map(Step::Remove),
        3 => Just(Step::Watch),
        1 => Just(Step::List),
        3 => (0..3u8).prop_map(Step::Ask),
        3 => Just(Step::Arrive),
    ];
    prop::collection::vec(step, 0..60)
}

/// Kubernetes, a watch that is behind, and answers under way.
struct World {
    objects: BTreeMap<String, u64>,
    changes: Vec<Event<ConfigMap>>,
    watched: usize,
    answers: Vec<(u64, ConfigMap)>,
    order: Order,
    follower: Follower,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            objects: BTreeMap::new(),
            changes: Vec::new(),
            watched: 0,
            answers: Vec::new(),
            order: Order::new(Shared::default()),
            follower: Follower::default(),
        };
        world.list();
        world
    }

    fn pass(&mut self, news: News<ConfigMap>) {
        if let Some(event) = self.order.take(news) {
            self.follower.take(event.expect("no failure"));
        }
    }

    fn list(&mut self) {
        self.pass(News::Watched(Ok(Event::Init)));
        for (name, version) in self.objects.clone() {
            self.pass(News::Watched(Ok(Event::InitApply(object(&name, version)))));
        }
        self.pass(News::Watched(Ok(Event::InitDone)));
        self.watched = self.changes.len();
    }

    fn step(&mut self, step: &Step) {
        let version = u64::try_from(self.changes.len() + 1).expect("a number");
        match step {
            Step::Store(name) => {
                self.objects.insert(name.to_string(), version);
                let stored = object(&name.to_string(), version);
                self.changes.push(Event::Apply(stored));
            }
            Step::Remove(name) => {
                if self.objects.remove(&name.to_string()).is_some() {
                    let removed = object(&name.to_string(), version);
                    self.changes.push(Event::Delete(removed));
                }
            }
            Step::Watch => {
                if let Some(event) = self.changes.get(self.watched).cloned() {
                    self.watched += 1;
                    self.pass(News::Watched(Ok(event)));
                }
            }
            Step::List => self.list(),
            Step::Ask(name) => {
                if let Some(version) = self.objects.get(&name.to_string()) {
                    let list = lock(&self.order.progress).list;
                    self.answers
                        .push((list, object(&name.to_string(), *version)));
                }
            }
            Step::Arrive => {
                if !self.answers.is_empty() {
                    let (list, object) = self.answers.remove(0);
                    self.pass(News::Read(list, object));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whoever_follows_never_goes_back_and_knows_everything_once_the_watch_has_brought_it(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        while !world.answers.is_empty() {
            world.step(&Step::Arrive);
        }
        while world.watched < world.changes.len() {
            world.step(&Step::Watch);
        }
        prop_assert_eq!(&world.follower.known, &world.objects);
    }

    #[test]
    fn what_is_read_is_known_at_once(before in steps(), name in 0..3u8) {
        let mut world = World::new();
        before.iter().for_each(|step| world.step(step));
        world.answers.clear();
        world.step(&Step::Store(name));
        world.step(&Step::Ask(name));
        world.step(&Step::Arrive);
        let name = name.to_string();
        prop_assert_eq!(world.follower.known.get(&name), world.objects.get(&name));
    }
}
