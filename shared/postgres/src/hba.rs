//! pg_hba.conf: who may connect, and how they prove who they are.

use std::fmt::Write as _;

use crate::upstream;

/// Name of our map in pg_ident.conf.
const MAP: &str = "pgo";

/// Renders pg_hba.conf. `custom` is the user's own file: it decides for everybody but the agent.
///
/// The first line is the agent's and always there. It trusts whoever reaches the socket, and only processes of the
/// server's own user do (`unix_socket_permissions` is 0700, see [`crate::conf`]): those that could read the data files
/// as well. `peer` would say the same, but needs a name for the user in the image's `/etc/passwd`.
///
/// The second is for the other instances of the cluster, which the agents' certificate proves (see [`ident`]).
pub fn render(custom: Option<&str>) -> String {
    let mut text = String::from(
        "# Written by PGO's agent at each start. Own rules: pg_hba.conf in the ConfigMap of --custom-config.\n",
    );
    let mut line = |kind: &str, database: &str, user: &str, address: &str, method: &str| {
        // Writing into a String does not fail.
        let _ = writeln!(
            text,
            "{kind:<8}{database:<21}{user:<16}{address:<5}{method}"
        );
    };
    line("local", "all,replication", "postgres", "", "trust");
    let by_certificate = format!("cert map={MAP}");
    line(
        "hostssl",
        "replication,postgres",
        upstream::ROLE,
        "all",
        &by_certificate,
    );
    line("hostssl", "all", upstream::ROLE, "all", "reject");
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

/// Renders pg_ident.conf: the certificate with this common name is the agents', and opens the role for replication.
/// `custom` is the user's own file.
pub fn ident(common_name: &str, custom: Option<&str>) -> String {
    let name = common_name.replace('"', "\"\"");
    let mut text = format!("{MAP} \"{name}\" {}\n", upstream::ROLE);
    if let Some(custom) = custom {
        text.push_str(custom);
        if !custom.ends_with('\n') {
            text.push('\n');
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
                "hostssl" if rule[2] == "pgo_replication" => {
                    assert!(matches!(rule[4], "cert" | "reject"));
                }
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
                vec!["local", "all,replication", "postgres", "trust"],
                vec![
                    "hostssl",
                    "replication,postgres",
                    "pgo_replication",
                    "all",
                    "cert",
                    "map=pgo"
                ],
                vec!["hostssl", "all", "pgo_replication", "all", "reject"],
                vec!["local", "all", "all", "reject"],
                vec!["host", "all", "all", "all", "md5"],
            ]
        );
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn only_the_agents_certificate_is_mapped_to_the_role_for_replication() {
        let text = ident("hippo.pgouser1.agent.pgo", Some("own me postgres"));
        assert_eq!(
            text,
            "pgo \"hippo.pgouser1.agent.pgo\" pgo_replication\nown me postgres\n"
        );
    }
}
