//! One piece of work: a stanza or a backup, to its end.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use pgo_postgres::backrest::{
    self,
    conf::Database,
    info::{self, OPERATION, SOURCE, Set},
    output,
};
use pgo_proto::agent::{BeginRequest, DatabaseHost, begin_request::Work};
use pgo_telemetry::CancellationToken;

use super::{Surroundings, forward::Forward, journal::What};
use crate::backrest::command::{self, CommandError, Order};

/// How long making the stanza may take: it reads and writes a few small files.
const STANZA: Duration = Duration::from_secs(300);

/// How long it may take until WAL of the instance has arrived.
const CHECK: Duration = Duration::from_secs(180);

/// Option by which files are copied from a replica.
const FROM_REPLICA: &str = "--backup-standby";

/// An instance as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    instance: String,
    address: IpAddr,
    data: PathBuf,
    port: u16,
}

impl Host {
    fn read(host: &DatabaseHost) -> Result<Self, String> {
        let name = &host.instance;
        let address = host.address.parse();
        Ok(Self {
            instance: name.clone(),
            address: address
                .map_err(|_| format!("{:?} of {name} is no IP address", host.address))?,
            data: Some(PathBuf::from(&host.path))
                .filter(|path| path.is_absolute())
                .ok_or_else(|| format!("{:?} of {name} is no data directory", host.path))?,
            port: u16::try_from(host.port)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("{} of {name} is no port", host.port))?,
        })
    }
}

/// A piece of work that somebody ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Id of the operation.
    pub operation: String,
    /// What it is.
    pub what: What,
    options: Vec<String>,
    primary: Host,
    replica: Option<Host>,
}

impl Job {
    /// Reads an order.
    ///
    /// # Errors
    /// It orders nothing that can be done; the text says what is wrong.
    pub fn read(request: &BeginRequest) -> Result<Self, String> {
        if request.operation.is_empty() {
            return Err("the operation has no id".to_owned());
        }
        let primary = request.primary.as_ref().ok_or("the primary is missing")?;
        let (what, options) = match &request.work {
            Some(Work::Backup(backup)) => (What::Backup, backup.options.clone()),
            Some(Work::CreateStanza(_)) => (What::CreateStanza, Vec::new()),
            Some(Work::CheckRestore(_)) => {
                return Err("this agent cannot look at what a restore needs".to_owned());
            }
            None => return Err("it is not said what to do".to_owned()),
        };
        if let Some(wrong) = options.iter().find(|option| !option.starts_with("--")) {
            return Err(format!("{wrong:?} is no option of a backup"));
        }
        Ok(Self {
            operation: request.operation.clone(),
            what,
            options,
            primary: Host::read(primary)?,
            replica: request.replica.as_ref().map(Host::read).transpose()?,
        })
    }

    /// The instance that files are copied from.
    fn source(&self) -> &str {
        let asks = self
            .options
            .iter()
            .any(|option| option == FROM_REPLICA || *option == format!("{FROM_REPLICA}=y"));
        let replica = self.replica.as_ref().filter(|_| asks);
        &replica.unwrap_or(&self.primary).instance
    }

    /// What the command gets.
    fn backup_options(&self, annotates: bool) -> Vec<String> {
        let mut options = self.options.clone();
        if annotates {
            options.push(format!("--annotation={SOURCE}={}", self.source()));
            options.push(format!("--annotation={OPERATION}={}", self.operation));
        }
        options
    }

    /// Does it, until `stop`; the backup that was made. `progress` hears how many per cent are done.
    ///
    /// # Errors
    /// It failed, for this reason.
    pub async fn run(
        &self,
        around: &Surroundings,
        stop: &CancellationToken,
        progress: impl Fn(u32),
    ) -> Result<Option<Set>, String> {
        // Led on as long as they live.
        let mut forwards = Vec::new();
        let mut databases = Vec::new();
        let host = around.database_host();
        for instance in std::iter::once(&self.primary).chain(&self.replica) {
            let to = SocketAddr::new(instance.address, backrest::PORT);
            let forward = Forward::begin(&host, to).await?;
            databases.push(Database {
                host: host.clone(),
                port: forward.port(),
                data: instance.data.clone(),
                postgres: instance.port,
            });
            forwards.push(forward);
        }
        around.write(&around.work_conf(), &databases)?;
        let run = Run { around, stop };
        // Also before a backup: the volume may be new, and one that is there stays as it is.
        run.command("stanza-create", Some(STANZA), Vec::new(), |_| {})
            .await?;
        match self.what {
            What::CreateStanza => {
                run.command("check", Some(CHECK), Vec::new(), |_| {})
                    .await?;
                Ok(None)
            }
            What::Backup => run.backup(self, progress).await.map(Some),
        }
    }
}

struct Run<'a> {
    around: &'a Surroundings,
    stop: &'a CancellationToken,
}

