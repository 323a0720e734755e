//! What looks like a secret is taken out of every text of an event. Causes repeat what PostgreSQL, Kubernetes and programs say,
//! and those repeat what they were given.
//!
//! | found | example |
//! |---|---|
//! | the password of a URL (RFC 3986, section 3.2.1) | `postgres://alice:***@hippo/userdb` |
//! | what is given under a name that ends like a secret's | `PGPASSWORD=***`, `"token": "***"` |
//! | a password in SQL | `alter role alice password '***'` |
//! | a password as PostgreSQL keeps it | `SCRAM-SHA-256$***`, `md5***` |
//! | what follows an option that is named like that | `--password ***` |
//! | credentials of HTTP (RFC 7617, RFC 6750) | `Authorization: Bearer ***` |
//! | a line of a password file (PostgreSQL, section 34.16) | `hippo:5432:userdb:alice:***` |
//! | a private key (RFC 7468) | `-----BEGIN PRIVATE KEY-----***` |

use std::borrow::Cow;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// How names end whose value is a secret.
const NAMES: [&str; 16] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "cipher-pass",
    "cipher_pass",
    "token",
    "access-key",
    "access_key",
    "s3-key",
    "s3_key",
    "api-key",
    "api_key",
    "apikey",
    "secret_key",
    "secret",
];

/// Schemes of HTTP whose credentials are one word.
const SCHEMES: [&str; 2] = ["basic ", "bearer "];

/// The text without what looks like a secret.
#[must_use]
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut from = 0;
    while let Some((begin, end)) = text
        .get(from..)
        .and_then(|rest| first_secret(text, from, rest))
    {
        kept.push_str(text.get(from..begin).unwrap_or_default());
        kept.push_str(HIDDEN);
        from = end;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(kept)
}

/// The first secret at or behind `from`, as bytes of `text`.
fn first_secret(text: &str, from: usize, rest: &str) -> Option<(usize, usize)> {
    rest.char_indices().find_map(|(at, _)| {
        let here = from + at;
        let found = kept_password(text, here)
            .or_else(|| private_key(text, here))
            .or_else(|| of_url(text, here))
            .or_else(|| of_http(text, here))
            .or_else(|| of_password_file(text, here))
            .or_else(|| option(text, here))
            .or_else(|| named(text, here))?;
        // What was hidden before stays as it is.
        let is_new =
            found.0 >= from && found.0 < found.1 && text.get(found.0..found.1) != Some(HIDDEN);
        is_new.then_some(found)
    })
}

/// The password in `scheme://user:password@host`, where `://` is here.
fn of_url(text: &str, here: usize) -> Option<(usize, usize)> {
    let begin = here + text.get(here..)?.strip_prefix("://").map(|_| 3)?;
    let rest = text.get(begin..)?;
    let authority = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
        .map_or(rest, |end| rest.get(..end).unwrap_or(rest));
    let at = authority.rfind('@')?;
    let colon = authority.get(..at)?.find(':')?;
    Some((begin + colon + 1, begin + at))
}

/// What is behind a text that `rest` begins with in any case.
fn behind<'a>(rest: &'a str, begin: &str) -> Option<&'a str> {
    let (begins, behind) = rest.split_at_checked(begin.len())?;
    begins.eq_ignore_ascii_case(begin).then_some(behind)
}

/// The credentials in a header of HTTP whose name ends here, also where it is written as JSON.
fn of_http(text: &str, here: usize) -> Option<(usize, usize)> {
    let sign = behind(text.get(here..)?, "authorization")?.trim_start_matches(['"', '\'']);
    let value = sign.strip_prefix([':', '='])?;
    let value = value.trim_start_matches([' ', '"', '\'']);
    let scheme = SCHEMES.into_iter();
    let credentials = scheme.filter_map(|scheme| behind(value, scheme)).next()?;
    let credentials = credentials.trim_start();
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '\'');
    let end = credentials.find(ends).unwrap_or(credentials.len());
    let begin = text.len() - credentials.len();
    Some((begin, begin + end))
}

