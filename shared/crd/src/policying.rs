//! From Pgtasks and specs that name policies to what the core decides on.

use std::collections::BTreeSet;

use pgo_core::{PolicyPlace, PolicyRequest};

use crate::{
    InvalidSpec, Pgcluster, PgclusterSpec, PgoConfig, Pgtask, TaskType,
    convert::{actor, invalid},
    label,
    restarting::{asked, in_order},
};

/// Parameter of a task that asks for a policy to be applied: its name.
pub const POLICY: &str = "policy";

/// Parameter of such a task: the database; `postgres` where it is not there or empty.
pub const DATABASE: &str = "database";

/// Parameter of such a task: the Secret of the user as whom the policy is run; the superuser where it is not there or empty.
pub const SECRET: &str = "secret";

/// Annotation of a Pgpolicy that is deleted on request: who asked for it.
pub const DELETED_BY: &str = "pgo.crunchydata.com/deleted-by";

/// So many policies of a spec at most: each has a place in the status while it waits.
const MOST: usize = 32;

/// The policies that Pgtasks ask to apply and that are not over, the first to ask first.
#[must_use]
pub fn policy_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<PolicyRequest> {
    in_order(tasks, |task| policy_request(task, cluster))
}

/// The policy that a Pgtask asks to apply, where it does.
#[must_use]
pub fn policy_request(task: &Pgtask, cluster: &Pgcluster) -> Option<PolicyRequest> {
    let policy = task.spec.parameters.get(POLICY);
    let given = |key: &str| {
        let value = task.spec.parameters.get(key);
        value.filter(|value| !value.is_empty()).cloned()
    };
    Some(PolicyRequest {
        operation: asked(task, cluster, TaskType::ApplyPolicy)?,
        actor: actor(task),
        policy: policy_name(policy.map_or("", String::as_str)),
        place: PolicyPlace {
            database: given(DATABASE),
            secret: given(SECRET),
        },
    })
}

/// Whether a text is a DNS-1035 label, as 4.1 wants the name of a policy.
#[must_use]
pub fn is_dns_1035_label(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(is_inner)
        && name.chars().all(|c| is_inner(c) || c == '-')
}

/// A name that a policy can have: a DNS-1035 label, as 4.1 has it, and none of PGO's own labels: it becomes a label of the
/// clusters that it is applied to.
///
/// # Errors
/// Why no policy can have it, for people.
pub fn policy_name(name: &str) -> Result<String, String> {
    if !is_dns_1035_label(name) {
        return Err(format!(
            "{name:?} cannot be a policy: a name has at most 63 of a-z, 0-9 and '-', a letter first, a letter or digit last"
        ));
    }
    if label::is_reserved(name) {
        return Err(format!(
            "{name} is a label that PGO sets on clusters, which the name of a policy becomes, too; name the policy differently"
        ));
    }
    Ok(name.to_owned())
}

/// The policies to apply to a cluster that is made, in this order: those of its spec, or of `pgo.yaml` where it names none.
///
/// # Errors
/// One has a name that none can have, or there are too many.
pub fn at_creation(spec: &PgclusterSpec, config: &PgoConfig) -> Result<Vec<String>, InvalidSpec> {
    let list = match spec.policies.as_str() {
        "" => &config.cluster.policies,
        list => list,
    };
    let names = list.split(',').map(str::trim);
    let (mut seen, mut policies) = (BTreeSet::new(), Vec::new());
    for name in names.filter(|name| !name.is_empty()) {
        match policy_name(name) {
            Ok(name) if seen.insert(name.clone()) => policies.push(name),
            Ok(_) => {}
            Err(why) => return invalid("policies", why),
        }
    }
    if policies.len() > MOST {
        return invalid(
            "policies",
            format!("there are {}; name at most {MOST}", policies.len()),
        );
    }
    Ok(policies)
}
