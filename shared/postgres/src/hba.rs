//! pg_hba.conf: who may connect, and how they prove who they are.

use std::fmt::Write as _;

/// Renders pg_hba.conf. `custom` is the user's own file: it decides for everybody but the agent.
///
/// The first line is the agent's and always there. It trusts whoever reaches the socket, and only processes of the
/// server's own user do (`unix_socket_permissions` is 0700, see [`crate::conf`]): those that could read the data files
/// as well. `peer` would say the same, but needs a name for the user in the image's `/etc/passwd`.
pub fn render(custom: Option<&str>) -> String {
    let mut text = String::from(
        "# Written by PGO's agent at each start. Own rules: pg_hba.conf in the ConfigMap of --custom-config.\n",
    );
    let mut line = |kind: &str, database: &str, user: &str, address: &str, method: &str| {
        // Writing into a String does not fail.
        let _ = writeln!(
            text,
            "{kind:<8}{database:<13}{user:<10}{address:<5}{method}"
        );
    };
    line("local", "all", "postgres", "", "trust");
    match custom {
        None => {
            line("local", "all", "all", "", "scram-sha-256");
            line("hostssl", "replication", "all", "all", "scram-sha-256");
            line("hostssl", "all", "all", "all", "scram-sha-256");
        }
        Some(custom) => {
            text.push_str(custom);
            if !custom.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<Vec<&str>> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn from_afar_only_tls_with_a_password_is_let_in() {
        let text = render(None);
        for rule in rules(&text) {
            match rule[0] {
                "local" if rule[2] == "postgres" => assert_eq!(rule[3], "trust"),
                "local" => assert_eq!(rule[3], "scram-sha-256"),
                "hostssl" => assert_eq!(rule[4], "scram-sha-256"),
                kind => panic!("{kind} lets somebody in"),
            }
        }
    }

    #[test]
    fn own_rules_replace_ours_but_never_lock_the_agent_out() {
        let text = render(Some("local all all reject\nhost all all all md5"));
        assert_eq!(
            rules(&text),
            [
                vec!["local", "all", "postgres", "trust"],
                vec!["local", "all", "all", "reject"],
                vec!["host", "all", "all", "all", "md5"],
            ]
        );
        assert!(text.ends_with('\n'));
    }
}
