//! Conversations recorded from 4.1's client and apiserver, read into the types and written again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code; helpers are not seen as such"
)]

use std::{fs, path::Path};

use pgo_api::{
    ApplyPolicyRequest, ApplyPolicyResponse, ClusterTestRequest, ClusterTestResponse,
    CreateBackrestBackupRequest, CreateBackrestBackupResponse, CreateBenchmarkRequest,
    CreateBenchmarkResponse, CreateClusterRequest, CreateClusterResponse, CreateDumpRequest,
    CreateDumpResponse, CreatePolicyRequest, CreateScheduleRequest, CreateScheduleResponse,
    DeleteClusterRequest, DeleteClusterResponse, DeletePolicyRequest, DeletePolicyResponse,
    DeleteScheduleResponse, Endpoint, FilesRequest, FilesResponse, LoadRequest, LoadResponse,
    Outcome, RestoreDumpRequest, RestoreRequest, RestoreResponse, Route, SelectBenchmarkRequest,
    SelectScheduleRequest, ShowBackrestQuery, ShowBackrestResponse, ShowBenchmarkResponse,
    ShowClusterRequest, ShowClusterResponse, ShowDumpQuery, ShowDumpResponse, ShowPolicyRequest,
    ShowPolicyResponse, ShowScheduleResponse, ShowWorkflowResponse, StatusQuery, StatusResponse,
    VersionResponse,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

struct Exchange {
    file: String,
    method: String,
    path: String,
    request: Value,
    response: Value,
}

fn recorded() -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut exchanges = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let conversation: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for exchange in conversation["http"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            exchanges.push(Exchange {
                file: path.file_name().unwrap().to_string_lossy().into_owned(),
                method: text(&exchange["request"]["method"]),
                path: text(&exchange["request"]["path"]),
                request: exchange["request"]["body"].clone(),
                response: exchange["response"]["body"].clone(),
            });
        }
    }
    exchanges
}

fn is_unchanged<T: Serialize + DeserializeOwned>(file: &str, value: &Value) {
    let typed: T = serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert_eq!(serde_json::to_value(&typed).unwrap(), *value, "{file}");
}

/// The same of what is about backups and schedules.
fn of_backups_and_schedules(
    endpoint: Endpoint,
    file: &str,
    query: &str,
    (request, response): (&Value, &Value),
) {
    match endpoint {
        Endpoint::CreateBackrestBackup => {
            is_unchanged::<CreateBackrestBackupRequest>(file, request);
            is_unchanged::<CreateBackrestBackupResponse>(file, response);
        }
        Endpoint::Restore => {
            is_unchanged::<RestoreRequest>(file, request);
            is_unchanged::<RestoreResponse>(file, response);
        }
        Endpoint::ShowBackrest => {
            let written = ShowBackrestQuery {
                version: "4.1.0".into(),
                namespace: "pgouser1".into(),
                ..ShowBackrestQuery::default()
            };
            assert_eq!(written.to_query(), query, "{file}");
            is_unchanged::<ShowBackrestResponse>(file, response);
        }
        Endpoint::CreateDump => {
            is_unchanged::<CreateDumpRequest>(file, request);
            is_unchanged::<CreateDumpResponse>(file, response);
        }
        Endpoint::RestoreDump => {
            is_unchanged::<RestoreDumpRequest>(file, request);
            is_unchanged::<RestoreResponse>(file, response);
        }
        Endpoint::ShowDump => {
            let written = ShowDumpQuery {
                version: "4.1.0".into(),
                namespace: "pgouser1".into(),
                ..ShowDumpQuery::default()
            };
            assert_eq!(written.to_query(), query, "{file}");
            is_unchanged::<ShowDumpResponse>(file, response);
        }
        Endpoint::CreateSchedule => {
            is_unchanged::<CreateScheduleRequest>(file, request);
            is_unchanged::<CreateScheduleResponse>(file, response);
        }
        Endpoint::ShowSchedule => {
            is_unchanged::<SelectScheduleRequest>(file, request);
            is_unchanged::<ShowScheduleResponse>(file, response);
        }
        Endpoint::DeleteSchedule => {
            is_unchanged::<SelectScheduleRequest>(file, request);
            is_unchanged::<DeleteScheduleResponse>(file, response);
        }
        other => of_policies(other, file, (request, response)),
    }
}

