//! What a repository has, as pgBackRest says: which backups, which timelines, up to where.

use std::path::Path;

use jiff::Timestamp;
use pgo_postgres::backrest::{
    Backrest,
    info::{self, Content},
    restore::{Line, Wish},
    window::{self, Chosen, History, Listing, Newest, Refusal},
};

use super::command::{self, CommandError};

/// Asks a repository.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The program.
    pub backrest: &'a Backrest,
    /// Its configuration.
    pub conf: &'a Path,
}

/// Why nothing is chosen.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// What is wanted cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// pgBackRest does not say.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It says something else.
    #[error("what pgbackrest {0} says cannot be understood")]
    Unclear(&'static str),
}

impl Lookup<'_> {
    /// The backup that `wish` is restored from, and along which timeline; `system` is the cluster's identifier, where it is
    /// known.
    ///
    /// # Errors
    /// There is none, or the repository does not say.
    pub async fn choose(self, wish: &Wish, system: Option<u64>) -> Result<Chosen, LookupError> {
        let content = self.content().await?;
        if let (Some(theirs), Some(ours)) = (content.system_identifier, system)
            && theirs != ours
        {
            return Err(Refusal::Foreign { theirs, ours }.into());
        }
        let (history, newest) = match (&content.archive, wish.line) {
            (Some(archive), Line::Newest) => self.along(archive, None).await?,
            (Some(archive), Line::Number(number)) => self.along(archive, Some(number)).await?,
            (_, Line::OfBackup) | (None, _) => (History::first(1), None),
        };
        let now = Timestamp::now();
        Ok(window::choose(wish, &content, &history, newest, now)?)
    }

    /// The timeline that a recovery along the newest one, or along `number`, goes along now, and up to where it is archived.
    ///
    /// # Errors
    /// The repository does not say, or has nothing of it.
    pub async fn reaches(
        self,
        number: Option<u32>,
    ) -> Result<(History, Option<Newest>), LookupError> {
        match self.content().await?.archive {
            Some(archive) => self.along(&archive, number).await,
            None => Ok((History::first(number.unwrap_or(1)), None)),
        }
    }

    async fn content(self) -> Result<Content, LookupError> {
        let text = command::info(self.backrest, self.conf, true).await?;
        info::content(&text).map_err(|_| LookupError::Unclear("info"))
    }

    async fn along(
        self,
        archive: &str,
        number: Option<u32>,
    ) -> Result<(History, Option<Newest>), LookupError> {
        let folder = format!("archive/{}/{archive}", pgo_postgres::backrest::STANZA);
        let listing = Listing::read(&self.ask(&["repo-ls", &folder]).await?);
        let timeline = number.unwrap_or_else(|| listing.newest());
        if number.is_some() && !listing.has(timeline) {
            return Err(Refusal::NoTimeline(timeline).into());
        }
        let history = match timeline {
            1 => History::first(1),
            _ => {
                let file = format!("{folder}/{timeline:08X}.history");
                let text = self.ask(&["repo-get", &file]).await?;
                History::read(timeline, &text).ok_or(LookupError::Unclear("repo-get"))?
            }
        };
        for name in listing.newest_folders(&history) {
            let folder = format!("{folder}/{name}");
            let text = self.ask(&["--output=json", "repo-ls", &folder]).await?;
            let newest = window::newest(&text, &history);
            if let Some(newest) = newest.map_err(|_| LookupError::Unclear("repo-ls"))? {
                return Ok((history, Some(newest)));
            }
        }
        Ok((history, None))
    }

    async fn ask(self, arguments: &[&str]) -> Result<String, CommandError> {
        command::ask(self.backrest, self.conf, arguments).await
    }
}
