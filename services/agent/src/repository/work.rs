//! One piece of work: a stanza, a backup, or whether a restore is possible, to its end.

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
    restore::Wish,
    storage::Storage,
};
use pgo_proto::agent::{BeginRequest, DatabaseHost, begin_request::Work};
use pgo_telemetry::CancellationToken;

use super::{Surroundings, forward::Forward, journal::What};
use crate::backrest::{
    command::{self, CommandError, Order},
    lookup,
};

/// How long making the stanza may take: it reads and writes a few small files.
const STANZA: Duration = Duration::from_secs(300);

/// How long it may take until WAL of the instance has arrived.
const CHECK: Duration = Duration::from_secs(180);

/// How long a primary may take to archive what it has, before a restore is judged. Where it does not, what it had archived
/// before counts.
const ARCHIVE: Duration = Duration::from_secs(60);

/// So many files with damaged pages are named; the log has all.
const PAGES: usize = 5;

/// Option by which files are copied from a replica; pgBackRest takes none without it, and does not take it twice.
const FROM_REPLICA: &str = "--backup-standby";

/// Options by which they are not, though there is one.
const FROM_PRIMARY: [&str; 2] = ["--no-backup-standby", "--backup-standby=n"];

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
    /// For how long a backup may do nothing.
    stall: Option<Duration>,
    /// None only where a restore is judged.
    primary: Option<Host>,
    replica: Option<Host>,
    /// The cluster's, where a restore is judged and it is known.
    system: Option<u64>,
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
        let (mut system, mut stall) = (None, None);
        let (what, options) = match &request.work {
            Some(Work::Backup(backup)) => {
                let seconds = u64::from(backup.stall_seconds);
                stall = Some(Duration::from_secs(seconds)).filter(|limit| !limit.is_zero());
                (What::Backup, backup.options.clone())
            }
            Some(Work::CreateStanza(_)) => (What::CreateStanza, Vec::new()),
            Some(Work::CheckRestore(check)) => {
                system = system_identifier(&check.system_identifier)?;
                (What::CheckRestore, check.options.clone())
            }
            None => return Err("it is not said what to do".to_owned()),
        };
        if request.primary.is_none() && what != What::CheckRestore {
            return Err("the primary is missing".to_owned());
        }
        if let Some(wrong) = options.iter().find(|option| !option.starts_with("--")) {
            return Err(format!("{wrong:?} is no option of {}", what.name()));
        }
        Ok(Self {
            operation: request.operation.clone(),
            what,
            options,
            stall,
            primary: request.primary.as_ref().map(Host::read).transpose()?,
            replica: request.replica.as_ref().map(Host::read).transpose()?,
            system,
        })
    }

    /// The replica that files are copied from, where that is not the primary.
    fn standby(&self) -> Option<&Host> {
        let mut options = self.options.iter();
        let refused = options.any(|option| FROM_PRIMARY.contains(&option.as_str()));
        self.replica.as_ref().filter(|_| !refused)
    }

    /// The instance that files are copied from.
    fn source(&self) -> &str {
        let source = self.standby().or(self.primary.as_ref());
        source
            .map(|host| host.instance.as_str())
            .unwrap_or_default()
    }

    /// What the command gets for a backup in `storage`. What is said of each place alike becomes what is said of that one.
    fn backup_options(&self, storage: Storage, annotates: bool) -> Vec<String> {
        let of_repository = format!("--repo{}-", storage.number());
        let options = self.options.iter();
        let options = options.filter(|option| **option != storage.option());
        let mut options: Vec<String> = options
            .map(|option| option.replacen("--repo-", &of_repository, 1))
            .collect();
        let says = options
            .iter()
            .any(|option| option.starts_with(FROM_REPLICA));
        if self.standby().is_some() && !says {
            options.push(FROM_REPLICA.to_owned());
        }
        if annotates {
            options.push(format!("--annotation={SOURCE}={}", self.source()));
            options.push(format!("--annotation={OPERATION}={}", self.operation));
        }
        options
    }

    /// Why a backup failed, and what to do where that is for its replica.
    fn explain(&self, error: String) -> String {
        match self.standby() {
            Some(replica) if error.contains("standby") => format!(
                "{error}; files were to be copied from replica {}: --no-backup-standby copies them from the primary",
                replica.instance
            ),
            _ => error,
        }
    }

    /// The places that it concerns.
    ///
    /// # Errors
    /// It is about one where the repository keeps nothing.
    pub fn storages(&self, around: &Surroundings) -> Result<Vec<Storage>, String> {
        let named = |storage: &Storage| self.options.contains(&storage.option());
        let there: Vec<Storage> = around.storages().iter().collect();
        let Some(asked) = [Storage::Local, Storage::S3].into_iter().find(named) else {
            return Ok(there);
        };
        match there.contains(&asked) {
            true => Ok(vec![asked]),
            false => Err(format!("the repository keeps nothing in {asked}")),
        }
    }

    /// Does it, until `stop`; the backups that were made. `progress` hears how many per cent are done.
    ///
    /// # Errors
    /// It failed, for this reason.
    pub async fn run(
        &self,
        around: &Surroundings,
        stop: &CancellationToken,
        progress: impl Fn(u32),
    ) -> Result<Vec<Set>, String> {
        // Led on as long as they live.
        let mut forwards = Vec::new();
        let mut databases = Vec::new();
        let host = around.database_host();
        for instance in self.primary.iter().chain(self.standby()) {
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
        let run = Run {
            around,
            stop,
            databases,
        };
        match self.what {
            What::CheckRestore => run.check_restore(self).await.map(|set| vec![set]),
            What::CreateStanza | What::Backup => run.in_each(self, progress).await,
        }
    }
}

