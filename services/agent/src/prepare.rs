//! What PostgreSQL needs in files before it starts, and what the agent reads for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pgo_ids::{NameError, RoleName};
use pgo_postgres::{
    Installation,
    conf::{self, ServerConf},
    custom::Custom,
    files::{FileError, named, read_if_there, write_atomically, write_if_changed},
    hba,
    passwords::Credentials,
    quote::NulError,
    setup::{Account, Setup, Verifier},
    standby::Standby,
    synchronous::Rule,
};
use pgo_tls::TlsFiles;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    backrest::archiving,
    cli::Settings,
    restoration::{self, RestorationError},
};

/// Folders of the users' Secrets.
const USERS: [&str; 3] = ["postgres", "primaryuser", "user"];

/// Extensions that 4.1's images create in each database, where the image has them.
const EXTENSIONS: [&str; 2] = ["pg_stat_statements", "pgaudit"];

/// The same as modules: to be loaded at the start, where the image has them.
const MODULES: [&str; 2] = ["pg_stat_statements", "pgaudit"];

/// File in the data directory that says that the user's `setup.sql` was run.
const SETUP_DONE: &str = "pgo-setup.done";

/// File in the data directory that says which `setup.sql` failed, and how: a hash of it in the first line, then the error.
const SETUP_FAILED: &str = "pgo-setup.failed";

/// Why PostgreSQL cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A user's name is not one.
    #[error("{} holds no name of a role: {cause}", path.display())]
    Role {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: NameError,
    },
    /// What the data is made from cannot be told.
    #[error(transparent)]
    Restoration(#[from] RestorationError),
    /// A setting cannot be written.
    #[error("the configuration cannot be written: {0}")]
    Nul(#[from] NulError),
}

/// Reads one user's Secret: `name` is the folder below `/pgo/secrets`.
///
/// # Errors
/// A file is missing, or the name is none.
pub fn account(settings: &Settings, name: &str) -> Result<Account, PrepareError> {
    let Credentials { role, password } = credentials(settings, name)?;
    let verifier = Verifier::of(&password);
    Ok(Account { role, verifier })
}

/// Reads the Secrets of all users. One role may be several of them; it stands once.
///
/// # Errors
/// As [`account`].
pub fn all_credentials(settings: &Settings) -> Result<Vec<Credentials>, PrepareError> {
    let mut all: Vec<Credentials> = Vec::new();
    for name in USERS {
        let one = credentials(settings, name)?;
        if all.iter().all(|other| other.role != one.role) {
            all.push(one);
        }
    }
    Ok(all)
}

fn credentials(settings: &Settings, name: &str) -> Result<Credentials, PrepareError> {
    let folder = settings.secrets.join(name);
    let path = folder.join("username");
    let role: RoleName = named(fs::read_to_string(&path), "read", &path)?
        .trim()
        .parse()
        .map_err(|cause| PrepareError::Role { path, cause })?;
    let path = folder.join("password");
    let password = SecretString::from(named(fs::read_to_string(&path), "read", &path)?);
    Ok(Credentials { role, password })
}

/// What the cluster is to have once PostgreSQL answers.
///
/// # Errors
/// As [`account`].
pub fn setup(settings: &Settings) -> Result<Setup, PrepareError> {
    Ok(Setup {
        replication: account(settings, "primaryuser")?,
        application: account(settings, "user")?,
        database: settings.database.clone(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    })
}

/// Removes what a former server left: the lock on the volume says that none lives, but process numbers of a former
/// container may be in use again.
///
/// # Errors
/// A file cannot be removed.
pub fn clear(settings: &Settings) -> Result<(), PrepareError> {
    archiving::clear(settings)?;
    remove(&settings.data.join("postmaster.pid"))?;
    for folder in &settings.sockets {
        remove(&folder.join(format!(".s.PGSQL.{}.lock", settings.port)))?;
        remove(&folder.join(format!(".s.PGSQL.{}", settings.port)))?;
    }
    Ok(())
}

/// Writes PostgreSQL's configuration; a running server is to be told.
///
/// # Errors
/// A file cannot be read or written.
pub fn write_conf(
    settings: &Settings,
    installation: &Installation,
    tls: &TlsFiles,
    standby: Option<&Standby>,
    synchronous: &Rule,
) -> Result<(), PrepareError> {
    let custom = Custom::read(&settings.custom)?;
    if !custom.unused.is_empty() {
        let files = custom.unused.join(", ");
        tracing::warn!(
            files,
            "these files of the custom configuration are not used"
        );
    }
    let data = &settings.data;
    let conf = ServerConf {
        version: installation.version.clone(),
        port: settings.port,
        sockets: settings.sockets.clone(),
        cluster_name: settings.instance.to_string(),
        certificate: settings.tls.join("tls.crt"),
        key: settings.tls.join("tls.key"),
        authority: settings.tls.join("ca.crt"),
        hba_file: data.join(conf::HBA_FILE),
        ident_file: data.join(conf::IDENT_FILE),
        standby: standby.cloned(),
        recovery: restoration::recovery(settings)?,
        synchronous: synchronous.clone(),
        custom: custom.postgresql_conf.clone(),
        volume: size(data),
        archive: settings.archive.clone(),
        preload: MODULES
            .into_iter()
            .filter(|name| installation.has_library(name))
            .map(str::to_owned)
            .collect(),
        log_statement: settings.log_statement.clone(),
        log_min_duration_statement: settings.log_min_duration_statement.clone(),
    };
    let texts = conf::Texts {
        conf: conf.render()?,
        hba: hba::render(custom.pg_hba.as_deref()),
        ident: hba::ident(&tls.details().common_name, custom.pg_ident.as_deref()),
    };
    conf::write(data, &texts)?;
    copy_key(settings)?;
    Ok(())
}

/// Size of the file system that a folder is on, in bytes, if that is known.
fn size(folder: &Path) -> Option<u64> {
    match rustix::fs::statvfs(folder) {
        Ok(system) => system.f_blocks.checked_mul(system.f_frsize),
        Err(error) => {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "the size of the volume is not known; no bound is set for WAL of replicas");
            None
        }
    }
}

/// Copies the agents' key to where only PostgreSQL's user reads it: the mounted one belongs to root, which libpq takes
/// only in later releases.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy_key(settings: &Settings) -> Result<(), FileError> {
    let from = settings.tls.join("tls.key");
    let key = Zeroizing::new(named(fs::read(&from), "read", &from)?);
    write_if_changed(&settings.private_key(), &key, conf::MODE).map(drop)
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => named(result, "remove", path),
    }
}

