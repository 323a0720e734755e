//! Where a repository keeps what it has: on its volume, in S3, or in both.
//!
//! Only the repository's pod speaks with S3; instances reach both by pgBackRest's server there. To pgBackRest each is a
//! repository of its own, with a number that never changes: what is told of one can be understood later.

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use secrecy::SecretString;

/// One of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storage {
    /// The volume of the repository.
    Local,
    /// A bucket.
    S3,
}

impl Storage {
    /// 4.1's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }

    /// pgBackRest's number of the repository there.
    pub fn number(self) -> u32 {
        match self {
            Self::Local => 1,
            Self::S3 => 2,
        }
    }

    /// Where the repository of this number is, or the volume, which is where all were before there were others.
    pub fn of_repository(number: u32) -> Self {
        Self::numbered(number).unwrap_or(Self::Local)
    }

    /// The one of this number.
    pub fn numbered(number: u32) -> Option<Self> {
        [Self::Local, Self::S3]
            .into_iter()
            .find(|storage| storage.number() == number)
    }

    /// The option by which a command of pgBackRest concerns only this one.
    pub fn option(self) -> String {
        format!("--repo={}", self.number())
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The places of a repository, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storages(BTreeSet<Storage>);

impl Storages {
    /// Each of them, the volume first: it is nearest.
    pub fn iter(&self) -> impl Iterator<Item = Storage> {
        self.0.iter().copied()
    }

    /// This one alone.
    pub fn only(storage: Storage) -> Self {
        Self(BTreeSet::from([storage]))
    }

    /// Whether this one is among them.
    pub fn has(&self, storage: Storage) -> bool {
        self.0.contains(&storage)
    }
}

impl Default for Storages {
    fn default() -> Self {
        Self::only(Storage::Local)
    }
}

/// A list names no place, or one that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not local, s3, or both with a comma between them")]
pub struct StoragesError(String);

impl FromStr for Storages {
    type Err = StoragesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |word: &str| match word.trim() {
            "local" => Ok(Storage::Local),
            "s3" => Ok(Storage::S3),
            _ => Err(StoragesError(text.to_owned())),
        };
        text.split(',')
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Where the name of a bucket stands in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UriStyle {
    /// Before that of the host.
    #[default]
    Host,
    /// In front of the path.
    Path,
}

impl UriStyle {
    /// pgBackRest's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
        }
    }
}

impl FromStr for UriStyle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "host" => Ok(Self::Host),
            "path" => Ok(Self::Path),
            other => Err(format!("{other:?} is not host or path")),
        }
    }
}

/// Host of an S3 server, and its port where that is not 443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: Option<u16>,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no name of a host, with or without a port");
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let is_host = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        if !is_host {
            return Err(wrong());
        }
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

/// Who the repository is to S3.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key.
    pub key: SecretString,
    /// Its secret.
    pub secret: SecretString,
}

/// A bucket, and how it is reached.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The repository's folder in it.
    pub folder: PathBuf,
    /// Where the server is.
    pub endpoint: Endpoint,
    /// Its region.
    pub region: String,
    /// Where its name stands in a request.
    pub style: UriStyle,
    /// Who asks.
    pub credentials: Credentials,
    /// The authority of the server's certificate; where none is named, those that the image trusts count.
    pub authority: Option<PathBuf>,
}

impl Endpoint {
    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where it is said.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_keep_their_numbers() {
        let numbers = |text: &str| {
            let storages: Storages = text.parse().expect("places");
            storages.iter().map(Storage::number).collect::<Vec<_>>()
        };
        assert_eq!(numbers("local"), [1]);
        assert_eq!(numbers("s3"), [2]);
        assert_eq!(numbers("s3, local"), [1, 2]);
        assert_eq!(Storages::default(), "local".parse().expect("places"));
        for wrong in ["", "tape", "local,"] {
            let error = wrong.parse::<Storages>().expect_err("none");
            assert!(error.to_string().contains("local, s3"), "{error}");
        }
        assert_eq!(Storage::numbered(2), Some(Storage::S3));
        assert_eq!(Storage::numbered(3), None);
    }

    #[test]
    fn an_endpoint_is_a_host_and_may_have_a_port() {
        let read = |text: &str| text.parse::<Endpoint>();
        let plain = read("s3.amazonaws.com").expect("an endpoint");
        assert_eq!((plain.host(), plain.port()), ("s3.amazonaws.com", None));
        let own = read("minio.storage.svc:9000").expect("an endpoint");
        assert_eq!((own.host(), own.port()), ("minio.storage.svc", Some(9000)));
        for wrong in ["", ":9000", "https://s3.amazonaws.com", "host:port", "a b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
