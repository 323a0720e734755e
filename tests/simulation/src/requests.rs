//! What users ask of a cluster that is there: more and fewer replicas, another primary, a restart, an upgrade, and others.
//! Some of it is refused.

use std::rc::Rc;

use pgo_core::{
    BackupRequest, FailoverRequest, Image, Kind, Operation, ReloadRequest, Replica, RestartRequest,
    ScaleDownRequest, Test, Update, UpgradeRequest, backup::options::BackupOptions,
};
use pgo_ids::{InstanceName, OperationId};

use crate::{
    agents,
    asked::{Asked, is_to_go},
    ground,
    store::Slot,
    users::FIRST_IMAGE,
    world::World,
};

/// So many Pgtasks ask something of a cluster at a time.
const MOST_TASKS: usize = 8;

/// So many replicas users ask for.
const MOST_REPLICAS: usize = 3;

/// Of a thousand who see that their request cannot be granted now so many make it all the same.
const STUBBORN: u64 = 200;

/// Who asks.
const ACTOR: &str = "alice";

impl World {
    /// Somebody asks a cluster for something else than to be or to go.
    pub fn ask(&mut self, slot: Slot) {
        if self.is_busy(slot) && !self.chance.happens(STUBBORN) {
            return;
        }
        self.ask_anything(slot);
    }

    /// Somebody asks for something while what asks for a cluster's end is being done, where there is such a cluster: what
    /// comes after the last look at the caches must not go with it.
    pub fn ask_at_the_end(&mut self) {
        let ends = |slot: &Slot| {
            let kept = &self.store.clusters[*slot];
            kept.object().is_some_and(|object| {
                let newest = object.status.journal.newest(Kind::DeleteCluster);
                newest.is_some_and(|deletion| !deletion.is_running())
            })
        };
        if let Some(slot) = self.store.present().into_iter().find(ends) {
            self.ask_anything(slot);
        }
    }

    /// Whether most of what can be asked for would be refused: something else is under way, or the cluster is to go or not
    /// understood.
    fn is_busy(&self, slot: Slot) -> bool {
        let kept = &self.store.clusters[slot];
        kept.object().is_none_or(|object| {
            let mut operations = object.status.journal.operations.iter();
            object.cluster.desired.is_err()
                || is_to_go(&object.cluster, kept.ground())
                || !object.status.is_ready()
                || operations.any(Operation::is_running)
        })
    }

    fn ask_anything(&mut self, slot: Slot) {
        match self.chance.below(18) {
            0..2 => self.scale(slot),
            2 => self.add_replica(slot),
            3 => self.delete_replica(slot),
            4..6 => {
                let Some(replica) = self.replica(slot) else {
                    return self.add_replica(slot);
                };
                let data = self.chance.happens(500);
                self.ask_by_task(slot, |operation| {
                    Asked::Removal(ScaleDownRequest {
                        replica,
                        operation,
                        actor: ACTOR.to_owned(),
                        data,
                    })
                });
            }
            6..9 => {
                let target = match (self.replica(slot), self.chance.below(4)) {
                    (_, 0) => self.target(slot),
                    (Some(replica), _) => Some(replica.to_string()),
                    (None, _) => return self.add_replica(slot),
                };
                let planned = self.chance.happens(300);
                self.ask_by_task(slot, |operation| {
                    Asked::Change(FailoverRequest {
                        operation,
                        actor: ACTOR.to_owned(),
                        target,
                        planned,
                    })
                });
            }
            9 => self.ask_by_task(slot, |operation| {
                Asked::Reload(ReloadRequest {
                    operation,
                    actor: ACTOR.to_owned(),
                })
            }),
            10..12 => {
                let target = self.target(slot);
                self.ask_by_task(slot, |operation| {
                    Asked::Restart(RestartRequest {
                        operation,
                        actor: ACTOR.to_owned(),
                        target,
                    })
                });
            }
            12..14 => self.ask_for_upgrade(slot),
            14..16 => self.elect_one(slot),
            16 if self.chance.happens(300) => self.ask_for_backup(slot),
            16 => self.note_test(slot),
            _ => self.update(slot),
        }
    }

