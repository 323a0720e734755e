//! Asking agents to reload or restart PostgreSQL. What comes of a restart shows in what they say; an answer is noted for the
//! next look.

use jiff::Timestamp;
use pgo_core::{Cluster, Step};

use crate::{agents::Unheard, changes::Due, context::Context};

/// Asks for it.
pub async fn one(step: &Step, cluster: &Cluster, context: &Context) {
    let (uid, namespace) = (&cluster.stream, &cluster.namespace);
    match step {
        Step::Reload {
            operation,
            instance,
        } => {
            let answer = match context.agents.reload(namespace, instance).await {
                Ok(pending) => Ok(pending),
                Err(Unheard::Refused(reason)) => Err(reason),
                // It is asked again.
                Err(Unheard::Failed(why)) => {
                    tracing::warn!(cluster = %cluster.name, %namespace, %instance, why, "no reload yet");
                    return;
                }
            };
            let reloads = &context.reloads;
            reloads.answered(uid, *operation, instance, answer);
            context.wake(cluster);
        }
        Step::Restart {
            operation,
            instance,
            started,
        } => {
            let (changes, now) = (&context.changes, Timestamp::now());
            if changes.due(uid, *operation, false, now) != Due::Ask {
                return;
            }
            let answer = context.agents.restart(namespace, instance, *started).await;
            if let Err(reason) = &answer {
                tracing::warn!(cluster = %cluster.name, %namespace, %instance, reason, "no restart yet");
            }
            changes.answered(uid, *operation, answer, Timestamp::now());
        }
        _ => {}
    }
}
