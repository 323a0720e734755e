//! What a server that serves is to do: read its configuration anew, or be restarted. From who asks over gRPC to who looks
//! after the server.
//!
//! An order that comes while no server serves waits for the next one; nobody waits for its answer any more by then, and it is
//! dropped.

use jiff::Timestamp;
use nix::{sys::signal::Signal, unistd::Pid};
use pgo_postgres::reload;
use tokio::sync::{mpsc, oneshot};

use crate::{cli::Settings, prepare::PrepareError, processes};

/// Who waits to hear what became of an order.
type Answer<T> = oneshot::Sender<Result<T, String>>;

/// Read the configuration anew.
#[derive(Debug)]
pub struct Reload {
    /// Who waits for it: the settings that wait for a restart, or what is wrong with the configuration.
    pub answer: Answer<Vec<String>>,
}

/// Be restarted.
#[derive(Debug)]
pub struct Restart {
    /// When the server was started that is to end; a later one was started for this order already.
    pub ends: Timestamp,
    /// Who waits until it begins.
    pub answer: Answer<()>,
}

/// The side of those who ask.
#[derive(Clone, Debug)]
pub struct Sender {
    reloads: mpsc::UnboundedSender<Reload>,
    restarts: mpsc::UnboundedSender<Restart>,
}

/// The side of who looks after the server.
#[derive(Debug)]
pub struct Orders {
    /// To read the configuration.
    pub reloads: Reloads,
    /// To be restarted.
    pub restarts: Restarts,
}

/// Orders to read the configuration.
#[derive(Debug)]
pub struct Reloads(mpsc::UnboundedReceiver<Reload>);

/// Orders to be restarted.
#[derive(Debug)]
pub struct Restarts(mpsc::UnboundedReceiver<Restart>);

/// Both sides.
#[must_use]
pub fn channel() -> (Sender, Orders) {
    let (reloads, to_reload) = mpsc::unbounded_channel();
    let (restarts, to_restart) = mpsc::unbounded_channel();
    let orders = Orders {
        reloads: Reloads(to_reload),
        restarts: Restarts(to_restart),
    };
    (Sender { reloads, restarts }, orders)
}

impl Sender {
    /// Asks for the configuration to be read. Where nobody looks after servers any more, the answer's channel closes.
    pub fn reload(&self, reload: Reload) {
        let _ = self.reloads.send(reload);
    }

    /// Asks for a restart, likewise.
    pub fn restart(&self, restart: Restart) {
        let _ = self.restarts.send(restart);
    }
}

impl Reloads {
    /// The next one that somebody waits for.
    pub async fn next(&mut self) -> Reload {
        loop {
            match self.0.recv().await {
                Some(reload) if !reload.answer.is_closed() => return reload,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

impl Reload {
    /// Writes the configuration by `write`, has the server of this number read it, and answers.
    pub async fn run(
        self,
        settings: &Settings,
        server: Pid,
        write: impl Fn() -> Result<(), PrepareError>,
    ) {
        let reloaded = match write() {
            Err(error) => Err(error.to_string()),
            Ok(()) => {
                let signal = || processes::send(server, Signal::SIGHUP);
                let ran = reload::run(&settings.socket(), signal).await;
                ran.map_err(|error| error.to_string())
            }
        };
        match &reloaded {
            Ok(pending) => tracing::info!(?pending, "the configuration was read anew"),
            Err(error) => tracing::warn!(error, "the configuration was not read anew"),
        }
        // Whoever asked may have given up.
        let _ = self.answer.send(reloaded);
    }
}

impl Restarts {
    /// Until the server that was `started` then is to be restarted; whoever asked for it hears that it begins.
    pub async fn begins(&mut self, started: Timestamp) {
        loop {
            let Some(restart) = self.0.recv().await else {
                return std::future::pending().await;
            };
            if restart.answer.is_closed() {
                continue;
            }
            let is_it = restart.ends == started;
            let answer = if restart.ends <= started {
                Ok(())
            } else {
                Err(format!(
                    "the server here was started at {started}, not at {}",
                    restart.ends
                ))
            };
            let _ = restart.answer.send(answer);
            if is_it {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn ask(sender: &Sender, ends: Timestamp) -> oneshot::Receiver<Result<(), String>> {
        let (answer, answered) = oneshot::channel();
        sender.restart(Restart { ends, answer });
        answered
    }

    #[tokio::test]
    async fn only_the_server_that_is_named_is_restarted_and_only_while_somebody_waits() {
        let (sender, mut orders) = channel();
        drop(ask(&sender, at(20)));
        let former = ask(&sender, at(10));
        let later = ask(&sender, at(30));
        let none = timeout(Duration::from_millis(50), orders.restarts.begins(at(20))).await;
        assert!(none.is_err(), "nothing is to be restarted");
        // It was restarted for that already.
        assert_eq!(former.await.expect("answered"), Ok(()));
        assert!(later.await.expect("answered").is_err());
        let now = ask(&sender, at(20));
        orders.restarts.begins(at(20)).await;
        assert_eq!(now.await.expect("answered"), Ok(()));
    }
}