    /// A Pgtask, where there are not too many. It takes the place of those that are over, as one of the same name does.
    fn ask_by_task(&mut self, slot: Slot, asked: impl FnOnce(OperationId) -> Asked) {
        let kept = &self.store.clusters[slot];
        if kept.ground().asked.len() >= MOST_TASKS {
            return;
        }
        self.made += 1;
        let (uid, name) = (format!("o-{}", self.made), format!("task-{}", self.made));
        let operation = OperationId::derived(&kept.stream, &name);
        let asked = asked(operation);
        self.say(|| format!("cluster {slot} is asked for {asked:?}"));
        self.store.shape(slot, |around| {
            around.asked.insert(name.clone(), asked);
            let mut tasks = around.observed.tasks.clone();
            tasks.insert(name, uid);
            tasks.retain(|name, _| around.asked.contains_key(name));
            around.shaped().tasks = tasks;
        });
        self.ledger.accept(slot, operation);
    }

    /// One of the instances that have a pod.
    fn instance(&mut self, slot: Slot) -> Option<InstanceName> {
        let pods = &self.store.clusters[slot].ground().observed.pods;
        let place = self.chance.place(pods.len());
        pods.keys().nth(place).cloned()
    }

    /// One that is not the primary, if there is any; sometimes whichever.
    fn replica(&mut self, slot: Slot) -> Option<InstanceName> {
        let kept = &self.store.clusters[slot];
        let observed = &kept.ground().observed;
        let holder = observed.holder(&InstanceName::from(&kept.name));
        let replicas = observed.pods.keys().filter(|one| **one != holder);
        let replicas: Vec<InstanceName> = replicas.cloned().collect();
        if self.chance.happens(STUBBORN) {
            return self.instance(slot);
        }
        let place = self.chance.place(replicas.len());
        replicas.get(place).cloned()
    }

    /// Whom somebody names, or nobody; sometimes one that is not there.
    fn target(&mut self, slot: Slot) -> Option<String> {
        match self.chance.below(16) {
            0..6 => None,
            6 => Some("nobody".to_owned()),
            _ => self.instance(slot).map(|instance| instance.to_string()),
        }
    }

    /// `kubectl scale`, or `pgo update` of the number of replicas.
    fn scale(&mut self, slot: Slot) {
        let count = u32::try_from(self.chance.between(0, MOST_REPLICAS)).unwrap_or(0);
        self.change_object(slot, |cluster| {
            cluster.replica_count = count;
            cluster.generation += 1;
        });
        self.say(|| format!("cluster {slot} is to have {count} replicas"));
    }

    /// `pgo scale`: a Pgreplica, which is a request of its own.
    fn add_replica(&mut self, slot: Slot) {
        let kept = &self.store.clusters[slot];
        let cluster = kept.object().map(|object| object.cluster.clone());
        let desired = cluster.and_then(|cluster| cluster.desired.clone().ok());
        let is_full = kept.ground().replicas.len() >= MOST_REPLICAS;
        let name = format!("{}-r{}", kept.name, self.made + 1);
        let (Some(desired), Ok(name), false) = (desired, name.parse(), is_full) else {
            return;
        };
        self.made += 1;
        let uid = format!("o-{}", self.made);
        let operation = OperationId::derived(&kept.stream, &format!("add {uid}"));
        self.say(|| format!("cluster {slot} is asked for replica {name} as {operation}"));
        self.store.shape(slot, |around| {
            around.replicas.push(Replica {
                name,
                uid,
                deleting: false,
                finalizer: false,
                derived: false,
                actor: ACTOR.to_owned(),
                wanted: Ok(ground::wanted(&desired)),
            });
        });
        self.ledger.accept(slot, operation);
    }

    /// `kubectl delete pgreplica`.
    fn delete_replica(&mut self, slot: Slot) {
        let kept = &self.store.clusters[slot];
        let replicas = &kept.ground().replicas;
        let place = self.chance.place(replicas.len());
        let Some(uid) = replicas.get(place).map(|replica| replica.uid.clone()) else {
            return;
        };
        let operation = OperationId::derived(&kept.stream, &format!("add {uid}"));
        self.ledger.withdraw(slot, operation);
        self.store.shape(slot, |around| {
            for one in around.replicas.iter_mut().filter(|one| one.uid == uid) {
                one.deleting = true;
            }
            around.replicas.retain(|one| !one.deleting || one.finalizer);
        });
        self.say(|| format!("cluster {slot}: replica {uid} is deleted"));
    }

