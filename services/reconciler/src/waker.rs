//! Wakes a reconcile when something outside of the Pgcluster has changed.

use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use crate::controller::Stored;

/// Wakes the reconcile of a cluster.
#[derive(Clone, Debug)]
pub struct Waker(mpsc::UnboundedSender<ObjectRef<Stored>>);

impl Waker {
    /// A waker, and the stream of those it woke.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ObjectRef<Stored>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Wakes the reconcile of a cluster; nothing happens once nobody reconciles any more.
    pub fn wake(&self, namespace: &str, cluster: &str) {
        let _ = self.0.send(ObjectRef::new(cluster).within(namespace));
    }
}
