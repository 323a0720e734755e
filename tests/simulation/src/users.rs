//! What users ask for, and what goes wrong under their databases.

use std::{collections::BTreeMap, rc::Rc};

use pgo_core::{
    Cluster, DeleteOptions, DeleteRequest, Desired, Image, Kind, Resources, ServiceType, Storage,
    StorageKind,
};
use pgo_ids::OperationId;

use crate::{
    agents,
    asked::{Asked, deletions},
    store::Slot,
    world::{Process, World},
};

/// So many ask for the deletion of one cluster: of a flood not each is an operation of its own.
const MOST_REQUESTS: usize = 6;

/// What clusters are made from; the tag is the version of PostgreSQL in it.
pub const FIRST_IMAGE: &str = "postgres:15.2";

/// What the smallest cluster is.
///
/// # Errors
/// None: the names are valid.
fn desired(name: &str) -> Result<Desired, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    Ok(Desired {
        name: name.parse().map_err(|error| failed(&error))?,
        namespace: "pgouser1".parse().map_err(|error| failed(&error))?,
        image: Image(FIRST_IMAGE.to_owned()),
        agent_image: Image("agent".to_owned()),
        port: 5432,
        database: "userdb".to_owned(),
        user: "testuser".parse().map_err(|error| failed(&error))?,
        storage: Storage {
            kind: StorageKind::Dynamic,
            class: None,
            access_mode: "ReadWriteOnce".to_owned(),
            size: "1Gi".to_owned(),
            fs_group: None,
            supplemental_groups: Vec::new(),
            match_labels: BTreeMap::new(),
        },
        resources: Resources::default(),
        service_type: ServiceType::ClusterIp,
        replica_service_type: ServiceType::ClusterIp,
        node: None,
        autofail: false,
        synchronous: 0,
        sync_fallback: false,
        custom_config: None,
        labels: BTreeMap::new(),
        secret_from: None,
        log_statement: "none".to_owned(),
        log_min_duration_statement: 60_000,
        volume_deadline: 20,
        backups: None,
        restore: None,
    })
}

impl World {
    /// Somebody asks for something.
    pub fn act(&mut self) -> Result<(), String> {
        let by_pgo = self.is_there(Process::Apiserver);
        let present = self.store.present();
        let more = present.len() < self.climate.clusters
            && self.store.clusters.len() < self.climate.most_clusters;
        if present.is_empty() || (more && self.chance.happens(300)) {
            // Whoever has no apiserver applies a manifest, half of the time.
            let can = by_pgo || self.chance.happens(500);
            if can && self.store.clusters.len() < self.climate.most_clusters {
                let wrong = if self.climate.flood { 900 } else { 150 };
                let understood = !self.chance.happens(wrong);
                self.create(by_pgo, (understood, 0))?;
            }
            return Ok(());
        }
        let slot = present[self.chance.place(present.len())];
        let kept = &self.store.clusters[slot];
        let is_understood = kept.object().is_some_and(|one| one.cluster.desired.is_ok());
        if self.climate.wide && !is_understood && self.chance.happens(500) {
            self.change_spec(slot);
            return Ok(());
        }
        if self.climate.wide && self.chance.happens(800) {
            self.ask(slot);
            return Ok(());
        }
        // In a flood everybody tries again and again; specs are not what a wide schedule is about.
        let drawn = match (self.climate.flood, self.climate.wide) {
            (true, _) => self.chance.below(11),
            (_, true) => 7 + self.chance.below(13),
            _ => self.chance.below(20),
        };
        match drawn {
            0..10 => self.change_spec(slot),
            10..13 if by_pgo => self.ask_for_deletion(slot),
            10..13 => {}
            13 => self.delete_object(slot)?,
            14..16 => self.annotate(slot),
            _ => {
                let its_pod = self.chance.happens(500);
                let kept = &self.store.clusters[slot];
                let (name, pods) = (kept.name.clone(), kept.ground().observed.pods.len());
                let (which, now) = (self.chance.place(pods), self.now);
                self.store.shape(slot, |around| {
                    agents::trouble(around.shaped(), &name, (which, its_pod), now);
                });
            }
        }
        Ok(())
    }

    /// Who sees that something does not come to its end and that the spec is not understood mends it, but not for what brings an
    /// instance back; who sees that a replica is to go that is the primary has another one take over.
    pub fn mend(&mut self) -> Result<(), String> {
        for slot in self.store.present() {
            let kept = &self.store.clusters[slot];
            let Some(object) = kept.object() else {
                continue;
            };
            let observed = &kept.ground().observed;
            let holder = observed.holder(&pgo_ids::InstanceName::from(&kept.name));
            let replicas = object.status.replicas.iter();
            let mut leaving = replicas.filter(|one| one.leaving);
            let other = observed.pods.keys().find(|instance| **instance != holder);
            let mut operations = object.status.journal.operations.iter();
            let waits = operations.any(|one| one.is_running() && one.kind != Kind::RewindReplica);
            if leaving.any(|one| one.name == holder) {
                let (name, now, other) = (kept.name.clone(), self.now, other.cloned());
                self.store.shape(slot, |around| {
                    if let Some(to) = other {
                        agents::elect(around.shaped(), &name, &to, now);
                    }
                });
            } else if waits && object.cluster.desired.is_err() {
                let wanted = desired(kept.name.as_str())?;
                self.change_object(slot, |cluster| {
                    cluster.desired = Ok(wanted);
                    cluster.generation += 1;
                });
                self.say(|| format!("the spec of cluster {slot} is mended"));
            }
        }
        Ok(())
    }

