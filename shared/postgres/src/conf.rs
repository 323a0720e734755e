//! postgresql.conf: what we set, and how it is put beside what users set.
//!
//! initdb's `postgresql.conf` gets one line more, which includes [`FILE`]. That file is ours and holds, in this order,
//! our defaults, an include of the user's own file, and what PGO depends on: of several values the last one counts.

use std::path::{Path, PathBuf};

use crate::{
    Version,
    backrest::{archive::Archive, restore::Recovery},
    files::{FileError, read_if_there, replace_if_changed, write_if_changed},
    quote::{NulError, conf_value},
    standby::{Standby, is_configured_by_settings},
    synchronous::Rule,
};

/// Our file in the data directory.
pub const FILE: &str = "pgo.conf";

/// Our pg_hba.conf in the data directory.
pub const HBA_FILE: &str = "pgo_hba.conf";

/// Our pg_ident.conf in the data directory.
pub const IDENT_FILE: &str = "pgo_ident.conf";

/// Only PostgreSQL's user needs to read configuration.
pub const MODE: u32 = 0o600;

/// Of which part of the volume WAL may be kept for replicas that are away: one in four. A primary whose volume is full serves
/// nobody, and a replica that was away for so long is as soon copied anew as it has replayed all that.
const KEPT_PART: u64 = 4;

/// The least of it, in MiB: as much as is kept without slots, too.
const KEPT_LEAST: u64 = 128;

/// What the configuration of a server depends on.
#[derive(Clone, Debug)]
pub struct ServerConf {
    /// Which PostgreSQL it is for.
    pub version: Version,
    /// `PGPORT`.
    pub port: u16,
    /// Folders for the sockets.
    pub sockets: Vec<PathBuf>,
    /// Name of the instance, shown in process titles and to standbys.
    pub cluster_name: String,
    /// Certificate of the server.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authority of the certificates that clients may show.
    pub authority: PathBuf,
    /// Our pg_hba.conf.
    pub hba_file: PathBuf,
    /// Our pg_ident.conf.
    pub ident_file: PathBuf,
    /// Whom the server follows, where it is a standby.
    pub standby: Option<Standby>,
    /// What it replays, where it is made from a backup.
    pub recovery: Option<Recovery>,
    /// For whose answers commits wait.
    pub synchronous: Rule,
    /// The user's postgresql.conf.
    pub custom: Option<PathBuf>,
    /// Size of the volume with the data, in bytes, where it is known.
    pub volume: Option<u64>,
    /// How WAL is archived, where it is.
    pub archive: Option<Archive>,
    /// Modules to load, unless the user says otherwise.
    pub preload: Vec<String>,
    /// `LOG_STATEMENT` of 4.1.
    pub log_statement: Option<String>,
    /// `LOG_MIN_DURATION_STATEMENT` of 4.1, in milliseconds.
    pub log_min_duration_statement: Option<String>,
}

impl ServerConf {
    /// The text of [`FILE`].
    ///
    /// # Errors
    /// A value holds a NUL byte.
    pub fn render(&self) -> Result<String, NulError> {
        let mut text = String::from(
            "# Written by PGO's agent at each start. Own settings: postgresql.conf in the\n",
        );
        text.push_str("# ConfigMap of --custom-config.\n");
        for (name, value) in self.defaults() {
            assign(&mut text, name, &value)?;
        }
        if let Some(custom) = &self.custom {
            text.push_str(&format!("include_if_exists = {}\n", path_value(custom)?));
        }
        for (name, value) in self.fixed() {
            assign(&mut text, name, &value)?;
        }
        Ok(text)
    }

    /// What a user may set differently.
    fn defaults(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("log_timezone", "UTC".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("log_line_prefix", "%m [%p] %q%u@%d %h ".to_owned()),
            ("log_checkpoints", "on".to_owned()),
            // A standby added later needs no restart of its primary: 100 are the most that a cluster may have, and a copy takes
            // two connections.
            ("max_wal_senders", "110".to_owned()),
            ("max_replication_slots", "110".to_owned()),
            // A replica that lost its primary for a moment comes back as soon as it is there again.
            ("wal_retrieve_retry_interval", "500ms".to_owned()),
            ("wal_receiver_timeout", "20s".to_owned()),
            // A server that shuts down waits for its standbys: for one that is cut off or frozen no longer than this, instead of
            // the 60 s that PostgreSQL has. All that live answer when they are asked, after half of it.
            ("wal_sender_timeout", "20s".to_owned()),
        ];
        // A former primary can only be rewound where it has its WAL since the last checkpoint that both have; and what a
        // replica misses while another one takes over is still there.
        settings.push(if self.version.major() >= 13 {
            ("wal_keep_size", "128MB".to_owned())
        } else {
            ("wal_keep_segments", "8".to_owned())
        });
        if self.version.major() >= 13
            && let Some(volume) = self.volume
        {
            let mebibytes = ((volume / KEPT_PART) >> 20).max(KEPT_LEAST);
            settings.push(("max_slot_wal_keep_size", format!("{mebibytes}MB")));
        }
        if self.version.major() >= 14 {
            // Before it recovers, a server that crashed has its whole data directory written: one call for the volume instead of
            // one for each of a thousand files. Measured: 0.6 instead of 2.3 s until it serves, on a busy machine.
            settings.push(("recovery_init_sync_method", "syncfs".to_owned()));
        }
        if let Some(archive) = &self.archive {
            settings.push(("archive_timeout", format!("{}s", archive.timeout)));
        }
        if !self.preload.is_empty() {
            settings.push(("shared_preload_libraries", self.preload.join(",")));
        }
        if let Some(value) = &self.log_statement {
            settings.push(("log_statement", value.clone()));
        }
        if let Some(value) = &self.log_min_duration_statement {
            settings.push(("log_min_duration_statement", value.clone()));
        }
        settings
    }

