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
    let (open, end) = quoted(trimmed).unwrap_or_else(|| {
        let end = trimmed.find(char::is_whitespace);
        (0, end.unwrap_or(trimmed.len()))
    });
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
    let unquoted = behind.trim_start_matches(['"', '\'', '\\']);
    let is_key = unquoted.len() < behind.len();
    let sign = unquoted.trim_start();
    let value = if let Some(value) = sign.strip_prefix('=').or_else(|| {
        let colon = unquoted.strip_prefix(':');
        // Whoever tells of a Secret, or of an object whose name ends so, writes a colon behind it, too.
        let ends_names = name == "secret" || name.contains('-');
        colon.filter(|_| !ends_names || is_key)
    }) {
        value.trim_start()
    } else if of_password && behind.len() > sign.len() && quoted_in_sql(sign).is_some() {
        sign
    } else {
        return None;
    };
    let begin = text.len() - value.len();
    let (open, end) = match quoted_in_sql(value).or_else(|| quoted(value)) {
        Some(quoted) => quoted,
        None => {
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

/// What is between the quotes that `value` begins with, whatever stands for a quote in there. Where there is no second one, it
/// goes to the end.
///
/// | written | by |
/// |---|---|
/// | `'ab\'cd'`, `"ab\"cd"` | libpq's connection strings, JSON |
/// | `'ab''cd'` | SQL |
/// | `'ab'\''cd'` | shells |
/// | `\"ab\\\"cd\"` | JSON in a text of JSON |
///
/// What a backslash before a single quote means depends on who wrote it: what is longer is taken then.
fn quoted(value: &str) -> Option<(usize, usize)> {
    let slashes = value.len() - value.trim_start_matches('\\').len();
    let quote = value.get(slashes..)?.chars().next()?;
    if !matches!(quote, '"' | '\'') {
        return None;
    }
    let open = slashes + 1;
    let inside = value.get(open..)?;
    let end = match end_of_quoted(inside, quote, slashes, true) {
        escaped if slashes == 0 && quote == '\'' => {
            escaped.max(end_of_quoted(inside, quote, slashes, false))
        }
        escaped => escaped,
    };
    Some((open, open + end))
}

/// Where a text ends whose first quote had so many backslashes before it.
fn end_of_quoted(inside: &str, quote: char, slashes: usize, escapes: bool) -> usize {
    let mut before = 0;
    let mut skip_to = 0;
    for (at, c) in inside.char_indices() {
        if at < skip_to {
            continue;
        }
        // With each text that is put into another one, one backslash becomes two, and a quote gets one more.
        let is_whole = !escapes || before % (2 * (slashes + 1)) == slashes;
        if c == quote && is_whole {
            let rest = inside.get(at..).unwrap_or_default();
            skip_to = match slashes {
                0 if rest.starts_with("'\\''") => at + 4,
                0 if rest.starts_with("''") || rest.starts_with("\"\"") => at + 2,
                _ => return at - slashes,
            };
        }
        before = if c == '\\' { before + 1 } else { 0 };
    }
    inside.len()
}

/// A string constant of SQL (PostgreSQL, section 4.1.2), which `value` begins with: in quotes, perhaps with `E` or `U&` before
/// them, or between dollars.
fn quoted_in_sql(value: &str) -> Option<(usize, usize)> {
    if let Some(dollar) = value.strip_prefix('$') {
        let (tag, inside) = dollar.split_once('$')?;
        let of_tag = |c: char| c.is_alphanumeric() || c == '_';
        if tag.starts_with(|c: char| c.is_ascii_digit()) || !tag.chars().all(of_tag) {
            return None;
        }
        let open = value.len() - inside.len();
        let end = inside.find(&format!("${tag}$")).unwrap_or(inside.len());
        return Some((open, open + end));
    }
    let string = ["e", "u&"].iter().find_map(|kind| behind(value, kind));
    let string = string.unwrap_or(value);
    let kind = value.len() - string.len();
    let (open, end) = string.starts_with('\'').then(|| quoted(string))??;
    Some((kind + open, kind + end))
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

    /// How a secret is written where it is.
    #[derive(Clone, Copy, Debug)]
    enum As {
        /// As it is: letters and digits.
        Word,
        /// With backslashes before quotes and backslashes, as in a connection string of libpq.
        Escaped,
        /// A text of JSON.
        Json,
        /// A text of JSON in a text of JSON.
        JsonTwice,
        /// With doubled quotes.
        Sql,
        /// In quotes of a shell.
        Shell,
        /// Between dollars.
        Dollars,
        /// Percent-encoded.
        Url,
    }
    use As::{Dollars, Escaped, Json, JsonTwice, Shell, Sql, Url, Word};

    impl As {
        fn write(self, secret: &str) -> String {
            let json = |text: &str| {
                let quoted = serde_json::to_string(text).expect("a text");
                quoted[1..quoted.len() - 1].to_owned()
            };
            match self {
                Word => secret.chars().filter(char::is_ascii_alphanumeric).collect(),
                Escaped => secret.replace('\\', r"\\").replace('\'', r"\'"),
                Json => json(secret),
                JsonTwice => json(&json(secret)),
                Sql => secret.replace('\'', "''"),
                Shell => secret.replace('\'', r"'\''"),
                Dollars => secret.replace('$', "%"),
                Url => {
                    let byte = |byte: u8| match char::from(byte) {
                        plain if plain.is_ascii_alphanumeric() => plain.to_string(),
                        _ => format!("%{byte:02X}"),
                    };
                    secret.bytes().map(byte).collect()
                }
            }
        }
    }

    /// Ways in which a secret gets into a text.
    const LEAKS: [(&str, As); 37] = [
        (
            "cannot connect to postgres://alice:<>@hippo/userdb?x=1: refused",
            Url,
        ),
        (
            "cannot connect to postgresql://alice:<>@hippo:5432/userdb",
            Url,
        ),
        (
            "connection string host=hippo user=alice password=<> dbname=userdb",
            Word,
        ),
        ("connection string password = '<>' dbname=userdb", Escaped),
        ("connection string password='<>'", Escaped),
        ("env PGPASSWORD=<> psql failed", Word),
        ("env PGPASSWORD='<>' psql failed", Shell),
        ("env POSTGRES_PASSWORD=<>; exit 1", Word),
        (r#"refused: {"username":"alice","password":"<>"}"#, Json),
        (r#"refused: {"password":"<>","username":"alice"}"#, Json),
        (r#"refused: {"token": "<>", "kind": "Secret"}"#, Json),
        (
            r#"refused: "{\"password\":\"<>\",\"username\":\"alice\"}""#,
            JsonTwice,
        ),
        (r#"refused: {"password": <> }"#, Word),
        (r#"refused: {"client_secret": <>, "scope": "x"}"#, Word),
        (
            "syntax error in: alter role alice password '<>' valid until 'infinity'",
            Sql,
        ),
        (
            "syntax error in: CREATE USER alice WITH PASSWORD '<>';",
            Sql,
        ),
        (
            "syntax error in: CREATE USER alice WITH PASSWORD E'<>' LOGIN",
            Escaped,
        ),
        (
            "syntax error in: CREATE USER alice WITH PASSWORD $$<>$$ LOGIN",
            Dollars,
        ),
        (
            "syntax error in: CREATE USER alice WITH PASSWORD $pw_1$<>$pw_1$;",
            Dollars,
        ),
        ("syntax error in: CREATE USER alice PASSWORD U&'<>'", Sql),
        ("aws_secret_key=<> is not valid", Word),
        ("client_secret=<>&scope=x", Word),
        ("aws_secret_access_key=<>, aws_access_key_id=x", Word),
        ("pgbackrest: repo1-cipher-pass=<> is not valid", Word),
        ("pgbackrest: repo1-s3-key=<> repo1-s3-bucket=x", Word),
        ("pgbackrest: repo1-s3-key-secret=<>", Word),
        ("env PGBACKREST_REPO1_S3_KEY=<> pgbackrest failed", Word),
        ("https://example.org/x?apikey=<>&y=1: refused", Url),
        ("Authorization: Basic <>", Word),
        ("curl -H 'authorization: bearer <>' failed", Word),
        (
            r#"refused: {"Authorization": "Bearer <>", "Accept": "*/*"}"#,
            Word,
        ),
        ("psql --password <> failed", Word),
        ("pgbackrest --repo1-cipher-pass '<>' info", Shell),
        ("hippo:5432:userdb:alice:<>", Word),
        ("role alice has SCRAM-SHA-256$4096:<>==$<>:<>=", Word),
        (
            "key: -----BEGIN EC PRIVATE KEY-----\n<>\n-----END EC PRIVATE KEY-----",
            Word,
        ),
        ("a key that was cut: -----BEGIN PRIVATE KEY-----\n<>", Word),
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]
        #[test]
        fn no_part_of_a_secret_is_in_a_text_however_it_got_there(
            (leak, form) in prop::sample::select(LEAKS.to_vec()),
            secret in r#"[ -~]{0,6}x7first([ -~]|['"\\]){0,6}x7last([ -~]|['"\\]){0,6}"#,
            before in "[ -~]{0,20}",
        ) {
            let text = format!("{before} {}", leak.replace("<>", &form.write(&secret)));
            let kept = without_secrets(&text);
            prop_assert!(!kept.contains("x7first") && !kept.contains("x7last"), "{text}\n{kept}");
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
            "set the password $HOME or $1",
            "Secret \"hippo-my_app-secret\" is invalid: metadata.name: Invalid value: \"hippo-my_app-secret\": a \
             lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }

    #[test]
    fn what_stands_around_a_secret_stays() {
        for (text, kept) in [
            (
                "cannot connect to postgres://alice:hunter2@hippo/userdb: refused; password='x y' ssl=on",
                "cannot connect to postgres://alice:***@hippo/userdb: refused; password='***' ssl=on",
            ),
            (
                "alter role alice password 'ab''cdef' valid until 'infinity'",
                "alter role alice password '***' valid until 'infinity'",
            ),
            (
                r#"{"password":"ab\"cd\\","user":"alice"}"#,
                r#"{"password":"***","user":"alice"}"#,
            ),
            ("PASSWORD $q$x y$q$ LOGIN", "PASSWORD $q$***$q$ LOGIN"),
            ("PASSWORD E'x\\'y' LOGIN", "PASSWORD E'***' LOGIN"),
        ] {
            assert_eq!(without_secrets(text), kept);
        }
    }
}