/// The same of what is about policies, benchmarks and loads.
fn of_policies(endpoint: Endpoint, file: &str, (request, response): (&Value, &Value)) {
    match endpoint {
        Endpoint::CreatePolicy => {
            is_unchanged::<CreatePolicyRequest>(file, request);
            is_unchanged::<Outcome>(file, response);
        }
        Endpoint::ShowPolicy => {
            is_unchanged::<ShowPolicyRequest>(file, request);
            is_unchanged::<ShowPolicyResponse>(file, response);
        }
        Endpoint::DeletePolicy => {
            is_unchanged::<DeletePolicyRequest>(file, request);
            is_unchanged::<DeletePolicyResponse>(file, response);
        }
        Endpoint::ApplyPolicy => {
            is_unchanged::<ApplyPolicyRequest>(file, request);
            is_unchanged::<ApplyPolicyResponse>(file, response);
        }
        Endpoint::CreateBenchmark => {
            is_unchanged::<CreateBenchmarkRequest>(file, request);
            is_unchanged::<CreateBenchmarkResponse>(file, response);
        }
        Endpoint::ShowBenchmark => {
            is_unchanged::<SelectBenchmarkRequest>(file, request);
            is_unchanged::<ShowBenchmarkResponse>(file, response);
        }
        Endpoint::Load => {
            is_unchanged::<LoadRequest>(file, request);
            is_unchanged::<LoadResponse>(file, response);
        }
        other => panic!("{file}: no check for {other:?}"),
    }
}

#[test]
fn each_recorded_body_goes_through_its_type_unchanged() {
    let exchanges = recorded();
    assert!(exchanges.len() >= 20, "only {} found", exchanges.len());
    for Exchange {
        file,
        method,
        path,
        request,
        response,
    } in exchanges
    {
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let route = Route::find(&method, path).unwrap_or_else(|why| panic!("{file}: {why}"));
        match route.endpoint {
            Endpoint::Version => is_unchanged::<VersionResponse>(&file, &response),
            Endpoint::CreateCluster => {
                is_unchanged::<CreateClusterRequest>(&file, &request);
                is_unchanged::<CreateClusterResponse>(&file, &response);
            }
            Endpoint::ShowCluster => {
                is_unchanged::<ShowClusterRequest>(&file, &request);
                is_unchanged::<ShowClusterResponse>(&file, &response);
            }
            Endpoint::DeleteCluster => {
                is_unchanged::<DeleteClusterRequest>(&file, &request);
                is_unchanged::<DeleteClusterResponse>(&file, &response);
            }
            Endpoint::TestCluster => {
                is_unchanged::<ClusterTestRequest>(&file, &request);
                is_unchanged::<ClusterTestResponse>(&file, &response);
            }
            Endpoint::Status => {
                let written = StatusQuery {
                    version: "4.1.0".into(),
                    namespace: "pgouser1".into(),
                };
                assert_eq!(written.to_query(), query, "{file}");
                is_unchanged::<StatusResponse>(&file, &response);
            }
            Endpoint::Cat | Endpoint::Ls => {
                is_unchanged::<FilesRequest>(&file, &request);
                is_unchanged::<FilesResponse>(&file, &response);
            }
            Endpoint::ShowWorkflow => is_unchanged::<ShowWorkflowResponse>(&file, &response),
            // Answered by text alone: the request comes later.
            Endpoint::ShowUser => assert!(response.is_string(), "{file}"),
            // Requests that come later; the objects in their answers are held against the custom resources.
            Endpoint::ShowBackup => assert!(response["BackupList"].is_object(), "{file}"),
            other => of_backups_and_schedules(other, &file, query, (&request, &response)),
        }
    }
}

#[test]
fn fields_are_written_in_the_order_4_1_has() {
    let text = serde_json::to_string(&ShowClusterRequest {
        cluster_name: "hippo".into(),
        client_version: "4.1.0".into(),
        namespace: "pgouser1".into(),
        ..ShowClusterRequest::default()
    })
    .unwrap();
    assert_eq!(
        text,
        r#"{"Clustername":"hippo","Selector":"","Ccpimagetag":"","ClientVersion":"4.1.0","Namespace":"pgouser1","AllFlag":false}"#
    );
}