    /// What PGO depends on.
    fn fixed(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &Path| path.display().to_string();
        let sockets: Vec<_> = self.sockets.iter().map(|path| shown(path)).collect();
        let mut settings = vec![
            ("listen_addresses", "*".to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", sockets.join(",")),
            // The agent's line in pg_hba.conf rests on this.
            ("unix_socket_permissions", "0700".to_owned()),
            ("cluster_name", cluster_name(&self.cluster_name)),
            ("hba_file", shown(&self.hba_file)),
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", shown(&self.certificate)),
            ("ssl_key_file", shown(&self.key)),
            ("ssl_ca_file", shown(&self.authority)),
            ("ident_file", shown(&self.ident_file)),
            ("password_encryption", "scram-sha-256".to_owned()),
            ("wal_level", "replica".to_owned()),
            ("synchronous_standby_names", self.synchronous.value()),
            ("hot_standby", "on".to_owned()),
            // The log of a container is its standard error.
            ("log_destination", "stderr".to_owned()),
            ("logging_collector", "off".to_owned()),
        ];
        if let Some(archive) = &self.archive {
            settings.push(("archive_mode", "on".to_owned()));
            settings.push(("archive_command", archive.command.clone()));
        }
        if let Some(standby) = &self.standby
            && is_configured_by_settings(&self.version)
        {
            settings.extend(standby.settings());
        }
        if let Some(recovery) = &self.recovery
            && is_configured_by_settings(&self.version)
        {
            settings.extend(recovery.settings());
        }
        if self.version.major() >= 12 {
            settings.push(("ssl_min_protocol_version", "TLSv1.2".to_owned()));
        }
        settings
    }
}

/// `cluster_name` may have 63 bytes (`NAMEDATALEN` - 1).
fn cluster_name(name: &str) -> String {
    name[..name.floor_char_boundary(63)].to_owned()
}

fn assign(text: &mut String, name: &str, value: &str) -> Result<(), NulError> {
    text.push_str(&format!("{name} = {}\n", conf_value(value)?));
    Ok(())
}

fn path_value(path: &Path) -> Result<String, NulError> {
    conf_value(&path.display().to_string())
}

/// What stands in our files.
#[derive(Clone, Debug)]
pub struct Texts {
    /// [`FILE`].
    pub conf: String,
    /// [`HBA_FILE`].
    pub hba: String,
    /// [`IDENT_FILE`].
    pub ident: String,
}

/// Writes the configuration into the data directory: our files, and the line that includes the first of them.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(data: &Path, texts: &Texts) -> Result<(), FileError> {
    for (name, text) in [
        (FILE, &texts.conf),
        (HBA_FILE, &texts.hba),
        (IDENT_FILE, &texts.ident),
    ] {
        // The agent writes them before each start of the server.
        replace_if_changed(&data.join(name), text.as_bytes(), MODE)?;
    }
    let main = data.join("postgresql.conf");
    let present = read_if_there(&main)?.unwrap_or_default();
    if let Some(text) = with_include(&present) {
        write_if_changed(&main, text.as_bytes(), MODE)?;
    }
    Ok(())
}