struct Run<'a> {
    around: &'a Surroundings,
    stop: &'a CancellationToken,
    databases: Vec<Database>,
}

impl Run<'_> {
    /// Does it in each place. One where it fails does not keep it from the others.
    async fn in_each(&self, job: &Job, progress: impl Fn(u32)) -> Result<Vec<Set>, String> {
        let storages = job.storages(self.around)?;
        let (mut made, mut failed) = (Vec::new(), Vec::new());
        let count = u32::try_from(storages.len()).unwrap_or(1);
        for (at, storage) in (0..count).zip(&storages) {
            let of_all = |percent| progress((at * 100 + percent) / count);
            match self.within(job, *storage, of_all).await {
                Ok(set) => made.extend(set),
                Err(error) if self.stop.is_cancelled() || count == 1 => return Err(error),
                Err(error) => failed.push(format!("{storage}: {error}")),
            }
        }
        if failed.is_empty() {
            return Ok(made);
        }
        for set in made {
            failed.push(match Storage::numbered(set.repository) {
                Some(storage) => format!("the backup in {storage} is complete: {}", set.label),
                None => format!("backup {} is complete", set.label),
            });
        }
        Err(failed.join("; "))
    }

    /// Does it in one place.
    async fn within(
        &self,
        job: &Job,
        storage: Storage,
        progress: impl Fn(u32),
    ) -> Result<Option<Set>, String> {
        self.around.write_for(storage, &self.databases)?;
        // Also before a backup: the volume may be new, and one that is there stays as it is.
        self.stanza().await?;
        match job.what {
            What::Backup => self.backup(job, storage, progress).await.map(Some),
            _ => {
                self.command("check", (Some(CHECK), None), Vec::new(), |_| {})
                    .await?;
                Ok(None)
            }
        }
    }

    async fn command(
        &self,
        name: &str,
        (deadline, stall): (Option<Duration>, Option<Duration>),
        options: Vec<String>,
        mut each: impl FnMut(&str),
    ) -> Result<(), String> {
        let order = Order {
            backrest: &self.around.backrest,
            conf: &self.around.work_conf(),
            command: name,
            options,
            deadline,
            stall,
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

    /// Makes the repository ready for the database. What the repository has of a former one, whose cluster of this name was
    /// deleted without its backups, stays beside it.
    async fn stanza(&self) -> Result<(), String> {
        let made = self.command("stanza-create", (Some(STANZA), None), Vec::new(), |_| {});
        match made.await {
            Err(error) if output::is_of_another_database(&error) => {
                tracing::warn!(
                    "the repository has backups of another database, which stay; those of this one come beside them"
                );
                self.command("stanza-upgrade", (Some(STANZA), None), Vec::new(), |_| {})
                    .await
            }
            made => made,
        }
    }

    /// Finds out from which backup the cluster would be restored.
    async fn check_restore(&self, job: &Job) -> Result<Set, String> {
        let wish = Wish::read(&job.options).map_err(|error| error.to_string())?;
        let storages = job.storages(self.around)?;
        if let (Some(_), Some(storage)) = (&job.primary, storages.first()) {
            self.around.write_for(*storage, &self.databases)?;
            // What it did just now can be restored, too.
            let archived = self.command("check", (Some(ARCHIVE), None), Vec::new(), |_| {});
            if let Err(error) = archived.await {
                tracing::warn!(error, "what the primary did last is not archived");
            }
        }
        let conf = self.around.conf();
        let program = (&self.around.backrest, conf.as_path());
        let chosen = lookup::choose(program, self.around.storages(), &wish, job.system).await;
        chosen
            .map(|chosen| chosen.set)
            .map_err(|error| error.to_string())
    }

    /// Makes a backup. How long that takes depends on the data; it is ended where it gets no further. What older ones have whole is
    /// not removed for one with damaged pages.
    async fn backup(
        &self,
        job: &Job,
        storage: Storage,
        progress: impl Fn(u32),
    ) -> Result<Set, String> {
        let (mut label, mut pages) = (None, Vec::new());
        let mut options = job.backup_options(storage, self.around.backrest.annotates());
        let retention = options
            .iter()
            .filter(|option| option.contains("-retention-"));
        let retention: Vec<String> = retention.cloned().collect();
        if !retention.is_empty() {
            options.push("--no-expire-auto".to_owned());
        }
        let each = |line: &str| {
            if let Some(percent) = output::percent(line) {
                progress(percent);
            }
            if let Some(made) = output::label(line) {
                label = Some(made.to_owned());
            }
            if let Some(place) = output::damaged_pages(line).filter(|_| pages.len() < PAGES) {
                pages.push(place.to_owned());
            }
        };
        self.command("backup", (None, job.stall), options, each)
            .await
            .map_err(|error| job.explain(error))?;
        let label =
            label.ok_or("pgbackrest backup ended well, but named no backup that it has made")?;
        let made = sets(self.around).await?;
        let mut made = made.into_iter();
        let set = made.find(|set| set.label == label && set.repository == storage.number());
        let mut set = set.ok_or_else(|| {
            format!("pgbackrest backup ended well, but the repository does not list {label}")
        })?;
        job.source().clone_into(&mut set.source);
        set.damaged_pages = pages;
        if !retention.is_empty() && !set.damaged {
            let removed = self.command("expire", (None, job.stall), retention, |_| {});
            removed.await.map_err(|error| {
                format!("backup {label} is complete, and older ones cannot be removed: {error}")
            })?;
        }
        Ok(set)
    }
}

/// A system identifier; none where the text is empty.
fn system_identifier(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| format!("{text:?} is no system identifier")),
    }
}

