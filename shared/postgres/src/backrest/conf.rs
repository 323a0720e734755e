//! pgBackRest's configuration files.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{
    Compression, STANZA,
    storage::{Bucket, Storage, Storages},
};

/// How long a connection may take to be made, in seconds. A repository that is away is told with its reason after twice as long.
const IO_TIMEOUT: u32 = 10;

/// How long a repository may leave a message of `archive-push` unanswered, in seconds: it writes one file of WAL meanwhile. For
/// everything else pgBackRest's half an hour is right.
const PUSH_TIMEOUT: u32 = 120;

/// The same while WAL goes to S3, where no answer counts as none: each of some tries takes it several times. Tried with a server
/// that is away: the reason is there after 13 times as long.
const PUSH_IO_TIMEOUT: u32 = 5;

/// How long PostgreSQL waits for WAL that goes to S3: longer than that, for the reason. A WAL file in time is one anyway.
const PUSH_WAIT: u32 = 120;

/// A value that would say something else in a configuration file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{option} cannot be {value:?}: pgBackRest's configuration has one line for it")]
pub struct ConfError {
    /// Name of the option.
    pub option: String,
    /// The value.
    pub value: String,
}

/// Who this is, and who is let in.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, for both sides of a connection.
    pub certificate: PathBuf,
    /// Its key, which only the own user may read.
    pub key: PathBuf,
    /// The authority of all certificates.
    pub authority: PathBuf,
    /// Common name in the certificates of those who are let in.
    pub peer: String,
}

/// What both ends have in common.
#[derive(Clone, Debug)]
pub struct Place {
    /// Certificates.
    pub tls: Tls,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The repository's folder, where the repository is.
    pub repository: PathBuf,
    /// A folder for locks, which go with the container.
    pub scratch: PathBuf,
    /// How files are compressed.
    pub compression: Compression,
}

/// Where an instance archives.
#[derive(Clone, Debug)]
pub struct Archiving {
    /// Where the repository keeps it.
    pub storages: Storages,
    /// Configuration of the repository, on its host.
    pub conf: PathBuf,
    /// Name of the repository's host; it is in its certificate.
    pub host: String,
    /// Port of its server.
    pub port: u16,
    /// The data directory.
    pub data: PathBuf,
    /// A folder on the data volume for what is being archived.
    pub spool: PathBuf,
}

/// An instance as the repository reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Name of its host; it is in its certificate.
    pub host: String,
    /// Port of pgBackRest's server there.
    pub port: u16,
    /// Its data directory.
    pub data: PathBuf,
    /// Port of PostgreSQL, which is the last part of its socket's name.
    pub postgres: u16,
}

/// Configuration of an instance: of its server, and of `archive-push`.
///
/// # Errors
/// A value does not fit into a line.
pub fn of_instance(place: &Place, archiving: &Archiving) -> Result<String, ConfError> {
    let mut file = place.begin()?;
    for storage in archiving.storages.iter() {
        let option = |name: &str| format!("repo{}-{name}", storage.number());
        if storage == Storage::Local {
            file.show(option("path"), &place.repository)?;
        }
        file.set(option("host"), &archiving.host)?;
        file.set(option("host-type"), "tls")?;
        file.set(option("host-port"), archiving.port)?;
        file.show(option("host-cert-file"), &place.tls.certificate)?;
        file.show(option("host-key-file"), &place.tls.key)?;
        file.show(option("host-ca-file"), &place.tls.authority)?;
        // What is said of S3 is said there alone.
        file.show(option("host-config"), &archiving.conf)?;
    }
    file.set("archive-async", "y")?;
    file.show("spool-path", &archiving.spool)?;
    // Half of it: a query has to end before the connection is given up (pgBackRest, protocol-timeout). None is asked here.
    file.section("global:archive-push");
    file.set("db-timeout", PUSH_TIMEOUT / 2)?;
    file.set("protocol-timeout", PUSH_TIMEOUT)?;
    if archiving.storages.has(Storage::S3) {
        file.set("io-timeout", PUSH_IO_TIMEOUT)?;
        file.set("archive-timeout", PUSH_WAIT)?;
    }
    file.section(STANZA);
    file.show("pg1-path", &archiving.data)?;
    Ok(file.text)
}

