//! Arguments and environment.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use pgo_ids::{ClusterName, InstanceName, Namespace};
use pgo_postgres::backrest::{Backrest, archive::Archive};

use crate::{
    backrest::archiving::ArchiveSettings,
    drill, dump,
    ha::{book::Place, guard},
    job, probe, repository,
    restoration::Order,
};

/// Runs PostgreSQL in a pod. Without a subcommand: process 1.
#[derive(Debug, Parser)]
#[command(name = "agent", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// The roles besides process 1.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Brings PostgreSQL up and keeps it up; started by process 1.
    Run(Box<Settings>),
    /// Looks after the repository of backups; started by process 1 where PGO_REPOSITORY is set.
    Repository(Box<repository::Settings>),
    /// Ends the servers when their authority ends; started by `run`.
    Guard(guard::Settings),
    /// Puts the agent where the database container finds it; in the init container.
    Install(InstallSettings),
    /// Makes a dump, or restores one; in a pod of its own.
    Dump(Box<dump::Settings>),
    /// Tells which PostgreSQL this image holds; in a pod of its own, before an upgrade.
    Probe(probe::Settings),
    /// Restores a backup, checks and reads it, and tells whether it can be relied on; in a pod of its own.
    Drill(Box<drill::Settings>),
    /// Measures by pgbench, or loads a file into a table; in a pod of its own.
    Job(Box<job::Settings>),
}

/// Settings of `agent run`.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Name of the cluster, of its Lease, and the first part of its EndpointSlice's name.
    #[arg(long, env = "PGO_CLUSTER")]
    pub cluster: ClusterName,
    /// Namespace of the cluster.
    #[arg(long, env = "PGO_NAMESPACE")]
    pub namespace: Namespace,
    /// Name of this instance.
    #[arg(long, env = "PGO_INSTANCE")]
    pub instance: InstanceName,
    /// Name of this pod.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Uid of this pod.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// Address of this pod, where the cluster's Service leads.
    #[arg(long, env = "POD_IP")]
    pub pod_ip: IpAddr,
    /// The data directory.
    #[arg(long, env = "PGDATA")]
    pub data: PathBuf,
    /// The application's database.
    #[arg(long, env = "PGO_DATABASE")]
    pub database: String,
    /// Port of PostgreSQL.
    #[arg(long, env = "PGPORT", default_value_t = 5432)]
    pub port: u16,
    /// Which statements PostgreSQL logs.
    #[arg(long, env = "LOG_STATEMENT")]
    pub log_statement: Option<String>,
    /// From which duration on PostgreSQL logs a statement, in milliseconds.
    #[arg(long, env = "LOG_MIN_DURATION_STATEMENT", allow_hyphen_values = true)]
    pub log_min_duration_statement: Option<String>,
    /// Folder with the agent's certificate, key and authority.
    #[arg(long, env = "PGO_TLS_DIR", default_value = "/pgo/tls")]
    pub tls: PathBuf,
    /// Folder with the Secrets of the users.
    #[arg(long, env = "PGO_SECRETS_DIR", default_value = "/pgo/secrets")]
    pub secrets: PathBuf,
    /// Folder with the user's configuration.
    #[arg(long, env = "PGO_CUSTOM_DIR", default_value = "/pgconf")]
    pub custom: PathBuf,
    /// Folders for PostgreSQL's sockets; the agent uses the first. 4.1's images have theirs in /tmp.
    #[arg(long, env = "PGO_SOCKET_DIRS", value_delimiter = ',', default_values_os_t = [PathBuf::from("/run/postgresql"), PathBuf::from("/tmp")])]
    pub sockets: Vec<PathBuf>,
    /// Where the state is told over gRPC.
    #[arg(long, env = "PGO_AGENT_ADDR", default_value = "0.0.0.0:8445")]
    pub listen: SocketAddr,
    /// The administration port.
    #[arg(long, env = "PGO_ADMIN_ADDR", default_value_t = pgo_telemetry::ADMIN_ADDR)]
    pub admin: SocketAddr,
    /// Seconds without the end of a write after which the data volume counts as hung, so that another instance takes over where
    /// it may; 0 for never.
    #[arg(long, env = "PGO_VOLUME_DEADLINE", default_value_t = 20)]
    pub volume_deadline: u64,
    /// Whether and where WAL is archived.
    #[command(flatten)]
    pub archiving: ArchiveSettings,
    /// How PostgreSQL archives it; found out at the start.
    #[arg(skip)]
    pub archive: Option<Archive>,
    /// The program that archives and restores, where there is one; found out at the start.
    #[arg(skip)]
    pub backrest: Option<Backrest>,
    /// The backup that this instance is made from, as JSON; once that is done it has no meaning any more.
    #[arg(long, env = "PGO_RESTORE")]
    pub restore: Option<Order>,
    /// The program that guards the servers; this one unless set.
    #[arg(skip)]
    pub guard: Option<PathBuf>,
}