/// Beginning of the error of what did not come to its end.
pub const INTERRUPTED: &str = "interrupted: ";

/// The backups in the repository, oldest first.
///
/// # Errors
/// pgBackRest does not say.
pub async fn sets(around: &Surroundings) -> Result<Vec<Set>, String> {
    let said = command::info(&around.backrest, &around.conf(), true, None).await;
    let text = said.map_err(|error| error.to_string())?;
    info::sets(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use pgo_proto::agent::{Backup, CheckRestore, CreateStanza};

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
            work: Some(Work::Backup(Backup {
                options,
                stall_seconds: 60,
            })),
        }
    }

    #[test]
    fn an_order_is_read_and_what_made_a_backup_is_kept_with_it() {
        let job = Job::read(&request(&["--type=full"])).expect("an order");
        assert_eq!((job.what, job.source()), (What::Backup, "hippo-abcd"));
        assert_eq!(job.stall, Some(Duration::from_secs(60)));
        let options = job.backup_options(Storage::Local, true);
        let noted = [
            "--annotation=pgo-instance=hippo-abcd",
            "--annotation=pgo-operation=0197",
        ];
        assert_eq!(options[..2], ["--type=full", "--backup-standby"]);
        assert_eq!(options[2..], noted);
        let plain = job.backup_options(Storage::Local, false);
        assert_eq!(plain, ["--type=full", "--backup-standby"]);
    }

    #[test]
    fn files_are_copied_from_a_replica_that_is_named_and_not_refused() {
        for (option, source) in [
            ("--backup-standby", "hippo-abcd"),
            ("--backup-standby=y", "hippo-abcd"),
            ("--backup-standby=n", "hippo"),
            ("--no-backup-standby", "hippo"),
        ] {
            let job = Job::read(&request(&[option])).expect("an order");
            assert_eq!(job.source(), source, "{option}");
            // What was said is not said twice.
            assert_eq!(job.backup_options(Storage::Local, false), [option]);
        }
        let alone = BeginRequest {
            replica: None,
            ..request(&["--type=full"])
        };
        let alone = Job::read(&alone).expect("an order");
        assert_eq!(alone.source(), "hippo");
        assert_eq!(alone.backup_options(Storage::Local, false), ["--type=full"]);
    }

    #[test]
    fn what_is_said_of_each_place_is_said_of_the_one_in_question() {
        let options = ["--repo=2", "--repo-retention-full=3"];
        let job = Job::read(&request(&options)).expect("an order");
        let of_s3 = job.backup_options(Storage::S3, false);
        assert_eq!(of_s3, ["--repo2-retention-full=3", "--backup-standby"]);
    }

    #[test]
    fn a_restore_is_judged_also_where_no_primary_is_left() {
        let request = |system: &str| BeginRequest {
            primary: None,
            replica: None,
            work: Some(Work::CheckRestore(CheckRestore {
                options: vec!["--type=immediate".to_owned()],
                system_identifier: system.to_owned(),
            })),
            ..request(&[])
        };
        let job = Job::read(&request("7712570075231011191")).expect("an order");
        assert_eq!(job.what, What::CheckRestore);
        assert_eq!(job.system, Some(7_712_570_075_231_011_191));
        assert_eq!(Job::read(&request("")).expect("an order").system, None);
        let error = Job::read(&request("x")).expect_err("refused");
        assert!(error.contains("no system identifier"), "{error}");
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
