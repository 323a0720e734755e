//! Notices a data volume that hangs: a thread of its own writes a small file again and again, each time to the disk. What
//! waits for a volume that hangs cannot be given up, so nothing else may wait for that thread.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};

/// Pause between two writes.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes beside the data directory `data` until the receiver is gone; hears of each write that ended, however it did: an
/// error is an answer, and PostgreSQL has its own.
///
/// # Errors
/// The thread cannot be started.
pub fn probe(data: &Path) -> std::io::Result<mpsc::UnboundedReceiver<()>> {
    let mut path = data.as_os_str().to_owned();
    path.push(".probe");
    let path = PathBuf::from(path);
    let (sender, done) = mpsc::unbounded_channel();
    thread::Builder::new()
        .name("volume".to_owned())
        .spawn(move || {
            loop {
                if let Err(error) = write(&path) {
                    tracing::debug!(%error, path = %path.display(), "a write to the volume failed");
                }
                if sender.send(()).is_err() {
                    return;
                }
                thread::sleep(PAUSE);
            }
        })?;
    Ok(done)
}

fn write(path: &Path) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(b"1")?;
    file.sync_all()
}

/// Tells when no write has ended for `limit`, and when one does again.
pub async fn watch(
    mut done: mpsc::UnboundedReceiver<()>,
    limit: Duration,
    mut tell: impl FnMut(bool),
) {
    let mut answers = true;
    loop {
        match timeout(limit, done.recv()).await {
            Ok(Some(())) if !answers => {
                answers = true;
                tell(true);
            }
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(_) if answers => {
                answers = false;
                tell(false);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_that_hangs_is_told_once_and_so_is_its_return() {
        let (sender, done) = mpsc::unbounded_channel();
        let (told, mut heard) = mpsc::unbounded_channel();
        let limit = Duration::from_millis(100);
        let watch = tokio::spawn(watch(done, limit, move |answers| {
            told.send(answers).expect("heard");
        }));
        sender.send(()).expect("taken");
        assert_eq!(heard.recv().await, Some(false));
        tokio::time::sleep(limit * 3).await;
        assert!(heard.try_recv().is_err(), "once");
        sender.send(()).expect("taken");
        assert_eq!(heard.recv().await, Some(true));
        drop(sender);
        watch.await.expect("ended");
    }
}
