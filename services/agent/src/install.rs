//! The init container: puts the agent where any image finds it, and names the user that runs it.

use std::{fs, path::Path};

use anyhow::Context as _;
use pgo_postgres::files::write_atomically;

use crate::cli::InstallSettings;

/// Copies this program to `bin/agent`, and writes `etc/passwd` and `etc/group` for an image that lacks our user.
///
/// # Errors
/// The folder cannot be written.
pub fn main(settings: &InstallSettings) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let program = fs::read(&own).with_context(|| format!("cannot read {}", own.display()))?;
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    put(&settings.folder.join("bin/agent"), &program, 0o755)?;
    put(
        &settings.folder.join("etc/passwd"),
        passwd(user, group).as_bytes(),
        0o644,
    )?;
    put(
        &settings.folder.join("etc/group"),
        groups(group).as_bytes(),
        0o644,
    )
}

fn put(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(write_atomically(path, content, mode)?)
}

/// `/etc/passwd`. initdb and libpq refuse a user without a name.
fn passwd(user: u32, group: u32) -> String {
    let root = "root:x:0:0:root:/:/bin/sh\n";
    if user == 0 {
        return root.to_owned();
    }
    format!("{root}postgres:x:{user}:{group}:PostgreSQL:/tmp:/bin/sh\n")
}

fn groups(group: u32) -> String {
    if group == 0 {
        return "root:x:0:\n".to_owned();
    }
    format!("root:x:0:\npostgres:x:{group}:\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_agent_and_the_names_of_its_user_are_put_in_place_again_and_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = InstallSettings {
            folder: folder.path().to_owned(),
        };
        for _ in 0..2 {
            main(&settings).expect("installed");
        }
        let program = folder.path().join("bin/agent");
        let own = std::env::current_exe().expect("a program");
        assert_eq!(
            fs::metadata(&program).expect("there").len(),
            fs::metadata(own).expect("there").len()
        );
        let mode = fs::metadata(&program).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn the_user_is_called_postgres_whatever_its_number() {
        assert!(passwd(26, 26).contains("\npostgres:x:26:26:"));
        assert!(groups(1_000_650_000).ends_with("postgres:x:1000650000:\n"));
    }
}
