//! What makes a data directory a standby's, and what ends that.

use std::{fs, io, path::Path, time::Duration};

use crate::{
    Version,
    backrest::restore::Recovery,
    conf::MODE,
    files::{FileError, named, write_if_changed},
    quote::{NulError, conf_value},
    session::{Session, SessionError},
    upstream::Upstream,
};

/// Makes a server a standby from version 12 on (documentation, "Standby Server Operation").
const SIGNAL: &str = "standby.signal";

/// Makes a server recover once from an archive, and be a primary after that.
const ONCE: &str = "recovery.signal";

/// The same as [`SIGNAL`] up to version 11, with the settings in it.
const RECOVERY: &str = "recovery.conf";

/// The first version that has these settings in postgresql.conf.
const SETTINGS_SINCE: u32 = 12;

/// File that promotes a standby, up to version 11; it is named in [`RECOVERY`].
const TRIGGER: &str = "pgo-promote";

/// How long a promotion may take: it replays what it has received and writes a record.
const PROMOTION: Duration = Duration::from_secs(60);

/// Pause between two looks at whether it is done.
const LOOK: Duration = Duration::from_millis(5);

/// Whom a standby follows, and the slot that keeps WAL for it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// The server.
    pub upstream: Upstream,
    /// Name of the slot.
    pub slot: String,
}

/// Why a data directory cannot be made a standby's.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A setting cannot be written.
    #[error("the configuration of the standby cannot be written: {0}")]
    Nul(#[from] NulError),
}

impl Standby {
    /// The settings of a standby. Nothing but a recovery reads them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("primary_conninfo", self.upstream.conninfo(None)),
            ("primary_slot_name", self.slot.clone()),
        ]
    }
}

/// Whether PostgreSQL of this version reads the settings of a standby from postgresql.conf.
pub fn is_configured_by_settings(version: &Version) -> bool {
    version.major() >= SETTINGS_SINCE
}

/// Whether the data directory is a standby's.
pub fn is_standby(data: &Path) -> bool {
    [SIGNAL, RECOVERY]
        .iter()
        .any(|name| data.join(name).exists())
}

/// Makes the data directory a standby's that follows `standby`, or nobody.
///
/// # Errors
/// A file cannot be written, or a setting holds what none can hold.
pub fn follow(
    data: &Path,
    version: &Version,
    standby: Option<&Standby>,
) -> Result<(), StandbyError> {
    // In postgresql.conf of later versions the timeline's default is this one.
    let mut settings = vec![("recovery_target_timeline", "latest".to_owned())];
    settings.extend(standby.map(Standby::settings).unwrap_or_default());
    make(data, version, settings)
}

/// Makes the data directory a standby's that only replays what is archived.
///
/// # Errors
/// As [`follow`].
pub fn replay(data: &Path, version: &Version, recovery: &Recovery) -> Result<(), StandbyError> {
    // pgBackRest leaves it there, and nothing here rests on which of the two counts.
    remove(&data.join(ONCE))?;
    make(data, version, recovery.settings())
}

