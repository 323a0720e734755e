//! The roles and the database that every cluster has: what is missing is made, what is there is left as it is.
//!
//! As in 4.1: the replication role `primaryuser`, an application role with a schema of its own, and the database. Ours:
//! the role that instances replicate as.

use std::{collections::BTreeSet, fmt, time::Duration};

use pgo_ids::RoleName;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    SUPERUSER,
    quote::{NulError, identifier, literal},
    session::{Session, SessionError, Socket},
    upstream,
};

/// How long one of our statements may take. CREATE DATABASE copies 8 MB and waits for a checkpoint.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(60);

/// What PostgreSQL stores in place of a password: SCRAM-SHA-256, with a salt of its own.
///
/// Made here, so that the password itself is in no statement and therefore in no log. Still a secret.
#[derive(Clone)]
pub struct Verifier(String);

impl Verifier {
    /// The verifier of a password.
    pub fn of(password: &SecretString) -> Self {
        let password = password.expose_secret().as_bytes();
        Self(postgres_protocol::password::scram_sha_256(password))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// A role and its password.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name of the role.
    pub role: RoleName,
    /// Verifier of its password.
    pub verifier: Verifier,
}

/// What a cluster is to have.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Role for replication.
    pub replication: Account,
    /// Role for the application.
    pub application: Account,
    /// Database for the application.
    pub database: String,
    /// Extensions to create in it, where the image has them.
    pub extensions: Vec<String>,
}

/// Functions that pg_rewind needs of its source (documentation of pg_rewind, "Notes").
const REWIND: [&str; 4] = [
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// What a cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Names of roles.
    pub roles: BTreeSet<String>,
    /// Names of databases.
    pub databases: BTreeSet<String>,
    /// Names of extensions that could be created.
    pub extensions: BTreeSet<String>,
    /// Whether pg_rewind may use it as a source without being a superuser: from version 11 on.
    pub is_rewindable: bool,
}

/// Statements that make what is missing.
#[derive(Clone, PartialEq, Eq)]
pub struct Statements {
    /// For the database `postgres`.
    pub server: Vec<String>,
    /// For the application's database, afterwards.
    pub database: Vec<String>,
}

impl Setup {
    /// The statements that bring a server with `present` to what is wanted; each can be run alone, in order.
    ///
    /// # Errors
    /// A name holds a NUL byte.
    pub fn statements(&self, present: &Present) -> Result<Statements, NulError> {
        let mut server = Vec::new();
        // One role may be both: its Secret is one then, too.
        let mut roles: BTreeSet<&str> = present.roles.iter().map(String::as_str).collect();
        roles.insert(SUPERUSER);
        for (account, attributes) in [
            (&self.replication, "LOGIN REPLICATION"),
            (&self.application, "LOGIN"),
        ] {
            if roles.insert(account.role.as_str()) {
                server.push(format!(
                    "CREATE ROLE {} {attributes} PASSWORD {}",
                    identifier(account.role.as_str())?,
                    literal(account.verifier.as_str())?
                ));
            }
        }
        if roles.insert(upstream::ROLE) {
            // Without a password: only a certificate opens it.
            server.push(format!("CREATE ROLE {} LOGIN REPLICATION", upstream::ROLE));
        }
        if present.is_rewindable {
            server.extend(REWIND.map(|function| {
                format!(
                    "GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {}",
                    upstream::ROLE
                )
            }));
        }
        let database = identifier(&self.database)?;
        if !present.databases.contains(&self.database) {
            server.push(format!("CREATE DATABASE {database}"));
        }
        let role = identifier(self.application.role.as_str())?;
        server.push(format!(
            "GRANT ALL PRIVILEGES ON DATABASE {database} TO {role}"
        ));

        let mut inside = vec![format!(
            "CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {role}"
        )];
        for extension in &self.extensions {
            if present.extensions.contains(extension) {
                inside.push(format!(
                    "CREATE EXTENSION IF NOT EXISTS {}",
                    identifier(extension)?
                ));
            }
        }
        Ok(Statements {
            server,
            database: inside,
        })
    }
}

