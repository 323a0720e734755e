//! Asking agents for another primary. What comes of it shows in the Lease; a refusal is noted for the next look.

use jiff::Timestamp;
use pgo_core::{Cluster, Step};

use crate::{agents::Begun, changes::Due, context::Context};

/// Asks for it, where it is time to.
pub async fn one(step: &Step, cluster: &Cluster, context: &Context) {
    let (operation, planned) = match step {
        Step::Switchover { operation, .. } => (*operation, true),
        Step::Failover { operation, .. } => (*operation, false),
        _ => return,
    };
    let (uid, changes) = (&cluster.stream, &context.changes);
    let due = changes.due(uid, operation, planned, Timestamp::now());
    let namespace = &cluster.namespace;
    let answer = match (due, step) {
        (Due::Ask, Step::Switchover { primary, to, .. }) => {
            match context.agents.switchover(namespace, primary, to).await {
                Ok(Begun::Prepares) => {
                    changes.prepares(uid, operation, Timestamp::now());
                    return;
                }
                Ok(Begun::Now) => Ok(()),
                Err(reason) => Err(reason),
            }
        }
        (Due::Ask, Step::Failover { to, .. }) => context.agents.failover(namespace, to).await,
        (Due::InVain, Step::Switchover { primary, to, .. }) => {
            let reason =
                format!("{primary} had begun to give up and serves on: {to} did not take over");
            changes.in_vain(uid, reason);
            return;
        }
        _ => return,
    };
    if let Err(reason) = &answer {
        tracing::warn!(
            cluster = %cluster.name, namespace = %cluster.namespace, ?step, reason,
            "an agent does not begin a change of the primary"
        );
    }
    changes.answered(uid, operation, answer, Timestamp::now());
}