    /// An image that somebody wants: mostly newer, or older than another, of another major version, or not there.
    fn image(&mut self) -> String {
        match self.chance.below(10) {
            0 => FIRST_IMAGE.to_owned(),
            1 => "postgres:16.1".to_owned(),
            2 => "postgres:none".to_owned(),
            _ => format!("postgres:15.{}", self.chance.between(3, 20)),
        }
    }

    /// By a Pgtask, or by another image in the spec.
    fn ask_for_upgrade(&mut self, slot: Slot) {
        let image = self.image();
        let now = self.now;
        if self.chance.happens(300) {
            self.change_object(slot, |cluster| {
                if let Ok(desired) = &mut cluster.desired {
                    desired.image = Image(image.clone());
                    cluster.image_said.clone_from(&image);
                    cluster.generation += 1;
                }
            });
            self.say(|| format!("the spec of cluster {slot} names {image}"));
            return;
        }
        self.ask_by_task(slot, |operation| {
            Asked::Upgrade(UpgradeRequest {
                operation,
                actor: ACTOR.to_owned(),
                made: Some(now),
                image: Ok(Image(image)),
            })
        });
    }

    /// Refused where there is no repository, and told like all else.
    fn ask_for_backup(&mut self, slot: Slot) {
        self.ask_by_task(slot, |operation| {
            Asked::Backup(BackupRequest {
                operation,
                actor: ACTOR.to_owned(),
                options: Ok(BackupOptions::default()),
            })
        });
    }

    /// The agents have another one as primary, without being asked.
    fn elect_one(&mut self, slot: Slot) {
        let Some(to) = self.instance(slot) else {
            return;
        };
        let (cluster, now) = (self.store.clusters[slot].name.clone(), self.now);
        self.store.shape(slot, |around| {
            agents::elect(around.shaped(), &cluster, &to, now);
        });
        self.say(|| format!("cluster {slot}: {to} is elected"));
    }

    /// `pgo test`: what it has shown is noted on the Pgcluster, unless that is being deleted.
    fn note_test(&mut self, slot: Slot) {
        let (operation, now) = (self.noted(slot), self.now);
        let broken = match self.chance.below(2) {
            0 => Vec::new(),
            _ => vec!["psql: no answer".to_owned()],
        };
        self.note(slot, operation, |cluster| {
            cluster.notes.tests.push(Test {
                operation,
                actor: ACTOR.to_owned(),
                began: now,
                ended: now,
                tried: 4,
                broken,
            });
        });
    }

    /// `pgo update cluster`: the setting is changed together with the note.
    fn update(&mut self, slot: Slot) {
        let (operation, autofail) = (self.noted(slot), self.chance.happens(500));
        self.note(slot, operation, |cluster| {
            if let Ok(desired) = &mut cluster.desired {
                desired.autofail = autofail;
            }
            cluster.generation += 1;
            cluster.notes.updates.push(Update {
                operation,
                actor: ACTOR.to_owned(),
            });
        });
    }

    fn noted(&mut self, slot: Slot) -> OperationId {
        self.made += 1;
        let about = format!("note {}", self.made);
        OperationId::derived(&self.store.clusters[slot].stream, &about)
    }

    fn note(
        &mut self,
        slot: Slot,
        operation: OperationId,
        change: impl FnOnce(&mut pgo_core::Cluster),
    ) {
        let object = self.store.clusters[slot].object();
        if object.is_none_or(|object| object.cluster.deleting) {
            return;
        }
        self.change_object(slot, change);
        self.ledger.accept(slot, operation);
        self.say(|| format!("cluster {slot} has a note on operation {operation}"));
    }

    /// A user's write of a Pgcluster.
    pub fn change_object(&mut self, slot: Slot, change: impl FnOnce(&mut pgo_core::Cluster)) {
        let changed = self.store.change(slot, None, |object| {
            change(Rc::make_mut(&mut object.cluster));
        });
        debug_assert!(changed.is_ok());
    }
}
