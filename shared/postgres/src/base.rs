//! Backups by `pg_basebackup`: what the programs are told, and what is to be known of a copy.
//!
//! ```text
//! Order ─► pg_basebackup ─► pg_verifybackup ─► BaseManifest beside the copy
//! copy ─► pg_verifybackup ─► data directory ─► the WAL in it is replayed, and PostgreSQL ends ─► it gets its name
//! ```

use std::{fs, net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    client::Call,
    files::{FileError, named},
    upstream::Upstream,
};

/// Name of the file with what is to be known of a copy, in its folder.
pub const BASE_MANIFEST: &str = "pgo-basebackup.json";

/// PostgreSQL's own list of what is in a copy, from version 13 on.
pub const FILES: &str = "backup_manifest";

/// How lines begin that a server writes which replays the WAL of a copy.
pub const LOG_PREFIX: &str = "pgo-recovery: ";

/// State of a data directory that nobody has to recover.
pub const AT_REST: &str = "shut down";

/// `application_name` of who copies.
const APPLICATION: &str = "pgo-basebackup";

/// The server that is copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseSource {
    /// The instance.
    pub instance: String,
    /// Address of its pod.
    pub address: IpAddr,
    /// Port of PostgreSQL.
    pub port: u16,
}

impl BaseSource {
    /// How it is reached: it has `host` in its certificate, and knows who copies by `certificate` and `key`.
    pub fn upstream(
        &self,
        host: &str,
        (certificate, key, authority): (&Path, &Path, &Path),
    ) -> Upstream {
        Upstream {
            identity: host.to_owned(),
            address: self.address,
            port: self.port,
            application: APPLICATION.to_owned(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            authority: authority.to_owned(),
        }
    }
}

/// The WAL that makes a copy whole: names of its first and its last file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRange {
    /// The first.
    pub start: String,
    /// The last.
    pub stop: String,
}

/// What is to be known of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseManifest {
    /// Id of the operation that made it.
    pub operation: String,
    /// The instance that was copied.
    pub source: String,
    /// The options that it was made with.
    pub options: Vec<String>,
    /// Size of its files, in bytes.
    pub bytes: u64,
    /// The WAL in it.
    pub wal: WalRange,
    /// Whether `pg_verifybackup` has read all of it.
    pub verified: bool,
    /// Version of the program that made it.
    pub version: String,
}

/// What copies a server into `folder`. All of it is on the disk when that ends.
pub fn make(from: &Upstream, options: &[String], folder: &Path) -> Call {
    let own = [
        "--format=plain".to_owned(),
        "--wal-method=stream".to_owned(),
        "--no-password".to_owned(),
        format!("--pgdata={}", folder.display()),
        format!("--dbname={}", from.conninfo(None)),
    ];
    // The longest wait would be for the next checkpoint.
    let is_said = options
        .iter()
        .any(|option| option.starts_with("--checkpoint="));
    let fast = (!is_said).then(|| "--checkpoint=fast".to_owned());
    Call {
        program: "pg_basebackup",
        arguments: options.iter().cloned().chain(fast).chain(own).collect(),
    }
}

/// What reads a copy to its end, and holds it against PostgreSQL's own list; the WAL in it, too.
pub fn verify(folder: &Path) -> Call {
    Call {
        program: "pg_verifybackup",
        arguments: vec![
            "--exit-on-error".to_owned(),
            "--quiet".to_owned(),
            format!("--ignore={BASE_MANIFEST}"),
            folder.display().to_string(),
        ],
    }
}

/// What replays the WAL in a copy to its end, on the timeline of the copy, and ends in order: PostgreSQL without a listener. Where the
/// WAL ends before the copy does, it fails. `configuration` is an empty file: that of the copy is for another pod.
pub fn recover(data: &Path, configuration: &Path, prepared: u32) -> Call {
    let settings = [
        format!("config_file={}", configuration.display()),
        "archive_mode=off".to_owned(),
        "shared_preload_libraries=".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
        format!("log_line_prefix={LOG_PREFIX}"),
        format!("max_prepared_transactions={prepared}"),
    ];
    let mut arguments = vec![
        "--single".to_owned(),
        "-D".to_owned(),
        data.display().to_string(),
    ];
    for setting in settings {
        arguments.extend(["-c".to_owned(), setting]);
    }
    // Each has this one.
    arguments.push("template1".to_owned());
    Call {
        program: "postgres",
        arguments,
    }
}

/// The WAL in a copy: from where its label says that it begins to the last file that came with it.
///
/// # Errors
/// It cannot be read.
pub fn wal(folder: &Path) -> Result<WalRange, FileError> {
    let label = folder.join("backup_label");
    let text = named(fs::read_to_string(&label), "read", &label)?;
    let files = folder.join("pg_wal");
    let mut stop = String::new();
    for entry in named(fs::read_dir(&files), "read", &files)? {
        let name = named(entry, "read", &files)?.file_name();
        let name = name.to_string_lossy();
        if is_segment(&name) && *name > *stop {
            stop = name.into_owned();
        }
    }
    Ok(WalRange {
        start: start(&text).unwrap_or_default().to_owned(),
        stop,
    })
}

fn is_segment(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The first WAL file, of a label's `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`.
fn start(label: &str) -> Option<&str> {
    let mut lines = label.lines();
    let rest = lines.find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    let name = rest.split_once("(file ")?.1.strip_suffix(')')?;
    is_segment(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_server_is_copied_as_a_whole_and_by_certificate() {
        let source = BaseSource {
            instance: "hippo".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 7).into(),
            port: 5433,
        };
        let path = Path::new;
        let upstream = source.upstream("hippo.ns.svc", (path("/c"), path("/k"), path("/a")));
        let call = make(&upstream, &["--max-rate=10M".to_owned()], path("/f"));
        assert_eq!(call.program, "pg_basebackup");
        assert_eq!(
            call.arguments[..6],
            [
                "--max-rate=10M",
                "--checkpoint=fast",
                "--format=plain",
                "--wal-method=stream",
                "--no-password",
                "--pgdata=/f"
            ]
        );
        let to = &call.arguments[6];
        assert!(
            to.starts_with("--dbname=host='hippo.ns.svc' hostaddr='10.0.0.7' port='5433'"),
            "{to}"
        );
        let spread = make(&upstream, &["--checkpoint=spread".to_owned()], path("/f"));
        assert!(!spread.arguments.contains(&"--checkpoint=fast".to_owned()));
    }

    #[test]
    fn the_wal_of_a_copy_is_between_its_label_and_its_last_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n";
        fs::write(folder.path().join("backup_label"), label).expect("written");
        let files = folder.path().join("pg_wal");
        fs::create_dir_all(files.join("archive_status")).expect("made");
        for name in [
            "000000010000000000000003",
            "000000010000000000000002",
            "00000002.history",
        ] {
            fs::write(files.join(name), b"").expect("written");
        }
        let found = wal(folder.path()).expect("read");
        let expected = WalRange {
            start: "000000010000000000000002".to_owned(),
            stop: "000000010000000000000003".to_owned(),
        };
        assert_eq!(found, expected);
        assert_eq!(start("START WAL LOCATION: 0/2000028"), None);
    }
}
