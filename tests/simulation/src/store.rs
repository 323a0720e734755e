//! The part of Kubernetes that reconcilers write to: objects with versions, changed by compare-and-swap, and everything
//! they ever were, so that a cache can show an older state.

use std::{collections::BTreeMap, rc::Rc};

use pgo_core::{Cluster, ClusterStatus, Observed, Replica};
use pgo_events::Event;
use pgo_ids::{ClusterName, Seq, StreamId};

use crate::asked::Tasks;

/// Place of a cluster among all that there were.
pub type Slot = usize;

/// A Pgcluster as it was at one time.
#[derive(Clone, Debug)]
pub struct Object {
    /// `resourceVersion`.
    pub version: u64,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// What it says.
    pub cluster: Rc<Cluster>,
    /// Its status.
    pub status: Rc<ClusterStatus>,
}

/// What is around it: what was made for it, what its agents say, what was asked for.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// All of it but the Pgcluster itself. Most who look at it change nothing.
    pub observed: Rc<Observed>,
    /// The Pgtasks that ask for something, by name. One that is over is there and asks for nothing.
    pub asked: Tasks,
    /// Its Pgreplicas.
    pub replicas: Vec<Replica>,
}

impl Ground {
    /// What is there, to be changed.
    pub fn shaped(&mut self) -> &mut Observed {
        Rc::make_mut(&mut self.observed)
    }
}

/// A cluster through all its time. One that is gone stays here.
#[derive(Debug)]
pub struct Kept {
    /// Its uid.
    pub stream: StreamId,
    /// Its name.
    pub name: ClusterName,
    /// Every state of the Pgcluster; none once it is gone.
    pub objects: Vec<Option<Rc<Object>>>,
    /// Every state of what is around it.
    pub grounds: Vec<Rc<Ground>>,
}

impl Kept {
    /// The Pgcluster as it is.
    pub fn object(&self) -> Option<&Rc<Object>> {
        self.objects.last()?.as_ref()
    }

    /// What is around it, as it is.
    pub fn ground(&self) -> &Rc<Ground> {
        // There is one from the beginning.
        &self.grounds[self.grounds.len() - 1]
    }
}

/// Events that were copied from a cluster that is gone.
#[derive(Clone, Debug)]
pub struct Page {
    /// Whose they are.
    pub slot: Slot,
    /// The events, in order.
    pub events: Vec<Event>,
}

/// What a page is called after: where two copies have the same, the second is refused.
pub type PageName = (StreamId, Seq);

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another write was first.
    Conflict,
    /// The object is gone.
    Gone,
}

/// All objects.
#[derive(Debug, Default)]
pub struct Store {
    /// Clusters, in the order in which they were made.
    pub clusters: Vec<Kept>,
    /// Pages.
    pub pages: BTreeMap<PageName, Page>,
    /// Number of writes so far.
    writes: u64,
}

impl Store {
    /// The next version.
    fn version(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    /// Makes a cluster.
    pub fn create(&mut self, cluster: Cluster) -> Slot {
        let (stream, name) = (cluster.stream.clone(), cluster.name.clone());
        let object = Object {
            version: self.version(),
            finalizer: false,
            cluster: Rc::new(cluster),
            status: Rc::default(),
        };
        self.clusters.push(Kept {
            stream,
            name,
            objects: vec![Some(Rc::new(object))],
            grounds: vec![Rc::default()],
        });
        self.clusters.len() - 1
    }

    /// Changes a Pgcluster if it is still of this version, or whatever its version is.
    pub fn change(
        &mut self,
        slot: Slot,
        version: Option<u64>,
        change: impl FnOnce(&mut Object),
    ) -> Result<Rc<Object>, Refused> {
        let object = self.clusters[slot].object().ok_or(Refused::Gone)?;
        if version.is_some_and(|version| version != object.version) {
            return Err(Refused::Conflict);
        }
        let mut object = object.as_ref().clone();
        change(&mut object);
        object.version = self.version();
        let is_gone = object.cluster.deleting && !object.finalizer;
        let object = Rc::new(object);
        let kept = (!is_gone).then(|| object.clone());
        self.clusters[slot].objects.push(kept);
        Ok(object)
    }

    /// Changes what is around a cluster.
    pub fn shape<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Ground) -> T) -> T {
        let kept = &mut self.clusters[slot];
        let mut ground = kept.ground().as_ref().clone();
        let result = change(&mut ground);
        // A look at it then has nothing to change, mostly.
        let finalizer = kept.object().is_some_and(|object| object.finalizer);
        if ground.observed.finalizer != finalizer {
            ground.shaped().finalizer = finalizer;
        }
        kept.grounds.push(Rc::new(ground));
        result
    }

    /// The events of a stream that are in pages, oldest first.
    pub fn in_pages(&self, stream: &StreamId) -> Vec<Event> {
        let pages = self.pages.values();
        let of_stream = pages.filter(|page| self.clusters[page.slot].stream == *stream);
        let mut events: Vec<Event> = of_stream.flat_map(|page| page.events.clone()).collect();
        events.sort_by_key(|event| event.seq);
        events.dedup_by_key(|event| event.seq);
        events
    }

    /// Clusters that are there.
    pub fn present(&self) -> Vec<Slot> {
        let all = self.clusters.iter().enumerate();
        let present = all.filter(|(_, kept)| kept.object().is_some());
        present.map(|(slot, _)| slot).collect()
    }
}