impl Settings {
    /// The folder with the socket that the agent uses.
    pub fn socket(&self) -> pgo_postgres::Socket {
        pgo_postgres::Socket {
            folder: self.sockets.first().cloned().unwrap_or_default(),
            port: self.port,
        }
    }

    /// The agents' key, as only PostgreSQL's user may read it: beside the socket, which goes with the pod.
    pub fn private_key(&self) -> PathBuf {
        self.socket().folder.join("agent.key")
    }
}

impl Settings {
    /// Where this agent and its PostgreSQL answer.
    pub fn place(&self) -> Place {
        Place {
            name: self.instance.to_string(),
            address: SocketAddr::new(self.pod_ip, self.listen.port()),
            port: self.port,
        }
    }
}

/// Settings of `agent install`.
#[derive(Clone, Debug, Args)]
pub struct InstallSettings {
    /// The folder that both containers see, with the folders `bin` and `etc`.
    #[arg(long, default_value = "/pgo")]
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const REQUIRED: [&str; 16] = [
        "--cluster=hippo",
        "--namespace=pgouser1",
        "--instance=hippo",
        "--pod-name=hippo",
        "--pod-uid=1",
        "--pod-ip=10.0.0.7",
        "--data=/pgdata/hippo",
        "--database=userdb",
        "--port=5433",
        "--log-statement=none",
        "--log-min-duration-statement=-1",
        "--tls=/t",
        "--secrets=/s",
        "--custom=/c",
        "--listen=127.0.0.1:1",
        "--admin=127.0.0.1:2",
    ];

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_flag_and_sockets_a_default() {
        let cli =
            Cli::try_parse_from(["agent", "run"].into_iter().chain(REQUIRED)).expect("parsed");
        let Some(Role::Run(settings)) = cli.role else {
            panic!("another role");
        };
        assert_eq!(settings.log_min_duration_statement.as_deref(), Some("-1"));
        assert_eq!(settings.socket().folder, PathBuf::from("/run/postgresql"));
        assert_eq!(settings.sockets.len(), 2);
        assert_eq!(settings.archiving.host, None, "nothing is archived");
        assert_eq!(settings.restore, None, "nothing is restored");
    }

    #[test]
    fn a_repository_needs_no_instance() {
        let arguments = [
            "agent",
            "repository",
            "--cluster=hippo",
            "--namespace=pgouser1",
            "--pod-uid=1",
            "--repository=/backrestrepo/hippo-backrest-shared-repo",
        ];
        let cli = Cli::try_parse_from(arguments).expect("parsed");
        let Some(Role::Repository(settings)) = cli.role else {
            panic!("another role");
        };
        assert_eq!(settings.backrest.port(), pgo_postgres::backrest::PORT);
        assert_eq!(settings.database_host, None);
    }

    #[test]
    fn a_wrong_name_is_refused() {
        let wrong = REQUIRED.map(|argument| argument.replace("--cluster=hippo", "--cluster=Hippo"));
        let arguments = ["agent", "run"].map(str::to_owned).into_iter().chain(wrong);
        let error = Cli::try_parse_from(arguments).expect_err("no name");
        assert!(error.to_string().contains("--cluster"), "{error}");
    }
}
