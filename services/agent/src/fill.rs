//! How full a volume is. That of the data is measured by a thread of its own, since who asks a volume that hangs waits with it.

use std::{
    path::Path,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use nix::sys::statvfs::statvfs;

use crate::state::{Reporter, Volume};

/// Pause between two measures.
const PAUSE: Duration = Duration::from_secs(5);

/// What changes by less than this part of the volume is not told: each change is heard by many and written down.
const STEP: u64 = 100;

/// Measures the volume with the data directory `data`, which may not be there yet, and tells `reporter`, until that is gone.
///
/// # Errors
/// The thread cannot be started.
pub fn measure(data: &Path, reporter: &Arc<Reporter>) -> std::io::Result<()> {
    let folder = data.parent().unwrap_or(data).to_owned();
    let reporter = Arc::downgrade(reporter);
    let name = "volume-fill".to_owned();
    thread::Builder::new()
        .name(name)
        .spawn(move || watch(&folder, &reporter))?;
    Ok(())
}

fn watch(folder: &Path, reporter: &Weak<Reporter>) {
    loop {
        let found = volume(folder);
        // While it waits it keeps nobody from ending.
        let Some(reporter) = reporter.upgrade() else {
            return;
        };
        match found {
            Ok(found) => reporter.change(|state| {
                if is_news(state.volume, found) {
                    state.volume = Some(found);
                }
            }),
            Err(error) => {
                tracing::debug!(%error, folder = %folder.display(), "the volume cannot be measured");
            }
        }
        drop(reporter);
        thread::sleep(PAUSE);
    }
}

/// The same as df(1) says: what only root may use is nobody's here.
///
/// # Errors
/// The folder is not there, or its file system does not answer.
pub fn volume(folder: &Path) -> nix::Result<Volume> {
    let found = statvfs(folder)?;
    let unit = found.fragment_size();
    let used = found.blocks().saturating_sub(found.blocks_free());
    let used = used.saturating_mul(unit);
    let free = found.blocks_available().saturating_mul(unit);
    Ok(Volume {
        bytes: used.saturating_add(free),
        used,
    })
}

/// Whether a measure differs enough from what was told. Where others fill the same file system `bytes` wanders, too.
#[must_use]
pub fn is_news(told: Option<Volume>, found: Volume) -> bool {
    let Some(told) = told else {
        return true;
    };
    let step = (told.bytes / STEP).max(1);
    told.used.abs_diff(found.used) >= step || told.bytes.abs_diff(found.bytes) >= step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    fn of(bytes: u64, used: u64) -> Volume {
        Volume { bytes, used }
    }

    #[test]
    fn a_volume_is_measured() {
        let found = volume(&std::env::temp_dir()).expect("measured");
        assert!(found.used <= found.bytes && found.bytes > 0, "{found:?}");
        volume(Path::new("/nowhere")).expect_err("no volume");
    }

    #[test]
    fn a_hundredth_is_told_and_less_is_not() {
        assert!(is_news(None, of(0, 0)));
        let told = Some(of(1000, 500));
        for same in [of(1000, 500), of(1000, 509), of(1000, 491), of(1009, 500)] {
            assert!(!is_news(told, same), "{same:?}");
        }
        for new in [of(1000, 510), of(1000, 490), of(2000, 500)] {
            assert!(is_news(told, new), "{new:?}");
        }
    }

    #[tokio::test]
    async fn what_is_measured_is_told_and_ends_with_who_tells() {
        let reporter = Arc::new(Reporter::new(State::default()));
        let mut told = reporter.watch();
        measure(&std::env::temp_dir(), &reporter).expect("a thread");
        let state = told.wait_for(|state| state.volume.is_some()).await;
        let state = state.expect("told").to_proto();
        assert!(state.volume_used <= state.volume_bytes && state.volume_bytes > 0);
        let weak = Arc::downgrade(&reporter);
        drop(reporter);
        // The thread held it for a moment at most.
        while weak.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    }
}
