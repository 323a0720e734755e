//! `POST /policies`, `/showpolicies` and `/policiesdelete`: policies, each a Pgpolicy. Of their SQL nothing comes into logs.

use std::sync::Arc;

use kube::{
    Api,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams,
        PostParams, Preconditions,
    },
};
use pgo_api::{
    CreatePolicyRequest, DeletePolicyRequest, DeletePolicyResponse, Outcome, PolicyList,
    ShowPolicyRequest, ShowPolicyResponse, texts,
};
use pgo_crd::{DELETED_BY, Pgpolicy, PgpolicySpec, is_dns_1035_label, label, policy_name};
use serde_json::{Value, json};

use super::clusters::is_object_name;
use crate::{app::App, refusal::Refusal, request::Call};

/// Longest SQL, in characters: what a Pgpolicy takes.
const LONGEST: usize = 524_288;

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

pub(super) async fn create(
    call: Arc<Call>,
    request: CreatePolicyRequest,
) -> Result<Outcome, Refusal> {
    let policy = wanted(&request, &call.caller.name)?;
    let policies: Api<Pgpolicy> = call.app.api(&request.namespace);
    match policies.create(&PostParams::default(), &policy).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            return refuse(texts::POLICY_EXISTS);
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(
        namespace = request.namespace,
        policy = request.name,
        user = call.caller.name,
        "a policy was created"
    );
    Ok(Outcome::ok())
}

/// The Pgpolicy that is asked for.
fn wanted(request: &CreatePolicyRequest, caller: &str) -> Result<Pgpolicy, Refusal> {
    let CreatePolicyRequest { name, url, sql, .. } = request;
    if !is_dns_1035_label(name) {
        return refuse(texts::POLICY_NAME);
    }
    policy_name(name)?;
    if sql.is_empty() && url.is_empty() {
        return refuse("a policy has SQL or the URL of it; give --in-file or --url");
    }
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    if !url.is_empty() && !is_http {
        return refuse("the URL of a policy begins with http:// or https://");
    }
    if sql.chars().count() > LONGEST {
        return refuse(format!(
            "the SQL of a policy has at most {LONGEST} characters; make several policies of it"
        ));
    }
    Ok(Pgpolicy {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(request.namespace.clone()),
            labels: Some([(label::PGOUSER.to_owned(), caller.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: PgpolicySpec {
            namespace: request.namespace.clone(),
            name: name.clone(),
            url: url.clone(),
            sql: sql.clone(),
            status: String::new(),
        },
        status: None,
    })
}

pub(super) async fn show(
    call: Arc<Call>,
    request: ShowPolicyRequest,
) -> Result<ShowPolicyResponse, Refusal> {
    let policies = dynamic(&call.app, &request.namespace);
    let policy_list = if request.all {
        let list = policies.list(&ListParams::default()).await?;
        let version = list.metadata.resource_version;
        let items = list.items.into_iter().map(|one| shown(one, true));
        PolicyList {
            metadata: json!({"resourceVersion": version}),
            items: Some(items.collect()),
        }
    } else {
        let found = match is_object_name(&request.policy_name) {
            true => policies.get_opt(&request.policy_name).await?,
            false => None,
        };
        PolicyList {
            metadata: json!({}),
            items: found.map(|found| vec![shown(found, false)]),
        }
    };
    Ok(ShowPolicyResponse {
        policy_list,
        outcome: Outcome::ok(),
    })
}

fn dynamic(app: &App, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<Pgpolicy>(&());
    Api::namespaced_with(app.client.clone(), namespace, &resource)
}

/// A policy as 4.1 shows it: one that was asked for by name without its kind, and with a status in any case. What Kubernetes
/// keeps of who wrote what is left out.
fn shown(mut policy: DynamicObject, with_kind: bool) -> Value {
    policy.metadata.managed_fields = None;
    let mut value = serde_json::to_value(&policy).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
        if with_kind {
            fields.insert("kind".to_owned(), "Pgpolicy".into());
            fields.insert("apiVersion".to_owned(), "crunchydata.com/v1".into());
        }
        fields.entry("status").or_insert_with(|| json!({}));
    }
    value
}

pub(super) async fn delete(
    call: Arc<Call>,
    request: DeletePolicyRequest,
) -> Result<DeletePolicyResponse, Refusal> {
    let policies: Api<Pgpolicy> = call.app.api(&request.namespace);
    let name = request.policy_name.as_str();
    let found: Vec<ObjectMeta> = if request.all {
        let list = policies.list_metadata(&ListParams::default()).await?;
        list.items.into_iter().map(|one| one.metadata).collect()
    } else if is_object_name(name) {
        let found = policies.get_metadata_opt(name).await?;
        found.into_iter().map(|one| one.metadata).collect()
    } else {
        Vec::new()
    };
    if found.is_empty() {
        return refuse(texts::policy_not_found(name));
    }
    // What was begun is finished, also when the client goes away.
    let deleting = tokio::spawn(async move { delete_all(&call, &policies, &found).await });
    deleting
        .await
        .map_err(|error| Refusal(format!("deleting policies broke off: {error}")))
}

async fn delete_all(
    call: &Call,
    policies: &Api<Pgpolicy>,
    found: &[ObjectMeta],
) -> DeletePolicyResponse {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for metadata in found {
        let name = metadata.name.as_deref().unwrap_or_default();
        match remove(call, policies, name, metadata).await {
            Ok(()) => {
                tracing::info!(
                    policy = name,
                    user = call.caller.name,
                    "a policy was deleted"
                );
                results.push(texts::deleted_policy(name));
            }
            Err(error) => {
                let Refusal(why) = error.into();
                problems.push(format!("policy {name}: {why}"));
            }
        }
    }
    let outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    DeletePolicyResponse { results, outcome }
}

/// Notes on exactly this policy who deletes it, and deletes it; one that is gone is fine.
async fn remove(
    call: &Call,
    policies: &Api<Pgpolicy>,
    name: &str,
    metadata: &ObjectMeta,
) -> Result<(), kube::Error> {
    let is_gone =
        |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.is_not_found());
    let note = json!({"metadata": {
        "uid": metadata.uid, "annotations": {DELETED_BY: call.caller.name},
    }});
    let (parameters, note) = (PatchParams::default(), Patch::Merge(&note));
    match policies.patch_metadata(name, &parameters, &note).await {
        Err(error) if is_gone(&error) => return Ok(()),
        noted => noted.map(drop)?,
    }
    let exactly_it = DeleteParams {
        preconditions: Some(Preconditions {
            uid: metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match policies.delete(name, &exactly_it).await {
        Err(error) if is_gone(&error) => Ok(()),
        deleted => deleted.map(drop),
    }
}
