//! `POST /load`: has a file of a claim loaded into a table of each cluster. Policies that are named are applied before; then a
//! Pgtask asks for it, which the reconciler carries out.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt as _, api::ListParams};
use pgo_api::{AskedJob, LoadRequest, LoadResponse, Outcome, texts};
use pgo_core::{JobKind, job_name};
use pgo_crd::{FILE_CLAIM, LOAD_KEYS, Pgcluster, TaskType, label, load_wish};
use pgo_ids::OperationId;
use serde_json::Value;
use uuid::Uuid;

use super::{
    ask, policy,
    scale::identity,
    task::{self, Subject},
};
use crate::{app::App, refusal::Refusal, request::Call};

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

pub(crate) async fn load(call: Arc<Call>, request: LoadRequest) -> Result<LoadResponse, Refusal> {
    if request.args.is_empty() && request.selector.is_empty() {
        return refuse(texts::LOAD_WITHOUT_CLUSTERS);
    }
    let wanted = read(&request.load_config)?;
    let said = |key: &str| wanted.get(key).map(String::as_str).unwrap_or_default();
    load_wish(said).map_err(Refusal)?;
    let namespace = request.namespace.as_str();
    claim_is_there(&call.app, namespace, said(FILE_CLAIM)).await?;
    for name in policies(&request) {
        policy::is_there(&call, namespace, name).await?;
    }
    let of = (request.args.as_slice(), request.selector.as_str());
    let (clusters, mut problems) = ask::clusters(&call.app, namespace, of).await?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move {
        let each = clusters
            .iter()
            .map(|cluster| one(&call, &request, cluster, &wanted));
        let mut answer = LoadResponse::default();
        for asked in futures::future::join_all(each).await {
            match asked {
                Ok(asked) => {
                    answer.results.push(texts::created_job(&asked.job));
                    answer.jobs.push(asked);
                }
                Err(Refusal(why)) => problems.push(why),
            }
        }
        answer.outcome = match problems.as_slice() {
            [] => Outcome::ok(),
            some => Outcome::error(some.join("; ")),
        };
        answer
    });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a load broke off: {error}")))
}

/// The policies that are applied before.
fn policies(request: &LoadRequest) -> impl Iterator<Item = &str> {
    let names = request.policies.split(',').map(str::trim);
    names.filter(|name| !name.is_empty())
}

/// Reads a load file; of its keys those that mean something here. The others 4.1 needed for an image of its own.
fn read(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let options = serde_saphyr::options! { with_snippet: false };
    let read: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Refusal(format!("yaml: {error}")))?;
    let fields = match read {
        Value::Object(fields) => fields,
        Value::Null => serde_json::Map::new(),
        Value::String(text) => return refuse(no_mapping("str", &text)),
        Value::Array(_) => return refuse(no_mapping("seq", "")),
        other => return refuse(no_mapping("scalar", &other.to_string())),
    };
    let mut wanted = BTreeMap::new();
    for key in LOAD_KEYS {
        let value = match fields.get(key) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return refuse(format!("{key} is neither a text nor a number")),
        };
        wanted.insert(key.to_owned(), value);
    }
    Ok(wanted)
}

/// 4.1's text for a file that has no keys.
fn no_mapping(kind: &str, value: &str) -> String {
    let value = match value.char_indices().nth(7) {
        Some((end, _)) if value.len() > 10 => format!("`{}...` ", &value[..end]),
        _ if value.is_empty() => String::new(),
        _ => format!("`{value}` "),
    };
    format!(
        "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!{kind} {value}into loadservice.LoadConfig"
    )
}

/// Whether a claim is there; Kubernetes' text where it is not.
async fn claim_is_there(app: &App, namespace: &str, claim: &str) -> Result<(), Refusal> {
    let claims: Api<PersistentVolumeClaim> = app.api(namespace);
    let named = ListParams::default().fields(&format!("metadata.name={claim}"));
    let found = claims.list_metadata(&named).await?;
    match found.items.iter().any(|one| one.name_any() == claim) {
        true => Ok(()),
        false => refuse(texts::no_claim(claim)),
    }
}

/// Applies the policies to one cluster, one after the other, and asks for the load where all of them went well.
async fn one(
    call: &Call,
    request: &LoadRequest,
    cluster: &Pgcluster,
    wanted: &BTreeMap<String, String>,
) -> Result<AskedJob, Refusal> {
    let namespace = request.namespace.as_str();
    let (name, _) = identity(cluster)?;
    for policy in policies(request) {
        let applied = policy::one(call, (namespace, policy), cluster).await;
        applied.map_err(|Refusal(why)| Refusal(format!("{why}; nothing was loaded")))?;
    }
    let id = OperationId::from(Uuid::new_v4());
    let job = job_name(&name, JobKind::Load, id);
    let mut parameters = wanted.clone();
    parameters.insert(label::PG_CLUSTER.to_owned(), name.to_string());
    let make =
        |subject: &Subject<'_>, id| task::job(subject, TaskType::Load, (id, &job), parameters);
    ask::by_id(call, namespace, cluster, (id, make)).await?;
    Ok(AskedJob {
        cluster: name.to_string(),
        job,
        operation: id.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_file_is_yaml_or_json_and_keys_of_4_1s_image_are_passed_over() {
        let yaml = "PGOImagePrefix: crunchydata\nDbPort: 5432\nTableToLoad: people\nFSGroup:\n";
        let json =
            r#"{"PGOImagePrefix": "crunchydata", "DbPort": "5432", "TableToLoad": "people"}"#;
        for text in [yaml, json] {
            let read = read(text).unwrap_or_else(|Refusal(why)| panic!("{why}"));
            let said: Vec<_> = read
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            assert_eq!(said, [("DbPort", "5432"), ("TableToLoad", "people")]);
        }
    }

    #[test]
    fn what_is_no_load_file_is_refused_in_4_1s_words() {
        let why = |text: &str| read(text).err().map(|Refusal(why)| why).unwrap_or_default();
        assert_eq!(
            why("create table if not exists demo(id int);\n"),
            "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `create ...` into loadservice.LoadConfig"
        );
        assert!(why("[1, 2]").contains("!!seq into"), "{}", why("[1, 2]"));
        assert!(why("DbPort: {a: b}").contains("DbPort is neither a text nor a number"));
        assert!(why("a: b: c").starts_with("yaml: "));
    }
}