/// Configuration of a repository: of its server, and of work with `databases`, the primary first. It holds the key of S3, where
/// there is a bucket; otherwise all is on the volume.
///
/// # Errors
/// A value does not fit into a line.
pub fn of_repository(
    place: &Place,
    (storages, bucket): (&Storages, Option<&Bucket>),
    databases: &[Database],
) -> Result<Zeroizing<String>, ConfError> {
    let mut file = place.begin()?;
    if storages.has(Storage::Local) {
        file.show("repo1-path", &place.repository)?;
    }
    if let Some(bucket) = bucket {
        file.bucket(bucket)?;
    }
    // A backup begins now and not with the next checkpoint that is due.
    file.set("start-fast", "y")?;
    if bucket.is_some() {
        file.section("global:archive-push");
        file.set("io-timeout", PUSH_IO_TIMEOUT)?;
    }
    file.section(STANZA);
    for (at, database) in databases.iter().enumerate() {
        let option = |name: &str| format!("pg{}-{name}", at + 1);
        file.show(option("path"), &database.data)?;
        file.set(option("port"), database.postgres)?;
        file.set(option("user"), crate::SUPERUSER)?;
        file.set(option("host"), &database.host)?;
        file.set(option("host-type"), "tls")?;
        file.set(option("host-port"), database.port)?;
        file.show(option("host-cert-file"), &place.tls.certificate)?;
        file.show(option("host-key-file"), &place.tls.key)?;
        file.show(option("host-ca-file"), &place.tls.authority)?;
    }
    Ok(Zeroizing::new(file.text))
}

impl Place {
    fn begin(&self) -> Result<File, ConfError> {
        let mut file = File {
            text: String::from("# Written by PGO's agent.\n"),
        };
        file.section("global");
        file.show("lock-path", &self.scratch)?;
        file.show("log-path", &self.scratch)?;
        // The log of a container is its output.
        file.set("log-level-file", "off")?;
        file.set("log-level-stderr", "warn")?;
        file.set("io-timeout", IO_TIMEOUT)?;
        // Who has lost its power does not say so: noticed after a minute instead of the two hours of the kernel.
        file.set("tcp-keep-alive-idle", 30)?;
        file.set("tcp-keep-alive-interval", 10)?;
        file.set("tcp-keep-alive-count", 3)?;
        file.set("compress-type", self.compression.name())?;
        file.set("tls-server-address", self.listen.ip())?;
        file.set("tls-server-port", self.listen.port())?;
        let admitted = format!("{}={STANZA}", self.tls.peer);
        file.set("tls-server-auth", admitted)?;
        file.show("tls-server-cert-file", &self.tls.certificate)?;
        file.show("tls-server-key-file", &self.tls.key)?;
        file.show("tls-server-ca-file", &self.tls.authority)?;
        Ok(file)
    }
}

struct File {
    text: String,
}

impl File {
    fn section(&mut self, name: &str) {
        self.text.push_str(&format!("\n[{name}]\n"));
    }

    fn set(
        &mut self,
        option: impl fmt::Display,
        value: impl fmt::Display,
    ) -> Result<(), ConfError> {
        let (option, value) = (option.to_string(), value.to_string());
        let is_line =
            !value.is_empty() && !value.contains(char::is_control) && value.trim() == value;
        if !is_line {
            return Err(ConfError { option, value });
        }
        self.text.push_str(&format!("{option}={value}\n"));
        Ok(())
    }

    fn show(&mut self, option: impl fmt::Display, path: &Path) -> Result<(), ConfError> {
        self.set(option, path.display())
    }