/// Makes the data directory one that recovers once, as `settings` say, and is a primary then. Where the version reads settings of
/// a recovery from the configuration, the caller has the server read them.
///
/// # Errors
/// As [`follow`].
pub fn recover_once(
    data: &Path,
    version: &Version,
    settings: &[(&'static str, String)],
) -> Result<(), StandbyError> {
    for name in [SIGNAL, TRIGGER, RECOVERY] {
        remove(&data.join(name))?;
    }
    if is_configured_by_settings(version) {
        write_if_changed(&data.join(ONCE), b"", MODE)?;
        return Ok(());
    }
    let mut text = String::new();
    for (name, value) in settings {
        text.push_str(&format!("{name} = {}\n", conf_value(value)?));
    }
    write_if_changed(&data.join(RECOVERY), text.as_bytes(), MODE)?;
    Ok(())
}

/// Makes a data directory, on which no server runs, one that nothing is recovered or followed by.
///
/// # Errors
/// A file cannot be removed.
pub fn unmark(data: &Path) -> Result<(), FileError> {
    for name in [SIGNAL, ONCE, TRIGGER, RECOVERY] {
        remove(&data.join(name))?;
    }
    Ok(())
}

fn make(
    data: &Path,
    version: &Version,
    recovery: Vec<(&'static str, String)>,
) -> Result<(), StandbyError> {
    remove(&data.join(TRIGGER))?;
    if is_configured_by_settings(version) {
        write_if_changed(&data.join(SIGNAL), b"", MODE)?;
        return Ok(());
    }
    let trigger = data.join(TRIGGER).display().to_string();
    let settings = [("standby_mode", "on".to_owned()), ("trigger_file", trigger)];
    let mut text = String::new();
    for (name, value) in settings.into_iter().chain(recovery) {
        text.push_str(&format!("{name} = {}\n", conf_value(&value)?));
    }
    write_if_changed(&data.join(RECOVERY), text.as_bytes(), MODE)?;
    Ok(())
}

/// Makes a running standby a primary, on a new timeline.
///
/// # Errors
/// It refuses, or does not do so in time.
pub async fn promote(
    session: &Session,
    data: &Path,
    version: &Version,
) -> Result<(), PromotionError> {
    if is_configured_by_settings(version) {
        // It would wait in steps of 100 ms (xlogfuncs.c).
        session
            .truth("SELECT pg_catalog.pg_promote(false)", PROMOTION)
            .await?;
    } else {
        let trigger = data.join(TRIGGER);
        named(fs::write(&trigger, b""), "write", &trigger)?;
    }
    let until = tokio::time::Instant::now() + PROMOTION;
    while session
        .truth("SELECT pg_is_in_recovery()", PROMOTION)
        .await?
    {
        if tokio::time::Instant::now() > until {
            return Err(PromotionError::Late);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Why a standby was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromotionError {
    /// It refused.
    #[error("the standby cannot be promoted: {0}")]
    Session(#[from] SessionError),
    /// The file that asks for it cannot be written.
    #[error("the standby cannot be promoted: {0}")]
    File(#[from] FileError),
    /// It took too long.
    #[error("the standby was not promoted within {} s", PROMOTION.as_secs())]
    Late,
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => named(result, "remove", path),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::backrest::restore::Target;

    fn standby() -> Standby {
        Standby {
            upstream: Upstream {
                identity: "hippo.pgouser1.agent.pgo".to_owned(),
                address: Ipv4Addr::LOCALHOST.into(),
                port: 5432,
                application: "hippo-abcd".to_owned(),
                certificate: "/tls/tls.crt".into(),
                key: "/run/agent.key".into(),
                authority: "/tls/ca.crt".into(),
            },
            slot: "pgo_hippo_abcd".to_owned(),
        }
    }

    #[test]
    fn each_version_is_made_a_standby_in_its_own_way() {
        for (version, there, missing) in [
            ("15.18", SIGNAL, RECOVERY),
            ("12.1", SIGNAL, RECOVERY),
            ("11.5", RECOVERY, SIGNAL),
            ("10.10", RECOVERY, SIGNAL),
        ] {
            let data = tempfile::tempdir().expect("a folder");
            fs::write(data.path().join(TRIGGER), "").expect("left by a former promotion");
            assert!(!is_standby(data.path()));
            let version = version.parse().expect("a version");
            follow(data.path(), &version, Some(&standby())).expect("written");
            assert!(is_standby(data.path()));
            assert!(data.path().join(there).exists() && !data.path().join(missing).exists());
            assert!(!data.path().join(TRIGGER).exists());
        }
    }

    #[test]
    fn who_replays_what_is_archived_is_a_standby_that_receives_nothing() {
        let recovery = Recovery {
            command: "fetch".to_owned(),
            target: Target::Immediate,
            exclusive: false,
            timeline: 3,
        };
        let data = tempfile::tempdir().expect("a folder");
        fs::write(data.path().join(ONCE), "").expect("left by pgBackRest");
        let version = "15.18".parse().expect("a version");
        replay(data.path(), &version, &recovery).expect("written");
        assert!(is_standby(data.path()) && !data.path().join(ONCE).exists());

        let data = tempfile::tempdir().expect("a folder");
        let version = "11.5".parse().expect("a version");
        replay(data.path(), &version, &recovery).expect("written");
        let text = fs::read_to_string(data.path().join(RECOVERY)).expect("there");
        for line in [
            "standby_mode = 'on'",
            "restore_command = 'fetch'",
            "recovery_target = 'immediate'",
            "recovery_target_action = 'pause'",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
        assert!(!text.contains("primary"), "{text}");
    }

    #[test]
    fn an_old_version_is_told_whom_to_follow_in_recovery_conf() {
        let data = tempfile::tempdir().expect("a folder");
        let version = "11.5".parse().expect("a version");
        follow(data.path(), &version, Some(&standby())).expect("written");
        let text = fs::read_to_string(data.path().join(RECOVERY)).expect("there");
        assert!(text.contains("standby_mode = 'on'\n"), "{text}");
        assert!(
            text.contains("primary_conninfo = 'host=''hippo.pgouser1.agent.pgo'' "),
            "{text}"
        );
        assert!(
            text.contains("primary_slot_name = 'pgo_hippo_abcd'\n"),
            "{text}"
        );
    }
}
