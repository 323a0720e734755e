//! Programs of PostgreSQL that connect to a server as its superuser: how they are called, and what they find in their environment.

use std::path::{Path, PathBuf};

/// Who they connect as: only a superuser can read everything.
pub const USER: &str = "postgres";

/// Has no program ask for a password.
pub(crate) const NEVER_ASK: &str = "--no-password";

/// A program of PostgreSQL with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Call {
    pub(crate) fn of(program: &'static str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self {
            program,
            arguments: arguments.into_iter().collect(),
        }
    }
}

/// A server, as libpq's variables have it. The password is in a file: neither arguments nor environment hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, which its certificate has to have.
    pub host: String,
    /// Port of PostgreSQL.
    pub port: u16,
    /// Authority that signed its certificate.
    pub authority: PathBuf,
    /// File with the password.
    pub passwords: PathBuf,
    /// What a program calls itself.
    pub application: &'static str,
}

impl Server {
    /// Variables for a program that connects.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &Path| path.display().to_string();
        vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", USER.to_owned()),
            ("PGPASSFILE", shown(&self.passwords)),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", shown(&self.authority)),
            // It has none; else libpq looks for one in the home of whoever this runs as.
            ("PGSSLCERT", shown(&self.passwords.with_file_name("none"))),
            ("PGCONNECT_TIMEOUT", "10".to_owned()),
            ("PGAPPNAME", self.application.to_owned()),
            with_settings(&[]),
            ("LC_ALL", "C".to_owned()),
        ]
    }
}

/// The variable that has a server serve with these settings of PostgreSQL. What is said is read by a program.
pub fn with_settings(settings: &[(&str, &str)]) -> (&'static str, String) {
    let settings = [("lc_messages", "C")].iter().chain(settings);
    let settings: Vec<String> = settings
        .map(|(name, value)| format!("-c {name}={}", escaped(value)))
        .collect();
    ("PGOPTIONS", settings.join(" "))
}

/// A value among a server's options: white space ends one (documentation, "options").
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_whitespace() || c == '\\' {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// A line of a file of passwords that opens any server to [`USER`] (documentation, "The Password File").
pub fn password_line(password: &str) -> String {
    let password = password.replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:*:{USER}:{password}\n")
}

/// A database as an argument: a name with `=` in it would be taken for more than a name. Who is gone without a word is noticed.
pub(crate) fn database(name: &str) -> String {
    let name = name.replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        "dbname='{name}' keepalives_idle='10' keepalives_interval='5' keepalives_count='3' \
         tcp_user_timeout='60000'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_of_its_own_is_escaped() {
        assert_eq!(password_line("a:b\\c"), "*:*:*:postgres:a\\:b\\\\c\n");
        assert!(database("x host=evil' y").starts_with("dbname='x host=evil\\' y' keepalives"));
        let (name, value) = with_settings(&[("role", "an app")]);
        assert_eq!(
            (name, &*value),
            ("PGOPTIONS", "-c lc_messages=C -c role=an\\ app")
        );
    }

    #[test]
    fn a_server_is_known_by_its_certificate_and_no_password_is_in_the_environment() {
        let server = Server {
            host: "hippo.pgouser1.svc".to_owned(),
            port: 5432,
            authority: "/ca".into(),
            passwords: "/tmp/x/pgpass".into(),
            application: "pgo-dump",
        };
        let variables = server.variables();
        let value = |name: &str| {
            let mut all = variables.iter();
            all.find(|(one, _)| *one == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("PGSSLMODE"), Some("verify-full"));
        assert_eq!(value("PGPASSFILE"), Some("/tmp/x/pgpass"));
        assert_eq!(value("PGSSLCERT"), Some("/tmp/x/none"));
        assert_eq!(value("PGAPPNAME"), Some("pgo-dump"));
        assert_eq!(value("PGOPTIONS"), Some("-c lc_messages=C"));
        assert_eq!(value("PGPASSWORD"), None);
    }
}
