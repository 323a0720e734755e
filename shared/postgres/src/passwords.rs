//! The passwords of a cluster's roles: those that its Secrets say. A role that has another one gets the Secret's.
//!
//! What PostgreSQL stores is no password but what one can be checked against. The check takes milliseconds, so what was found
//! to agree once is remembered.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pgo_ids::RoleName;
use ring::{digest, hmac, pbkdf2};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    SUPERUSER,
    quote::{identifier, literal},
    session::{Session, Socket},
    setup::{SetupError, Verifier, unlogged},
};

/// How long one of our statements may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The most iterations that are counted: what is stored is the user's to choose, and a check must not take seconds.
const MOST_ITERATIONS: u32 = 1_000_000;

/// A role and the password that it is to have.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Name of the role.
    pub role: RoleName,
    /// Its password.
    pub password: SecretString,
}

/// What is known to agree: password and what PostgreSQL stores for it, by role.
#[derive(Debug, Default)]
pub struct Agreed(BTreeMap<RoleName, (SecretString, SecretString)>);

impl Agreed {
    /// Whether these passwords are those that were found to agree last.
    #[must_use]
    pub fn has(&self, wanted: &[Credentials]) -> bool {
        wanted.iter().all(|one| {
            let known = self.0.get(&one.role);
            known.is_some_and(|(password, _)| is_same(password, &one.password))
        })
    }

    fn knows(&self, one: &Credentials, stored: &str) -> bool {
        let known = self.0.get(&one.role);
        known.is_some_and(|(password, agreed)| {
            is_same(password, &one.password) && agreed.expose_secret() == stored
        })
    }

    fn learn(&mut self, one: &Credentials, stored: &str) {
        let agreed = (one.password.clone(), SecretString::from(stored));
        self.0.insert(one.role.clone(), agreed);
    }
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// Gives the roles at `socket` the passwords that are `wanted`, those that are there and have others; which they were.
///
/// # Errors
/// The server cannot be reached, or refuses a statement.
pub async fn set(
    socket: &Socket,
    wanted: &[Credentials],
    agreed: &mut Agreed,
) -> Result<Vec<RoleName>, SetupError> {
    const QUERY: &str = "SELECT rolname::text, coalesce(rolpassword, '') FROM pg_catalog.pg_authid \
        WHERE rolname::text = ANY($1)";
    let session = Session::open(socket, SUPERUSER).await?;
    unlogged(&session).await?;
    let roles: Vec<&str> = wanted.iter().map(|one| one.role.as_str()).collect();
    let stored: BTreeMap<String, String> = session
        .pairs(QUERY, &[&roles], DEADLINE)
        .await?
        .into_iter()
        .collect();
    let mut changed = Vec::new();
    for one in wanted {
        // Roles are made when a server is set up; one that the user removed since stays away.
        let Some(stored) = stored.get(one.role.as_str()) else {
            agreed.learn(one, "");
            continue;
        };
        if agreed.knows(one, stored) {
            continue;
        }
        if opens(&one.password, one.role.as_str(), stored) {
            agreed.learn(one, stored);
            continue;
        }
        let verifier = Verifier::of(&one.password);
        let role = identifier(one.role.as_str())?;
        let statement = format!("ALTER ROLE {role} PASSWORD {}", literal(verifier.as_str())?);
        session.execute(&statement, DEADLINE).await?;
        agreed.learn(one, verifier.as_str());
        changed.push(one.role.clone());
    }
    Ok(changed)
}

/// Whether a password is the one that `stored` was made of: by SCRAM-SHA-256 (RFC 5802, section 3) or, as older servers do, by
/// MD5 (documentation of PostgreSQL, "pg_authid").
fn opens(password: &SecretString, role: &str, stored: &str) -> bool {
    let password = password.expose_secret();
    if stored.starts_with("md5") {
        return postgres_protocol::password::md5(password.as_bytes(), role) == stored;
    }
    // `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`
    let parts = || {
        let (iterations, rest) = stored.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (key, _) = keys.split_once(':')?;
        let iterations: NonZeroU32 = iterations.parse().ok()?;
        let is_few = iterations.get() <= MOST_ITERATIONS;
        is_few.then_some((
            iterations,
            STANDARD.decode(salt).ok()?,
            STANDARD.decode(key).ok()?,
        ))
    };
    let Some((iterations, salt, key)) = parts() else {
        return false;
    };
    let prepared = stringprep::saslprep(password);
    let prepared = prepared.as_deref().unwrap_or(password);
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(
        algorithm,
        iterations,
        &salt,
        prepared.as_bytes(),
        &mut salted,
    );
    let client = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), b"Client Key");
    let found = digest::digest(&digest::SHA256, client.as_ref());
    found.as_ref() == key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credentials(role: &str, password: &str) -> Credentials {
        Credentials {
            role: role.parse().expect("a role"),
            password: SecretString::from(password),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_password_opens_what_was_made_of_it_and_nothing_else(password in "\\PC{1,20}", other in "\\PC{1,20}") {
            let (one, another) = (SecretString::from(password.clone()), SecretString::from(other.clone()));
            let prepared = |text: &str| stringprep::saslprep(text).map_or(text.to_owned(), Into::into);
            let are_same = prepared(&password) == prepared(&other);
            let stored = Verifier::of(&one);
            prop_assert!(opens(&one, "testuser", stored.as_str()));
            prop_assert_eq!(opens(&another, "testuser", stored.as_str()), are_same);
            let stored = postgres_protocol::password::md5(password.as_bytes(), "testuser");
            prop_assert!(opens(&one, "testuser", &stored));
            prop_assert_eq!(opens(&another, "testuser", &stored), password == other);
        }

        #[test]
        fn what_cannot_be_read_is_opened_by_nothing(stored in "(SCRAM-SHA-256\\$|)[0-9$:=a-zA-Z/+]{0,60}") {
            prop_assert!(!opens(&SecretString::from("secret"), "testuser", &stored));
        }
    }

    #[test]
    fn only_what_agreed_needs_no_second_check() {
        let mut agreed = Agreed::default();
        let (one, another) = (credentials("a", "secret"), credentials("a", "other"));
        assert!(!agreed.has(std::slice::from_ref(&one)));
        agreed.learn(&one, "stored");
        assert!(agreed.has(std::slice::from_ref(&one)) && agreed.knows(&one, "stored"));
        assert!(!agreed.knows(&one, "stored anew") && !agreed.knows(&another, "stored"));
        assert!(!agreed.has(&[another]) && !agreed.has(&[one, credentials("b", "secret")]));
    }

    #[test]
    fn no_debug_form_holds_a_password() {
        let one = credentials("a", "secret");
        let mut agreed = Agreed::default();
        agreed.learn(&one, "SCRAM-SHA-256$4096:");
        let shown = format!("{one:?} {agreed:?}");
        assert!(
            !shown.contains("secret\"") && !shown.contains("4096"),
            "{shown}"
        );
    }
}