    /// Somebody makes a cluster, one that can be understood or not, with so many replicas.
    pub fn create(
        &mut self,
        by_pgo: bool,
        (understood, replicas): (bool, u32),
    ) -> Result<(), String> {
        let number = self.store.clusters.len();
        let stream = format!("uid-{number}").parse();
        let stream = stream.map_err(|error| format!("{error}"))?;
        let wanted = desired(&format!("c{number}"))?;
        let workflow = by_pgo.then(|| OperationId::derived(&stream, "asked for"));
        let operation = workflow.unwrap_or_else(|| OperationId::derived(&stream, "create"));
        let cluster = Cluster {
            name: wanted.name.clone(),
            namespace: wanted.namespace.clone(),
            stream,
            generation: 1,
            deleting: false,
            actor: "pgoadmin".to_owned(),
            workflow,
            delete_requests: Vec::new(),
            replicas: Vec::new(),
            replica_count: replicas,
            scale_down: Vec::new(),
            failover: Vec::new(),
            reloads: Vec::new(),
            restarts: Vec::new(),
            upgrades: Vec::new(),
            dumps: Vec::new(),
            removals: Vec::new(),
            backups: Vec::new(),
            restores: Vec::new(),
            drills: Vec::new(),
            jobs: Vec::new(),
            policies: Vec::new(),
            policies_at_creation: Vec::new(),
            tasks: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            notes: pgo_core::Notes::default(),
            changed_by: pgo_core::ChangedBy::default(),
            image_said: FIRST_IMAGE.to_owned(),
            desired: if understood {
                Ok(wanted)
            } else {
                Err("no such storage".to_owned())
            },
        };
        let slot = self.store.create(cluster);
        self.store.shape(slot, |around| {
            around.shaped().family = Some(pgo_core::AddressFamily::V4);
        });
        self.ledger.begin();
        self.ledger.accept(slot, operation);
        self.say(|| format!("cluster {slot} is asked for as {operation}"));
        Ok(())
    }

    /// Another spec, one that is not understood, or one that is again.
    fn change_spec(&mut self, slot: Slot) {
        let breaks = match (self.climate.flood, self.climate.wide) {
            (true, _) => 900,
            (_, true) => 150,
            _ => 400,
        };
        let breaks = self.chance.happens(breaks);
        let changed = self.store.change(slot, None, |object| {
            let cluster = Rc::make_mut(&mut object.cluster);
            cluster.generation += 1;
            match &mut cluster.desired {
                Ok(_) if breaks => cluster.desired = Err("no such storage".to_owned()),
                Ok(desired) => desired.port += 1,
                Err(_) if self.climate.flood && breaks => {}
                Err(_) => {
                    if let Ok(desired) = desired(cluster.name.as_str()) {
                        cluster.desired = Ok(desired);
                    }
                }
            }
        });
        debug_assert!(changed.is_ok());
        self.say(|| format!("cluster {slot} has another spec"));
    }

    /// Somebody else writes to the object: whoever read it before will not write.
    fn annotate(&mut self, slot: Slot) {
        let changed = self.store.change(slot, None, |_| {});
        debug_assert!(changed.is_ok());
    }

    /// `pgo delete cluster`, or `kubectl create` of the same: a Pgtask, also where others are there and where the cluster is
    /// being removed already.
    pub fn ask_for_deletion(&mut self, slot: Slot) {
        let kept = &self.store.clusters[slot];
        let status = kept.object().map(|object| object.status.clone());
        if deletions(&status.unwrap_or_default(), kept.ground()) >= MOST_REQUESTS {
            return;
        }
        self.made += 1;
        let uid = format!("o-{}", self.made);
        let name = format!("rmdata-{}", self.made);
        let operation = OperationId::derived(&kept.stream, &name);
        let data = self.chance.happens(500);
        self.store.shape(slot, |around| {
            let request = DeleteRequest {
                operation,
                actor: "pgoadmin".to_owned(),
                options: DeleteOptions {
                    data,
                    backups: false,
                },
            };
            let asked = Asked::Deletion(request);
            around.asked.insert(name.clone(), asked);
            around.shaped().tasks.insert(name, uid);
        });
        self.ledger.accept(slot, operation);
        self.say(|| format!("cluster {slot} is asked to be deleted as {operation}"));
    }

    /// `kubectl delete pgcluster`.
    fn delete_object(&mut self, slot: Slot) -> Result<(), String> {
        let deleted = self.store.change(slot, None, |object| {
            Rc::make_mut(&mut object.cluster).deleting = true;
        });
        debug_assert!(deleted.is_ok());
        self.say(|| format!("cluster {slot} is deleted"));
        self.look_for_the_end(slot)
    }
}