/// The password in `host:port:database:user:password`, where the port begins behind the colon that is here.
fn of_password_file(text: &str, here: usize) -> Option<(usize, usize)> {
    let rest = text.get(here..)?.strip_prefix(':')?;
    let word = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    let line = rest.get(..rest.find(word).unwrap_or(rest.len()))?;
    let mut fields = line.splitn(4, ':');
    let (port, database) = (fields.next()?, fields.next()?);
    let (user, password) = (fields.next()?, fields.next()?);
    // What else has as many colons, such as an address of IPv6, has a shorter number or another one than a port's.
    let is_port = port == "*" || (port.len() > 3 && port.parse::<u16>().is_ok());
    let is_user = user.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '*'));
    let end = text.len() - rest.len() + line.len();
    (is_port && !database.is_empty() && is_user).then_some((end - password.len(), end))
}

/// The value behind an option that is here and whose name ends like a secret's.
fn option(text: &str, here: usize) -> Option<(usize, usize)> {
    let rest = text.get(here..)?.strip_prefix("--")?;
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let value = rest.trim_start_matches(of_name);
    let name = rest.strip_suffix(value)?.to_ascii_lowercase();
    let trimmed = value.trim_start();
    let is_secret = NAMES.into_iter().any(|secret| name.ends_with(secret));
    if !is_secret || trimmed.len() == value.len() || trimmed.starts_with('-') {
        return None;
    }
    let begin = text.len() - trimmed.len();
    let (open, end) = match trimmed.chars().next()? {
        quote @ ('"' | '\'') => {
            let inside = trimmed.get(1..)?;
            let end = inside.find(quote);
            (1, end.map_or(trimmed.len(), |end| end + 1))
        }
        _ => {
            let end = trimmed.find(char::is_whitespace);
            (0, end.unwrap_or(trimmed.len()))
        }
    };
    Some((begin + open, begin + end))
}

/// The value under a name that ends here.
fn named(text: &str, here: usize) -> Option<(usize, usize)> {
    let rest = text.get(here..)?;
    let name = NAMES
        .into_iter()
        .find(|name| behind(rest, name).is_some())?;
    let behind = rest.get(name.len()..)?;
    let of_password = name == "password";
    let unquoted = behind.trim_start_matches(['"', '\'']);
    let is_key = unquoted.len() < behind.len();
    let sign = unquoted.trim_start();
    let value = if let Some(value) = sign.strip_prefix('=').or_else(|| {
        let colon = unquoted.strip_prefix(':');
        // Whoever tells of a Secret, or of an object whose name ends so, writes a colon behind it, too.
        let ends_names = name == "secret" || name.contains('-');
        colon.filter(|_| !ends_names || is_key)
    }) {
        value.trim_start()
    } else if of_password && behind.len() > sign.len() && sign.starts_with('\'') {
        sign
    } else {
        return None;
    };
    let begin = text.len() - value.len();
    let (open, end) = match value.chars().next()? {
        quote @ ('"' | '\'') => {
            let inside = value.get(1..)?;
            (1, inside.find(quote).map_or(value.len(), |end| end + 1))
        }
        _ => {
            let ends =
                |c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | '}' | '&' | '"');
            let end = value.find(ends).unwrap_or(value.len());
            let next = value.get(end..)?.trim_start().chars().next();
            // Kubernetes tells what is wrong with an object behind its name in quotes and a colon; a value of JSON is alone.
            let is_alone = next.is_none_or(|c| matches!(c, ',' | '}' | ']'));
            if is_key && sign.starts_with(':') && !is_alone {
                return None;
            }
            (0, end)
        }
    };
    Some((begin + open, begin + end))
}

/// A password as PostgreSQL keeps it in `pg_authid`, which begins here.
fn kept_password(text: &str, here: usize) -> Option<(usize, usize)> {
    let rest = text.get(here..)?;
    if let Some(verifier) = rest.strip_prefix("SCRAM-SHA-256$") {
        let ends = |c: char| !c.is_ascii_alphanumeric() && !"+/=:$".contains(c);
        let length = verifier.find(ends).unwrap_or(verifier.len());
        let begin = text.len() - verifier.len();
        return Some((begin, begin + length));
    }
    let hash = rest.strip_prefix("md5")?.get(..32)?;
    let is_hash = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some((here + 3, here + 3 + 32))
}

