//! What users ask for, and what goes wrong under their databases.

use std::{collections::BTreeMap, rc::Rc};

use pgo_core::{
    Cluster, DeleteOptions, DeleteRequest, Desired, Image, Kind, Resources, ServiceType, Storage,
    StorageKind,
};
use pgo_ids::OperationId;

use crate::{
    ground,
    store::Slot,
    world::{Process, World},
};

/// So many ask for the deletion of one cluster: of a flood not each is an operation of its own.
const MOST_REQUESTS: usize = 6;

/// What the smallest cluster is.
///
/// # Errors
/// None: the names are valid.
fn desired(name: &str) -> Result<Desired, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    Ok(Desired {
        name: name.parse().map_err(|error| failed(&error))?,
        namespace: "pgouser1".parse().map_err(|error| failed(&error))?,
        image: Image("postgres".to_owned()),
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
                self.create(by_pgo)?;
            }
            return Ok(());
        }
        let slot = present[self.chance.place(present.len())];
        // In a flood everybody tries again and again.
        match self.chance.below(if self.climate.flood { 11 } else { 20 }) {
            0..10 => self.change_spec(slot),
            10..13 if by_pgo => self.ask_for_deletion(slot),
            10..13 => {}
            13 => self.delete_object(slot)?,
            14..16 => self.annotate(slot),
            _ => {
                let its_pod = self.chance.happens(500);
                self.store.shape(slot, |around| {
                    ground::trouble(&mut around.observed, its_pod);
                });
            }
        }
        Ok(())
    }

    fn create(&mut self, by_pgo: bool) -> Result<(), String> {
        let number = self.store.clusters.len();
        let stream = format!("uid-{number}").parse();
        let stream = stream.map_err(|error| format!("{error}"))?;
        let wanted = desired(&format!("c{number}"))?;
        let workflow = by_pgo.then(|| OperationId::derived(&stream, "asked for"));
        let operation = workflow.unwrap_or_else(|| OperationId::derived(&stream, "create"));
        let wrong = if self.climate.flood { 900 } else { 150 };
        let understood = !self.chance.happens(wrong);
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
            replica_count: 0,
            scale_down: Vec::new(),
            failover: Vec::new(),
            reloads: Vec::new(),
            restarts: Vec::new(),
            upgrades: Vec::new(),
            notes: pgo_core::Notes::default(),
            changed_by: pgo_core::ChangedBy::default(),
            image_said: String::new(),
            desired: if understood {
                Ok(wanted)
            } else {
                Err("no such storage".to_owned())
            },
        };
        let slot = self.store.create(cluster);
        self.store.shape(slot, |around| {
            around.observed.family = Some(pgo_core::AddressFamily::V4);
        });
        self.ledger.begin();
        self.ledger.accept(slot, operation);
        self.say(|| format!("cluster {slot} is asked for as {operation}"));
        Ok(())
    }

    /// Another spec, one that is not understood, or one that is again.
    fn change_spec(&mut self, slot: Slot) {
        let breaks = self
            .chance
            .happens(if self.climate.flood { 900 } else { 400 });
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
    fn ask_for_deletion(&mut self, slot: Slot) {
        let kept = &self.store.clusters[slot];
        let object = kept.object().map(|object| object.status.clone());
        let deletions = object.map_or(0, |status| status.journal.all(Kind::DeleteCluster).count());
        if deletions + kept.ground().requests.len() >= MOST_REQUESTS {
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
            around.requests.insert(name.clone(), request);
            around.observed.tasks.insert(name, uid);
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