/// `text` with the line that includes [`FILE`] at its end; nothing where it is there already.
fn with_include(text: &str) -> Option<String> {
    let line = format!("include '{FILE}'");
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    if last == Some(line.as_str()) {
        return None;
    }
    let mut text: String = text
        .lines()
        .filter(|present| *present != line)
        .flat_map(|present| [present, "\n"])
        .collect();
    text.push_str(&line);
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backrest::restore::Target;

    fn conf(version: &str) -> ServerConf {
        ServerConf {
            version: version.parse().expect("a version"),
            port: 5432,
            sockets: vec!["/run/postgresql".into(), "/tmp".into()],
            cluster_name: "hippo".to_owned(),
            certificate: "/tls/server.crt".into(),
            key: "/tls/server.key".into(),
            hba_file: "/pgdata/hippo/pgo_hba.conf".into(),
            authority: "/tls/ca.crt".into(),
            ident_file: "/pgdata/hippo/pgo_ident.conf".into(),
            standby: None,
            recovery: None,
            synchronous: Rule::default(),
            custom: Some("/pgconf/postgresql.conf".into()),
            volume: Some(40 << 30),
            archive: None,
            preload: vec!["pg_stat_statements".to_owned()],
            log_statement: Some("ddl'\nport = '1".to_owned()),
            log_min_duration_statement: None,
        }
    }

    #[test]
    fn users_change_defaults_but_not_what_pgo_depends_on() {
        let text = conf("15.18").render().expect("rendered");
        let place = |start: &str| {
            text.lines()
                .position(|line| line.starts_with(start))
                .unwrap_or_else(|| panic!("{start} is missing in\n{text}"))
        };
        let custom = place("include_if_exists = '/pgconf/postgresql.conf'");
        assert!(place("shared_preload_libraries = 'pg_stat_statements'") < custom);
        assert!(place("log_statement") < custom);
        assert!(place("port = '5432'") > custom);
        assert!(place("unix_socket_permissions = '0700'") > custom);
        assert!(place("ssl = 'on'") > custom);
        assert!(place("unix_socket_directories = '/run/postgresql,/tmp'") > custom);
    }

    #[test]
    fn a_value_cannot_smuggle_in_another_setting() {
        let text = conf("15.18").render().expect("rendered");
        assert_eq!(
            text.lines().filter(|line| line.starts_with("port")).count(),
            1
        );
        assert!(text.contains("log_statement = 'ddl''\\nport = ''1'"));
    }

    #[test]
    fn an_older_version_gets_no_setting_that_it_does_not_know() {
        let old = conf("11.5").render().expect("rendered");
        assert!(!old.contains("ssl_min_protocol_version") && !old.contains("wal_keep_size"));
        assert!(!old.contains("recovery_init_sync_method") && !old.contains("max_slot_wal"));
        assert!(old.contains("wal_keep_segments"));
    }

    #[test]
    fn wal_of_who_is_away_takes_a_quarter_of_the_volume_unless_the_user_says_otherwise() {
        let kept = |volume: Option<u64>| {
            let text = ServerConf {
                volume,
                ..conf("13.4")
            };
            let text = text.render().expect("rendered");
            let at = text.find("max_slot_wal_keep_size")?;
            assert!(at < text.find("include_if_exists").expect("the user's"));
            text[at..].lines().next().map(str::to_owned)
        };
        let is = |size: &str| Some(format!("max_slot_wal_keep_size = '{size}'"));
        assert_eq!(kept(Some(40 << 30)), is("10240MB"));
        assert_eq!(kept(Some(1 << 28)), is("128MB"));
        assert_eq!(kept(None), None);
    }

    #[test]
    fn users_may_change_when_wal_is_archived_but_not_that_it_is() {
        let archive = Archive {
            command: "pgbackrest '%p'".to_owned(),
            timeout: 60,
            obstacle: None,
        };
        let with = ServerConf {
            archive: Some(archive),
            ..conf("15.18")
        };
        let text = with.render().expect("rendered");
        let custom = text.find("include_if_exists").expect("the user's");
        let at = |line: &str| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"));
        assert!(at("archive_timeout = '60s'") < custom);
        assert!(at("archive_mode = 'on'") > custom);
        assert!(at("archive_command = 'pgbackrest ''%p'''") > custom);
        let without = conf("15.18").render().expect("rendered");
        assert!(!without.contains("archive"), "{without}");
    }

    #[test]
    fn who_is_made_from_a_backup_replays_up_to_its_target_whatever_users_say() {
        let with = |version| {
            let recovery = Recovery {
                command: "fetch".to_owned(),
                target: Target::Immediate,
                exclusive: false,
                timeline: 3,
            };
            let conf = ServerConf {
                recovery: Some(recovery),
                ..conf(version)
            };
            conf.render().expect("rendered")
        };
        let text = with("15.18");
        let custom = text.find("include_if_exists").expect("the user's");
        for line in ["recovery_target = 'immediate'", "restore_command = 'fetch'"] {
            assert!(text.find(line).is_some_and(|at| at > custom), "{text}");
        }
        // Those are in recovery.conf.
        assert!(!with("11.5").contains("recovery_target"));
    }

    #[test]
    fn the_include_is_the_last_line_and_stands_once() {
        let once = with_include("a = 1\ninclude 'pgo.conf'\nb = 2").expect("changed");
        assert_eq!(once, "a = 1\nb = 2\ninclude 'pgo.conf'\n");
        assert_eq!(with_include(&once), None);
    }
}
