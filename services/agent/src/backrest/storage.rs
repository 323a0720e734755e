//! Where a repository keeps what it has, by its environment, and who it is to S3, by a Secret that is mounted there alone.

use std::{fs, path::PathBuf};

use pgo_postgres::{
    backrest::storage::{Bucket, Credentials, Endpoint, Storage, Storages, UriStyle},
    files::named,
};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// File of the Secret with the access key (4.1's word for it).
const KEY: &str = "aws-s3-key";

/// File with the secret of that.
const KEY_SECRET: &str = "aws-s3-key-secret";

/// File with the authority of the server's certificate; where there is none, those that the image trusts count.
const AUTHORITY: &str = "aws-s3-ca.crt";

/// Settings of the places of a repository.
#[derive(Clone, Debug, clap::Args)]
pub struct StorageSettings {
    /// `local`, `s3`, or both with a comma between them.
    #[arg(
        id = "backrest-storage",
        long = "backrest-storage",
        env = "PGO_BACKREST_STORAGE",
        default_value = "local"
    )]
    pub storages: Storages,
    /// The bucket.
    #[arg(
        id = "backrest-s3-bucket",
        long = "backrest-s3-bucket",
        env = "PGO_BACKREST_S3_BUCKET"
    )]
    pub bucket: Option<String>,
    /// Host of the S3 server, with its port where that is not 443.
    #[arg(
        id = "backrest-s3-endpoint",
        long = "backrest-s3-endpoint",
        env = "PGO_BACKREST_S3_ENDPOINT"
    )]
    pub endpoint: Option<Endpoint>,
    /// Region of the bucket.
    #[arg(
        id = "backrest-s3-region",
        long = "backrest-s3-region",
        env = "PGO_BACKREST_S3_REGION"
    )]
    pub region: Option<String>,
    /// Where the name of the bucket stands in a request: `host` or `path`.
    #[arg(
        id = "backrest-s3-uri-style",
        long = "backrest-s3-uri-style",
        env = "PGO_BACKREST_S3_URI_STYLE",
        default_value = "host"
    )]
    pub style: UriStyle,
    /// Folder with the files of the Secret.
    #[arg(
        id = "backrest-s3-dir",
        long = "backrest-s3-dir",
        env = "PGO_BACKREST_S3_DIR",
        default_value = "/pgo/s3"
    )]
    pub folder: PathBuf,
}

impl StorageSettings {
    /// The bucket, where there is to be one, with the repository in this folder of it, and the key as the Secret has it now.
    ///
    /// # Errors
    /// Something of it is missing; the text says what.
    pub fn bucket(&self, folder: PathBuf) -> Result<Option<Bucket>, String> {
        if !self.storages.has(Storage::S3) {
            return Ok(None);
        }
        let missing = |what: &str| format!("backups are to be in s3, and {what} is not said");
        let authority = self.folder.join(AUTHORITY);
        Ok(Some(Bucket {
            name: self.bucket.clone().ok_or_else(|| missing("the bucket"))?,
            folder,
            endpoint: self
                .endpoint
                .clone()
                .ok_or_else(|| missing("the endpoint"))?,
            region: self.region.clone().ok_or_else(|| missing("the region"))?,
            style: self.style,
            credentials: Credentials {
                key: self.read(KEY)?,
                secret: self.read(KEY_SECRET)?,
            },
            authority: Some(authority).filter(|path| path.exists()),
        }))
    }

    fn read(&self, name: &str) -> Result<SecretString, String> {
        let path = self.folder.join(name);
        let text = named(fs::read_to_string(&path).map(Zeroizing::new), "read", &path);
        let text = text.map_err(|error| {
            format!("the Secret with the key of s3 has no {name} that can be used: {error}")
        })?;
        match text.trim() {
            "" => Err(format!("{name} of the Secret with the key of s3 is empty")),
            text => Ok(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn settings(folder: &std::path::Path) -> StorageSettings {
        StorageSettings {
            storages: "local,s3".parse().expect("places"),
            bucket: Some("backups".to_owned()),
            endpoint: Some("s3.example.org".parse().expect("an endpoint")),
            region: Some("here".to_owned()),
            style: UriStyle::Path,
            folder: folder.to_owned(),
        }
    }

    #[test]
    fn the_key_is_what_the_secret_has_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let error = settings.bucket("/x".into()).expect_err("no key");
        assert!(error.contains(KEY) && error.contains("Secret"), "{error}");
        for (name, text) in [(KEY, "AKIA\n"), (KEY_SECRET, "")] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let error = settings.bucket("/x".into()).expect_err("half a key");
        assert!(error.contains(KEY_SECRET), "{error}");
        fs::write(folder.path().join(KEY_SECRET), "hush").expect("written");
        let bucket = settings
            .bucket("/x".into())
            .expect("a bucket")
            .expect("one");
        assert_eq!(bucket.credentials.key.expose_secret(), "AKIA");
        assert_eq!(bucket.authority, None);
        fs::write(folder.path().join(AUTHORITY), "x").expect("written");
        let bucket = settings
            .bucket("/x".into())
            .expect("a bucket")
            .expect("one");
        assert_eq!(bucket.authority, Some(folder.path().join(AUTHORITY)));
        let without = StorageSettings {
            region: None,
            ..settings
        };
        let error = without.bucket("/x".into()).expect_err("no region");
        assert!(error.contains("the region is not said"), "{error}");
        let local = StorageSettings {
            storages: Storages::default(),
            ..without
        };
        assert!(local.bucket("/x".into()).expect("nothing").is_none());
    }
}
