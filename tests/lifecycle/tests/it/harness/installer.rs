//! The project's installer and its opposite, on the installation that the tests use.

use std::{path::PathBuf, process::Command};

use super::{
    Ran,
    kubernetes::{get, text},
    operator,
    programs::{run, setting},
};

/// The settings that PGO was installed with, for the project's installer and its opposite. PGO is there again after this
/// value, also when a test failed.
pub struct Installer {
    settings: Vec<(String, String)>,
}

impl Installer {
    /// As what runs says.
    pub fn of_what_is_there() -> Self {
        let apiserver = get("deployment", "apiserver", &operator()).expect("the apiserver");
        let container = &apiserver["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().cloned().unwrap_or_default();
        let client = PathBuf::from(setting("PGO_CLIENT_CERT"));
        let folder = client
            .parent()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        let mut settings = vec![
            ("PGO_OPERATOR_NAMESPACE".to_owned(), operator()),
            ("PGO_CLIENT_DIR".to_owned(), folder),
            ("PGO_STORAGE_CLASS".to_owned(), "local".to_owned()),
        ];
        for variable in variables {
            let value = text(&variable, "/value");
            if !value.is_empty() {
                settings.push((text(&variable, "/name"), value));
            }
        }
        Self { settings }
    }

    /// One of the settings, as it is; empty where it was not given.
    pub fn setting(&self, name: &str) -> String {
        let found = self.settings.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Runs `install.sh` or `uninstall.sh`, with these settings besides.
    pub fn run(&self, script: &str, settings: &[(&str, &str)]) -> Ran {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new(root.join("deploy/install").join(script));
        command.envs(self.settings.iter().cloned());
        command.envs(settings.iter().copied());
        run(command, "")
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ran = self.run("install.sh", &[]);
            eprintln!("PGO was installed again after a failed test: {ran}");
        }
    }
}
