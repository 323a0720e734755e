//! PostgreSQL, as an application reaches it: through a Service, over TLS, with a password.

use super::{
    Cluster, Ran,
    kubernetes::{get, secret, text},
    namespace,
    programs::{program, run},
};

/// The application's database of somebody's cluster.
#[derive(Clone)]
pub struct Database {
    /// Address of the cluster's Service.
    pub address: String,
    /// Who connects.
    pub user: String,
    pub password: String,
}

impl Database {
    /// Where the application's data is.
    pub const NAME: &str = "userdb";

    /// `psql` with these arguments besides, which reads what it shall do.
    pub fn program(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = program("psql", &["--no-psqlrc", "--file", "-"]);
        command
            .args(arguments)
            .env("PGHOST", &self.address)
            .env("PGDATABASE", Self::NAME)
            .env("PGUSER", &self.user)
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", "require");
        command
    }

    /// Runs these statements, to the first that fails.
    pub fn psql(&self, sql: &str) -> Ran {
        let mut command = self.program(&["--tuples-only", "--no-align"]);
        command.env("PGCONNECT_TIMEOUT", "10");
        run(command, &format!("\\set ON_ERROR_STOP on\n{sql}\n"))
    }

    /// The answer to a query, as text.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> String {
        self.psql(sql).ok().out.trim().to_owned()
    }
}

impl From<&Cluster> for Database {
    fn from(cluster: &Cluster) -> Self {
        cluster.database()
    }
}

impl Cluster {
    /// Address of its Service.
    pub fn address(&self) -> String {
        let service = get("service", &self.name, &namespace()).expect("the cluster has a Service");
        text(&service, "/spec/clusterIP")
    }

    /// For the configuration's user.
    pub fn database(&self) -> Database {
        let secret_name = format!("{}-testuser-secret", self.name);
        Database {
            address: self.address(),
            user: secret(&secret_name, "username"),
            password: secret(&secret_name, "password"),
        }
    }

    /// `psql` as the configuration's user, on its database.
    pub fn psql(&self, sql: &str) -> Ran {
        self.database().psql(sql)
    }

    /// `psql` as the superuser, on the application's database.
    pub fn psql_as_superuser(&self, sql: &str) -> Ran {
        let password = secret(&format!("{}-postgres-secret", self.name), "password");
        self.psql_as("postgres", &password, sql)
    }

    /// `psql` as somebody.
    pub fn psql_as(&self, user: &str, password: &str, sql: &str) -> Ran {
        let database = Database {
            address: self.address(),
            user: user.to_owned(),
            password: password.to_owned(),
        };
        database.psql(sql)
    }

    /// The answer to a query, as text.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> String {
        self.database().ask(sql)
    }
}
