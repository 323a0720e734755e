//! What is measured: three instances on three nodes behind a Service, and who is primary is decided by somebody.

use std::time::{Duration, SystemTime};

use crate::harness::{Cluster, fence, namespace, pgo, sql::Database, until, until::seen};

/// How long a switchover may take.
const LIMIT: Duration = Duration::from_secs(60);

/// One of those that are compared.
pub trait Subject {
    /// As the client reaches it.
    fn database(&self) -> Database;

    /// The namespace of its pods, which have the instances' names.
    fn namespace(&self) -> String;

    /// Waits until one instance serves through the Service and the others stream from it.
    fn until_all_stream(&self, after: &str);

    /// The primary and the replicas.
    fn roles(&self) -> (String, Vec<String>);

    /// Asks for another primary, and waits until it is that.
    fn switch_over(&self, primary: &str, to: &str);

    /// When the present primary was made that.
    fn promoted(&self) -> SystemTime;
}

impl Subject for Cluster {
    fn database(&self) -> Database {
        Cluster::database(self)
    }

    fn namespace(&self) -> String {
        namespace()
    }

    fn until_all_stream(&self, after: &str) {
        Cluster::until_all_stream(self, after);
    }

    fn roles(&self) -> (String, Vec<String>) {
        Cluster::roles(self)
    }

    fn switch_over(&self, _primary: &str, to: &str) {
        let target = format!("--target={to}");
        pgo(&["failover", &self.name, &target, "--planned", "--no-prompt"]).ok();
        until("the switchover", LIMIT, || {
            let (primary, _) = self.roles();
            seen(primary == to, || format!("{primary} is primary"))
        });
    }

    fn promoted(&self) -> SystemTime {
        fence::promoted(&self.name)
    }
}
