//! What goes of the world.

use pgo_core::{Fixture, Step};

use super::World;

impl World {
    /// Removes exactly what a step names.
    pub(super) fn remove(&mut self, step: &Step) {
        let observed = &mut self.observed;
        match step {
            Step::RemovePod { instance, uid } => {
                if let Some(pod) = observed.pods.get_mut(instance) {
                    assert_eq!(pod.uid, *uid);
                    pod.terminating = true;
                }
            }
            Step::RemoveClaim { instance, uid } => {
                assert!(
                    !observed.pods.contains_key(instance),
                    "data goes while a database may run"
                );
                let removed = observed.claims.remove(instance);
                assert_eq!(removed.map(|claim| claim.uid).as_ref(), Some(uid));
            }
            Step::RemoveBackup { backup, name, uid } => {
                let removed = observed.backups.remove(&(*backup, name.clone()));
                assert_eq!(removed.as_ref(), Some(uid));
                self.lose_repository(uid);
            }
            Step::RemoveUserSecret { name, uid } => {
                assert_eq!(observed.user_secrets.remove(name).as_ref(), Some(uid));
            }
            Step::RemoveFixture { fixture, uid } => {
                assert_eq!(observed.fixtures.remove(fixture).as_ref(), Some(uid));
                match fixture {
                    Fixture::Service => observed.service_form = None,
                    Fixture::ReplicaService => observed.replica_service_form = None,
                    Fixture::EndpointSlice => observed.endpoints = None,
                    Fixture::Repository => self.stop_repository(),
                    Fixture::RepositoryService => observed.repository.service_form = None,
                    Fixture::Certificate => observed.certificate_until = None,
                    Fixture::Lease => observed.takeovers.clear(),
                    _ => {}
                }
            }
            Step::RemoveTask { name, uid } => {
                assert_eq!(observed.tasks.remove(name).as_ref(), Some(uid));
                let shown = self.cluster.delete_requests.len();
                if let Some(at) = self.asked.iter().position(|(asked, _)| asked == name) {
                    self.asked.remove(at);
                    self.see(shown - 1);
                }
            }
            other => panic!("{other:?} removes nothing"),
        }
    }
}
