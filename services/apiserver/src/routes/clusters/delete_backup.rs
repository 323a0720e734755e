//! `GET /backupsdelete/{name}`: asks for the removal of the copies by `pg_basebackup` of a cluster, or of its dumps, by a Pgtask.

use std::sync::Arc;

use kube::Api;
use pgo_api::{DeleteBackupQuery, DeleteBackupResponse, Outcome, texts};
use pgo_core::{Removed, base_claim_name, dump_claim_name};
use pgo_crd::{Pgtask, REMOVED_TYPE, TaskType, label};
use pgo_ids::{ClusterName, OperationId};

use super::{
    ask, base,
    dump::is_there,
    restore::cluster,
    task::{self, Subject},
};
use crate::{refusal::Refusal, request::Call};

pub(crate) async fn delete(
    call: Arc<Call>,
    query: DeleteBackupQuery,
) -> Result<DeleteBackupResponse, Refusal> {
    let (namespace, name) = (query.namespace, call.variable());
    if name == "all" {
        return Err(Refusal(texts::no_cluster_name(&name)));
    }
    let what = what(&query.backuptype)?;
    let cluster = cluster(&call.app, &namespace, &name).await?;
    let tasks: Api<Pgtask> = call.app.api(&namespace);
    let (asked, claim) = names(what, &name)?;
    let asked = tasks.get_opt(&asked).await?;
    if asked.as_ref().is_some_and(|task| !task::is_over(task)) {
        return Err(Refusal(format!(
            "cluster {name}: a backup was asked for and is not over; see pgo show cluster {name}"
        )));
    }
    is_there(&call.app, &namespace, &claim).await?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move {
        let make = |subject: &Subject<'_>, id| removal(subject, id, what);
        let id = ask::one(&call, &namespace, &cluster, make).await?;
        if let Some(task) = &asked {
            task::remove(&tasks, task).await?;
        }
        Ok(DeleteBackupResponse {
            results: vec![name],
            operation: id.to_string(),
            outcome: Outcome::ok(),
        })
    });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a removal broke off: {error}")))?
}

fn what(word: &str) -> Result<Removed, Refusal> {
    match word {
        "" => Ok(Removed::Copies),
        word => [Removed::Copies, Removed::Dumps]
            .into_iter()
            .find(|what| what.tool() == word)
            .ok_or_else(|| {
                Refusal(format!(
                    "backups of type {word:?} cannot be deleted; there are pgbasebackup and pgdump, and those by pgBackRest go as the \
                     retention of the cluster says"
                ))
            }),
    }
}

/// The task by which they are made, and the claim that they are on.
fn names(what: Removed, name: &str) -> Result<(String, String), Refusal> {
    let cluster: ClusterName = name
        .parse()
        .map_err(|_| Refusal(texts::no_cluster_name(name)))?;
    Ok(match what {
        Removed::Copies => (base::task_name(name), base_claim_name(&cluster)),
        Removed::Dumps => (task::dump_name(name), dump_claim_name(&cluster)),
    })
}

/// The task that asks for it: 4.1's parameters, and which backups are meant.
fn removal(subject: &Subject<'_>, id: OperationId, what: Removed) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        ("delete-data", false.to_string()),
        ("delete-backups", false.to_string()),
        ("is-replica", false.to_string()),
        ("is-backup", true.to_string()),
        ("replica-name", String::new()),
        (REMOVED_TYPE, what.tool().to_owned()),
    ];
    let labels = [(label::PGRMDATA, "true")];
    let name = format!("{}-rmdata-backup", subject.name);
    task::task(subject, name, TaskType::DeleteData, id, &labels, parameters)
}
