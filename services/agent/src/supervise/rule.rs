//! Has PostgreSQL wait for replicas as the protocol wants it, while it serves, and tells the protocol what holds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use nix::{sys::signal::Signal, unistd::Pid};
use pgo_ha::Synchronous;
use pgo_postgres::{
    Installation, SUPERUSER, Session,
    session::SessionError,
    synchronous::{self, Rule, RuleError},
};
use pgo_tls::TlsFiles;
use tokio::{sync::watch, time::sleep};

use super::{lenient, shown};
use crate::{
    cli::Settings,
    ha::{
        course::{Course, Helm, Told},
        driver::Standing,
    },
    orders::Reloads,
    prepare::{self, PrepareError},
    processes,
};

/// Pause before a change that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Pause between two looks at how far replicas have flushed; at first.
const LOOK: Duration = Duration::from_millis(20);

/// The longest one: a replica that is missing may be so for long.
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// The rule in PostgreSQL's words: replicas call themselves by their identity as voters, which no other volume has.
pub(super) fn in_words(rule: &Synchronous) -> Rule {
    Rule::any(rule.k, rule.set.iter().map(ToString::to_string))
}

/// What keeps a primary's rule as it is wanted.
pub(super) struct Keeper<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tls: &'a Arc<TlsFiles>,
    pub(super) helm: &'a Helm,
    /// What the protocol says of the rule.
    pub(super) standing: &'a watch::Receiver<Standing>,
    pub(super) installation: &'a Installation,
    pub(super) server: Pid,
    /// The rule that has been in force since the server serves.
    pub(super) in_force: Synchronous,
}

impl Keeper<'_> {
    /// Brings each rule into force that is wanted.
    pub(super) async fn keep(mut self, reloads: &mut Reloads) -> Infallible {
        let mut courses = self.helm.watch();
        courses.mark_changed();
        // What was in force from the start may be what was being brought into force when the server before it ended.
        self.helm.tell(Told::Configured(self.in_force.clone()));
        let mut flushed = self.flushed().await;
        loop {
            let wanted = match &*courses.borrow_and_update() {
                Course::Lead { synchronous, .. } => Some(synchronous.clone()),
                _ => None,
            };
            if let Some(wanted) = wanted.filter(|wanted| *wanted != self.in_force) {
                match self.change(&wanted).await {
                    Ok(lsn) => flushed = lsn,
                    // What is in force may be neither: the former rule could not be put back, either. Nothing else is done before
                    // a change has succeeded, and the protocol asks for the rule that is told as in force only after it was told
                    // another one; so no rule is left behind halfway.
                    Err(error) => {
                        tracing::error!(
                            error,
                            "for whose answers commits wait cannot be changed; trying again"
                        );
                        sleep(RETRY).await;
                        courses.mark_changed();
                    }
                }
            }
            tokio::select! {
                biased;
                _ = courses.changed() => {}
                reload = reloads.next() => reload.run(self.settings, self.server, || self.write(&in_words(&self.in_force))).await,
                () = self.until_held(flushed), if flushed.is_some() => {
                    self.helm.tell(Told::Held);
                    flushed = None;
                    self.all_held();
                }
            }
        }
    }

    /// Brings `wanted` into force; up to where had been flushed what was acknowledged by the rule before it, unless nobody
    /// is waited for now.
    async fn change(&mut self, wanted: &Synchronous) -> Result<Option<u64>, String> {
        if wanted.k < self.in_force.k {
            // Before anything goes by less: what is acknowledged then may be missing in a successor.
            lenient::mark(&self.settings.data)?;
        }
        let former = in_words(&self.in_force);
        let begun = std::time::Instant::now();
        let changed = self.change_words(&former, &in_words(wanted)).await;
        if changed.is_err() {
            // The former one holds on; with neither nothing would be acknowledged any more.
            self.put(&former).await?;
        }
        let flushed = changed?;
        tracing::info!(k = wanted.k, of = wanted.set.len(), took = ?begun.elapsed(), "commits wait for other replicas now");
        self.in_force = wanted.clone();
        self.helm.tell(Told::Configured(wanted.clone()));
        Ok(flushed)
    }

    /// As many as the rule in force asks for have everything. Where that is the whole rule, nothing is acknowledged by less.
    fn all_held(&self) {
        let commits = self.standing.borrow().commits;
        if commits.is_some_and(|commits| self.in_force.k >= commits.rule)
            && let Err(error) = lenient::clear(&self.settings.data)
        {
            tracing::warn!(
                error,
                "what was acknowledged goes on to count as lost with this instance"
            );
        }
    }

    async fn change_words(&self, former: &Rule, wanted: &Rule) -> Result<Option<u64>, String> {
        if wanted.k() == 0 {
            self.put(wanted).await?;
            return Ok(None);
        }
        let socket = self.settings.socket();
        self.put(&Rule::nobody()).await?;
        let quiet = synchronous::is_nobody(&socket, former).await;
        quiet.map_err(shown)?;
        let session = Session::open(&socket, SUPERUSER).await.map_err(shown)?;
        let flushed = session.flushed().await.map_err(shown)?;
        self.put(wanted).await?;
        Ok(Some(flushed))
    }

    /// Writes a rule and has every process of the server told to read it.
    async fn put(&self, rule: &Rule) -> Result<(), String> {
        self.write(rule).map_err(shown)?;
        processes::send(self.server, Signal::SIGHUP);
        let read: Result<(), RuleError> = synchronous::is_read(&self.settings.socket(), rule).await;
        read.map_err(shown)
    }

    fn write(&self, rule: &Rule) -> Result<(), PrepareError> {
        prepare::write_conf(self.settings, self.installation, self.tls, None, rule)
    }

    /// Up to where WAL is flushed, where a rule is in force that makes it matter.
    async fn flushed(&self) -> Option<u64> {
        if self.in_force.k == 0 {
            return None;
        }
        loop {
            let flushed = async {
                let session = Session::open(&self.settings.socket(), SUPERUSER).await?;
                session.flushed().await
            };
            match flushed.await {
                Ok(lsn) => return Some(lsn),
                Err(error) => tracing::debug!(%error, "how far WAL is flushed is not known"),
            }
            sleep(RETRY).await;
        }
    }

    /// Waits until as many as are asked for have flushed up to there; for ever where they are not there.
    async fn until_held(&self, flushed: Option<u64>) {
        let Some(lsn) = flushed else { return };
        let rule = in_words(&self.in_force);
        let mut session = None;
        let mut pause = LOOK;
        loop {
            match held(&mut session, self.settings, &rule, lsn).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "how far replicas are is not known");
                    session = None;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }
}

async fn held(
    session: &mut Option<Session>,
    settings: &Settings,
    rule: &Rule,
    lsn: u64,
) -> Result<bool, SessionError> {
    let session = match session {
        Some(session) => session,
        None => session.insert(Session::open(&settings.socket(), SUPERUSER).await?),
    };
    session.is_held(rule, lsn).await
}
