//! The repository of backups of a world: its objects, its pod, and what its agent does.

use pgo_core::{
    Backup, BackupSet, ClaimFacts, ClaimPhase, ClaimSize, Done, Fixture, PodFacts, PodPhase,
    RepositoryFacts, Step, Work, repository_claim_name,
};
use pgo_ids::OperationId;

use super::World;

impl World {
    /// A step that is about it.
    pub(super) fn of_repository(&mut self, step: &Step) {
        if let Step::CancelWork { operation } = step {
            self.cancel_work(*operation);
            return;
        }
        let desired = self.cluster.desired_repository(&self.status);
        let desired = desired.expect("nobody makes what is not wanted");
        match step {
            Step::MakeRepositoryClaim => {
                let uid = self.uid("claim");
                let claim = ClaimFacts {
                    first_since: None,
                    uid: uid.clone(),
                    phase: ClaimPhase::Pending,
                    has_volume: false,
                    form: Some(desired.repository_claim_form()),
                    size: ClaimSize::default(),
                    complaint: None,
                    terminating: false,
                };
                let key = (Backup::Claim, repository_claim_name(&self.cluster.name));
                self.observed.backups.insert(key, uid);
                self.observed.repository.claim = Some(claim);
            }
            Step::MakeRepositoryService => {
                let form = desired.repository_service_form();
                self.observed.repository.service_form = Some(form);
                self.have(Fixture::RepositoryService);
            }
            Step::MakeBucketKey => {
                let key = (Backup::Secret, desired.repository_secret_name());
                let uid = self.uid("secret");
                self.observed.backups.insert(key, uid);
            }
            Step::MakeRepository => {
                self.stop_repository();
                self.observed.repository.form = Some(desired.repository_form());
                self.have(Fixture::Repository);
            }
            Step::CreateStanza { operation, .. }
            | Step::CheckRestore { operation, .. }
            | Step::Backup { operation, .. } => {
                self.begin_work(*operation);
            }
            other => panic!("{other:?} is about no repository"),
        }
    }

    fn have(&mut self, fixture: Fixture) {
        let uid = self.uid("fixture");
        self.observed.fixtures.entry(fixture).or_insert(uid);
    }

    fn begin_work(&mut self, operation: OperationId) {
        let agent = self
            .observed
            .repository
            .agent
            .as_mut()
            .expect("it is heard");
        assert!(
            agent.done.iter().all(|done| done.operation != operation),
            "it is done already"
        );
        assert_eq!(agent.running, None, "one after another");
        agent.running = Some(Work {
            operation,
            percent: 0,
        });
    }

    /// Its Deployment is gone, or has another form.
    pub fn stop_repository(&mut self) {
        let repository = &mut self.observed.repository;
        repository.form = None;
        if let Some(pod) = &mut repository.pod {
            pod.terminating = true;
        }
    }

    /// Its claim is gone.
    pub fn lose_repository(&mut self, uid: &str) {
        let repository = &mut self.observed.repository;
        repository.claim.take_if(|claim| claim.uid == uid);
        assert_eq!(repository.pod, None, "a pod holds the claim");
    }

    /// Kubernetes and the agent get one step further.
    pub fn progress_repository(&mut self) {
        let made = self.observed.fixtures.contains_key(&Fixture::Repository);
        let uid = self.uid("pod");
        let repository = &mut self.observed.repository;
        let Some(pod) = &mut repository.pod else {
            repository.pod = made.then(|| starting(uid));
            return;
        };
        if pod.terminating {
            repository.pod = None;
            return;
        }
        if pod.phase == PodPhase::Pending {
            (pod.phase, pod.ip) = (PodPhase::Running, Some("10.1.0.1".to_owned()));
            if let Some(claim) = &mut repository.claim {
                (claim.phase, claim.has_volume) = (ClaimPhase::Bound, true);
            }
            return;
        }
        let uid = pod.uid.clone();
        let former = repository.agent.take_if(|agent| agent.pod_uid != uid);
        let agent = repository.agent.get_or_insert_with(|| RepositoryFacts {
            pod_uid: uid,
            version: Some("2.45".to_owned()),
            ready: true,
            ..RepositoryFacts::default()
        });
        if let Some(former) = former {
            let interrupted = former
                .running
                .map(|work| ended(&work, Some("interrupted: gone")));
            agent.done = former.done.into_iter().chain(interrupted).collect();
            agent.backups = former.backups;
        }
        self.work_on();
    }

    /// What it does ends well.
    fn work_on(&mut self) {
        let of_backup = self.status.backup.as_ref().map(|run| run.operation);
        let restore = self.status.restore.as_ref();
        let of_restore = restore.map(|run| run.order.operation);
        let now = self.now;
        let Some(agent) = &mut self.observed.repository.agent else {
            return;
        };
        let Some(work) = agent.running.take() else {
            return;
        };
        let mut done = ended(&work, None);
        if of_backup == Some(work.operation) {
            let backup = BackupSet {
                label: "20261015-101112F".to_owned(),
                kind: "full".to_owned(),
                finished: Some(now),
                size: 23,
                start_wal: "000000010000000000000002".to_owned(),
                stop_wal: "000000010000000000000003".to_owned(),
                damaged: false,
                damaged_pages: Vec::new(),
                source: "hippo".to_owned(),
                place: "local".to_owned(),
            };
            agent.backups.push(backup.clone());
            done.backup = Some(backup);
        }
        if of_restore == Some(work.operation) {
            done.backup = Some(BackupSet {
                label: "20261015-093000F".to_owned(),
                size: 4096,
                start_wal: "000000010000000000000002".to_owned(),
                stop_wal: "000000010000000000000003".to_owned(),
                ..BackupSet::default()
            });
        }
        agent.done.push(done);
    }

    /// What it does for an operation is stopped.
    fn cancel_work(&mut self, operation: OperationId) {
        let agent = self.observed.repository.agent.as_ref();
        let running = agent.and_then(|agent| agent.running.as_ref());
        assert_eq!(running.map(|work| work.operation), Some(operation));
        self.fail_work("cancelled");
    }

    /// What the repository does ends without an answer, as its agent does.
    pub fn forget_work(&mut self) {
        let agent = self.observed.repository.agent.as_mut();
        let work = agent.expect("it is heard").running.take();
        work.expect("it does something");
    }

    /// What it does fails.
    pub fn fail_work(&mut self, error: &str) {
        let now = self.now;
        let agent = self
            .observed
            .repository
            .agent
            .as_mut()
            .expect("it is heard");
        let work = agent.running.take().expect("it does something");
        let mut done = ended(&work, Some(error));
        done.finished = Some(now);
        agent.done.push(done);
    }
}

fn ended(work: &Work, error: Option<&str>) -> Done {
    Done {
        operation: work.operation,
        error: error.map(str::to_owned),
        finished: None,
        backup: None,
        more: Vec::new(),
    }
}

fn starting(uid: String) -> PodFacts {
    PodFacts {
        uid,
        phase: PodPhase::Pending,
        node: Some("node1".to_owned()),
        placed: None,
        ip: None,
        ready: false,
        terminating: false,
        unschedulable: None,
        waiting: None,
        complaint: None,
        form: None,
        service: None,
    }
}