/// Why roles and database could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A statement failed.
    #[error("roles and database cannot be made: {0}")]
    Session(#[from] SessionError),
    /// A name cannot be one.
    #[error("roles and database cannot be made: {0}")]
    Name(#[from] NulError),
}

/// Makes what is missing on the server at `socket`. May be run any number of times.
///
/// # Errors
/// The server cannot be reached, or refuses a statement.
pub async fn run(socket: &Socket, setup: &Setup) -> Result<(), SetupError> {
    let session = Session::open(socket, SUPERUSER).await?;
    unlogged(&session).await?;
    let statements = setup.statements(&present(&session).await?)?;
    for statement in &statements.server {
        session.execute(statement, STATEMENT_DEADLINE).await?;
    }
    let session = Session::open(socket, &setup.database).await?;
    unlogged(&session).await?;
    for statement in &statements.database {
        session.execute(statement, STATEMENT_DEADLINE).await?;
    }
    Ok(())
}

/// Keeps our statements, which hold verifiers, out of the server's log and of its statistics.
pub(crate) async fn unlogged(session: &Session) -> Result<(), SessionError> {
    let statement = "SET log_statement = 'none'; SET log_min_duration_statement = -1; \
        SET log_min_error_statement = 'panic'; SET log_duration = off; SET pg_stat_statements.track = 'none'";
    session.execute(statement, STATEMENT_DEADLINE).await
}

async fn present(session: &Session) -> Result<Present, SessionError> {
    let names = async |query: &str| {
        let names = session.names(query, STATEMENT_DEADLINE).await?;
        Ok::<BTreeSet<_>, SessionError>(names.into_iter().collect())
    };
    Ok(Present {
        roles: names("SELECT rolname::text FROM pg_catalog.pg_roles").await?,
        databases: names("SELECT datname::text FROM pg_catalog.pg_database").await?,
        extensions: names("SELECT name::text FROM pg_catalog.pg_available_extensions").await?,
        is_rewindable: session
            .truth(
                "SELECT pg_catalog.current_setting('server_version_num')::int >= 110000",
                STATEMENT_DEADLINE,
            )
            .await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(role: &str) -> Account {
        Account {
            role: role.parse().expect("a role"),
            verifier: Verifier::of(&SecretString::from("se'cret")),
        }
    }

    fn setup(application: &str) -> Setup {
        Setup {
            replication: account("primaryuser"),
            application: account(application),
            database: "user\"db".to_owned(),
            extensions: vec!["pg_stat_statements".to_owned(), "pgaudit".to_owned()],
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_new_server_gets_roles_database_schema_and_the_extensions_it_has() {
        let present = Present {
            extensions: set(&["pg_stat_statements"]),
            ..Present::default()
        };
        let statements = setup("te\"st").statements(&present).expect("statements");
        let starts: Vec<_> = statements
            .server
            .iter()
            .map(|statement| statement.split(" PASSWORD").next().unwrap_or_default())
            .collect();
        assert_eq!(
            starts,
            [
                "CREATE ROLE \"primaryuser\" LOGIN REPLICATION",
                "CREATE ROLE \"te\"\"st\" LOGIN",
                "CREATE ROLE pgo_replication LOGIN REPLICATION",
                "CREATE DATABASE \"user\"\"db\"",
                "GRANT ALL PRIVILEGES ON DATABASE \"user\"\"db\" TO \"te\"\"st\"",
            ]
        );
        assert_eq!(
            statements.database,
            [
                "CREATE SCHEMA IF NOT EXISTS \"te\"\"st\" AUTHORIZATION \"te\"\"st\"",
                "CREATE EXTENSION IF NOT EXISTS \"pg_stat_statements\"",
            ]
        );
    }

    #[test]
    fn a_role_that_is_for_replication_and_for_the_application_is_made_once() {
        let statements = setup("primaryuser").statements(&Present::default());
        let server = statements.expect("statements").server;
        let created = server
            .iter()
            .filter(|s| s.starts_with("CREATE ROLE \"primaryuser\""));
        assert_eq!(created.count(), 1, "{server:?}");
        assert!(server[0].contains("LOGIN REPLICATION"), "{server:?}");
        let statements = setup("postgres").statements(&Present::default());
        let server = statements.expect("statements").server;
        assert!(
            !server.concat().contains("CREATE ROLE \"postgres\""),
            "{server:?}"
        );
    }

    #[test]
    fn a_role_that_is_there_keeps_its_password() {
        let present = Present {
            roles: set(&["primaryuser", "testuser"]),
            databases: set(&["user\"db"]),
            ..Present::default()
        };
        let statements = setup("testuser").statements(&present).expect("statements");
        assert!(!statements.server.concat().contains("PASSWORD"));
        assert!(!statements.server.concat().contains("CREATE DATABASE"));
    }

    #[test]
    fn no_statement_and_no_debug_form_holds_a_password() {
        let setup = setup("testuser");
        let statements = setup.statements(&Present::default()).expect("statements");
        assert!(!statements.server.concat().contains("se'cret"));
        assert!(statements.server.concat().contains("'SCRAM-SHA-256$4096:"));
        assert!(!format!("{setup:?}").contains("SCRAM"));
    }
}