/// What is to be done with the user's `setup.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupSql {
    /// Nothing: there is none, or it was run.
    Nothing,
    /// It is to be run.
    Run(SetupFile),
    /// It was run and failed, and is still the same. A part of it was done, so that it is not run again.
    Failed(String),
}

/// A `setup.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFile {
    /// Where it is.
    pub path: PathBuf,
    /// Hash of its content, in hexadecimal digits.
    hash: String,
}

/// What is to be done with the user's `setup.sql`.
///
/// # Errors
/// A file cannot be read.
pub fn setup_sql(settings: &Settings) -> Result<SetupSql, PrepareError> {
    if settings.data.join(SETUP_DONE).exists() {
        return Ok(SetupSql::Nothing);
    }
    let Some(path) = Custom::read(&settings.custom)?.setup_sql else {
        return Ok(SetupSql::Nothing);
    };
    let content = named(fs::read(&path), "read", &path)?;
    let hash = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let file = SetupFile { path, hash };
    let failed = read_if_there(&settings.data.join(SETUP_FAILED))?.unwrap_or_default();
    Ok(match failed.split_once('\n') {
        Some((of, error)) if of == file.hash => SetupSql::Failed(error.to_owned()),
        _ => SetupSql::Run(file),
    })
}

/// Remembers that a `setup.sql` failed.
///
/// # Errors
/// The file cannot be written.
pub fn setup_failed(
    settings: &Settings,
    file: &SetupFile,
    error: &str,
) -> Result<(), PrepareError> {
    let path = settings.data.join(SETUP_FAILED);
    let content = format!("{}\n{error}", file.hash);
    write_atomically(&path, content.as_bytes(), conf::MODE)?;
    Ok(())
}

/// Remembers that the setup of this cluster is complete.
///
/// # Errors
/// A file cannot be written or removed.
pub fn setup_done(settings: &Settings) -> Result<(), PrepareError> {
    let path = settings.data.join(SETUP_DONE);
    if !path.exists() {
        write_atomically(&path, b"", conf::MODE)?;
    }
    remove(&settings.data.join(SETUP_FAILED))?;
    Ok(())
}