/// A private key whose first line begins here.
fn private_key(text: &str, here: usize) -> Option<(usize, usize)> {
    let rest = text.get(here..)?;
    let label = rest.strip_prefix("-----BEGIN ")?;
    let (label, key) = label.split_once("-----")?;
    if !label.ends_with("PRIVATE KEY") {
        return None;
    }
    let begin = text.len() - key.len();
    Some((
        begin,
        key.find("-----END").map_or(text.len(), |end| begin + end),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ways in which a secret gets into a text.
    const LEAKS: [&str; 29] = [
        "cannot connect to postgres://alice:<>@hippo/userdb?x=1: refused",
        "cannot connect to postgresql://alice:<>@hippo:5432/userdb",
        "connection string host=hippo user=alice password=<> dbname=userdb",
        "connection string password = '<>' dbname=userdb",
        "env PGPASSWORD=<> psql failed",
        "env POSTGRES_PASSWORD=<>; exit 1",
        r#"refused: {"username":"alice","password":"<>"}"#,
        r#"refused: {"token": "<>", "kind": "Secret"}"#,
        r#"refused: {"password": <> }"#,
        r#"refused: {"client_secret": <>, "scope": "x"}"#,
        "syntax error in: alter role alice password '<>' valid until 'infinity'",
        "syntax error in: CREATE USER alice WITH PASSWORD '<>';",
        "aws_secret_key=<> is not valid",
        "client_secret=<>&scope=x",
        "aws_secret_access_key=<>, aws_access_key_id=x",
        "pgbackrest: repo1-cipher-pass=<> is not valid",
        "pgbackrest: repo1-s3-key=<> repo1-s3-bucket=x",
        "pgbackrest: repo1-s3-key-secret=<>",
        "env PGBACKREST_REPO1_S3_KEY=<> pgbackrest failed",
        "https://example.org/x?apikey=<>&y=1: refused",
        "Authorization: Basic <>",
        "curl -H 'authorization: bearer <>' failed",
        r#"refused: {"Authorization": "Bearer <>", "Accept": "*/*"}"#,
        "psql --password <> failed",
        "pgbackrest --repo1-cipher-pass '<>' info",
        "hippo:5432:userdb:alice:<>",
        "role alice has SCRAM-SHA-256$4096:<>==$<>:<>=",
        "key: -----BEGIN EC PRIVATE KEY-----\n<>\n-----END EC PRIVATE KEY-----",
        "a key that was cut: -----BEGIN PRIVATE KEY-----\n<>",
    ];

    proptest! {
        #[test]
        fn a_secret_is_in_no_text_however_it_got_there(
            leak in prop::sample::select(LEAKS.to_vec()),
            secret in "[a-zA-Z0-9]{8,24}",
            before in "[ -~]{0,20}",
        ) {
            let text = format!("{before} {}", leak.replace("<>", &secret));
            let kept = without_secrets(&text);
            prop_assert!(!kept.contains(&secret), "{kept}");
            prop_assert_eq!(without_secrets(&kept).into_owned(), kept.into_owned());
        }

        #[test]
        fn every_text_can_be_looked_through(text in "(?s).{0,200}") {
            let kept = without_secrets(&text);
            prop_assert_eq!(without_secrets(&kept).into_owned(), kept.into_owned());
        }

        #[test]
        fn a_hash_of_md5_is_taken_out(hash in "[0-9a-f]{32}") {
            let text = format!("role alice has md5{hash}.");
            prop_assert_eq!(without_secrets(&text), "role alice has md5***.");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "password authentication failed for user \"alice\"",
            "secrets \"hippo-postgres-secret\" not found",
            "cannot write Secret hippo-agent-tls: forbidden",
            "cannot write Secret: exceeded quota",
            "initdb: error: no space left on device",
            "PersistentVolumeClaim hippo: no storage class \"fast\"",
            "https://hippo.example.org:8443/a@b: not found",
            "the password of alice is managed by PGO",
            "unknown option --password",
            "Get \"https://[fd00:10:96::1]:443/api\": dial tcp [fd00:10:96::1]:443: connect: connection refused",
            "failed to pull registry:5000/crunchydata/postgres:centos7-11.5: not found at 2026-10-15T10:11:12Z",
            "the server has asked for the client to provide credentials: Authorization: unknown scheme",
            "pods \"hippo\" is forbidden: the access key of volume s3-key: not found in namespace",
            "Secret \"hippo-my_app-secret\" is invalid: metadata.name: Invalid value: \"hippo-my_app-secret\": a \
             lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }

    #[test]
    fn what_stands_around_a_secret_stays() {
        let text = "cannot connect to postgres://alice:hunter2@hippo/userdb: refused; password='x y' ssl=on";
        assert_eq!(
            without_secrets(text),
            "cannot connect to postgres://alice:***@hippo/userdb: refused; password='***' ssl=on"
        );
    }
}