    /// What goes wrong does not tell the value.
    fn hide(&mut self, option: impl fmt::Display, value: &SecretString) -> Result<(), ConfError> {
        let set = self.set(option, value.expose_secret());
        set.map_err(|error| ConfError {
            value: "(secret)".to_owned(),
            ..error
        })
    }

    /// Certificates are always checked: pgBackRest does so unless it is told otherwise.
    fn bucket(&mut self, bucket: &Bucket) -> Result<(), ConfError> {
        let option = |name: &str| format!("repo{}-{name}", Storage::S3.number());
        self.set(option("type"), "s3")?;
        self.show(option("path"), &bucket.folder)?;
        self.set(option("s3-bucket"), &bucket.name)?;
        self.set(option("s3-endpoint"), bucket.endpoint.host())?;
        if let Some(port) = bucket.endpoint.port() {
            self.set(option("storage-port"), port)?;
        }
        self.set(option("s3-region"), &bucket.region)?;
        self.set(option("s3-uri-style"), bucket.style.name())?;
        self.hide(option("s3-key"), &bucket.credentials.key)?;
        self.hide(option("s3-key-secret"), &bucket.credentials.secret)?;
        if let Some(authority) = &bucket.authority {
            self.show(option("storage-ca-file"), authority)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backrest::storage::{Credentials, UriStyle};

    fn place() -> Place {
        Place {
            tls: Tls {
                certificate: "/pgo/tls/tls.crt".into(),
                key: "/run/postgresql/agent.key".into(),
                authority: "/pgo/tls/ca.crt".into(),
                peer: "hippo.pgouser1.agent.pgo".to_owned(),
            },
            listen: "0.0.0.0:8432".parse().expect("an address"),
            repository: "/backrestrepo/hippo-backrest-shared-repo".into(),
            scratch: "/tmp/pgbackrest".into(),
            compression: Compression::Zstandard,
        }
    }

    fn archiving() -> Archiving {
        Archiving {
            storages: Storages::default(),
            conf: "/run/postgresql/pgbackrest.conf".into(),
            host: "hippo-backrest-shared-repo".to_owned(),
            port: 8432,
            data: "/pgdata/hippo".into(),
            spool: "/pgdata/hippo.spool".into(),
        }
    }

    /// The lines of a section.
    fn section<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let head = format!("[{name}]");
        text.lines()
            .skip_while(|line| *line != head)
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter(|line| !line.is_empty())
            .collect()
    }

    #[test]
    fn an_instance_pushes_to_its_repository_and_lets_only_its_cluster_in() {
        let text = of_instance(&place(), &archiving()).expect("written");
        let global = section(&text, "global");
        for line in [
            "repo1-host=hippo-backrest-shared-repo",
            "repo1-host-type=tls",
            "repo1-path=/backrestrepo/hippo-backrest-shared-repo",
            "tls-server-auth=hippo.pgouser1.agent.pgo=db",
            "tls-server-address=0.0.0.0",
            "archive-async=y",
            "spool-path=/pgdata/hippo.spool",
            "compress-type=zst",
        ] {
            assert!(global.contains(&line), "{line} is missing in\n{text}");
        }
        assert_eq!(section(&text, "db"), ["pg1-path=/pgdata/hippo"]);
        // WAL is never dropped.
        assert!(!text.contains("queue-max"));
    }

    #[test]
    fn a_repository_keeps_its_files_itself_and_knows_the_databases_in_order() {
        let database = |postgres| Database {
            host: "hippo.pgouser1.agent.pgo".to_owned(),
            port: 41000 + postgres,
            data: "/pgdata/hippo".into(),
            postgres,
        };
        let volume = (&Storages::default(), None);
        let text =
            of_repository(&place(), volume, &[database(5432), database(5433)]).expect("written");
        assert!(!text.contains("repo1-host"), "{}", *text);
        assert!(text.contains("\nrepo1-path=/backrestrepo/hippo-backrest-shared-repo\n"));
        let stanza = section(&text, "db");
        for line in [
            "pg1-host=hippo.pgouser1.agent.pgo",
            "pg1-host-port=46432",
            "pg1-port=5432",
            "pg1-user=postgres",
            "pg2-host-port=46433",
            "pg2-port=5433",
        ] {
            assert!(stanza.contains(&line), "{line} is missing in\n{}", *text);
        }
        let alone = of_repository(&place(), volume, &[]).expect("written");
        assert_eq!(section(&alone, "db"), [""; 0]);
    }

    fn bucket(secret: &str) -> Bucket {
        Bucket {
            name: "backups".to_owned(),
            folder: "/backrestrepo/pgouser1/hippo-backrest-shared-repo".into(),
            endpoint: "s3.example.org:9000".parse().expect("an endpoint"),
            region: "here".to_owned(),
            style: UriStyle::Path,
            credentials: Credentials {
                key: "AKIA".into(),
                secret: secret.into(),
            },
            authority: Some("/pgo/s3/aws-s3-ca.crt".into()),
        }
    }

    #[test]
    fn only_the_repository_knows_of_a_bucket() {
        let both: Storages = "local,s3".parse().expect("places");
        let bucket = bucket("hush");
        let text = of_repository(&place(), (&both, Some(&bucket)), &[]).expect("written");
        let global = section(&text, "global");
        for line in [
            "repo1-path=/backrestrepo/hippo-backrest-shared-repo",
            "repo2-type=s3",
            "repo2-path=/backrestrepo/pgouser1/hippo-backrest-shared-repo",
            "repo2-s3-bucket=backups",
            "repo2-s3-endpoint=s3.example.org",
            "repo2-storage-port=9000",
            "repo2-s3-uri-style=path",
            "repo2-s3-key=AKIA",
            "repo2-s3-key-secret=hush",
            "repo2-storage-ca-file=/pgo/s3/aws-s3-ca.crt",
        ] {
            assert!(global.contains(&line), "{line} is missing in\n{}", *text);
        }
        assert_eq!(section(&text, "global:archive-push"), ["io-timeout=5"]);
        let alone: Storages = "s3".parse().expect("a place");
        let text = of_repository(&place(), (&alone, Some(&bucket)), &[]).expect("written");
        assert!(!text.contains("repo1-"), "{}", *text);
        let archiving = Archiving {
            storages: both,
            ..archiving()
        };
        let text = of_instance(&place(), &archiving).expect("written");
        let global = section(&text, "global");
        for line in [
            "repo1-host=hippo-backrest-shared-repo",
            "repo2-host=hippo-backrest-shared-repo",
            "repo2-host-config=/run/postgresql/pgbackrest.conf",
        ] {
            assert!(global.contains(&line), "{line} is missing in\n{text}");
        }
        assert!(
            !text.contains("s3") && !text.contains("repo2-path"),
            "{text}"
        );
    }

    #[test]
    fn a_key_that_does_not_fit_is_not_told() {
        let wrong = bucket("hu\nsh");
        let refused = of_repository(&place(), (&Storages::default(), Some(&wrong)), &[]);
        let error = refused.expect_err("two lines").to_string();
        assert!(error.contains("repo2-s3-key-secret"), "{error}");
        assert!(!error.contains("sh\""), "{error}");
    }

    #[test]
    fn a_value_cannot_smuggle_in_another_option() {
        let wrong = Archiving {
            host: "x\nrepo1-path=/".to_owned(),
            ..archiving()
        };
        let error = of_instance(&place(), &wrong).expect_err("two lines");
        assert_eq!(error.option, "repo1-host");
        for value in ["", " x", "x\t"] {
            let wrong = Archiving {
                host: value.to_owned(),
                ..archiving()
            };
            assert!(of_instance(&place(), &wrong).is_err(), "{value:?}");
        }
    }
}