impl Run<'_> {
    async fn command(
        &self,
        name: &str,
        deadline: Option<Duration>,
        options: Vec<String>,
        mut each: impl FnMut(&str),
    ) -> Result<(), String> {
        let order = Order {
            backrest: &self.around.backrest,
            conf: &self.around.work_conf(),
            command: name,
            options,
            deadline,
        };
        let hear = |line: &str| {
            if output::is_news(line) {
                tracing::info!(target: "pgbackrest", "{line}");
            }
            each(line);
        };
        order
            .run(self.stop, hear)
            .await
            .map_err(|error| match error {
                CommandError::Stopped(_) => {
                    format!("{INTERRUPTED}the agent of the repository was to end")
                }
                error => error.to_string(),
            })
    }

    /// Makes a backup. How long that takes depends on the data; what hangs pgBackRest notices itself (protocol-timeout).
    async fn backup(&self, job: &Job, progress: impl Fn(u32)) -> Result<Set, String> {
        let mut label = None;
        let options = job.backup_options(self.around.backrest.annotates());
        let each = |line: &str| {
            if let Some(percent) = output::percent(line) {
                progress(percent);
            }
            if let Some(made) = output::label(line) {
                label = Some(made.to_owned());
            }
        };
        self.command("backup", None, options, each).await?;
        let label =
            label.ok_or("pgbackrest backup ended well, but named no backup that it has made")?;
        let made = sets(self.around).await?;
        let set = made.into_iter().find(|set| set.label == label);
        let mut set = set.ok_or_else(|| {
            format!("pgbackrest backup ended well, but the repository does not list {label}")
        })?;
        job.source().clone_into(&mut set.source);
        Ok(set)
    }
}

/// Beginning of the error of what did not come to its end.
pub const INTERRUPTED: &str = "interrupted: ";

/// The backups in the repository, oldest first.
///
/// # Errors
/// pgBackRest does not say.
pub async fn sets(around: &Surroundings) -> Result<Vec<Set>, String> {
    let said = command::info(&around.backrest, &around.conf(), true).await;
    let text = said.map_err(|error| error.to_string())?;
    info::sets(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use pgo_proto::agent::{Backup, CreateStanza};

    use super::*;

    fn host(instance: &str) -> DatabaseHost {
        DatabaseHost {
            instance: instance.to_owned(),
            address: "10.0.0.7".to_owned(),
            path: "/pgdata/hippo".to_owned(),
            port: 5432,
        }
    }

    fn request(options: &[&str]) -> BeginRequest {
        let options = options.iter().map(ToString::to_string).collect();
        BeginRequest {
            operation: "0197".to_owned(),
            primary: Some(host("hippo")),
            replica: Some(host("hippo-abcd")),
            work: Some(Work::Backup(Backup { options })),
        }
    }

    #[test]
    fn an_order_is_read_and_what_made_a_backup_is_kept_with_it() {
        let job = Job::read(&request(&["--type=full"])).expect("an order");
        assert_eq!((job.what, job.source()), (What::Backup, "hippo"));
        let options = job.backup_options(true);
        let noted = [
            "--annotation=pgo-instance=hippo",
            "--annotation=pgo-operation=0197",
        ];
        assert_eq!(options[..1], ["--type=full"]);
        assert_eq!(options[1..], noted);
        assert_eq!(job.backup_options(false), ["--type=full"]);
        let from_replica = Job::read(&request(&["--backup-standby"])).expect("an order");
        assert_eq!(from_replica.source(), "hippo-abcd");
        let not = Job::read(&request(&["--backup-standby=n"])).expect("an order");
        assert_eq!(not.source(), "hippo");
    }

    #[test]
    fn an_order_that_cannot_be_is_refused_with_the_reason() {
        let refused = |change: fn(&mut BeginRequest)| {
            let mut request = request(&[]);
            change(&mut request);
            Job::read(&request).expect_err("refused")
        };
        assert!(refused(|request| request.operation.clear()).contains("no id"));
        assert!(refused(|request| request.primary = None).contains("primary"));
        assert!(refused(|request| request.work = None).contains("what to do"));
        let options = |option: &str| Job::read(&request(&[option])).expect_err("refused");
        assert!(options("restore").contains("no option"));
        for (field, wrong) in [
            (
                "address",
                DatabaseHost {
                    address: "x".to_owned(),
                    ..host("hippo")
                },
            ),
            (
                "data directory",
                DatabaseHost {
                    path: "x".to_owned(),
                    ..host("hippo")
                },
            ),
            (
                "port",
                DatabaseHost {
                    port: 70_000,
                    ..host("hippo")
                },
            ),
        ] {
            let wrong = BeginRequest {
                replica: Some(wrong),
                work: Some(Work::CreateStanza(CreateStanza {})),
                ..request(&[])
            };
            let error = Job::read(&wrong).expect_err("refused");
            assert!(error.contains(field) && error.contains("hippo"), "{error}");
        }
    }
}
