//! What a repository has, as pgBackRest says: which backups, which timelines, up to where.

use std::path::Path;

use jiff::Timestamp;
use pgo_postgres::backrest::{
    Backrest,
    info::{self, Content, InfoError},
    output,
    restore::{Line, Wish},
    storage::{Storage, Storages},
    window::{self, Chosen, History, Listing, Newest, Refusal},
};

use super::command::{self, CommandError};

/// Asks a repository what it has in one place.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The program.
    pub backrest: &'a Backrest,
    /// Its configuration.
    pub conf: &'a Path,
    /// The place.
    pub storage: Storage,
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
    /// It says that it knows nothing of what is there.
    #[error(transparent)]
    Silent(InfoError),
    /// It says something else.
    #[error("what pgbackrest {0} says cannot be understood")]
    Unclear(&'static str),
    /// The backup was to be in a place where this repository keeps nothing.
    #[error("the repository keeps nothing in {0}")]
    Nowhere(Storage),
    /// Of several places none has it, each for its own reason.
    #[error("{}", .0.iter().map(|(storage, error)| format!("{storage}: {error}")).collect::<Vec<_>>().join("; "))]
    Each(Vec<(Storage, LookupError)>),
}

impl LookupError {
    /// Whether it stays so, whenever it is tried again.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Nowhere(_) => true,
            Self::Command(_) | Self::Silent(_) | Self::Unclear(_) => false,
            Self::Each(errors) => errors.iter().all(|(_, error)| error.is_final()),
        }
    }

    /// Whether each place has only what another database or another timeline has taken the place of.
    pub fn is_of_superseded(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_of_superseded(),
            Self::Each(errors) => errors.iter().all(|(_, error)| error.is_of_superseded()),
            Self::Command(_) | Self::Silent(_) | Self::Unclear(_) | Self::Nowhere(_) => false,
        }
    }

    /// Whether it says nothing of what the repository has: that could not be asked.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Nowhere(_) | Self::Unclear(_) => false,
            Self::Command(error) => error.is_passing(),
            Self::Silent(error) => output::PASSING_WORDS
                .iter()
                .any(|word| error.to_string().contains(word)),
            Self::Each(errors) => errors.iter().any(|(_, error)| error.is_passing()),
        }
    }
}

/// The backup that `wish` is restored from, of the first place that has one; `system` is the cluster's identifier, where it is
/// known.
///
/// # Errors
/// There is none, or the repository does not say.
pub async fn choose(
    (backrest, conf): (&Backrest, &Path),
    storages: &Storages,
    wish: &Wish,
    system: Option<u64>,
) -> Result<Chosen, LookupError> {
    let wanted = |storage: &Storage| wish.storage.is_none_or(|wanted| wanted == *storage);
    let mut errors = Vec::new();
    for storage in storages.iter().filter(wanted) {
        let lookup = Lookup {
            backrest,
            conf,
            storage,
        };
        match lookup.choose(wish, system).await {
            Ok(chosen) => return Ok(chosen),
            Err(error) => errors.push((storage, error)),
        }
    }
    match (errors.pop(), wish.storage) {
        (Some((_, error)), _) if errors.is_empty() => Err(error),
        (Some(last), _) => {
            errors.push(last);
            Err(LookupError::Each(errors))
        }
        (None, wanted) => Err(LookupError::Nowhere(wanted.unwrap_or(Storage::Local))),
    }
}

impl Lookup<'_> {
    async fn choose(self, wish: &Wish, system: Option<u64>) -> Result<Chosen, LookupError> {
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
        let storage = Some(self.storage);
        let text = command::info(self.backrest, self.conf, true, storage).await?;
        info::content(&text).map_err(|error| match error {
            InfoError::Silent(_) => LookupError::Silent(error),
            InfoError::Unclear(_) => LookupError::Unclear("info"),
        })
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
        let storage = self.storage.option();
        let arguments = [&[storage.as_str()], arguments].concat();
        command::ask(self.backrest, self.conf, &arguments).await
    }
}
