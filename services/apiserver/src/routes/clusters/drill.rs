//! `POST /restoredrill`: asks for restore drills by Pgtasks.
//!
//! Which backups there are the reconciler knows, by the agent of the repository: what names another one fails there, and says so.

use std::sync::Arc;

use kube::ResourceExt as _;
use pgo_api::{AskedBackup, CreateDrillRequest, CreateDrillResponse, Outcome, texts};
use pgo_crd::{Pgcluster, Pgtask, TaskType, label};
use pgo_ids::OperationId;

use super::{
    ask,
    backup::backs_up,
    task::{self, Subject},
};
use crate::{refusal::Refusal, request::Call};

/// Longest name of a backup that pgBackRest gives, with the backup that it rests on.
const LONGEST: usize = 64;

pub(crate) async fn drill(
    call: Arc<Call>,
    request: CreateDrillRequest,
) -> Result<CreateDrillResponse, Refusal> {
    check(&request.backup)?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a restore drill broke off: {error}")))?
}

/// Refuses what is no name of a backup.
fn check(backup: &str) -> Result<(), Refusal> {
    let is_of_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match backup.len() <= LONGEST && backup.chars().all(is_of_it) {
        true => Ok(()),
        false => Err(Refusal(format!(
            "{backup:?} is no name of a backup, such as 20261126-210300F; pgo show backup names those that there are"
        ))),
    }
}

/// Asks for each; what stands in the way of one does not keep the others.
async fn all(call: &Call, request: &CreateDrillRequest) -> Result<CreateDrillResponse, Refusal> {
    let mut answer = CreateDrillResponse::default();
    let wanted = (request.args.as_slice(), request.selector.as_str());
    let (clusters, mut problems) = ask::clusters(&call.app, &request.namespace, wanted).await?;
    for cluster in &clusters {
        match one(call, request, cluster).await {
            Ok(asked) => {
                let text = texts::asked_drill(&asked.cluster, &request.backup);
                answer.results.push(text);
                answer.drills.push(asked);
            }
            Err(Refusal(why)) => problems.push(why),
        }
    }
    answer.outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    Ok(answer)
}

async fn one(
    call: &Call,
    request: &CreateDrillRequest,
    cluster: &Pgcluster,
) -> Result<AskedBackup, Refusal> {
    let name = cluster.name_any();
    if !backs_up(&call.app, cluster)? {
        return Err(Refusal(texts::no_backrest(&name)));
    }
    let make = |subject: &Subject<'_>, id| task_for(subject, id, &request.backup);
    let id = ask::one(call, &request.namespace, cluster, make).await?;
    Ok(AskedBackup {
        cluster: name,
        operation: id.to_string(),
    })
}

/// The task that asks for a restore drill of this backup, or of the newest one.
fn task_for(subject: &Subject<'_>, id: OperationId, backup: &str) -> Pgtask {
    let name = format!("{}-restore-drill", subject.name);
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (pgo_crd::DRILLED_BACKUP, backup.to_owned()),
    ];
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str())];
    task::task(subject, name, TaskType::Drill, id, &labels, parameters)
}
