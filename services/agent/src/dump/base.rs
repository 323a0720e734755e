//! A backup by `pg_basebackup`, and what one is restored to: a data directory on a volume of its own.
//!
//! ```text
//! <target>/<name>.restore: a copy of the backup ─► its WAL is replayed, PostgreSQL ends in order ─► <target>/<name>
//! ```

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use pgo_postgres::{
    base::{self, AT_REST, BASE_MANIFEST, BaseManifest, BaseSource, FILES},
    control,
    files::{named, sync_folder_of, write_atomically},
    standby, timeline,
};
use pgo_telemetry::CancellationToken;
use zeroize::Zeroizing;

use super::{
    Answer, DumpError, End, Job, discarded,
    folder::{self, Restore},
};
use crate::operation::{Unfinished, programs::Programs};

/// What a data directory is called until it is whole.
const PARTIAL: &str = ".restore";

/// Who may enter a data directory: PostgreSQL takes no other.
const MODE: u32 = 0o700;

fn failed(error: impl std::fmt::Display) -> DumpError {
    DumpError::failed(error)
}

impl Job<'_, BaseManifest> {
    /// Makes a backup.
    pub(super) async fn copy(
        &self,
        source: &BaseSource,
        options: &[String],
    ) -> Result<Answer, DumpError> {
        let operation = &self.settings.order.operation;
        if let Some((name, manifest)) = self.folder.made_by(operation)? {
            tracing::info!(name, "the backup was made before");
            return Ok(self.told(&name, &manifest));
        }
        self.folder.clear()?;
        let programs = Programs::without_password(self.installation, self.stop)?;
        let programs = programs.ended_after(self.stall());
        let partial = self.folder.begin(Timestamp::now())?;
        let made = self
            .copied(&programs, (source, options), partial.path())
            .await;
        let manifest = match made {
            Ok(manifest) => manifest,
            Err(error) => return Err(discarded(partial, error)?),
        };
        let name = partial.keep(&manifest)?;
        tracing::info!(name, bytes = manifest.bytes, "a backup is made");
        Ok(self.told(&name, &manifest))
    }

    async fn copied(
        &self,
        programs: &Programs<'_>,
        (source, options): (&BaseSource, &[String]),
        folder: &Path,
    ) -> Result<BaseManifest, DumpError> {
        let settings = self.settings;
        // libpq takes no key that others can read.
        let key = programs.file("tls.key");
        let read = fs::read(&settings.key).map(Zeroizing::new);
        let read = named(read, "read", &settings.key).map_err(failed)?;
        write_atomically(&key, &read, 0o600).map_err(failed)?;
        let files = (&*settings.certificate, &*key, &*settings.authority);
        let upstream = source.upstream(&settings.host, files);
        programs
            .run(&base::make(&upstream, options, folder))
            .await?;
        let verified = self.verified(programs, folder).await?;
        Ok(BaseManifest {
            operation: settings.order.operation.clone(),
            source: source.instance.clone(),
            options: options.to_vec(),
            bytes: size(folder).map_err(failed)?,
            wal: base::wal(folder).map_err(failed)?,
            verified,
            version: self.installation.version.to_string(),
        })
    }

    /// Reads all of a copy; whether it could be held against PostgreSQL's list, which versions before 13 do not make.
    async fn verified(&self, programs: &Programs<'_>, folder: &Path) -> Result<bool, DumpError> {
        let call = base::verify(folder);
        let can = self.installation.program(call.program).exists() && folder.join(FILES).exists();
        if can {
            programs.run(&call).await?;
        }
        Ok(can)
    }

    /// Makes a data directory of a backup.
    pub(super) async fn restore(&self, which: Option<&str>, to: &str) -> Result<Answer, DumpError> {
        let operation = &self.settings.order.operation;
        let data = self.settings.target.join(to);
        let before = self.folder.restored_by(operation)?;
        if let Some(Restore::Done(answer)) = before {
            return Ok(answer);
        }
        let (name, manifest) = self.folder.find(which)?;
        if before.is_none() && data.exists() {
            return Err(failed(format!(
                "{} is there already; restore to a claim that holds no data",
                data.display()
            )));
        }
        self.folder.note_restore(operation, &Restore::Begun)?;
        // It has its name when all is done.
        if !data.exists() {
            self.placed(&self.folder.path(&name), &data).await?;
        }
        let control = control::read(self.installation, &data).await;
        let control = control.map_err(failed)?;
        let answer = Answer {
            // Where nobody has written since PostgreSQL ended in order, recovery would begin at the end.
            end: Some(End {
                lsn: timeline::shown(control.redo),
                timeline: control.timeline,
            }),
            ..self.told(&name, &manifest)
        };
        self.folder
            .note_restore(operation, &Restore::Done(answer.clone()))?;
        Ok(answer)
    }

    async fn placed(&self, backup: &Path, data: &Path) -> Result<(), DumpError> {
        let programs = Programs::without_password(self.installation, self.stop)?;
        self.verified(&programs, backup).await?;
        let partial = PathBuf::from(format!("{}{PARTIAL}", data.display()));
        if partial.exists() {
            named(fs::remove_dir_all(&partial), "remove", &partial).map_err(failed)?;
        }
        let made = self.recovered(&programs, backup, &partial).await;
        if let Err(error) = made {
            if !matches!(error, DumpError::Unfinished(Unfinished::Ended)) {
                let gone = fs::remove_dir_all(&partial);
                tracing::info!(?gone, "what was restored is not whole, and goes");
            }
            return Err(error);
        }
        named(fs::rename(&partial, data), "rename to", data).map_err(failed)?;
        sync_folder_of(data).map_err(failed)
    }

    async fn recovered(
        &self,
        programs: &Programs<'_>,
        backup: &Path,
        data: &Path,
    ) -> Result<(), DumpError> {
        let (from, to, stop) = (backup.to_owned(), data.to_owned(), self.stop.clone());
        let copying = tokio::task::spawn_blocking(move || copy_all(&from, &to, &stop));
        copying.await.map_err(failed)??;
        for name in [BASE_MANIFEST, FILES] {
            let path = data.join(name);
            if path.exists() {
                named(fs::remove_file(&path), "remove", &path).map_err(failed)?;
            }
        }
        // A replica's copy is a standby's.
        standby::unmark(data).map_err(failed)?;
        let control = control::read(self.installation, data).await;
        let control = control.map_err(failed)?;
        let configuration = programs.file("recovery.conf");
        write_atomically(&configuration, b"", 0o600).map_err(failed)?;
        programs
            .run(&base::recover(data, &configuration, control.prepared))
            .await?;
        let control = control::read(self.installation, data).await;
        match control.map_err(failed)?.state.as_str() {
            AT_REST => Ok(()),
            other => Err(failed(format!(
                "PostgreSQL left {} in state {other:?}, not {AT_REST:?}",
                data.display()
            ))),
        }
    }

    fn told(&self, name: &str, manifest: &BaseManifest) -> Answer {
        let note = (!manifest.verified)
            .then(|| "it could not be verified: the image has no pg_verifybackup".to_owned());
        Answer {
            name: name.to_owned(),
            path: self.folder.path(name).display().to_string(),
            bytes: manifest.bytes,
            wal: Some(manifest.wal.clone()),
            end: None,
            note,
        }
    }
}

/// Size of all files in a folder.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += match about.is_dir() {
            true => size(&entry.path())?,
            false => about.len(),
        };
    }
    Ok(bytes)
}

/// Copies a folder with all that is in it, to the disk.
fn copy_all(from: &Path, to: &Path, stop: &CancellationToken) -> Result<(), DumpError> {
    named(fs::create_dir(to), "make", to).map_err(failed)?;
    let private = fs::set_permissions(to, Permissions::from_mode(MODE));
    named(private, "change", to).map_err(failed)?;
    for entry in named(fs::read_dir(from), "read", from).map_err(failed)? {
        if stop.is_cancelled() {
            return Err(Unfinished::Ended.into());
        }
        let entry = named(entry, "read", from).map_err(failed)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = named(entry.file_type(), "read", &path).map_err(failed)?;
        if kind.is_dir() {
            copy_all(&path, &target, stop)?;
        } else if kind.is_file() {
            named(fs::copy(&path, &target), "copy to", &target).map_err(failed)?;
            folder::synced(&target)?;
        } else {
            return Err(failed(format!(
                "{} is neither a file nor a folder; backups with tablespaces cannot be restored",
                path.display()
            )));
        }
    }
    folder::synced(to)?;
    Ok(())
}
