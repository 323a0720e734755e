//! PostgreSQL, as an application reaches it: through the cluster's Service, over TLS, with the password of a Secret.

use super::{
    Cluster, Ran,
    kubernetes::{get, secret, text},
    namespace,
    programs::{program, run},
};

impl Cluster {
    /// Address of its Service.
    pub fn address(&self) -> String {
        let service = get("service", &self.name, &namespace()).expect("the cluster has a Service");
        text(&service, "/spec/clusterIP")
    }

    /// `psql` as the configuration's user, on its database.
    pub fn psql(&self, sql: &str) -> Ran {
        let secret_name = format!("{}-testuser-secret", self.name);
        self.psql_as(
            &secret(&secret_name, "username"),
            &secret(&secret_name, "password"),
            sql,
        )
    }

    /// `psql` as the superuser, on the application's database.
    pub fn psql_as_superuser(&self, sql: &str) -> Ran {
        let password = secret(&format!("{}-postgres-secret", self.name), "password");
        self.psql_as("postgres", &password, sql)
    }

    /// `psql` as somebody.
    pub fn psql_as(&self, user: &str, password: &str, sql: &str) -> Ran {
        let address = self.address();
        let mut command = program(
            "psql",
            &[
                "--host",
                &address,
                "--dbname",
                "userdb",
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--file",
                "-",
            ],
        );
        command
            .env("PGUSER", user)
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "require")
            .env("PGCONNECT_TIMEOUT", "10");
        run(command, &format!("\\set ON_ERROR_STOP on\n{sql}\n"))
    }

    /// The answer to a query, as text.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> String {
        self.psql(sql).ok().out.trim().to_owned()
    }
}
