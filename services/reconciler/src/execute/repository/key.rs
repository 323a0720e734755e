//! The key of S3: a Secret of PGO's namespace has it (4.1's name and form), and the repository of each cluster whose backups are in
//! S3 a copy, which is its own from then on.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;
use pgo_core::{Cluster, Desired};
use serde::Deserialize;

use crate::{
    call::call,
    context::Context,
    error::Error,
    execute::own::{Present, make},
};

/// The Secret that is copied from.
pub const SOURCE: &str = "pgo-backrest-repo-config";

/// Its key with the access key and the secret of that, in 4.1's form.
const CREDENTIALS: &str = "aws-s3-credentials.yaml";

#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "aws-s3-key", default)]
    key: String,
    #[serde(rename = "aws-s3-key-secret", default)]
    secret: String,
}

/// Makes the Secret of a cluster's repository.
///
/// # Errors
/// There is no key, or Kubernetes failed.
pub(super) async fn copy(
    desired: &Desired,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let namespace = context.operator_namespace.as_str();
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let on = format!("Secret {SOURCE}");
    let found = call("read", &on, secrets.get_opt(SOURCE)).await?;
    let missing = |why: &str| Error::NoBucketKey {
        secret: desired.repository_secret_name(),
        from: SOURCE,
        namespace: namespace.to_owned(),
        why: why.to_owned(),
    };
    let found = found.ok_or_else(|| missing("there is none to copy"))?;
    let data = found.data.unwrap_or_default();
    let values = read(&data).map_err(missing)?;
    let values = values.each_ref().map(Option::as_deref);
    let secret = pgo_objects::bucket_secret(desired, values);
    make(&context.client, cluster, &secret, Present::Stays).await
}

/// Access key, its secret, and the authority if there is one.
fn read(data: &BTreeMap<String, ByteString>) -> Result<[Option<Vec<u8>>; 3], &'static str> {
    let given = |name: &str| {
        let value = data.get(name).map(|value| value.0.clone());
        value.filter(|value| !value.is_empty())
    };
    let [key, secret, authority] = pgo_objects::BUCKET_KEYS.map(given);
    let written = data
        .get(CREDENTIALS)
        .and_then(|text| std::str::from_utf8(&text.0).ok());
    let written = match written {
        None => None,
        // What is wrong with it is not told: it may quote the key.
        Some(text) => Some(serde_saphyr::from_str::<Credentials>(text).map_err(
            |_| "aws-s3-credentials.yaml is not YAML with aws-s3-key and aws-s3-key-secret",
        )?),
    };
    let of = |text: &String| Some(text.clone().into_bytes()).filter(|value| !value.is_empty());
    let key = key.or_else(|| of(&written.as_ref()?.key));
    let secret = secret.or_else(|| of(&written.as_ref()?.secret));
    match (&key, &secret) {
        (None, _) => Err("it has no aws-s3-key"),
        (_, None) => Err("it has no aws-s3-key-secret"),
        _ => Ok([key, secret, authority]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, text)| (name.to_string(), ByteString(text.as_bytes().to_vec())))
            .collect()
    }

    fn texts(pairs: &[(&str, &str)]) -> Result<[Option<String>; 3], &'static str> {
        let values = read(&data(pairs))?;
        Ok(values.map(|value| value.map(|bytes| String::from_utf8(bytes).expect("text"))))
    }

    #[test]
    fn the_key_is_read_as_4_1_has_it_and_by_single_keys() {
        let written = "---\naws-s3-key: AKIA\naws-s3-key-secret: \"hu/sh=\"\n";
        let is = |authority: Option<&str>| {
            Ok([
                Some("AKIA".to_owned()),
                Some("hu/sh=".to_owned()),
                authority.map(str::to_owned),
            ])
        };
        let as_4_1 = [(CREDENTIALS, written), ("aws-s3-ca.crt", "PEM")];
        assert_eq!(texts(&as_4_1), is(Some("PEM")));
        let single = [("aws-s3-key", "AKIA"), ("aws-s3-key-secret", "hu/sh=")];
        assert_eq!(texts(&single), is(None));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_quoted() {
        assert_eq!(texts(&[]), Err("it has no aws-s3-key"));
        let half = [("aws-s3-key", "AKIA")];
        assert_eq!(texts(&half), Err("it has no aws-s3-key-secret"));
        let empty = [(CREDENTIALS, "aws-s3-key: \"\"\naws-s3-key-secret: \"\"\n")];
        assert_eq!(texts(&empty), Err("it has no aws-s3-key"));
        let broken = texts(&[(CREDENTIALS, "aws-s3-key: [AKIA")]).expect_err("no YAML");
        assert!(!broken.contains("AKIA"), "{broken}");
    }
}
