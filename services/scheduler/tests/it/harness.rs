//! Schedulers that a test starts.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use pgo_bus::Doorbells;
use pgo_k8s::lease::Leadership;
use pgo_scheduler::{
    heartbeat::Heartbeat,
    metrics::Metrics,
    rounds::{self, Clock, Rounds},
};
use pgo_telemetry::{CancellationToken, Telemetry};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::server::{NS, Server};

/// Of a machine that builds meanwhile, too.
const SOON: Duration = Duration::from_secs(60);

pub struct Scheduler {
    pub doorbells: Doorbells,
    pub leadership: watch::Sender<Leadership>,
    pub telemetry: Telemetry,
    shutdown: CancellationToken,
    pub task: JoinHandle<()>,
    pub folder: TempDir,
}

pub fn following() -> Leadership {
    Leadership::Following { holder: None }
}

pub fn start(server: &Server, leadership: Leadership) -> Scheduler {
    start_at(server, leadership, Arc::new(Timestamp::now))
}

/// One with a clock of its own.
pub fn start_at(server: &Server, leadership: Leadership, clock: Clock) -> Scheduler {
    let telemetry = Telemetry::without_logs("scheduler", "test");
    let leadership = watch::Sender::new(leadership);
    let folder = TempDir::new().expect("a folder");
    let doorbells = Doorbells::default();
    let rounds = Rounds {
        client: server.client(),
        doorbells: doorbells.clone(),
        operator_namespace: "pgo".to_owned(),
        namespaces: vec![NS.to_owned()],
        clock,
        leadership: leadership.subscribe(),
        heartbeat: Heartbeat::new(folder.path().join("scheduler.hb")),
        going: rounds::going(&telemetry),
        metrics: Metrics::register(&telemetry),
    };
    let shutdown = CancellationToken::new();
    Scheduler {
        task: tokio::spawn(rounds.run(shutdown.clone())),
        doorbells,
        leadership,
        telemetry,
        shutdown,
        folder,
    }
}

impl Scheduler {
    pub async fn end(self) {
        self.shutdown.cancel();
        let ended = timeout(SOON, self.task).await;
        ended.expect("it ends in time").expect("no panic");
    }
}

pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        timeout(SOON, met).await.is_ok(),
        "{what}: not within {SOON:?}"
    );
}
