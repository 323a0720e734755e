//! The user's own configuration: the files of the ConfigMap of `--custom-config`, mounted at `/pgconf`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::files::{FileError, named, read_if_there};

/// What a user may give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Custom {
    /// `postgresql.conf`: settings beyond ours.
    pub postgresql_conf: Option<PathBuf>,
    /// `pg_hba.conf`, its text: in place of our rules.
    pub pg_hba: Option<String>,
    /// `pg_ident.conf`, its text: behind our map.
    pub pg_ident: Option<String>,
    /// `setup.sql`: run once, after the database was made.
    pub setup_sql: Option<PathBuf>,
    /// Files of other names, which nothing reads. 4.1's image knew more than we do; whoever gives one is told.
    pub unused: Vec<String>,
}

impl Custom {
    /// Looks into `folder`; one that is not there, or empty, gives nothing.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        let mut custom = Self::default();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(custom),
            entries => named(entries, "list", folder)?,
        };
        for entry in entries {
            let path = named(entry, "list", folder)?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            match name.as_str() {
                "postgresql.conf" => custom.postgresql_conf = Some(path),
                "pg_hba.conf" => custom.pg_hba = read_if_there(&path)?,
                "pg_ident.conf" => custom.pg_ident = read_if_there(&path)?,
                "setup.sql" => custom.setup_sql = Some(path),
                // kubelet's own, behind the names of a ConfigMap.
                name if name.starts_with("..") => {}
                _ => custom.unused.push(name),
            }
        }
        custom.unused.sort();
        Ok(custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_files_are_found_and_the_others_named() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "postgresql.conf",
            "pg_hba.conf",
            "setup.sql",
            "pre-start-hook.sh",
            "audit.sql",
        ] {
            fs::write(folder.path().join(name), "text").expect("a file");
        }
        fs::create_dir(folder.path().join("..data")).expect("a folder");
        let custom = Custom::read(folder.path()).expect("read");
        assert_eq!(custom.pg_hba.as_deref(), Some("text"));
        assert_eq!(custom.setup_sql, Some(folder.path().join("setup.sql")));
        assert_eq!(custom.pg_ident, None);
        assert_eq!(custom.unused, ["audit.sql", "pre-start-hook.sh"]);
    }

    #[test]
    fn no_folder_means_nothing_custom() {
        let custom = Custom::read(Path::new("/nowhere/at/all")).expect("read");
        assert_eq!(custom, Custom::default());
    }
}
