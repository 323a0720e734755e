//! The table as the YAML that is installed, with its reasons as comments.

use std::{
    env,
    fmt::{self, Write as _},
    fs, io,
    path::{Path, PathBuf},
};

use super::{Right, Rights};

/// Longest line of a comment, in characters.
const WIDTH: usize = 120;

impl Rights {
    /// The Roles and the ClusterRole of the process, as `deploy/install/rbac.awk` reads them: those in namespaces
    /// without a namespace, all without bindings, and nothing where there is no right.
    #[must_use]
    pub fn manifest(&self) -> String {
        let Self { process, .. } = self;
        let head = format!(
            "What the {process} may do. Generated from services/{process}/src/rights.rs: \
             UPDATE=1 cargo test -p pgo-{process} writes it anew."
        );
        let documents: Vec<String> = [
            ("Role", "", self.targets),
            ("Role", "-operator", self.operator),
            ("ClusterRole", "", self.cluster),
        ]
        .into_iter()
        .filter(|(_, _, rights)| !rights.is_empty())
        .map(|(kind, end, rights)| {
            let rules: String = rights.iter().map(Right::to_string).collect();
            format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: pgo-{process}{end}\n\
                 rules:\n{rules}"
            )
        })
        .collect();
        comment(&head) + &documents.join("---\n")
    }

    /// Holds the file `<process>.yaml` of a folder against the table. Where the environment has `UPDATE`, it is written
    /// anew before.
    ///
    /// # Errors
    /// It is something else than the table says, or cannot be read or written.
    pub fn hold_against(&self, folder: &Path) -> Result<(), Differs> {
        let Self { process, .. } = *self;
        let path = folder.join(format!("{process}.yaml"));
        let told = |cause| Differs::File {
            path: path.clone(),
            cause,
        };
        let generated = self.manifest();
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &generated).map_err(told)?;
        }
        let installed = fs::read_to_string(&path).map_err(told)?;
        if installed == generated {
            Ok(())
        } else {
            Err(Differs::Table { path, process })
        }
    }
}

/// Why an installed file is not what the table says.
#[derive(Debug, thiserror::Error)]
pub enum Differs {
    /// It has something else.
    #[error(
        "{} is not what src/rights.rs says; run UPDATE=1 cargo test -p pgo-{process}",
        path.display()
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// The process.
        process: &'static str,
    },
    /// It cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// A rule, below its reason.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&comment(self.reason))?;
        let group = if self.group.is_empty() {
            "\"\""
        } else {
            self.group
        };
        writeln!(f, "- apiGroups: [{group}]")?;
        writeln!(f, "  resources: [{}]", self.resources.join(", "))?;
        if !self.names.is_empty() {
            writeln!(f, "  resourceNames: [{}]", self.names.join(", "))?;
        }
        let verbs: Vec<&str> = self.verbs.iter().map(|verb| verb.as_str()).collect();
        writeln!(f, "  verbs: [{}]", verbs.join(", "))
    }
}

fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        if length == 0 || length + 1 + word.len() > WIDTH {
            lines.push_str(if length == 0 { "#" } else { "\n#" });
            length = 1;
        }
        // A String takes everything.
        let _ = write!(lines, " {word}");
        length += 1 + word.len();
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::Role;

    use super::*;
    use crate::rights::Verb::*;

    const RIGHTS: Rights = Rights {
        process: "example",
        targets: &[
            Right::new(
                "",
                &["pods", "secrets"],
                &[List, Create],
                "What a cluster has.",
            ),
            Right::new(
                "apps",
                &["deployments"],
                &[Get],
                "Whether it: \"is\" there.",
            )
            .named(&["one"]),
        ],
        operator: &[],
        cluster: &[Right::new(
            "",
            &["nodes"],
            &[DeleteCollection],
            "No reason.",
        )],
    };

    #[test]
    fn yaml_has_each_rule_of_the_table() {
        let text = RIGHTS.manifest();
        let documents: Vec<&str> = text.split("---\n").collect();
        assert_eq!(documents.len(), 2, "{text}");
        let read = |text: &str| -> Role { serde_saphyr::from_str(text).expect("a Role") };
        let rules = read(documents[0]).rules.expect("rules");
        assert_eq!(rules.len(), 2);
        let (first, second) = (&rules[0], &rules[1]);
        assert_eq!(first.api_groups, Some(vec![String::new()]));
        assert_eq!(
            first.resources,
            Some(vec!["pods".to_owned(), "secrets".to_owned()])
        );
        assert_eq!(first.resource_names, None);
        assert_eq!(first.verbs, ["list", "create"]);
        assert_eq!(second.api_groups, Some(vec!["apps".to_owned()]));
        assert_eq!(second.resource_names, Some(vec!["one".to_owned()]));
        assert!(text.contains("\n# Whether it: \"is\" there.\n- apiGroups: [apps]\n"));
        assert!(documents[1].contains("\nkind: ClusterRole\n"), "{text}");
    }

    #[test]
    fn a_long_reason_goes_on_in_the_next_line() {
        let long = "word ".repeat(60);
        let text = comment(&long);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines()
                .all(|line| line.starts_with("# word") && line.len() <= WIDTH),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_is_missing_is_told_with_its_path() {
        let differs = RIGHTS
            .hold_against(Path::new("nowhere"))
            .expect_err("no such folder");
        let told = differs.to_string();
        assert!(told.starts_with("nowhere/example.yaml: "), "{told}");
    }
}
