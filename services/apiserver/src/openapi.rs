//! The OpenAPI description of the REST interface, put together from the route table and the types of requests and answers.

use pgo_api::{
    ApplyPolicyRequest, ApplyPolicyResponse, CancelWorkflowRequest, CancelWorkflowResponse,
    Carrier, ClusterScaleResponse, ClusterTestRequest, ClusterTestResponse,
    CreateBackrestBackupRequest, CreateBackrestBackupResponse, CreateBenchmarkRequest,
    CreateBenchmarkResponse, CreateClusterRequest, CreateClusterResponse, CreateDrillRequest,
    CreateDrillResponse, CreateDumpRequest, CreateDumpResponse, CreateFailoverRequest,
    CreateFailoverResponse, CreatePolicyRequest, CreateScheduleRequest, CreateScheduleResponse,
    CreateUpgradeRequest, CreateUpgradeResponse, DeadLetterRequest, DeadLetterResponse,
    DeleteBackupQuery, DeleteBackupResponse, DeleteBenchmarkResponse, DeleteClusterRequest,
    DeleteClusterResponse, DeletePolicyRequest, DeletePolicyResponse, DeleteScheduleResponse,
    DfQuery, DfResponse, Endpoint, EventsQuery, FilesRequest, FilesResponse, LoadRequest,
    LoadResponse, Method, Methods, Outcome, PGO_VERSION, QueryFailoverResponse,
    QueryRestartResponse, ROUTES, ReloadRequest, ReloadResponse, RequestHead, RestartRequest,
    RestartResponse, RestoreBaseRequest, RestoreDumpRequest, RestoreRequest, RestoreResponse,
    Route, STREAM_TYPE, ScaleDownQuery, ScaleDownResponse, ScaleQuery, ScaleQueryResponse,
    SelectBenchmarkRequest, SelectScheduleRequest, ShowBackrestQuery, ShowBackrestResponse,
    ShowBenchmarkResponse, ShowClusterRequest, ShowClusterResponse, ShowDeadLetterResponse,
    ShowDumpQuery, ShowDumpResponse, ShowPolicyRequest, ShowPolicyResponse, ShowScheduleResponse,
    ShowWorkflowResponse, StatusQuery, StatusResponse, UpdateClusterRequest, UpdateClusterResponse,
    VersionResponse,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Where schemas are in a document.
const SCHEMAS: &str = "/components/schemas";

/// The document, OpenAPI 3.1.
#[must_use]
pub fn openapi() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let method = method(route).as_str().to_ascii_lowercase();
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "PGO apiserver",
            "version": PGO_VERSION,
            "description": "The REST interface of PGO 4.1. Field names of requests match in any case; what is missing has the \
                zero value. A command that fails is answered with status 200 and Code error.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://postgres-operator:8443"}],
        "security": [{"basic": [], "certificate": []}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "A pgouser and its password."},
                "certificate": {
                    "type": "mutualTLS",
                    "description": "The certificate in Secret pgo.tls, which is the server's own.",
                },
            },
        },
    })
}

/// The method of a route; of one that takes any, the method by which 4.1's client asks.
fn method(route: &Route) -> Method {
    match (route.methods, route.carrier) {
        (Methods::One(method), _) => method,
        (Methods::Any, Carrier::Body) => Method::Post,
        (Methods::Any, Carrier::None | Carrier::Query) => Method::Get,
    }
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    responses.insert("200".to_owned(), done(route, generator));
    for (status, why) in failures(route) {
        responses.insert(status.to_owned(), json!({"description": why}));
    }
    let mut operation = json!({
        "operationId": format!("{:?}", route.endpoint),
        "summary": route.summary.trim_start_matches("New: "),
        "parameters": parameters(route, generator),
        "responses": responses,
    });
    let mut remarks = Vec::new();
    match route.permission {
        Some(permission) => remarks.push(format!("Needs the permission {permission}.")),
        None if route.endpoint == Endpoint::Healthz => operation["security"] = json!([]),
        None => operation["security"] = json!([{"certificate": []}]),
    }
    if route.endpoint == Endpoint::Health {
        remarks.push("Needs no certificate where NOAUTH_ROUTES names it.".to_owned());
    }
    if route.methods == Methods::Any {
        remarks.push("Any other method does the same.".to_owned());
    }
    if !route.available {
        let later =
            "Not available in this version yet: it is checked, and answered with Code error.";
        remarks.push(later.to_owned());
    }
    if !remarks.is_empty() {
        operation["description"] = json!(remarks.join(" "));
    }
    if route.carrier == Carrier::Body {
        let schema = request(route.endpoint, generator);
        operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// With which statuses a request to a route can fail, and why.
fn failures(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut failures = Vec::new();
    if route.endpoint != Endpoint::Healthz {
        failures.push(("403", "No client certificate was shown."));
    }
    if route.permission.is_some() {
        failures.push((
            "401",
            "User or password are wrong, or the permission is missing.",
        ));
    }
    match route.carrier {
        Carrier::None => {}
        Carrier::Query => failures.push((
            "400",
            "A parameter of the query is there twice, or cannot be used.",
        )),
        Carrier::Body => failures.extend([
            ("400", "The body is not JSON, or a field has another type."),
            ("408", "The body did not arrive within 30 s."),
            ("413", "The body is larger than 1 MiB."),
        ]),
    }
    match route.endpoint {
        Endpoint::Events => failures.push((
            "503",
            "The event service cannot be reached; it is worth another try.",
        )),
        Endpoint::Readyz => failures.push(("503", "Not ready; the text says what is missing.")),
        _ => {}
    }
    failures
}

/// The answer of a request that reaches its handler.
fn done(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let (media, schema) = match route.endpoint {
        Endpoint::Healthz | Endpoint::Readyz => ("text/plain", json!({"type": "string"})),
        Endpoint::Metrics => ("application/openmetrics-text", json!({"type": "string"})),
        Endpoint::Events => {
            let line = "One JSON object a line: an event with its cursor, the cursor where the history ends, a remark that \
                events are missing, or a refusal. An empty line says that the connection lives.";
            (STREAM_TYPE, json!({"type": "string", "description": line}))
        }
        endpoint => ("application/json", answer(endpoint, generator)),
    };
    let mut content = Map::new();
    content.insert(media.to_owned(), json!({ "schema": schema }));
    json!({"description": "Answered.", "content": content})
}

fn answer(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Value {
    match endpoint {
        Endpoint::Version | Endpoint::Health => schema::<VersionResponse>(generator),
        Endpoint::CreateCluster => schema::<CreateClusterResponse>(generator),
        Endpoint::ShowCluster => schema::<ShowClusterResponse>(generator),
        Endpoint::DeleteCluster => schema::<DeleteClusterResponse>(generator),
        Endpoint::TestCluster => schema::<ClusterTestResponse>(generator),
        Endpoint::Status => schema::<StatusResponse>(generator),
        Endpoint::ScaleCluster => schema::<ClusterScaleResponse>(generator),
        Endpoint::ScaleQuery => schema::<ScaleQueryResponse>(generator),
        Endpoint::ScaleDown => schema::<ScaleDownResponse>(generator),
        Endpoint::UpdateCluster => schema::<UpdateClusterResponse>(generator),
        Endpoint::CreateFailover => schema::<CreateFailoverResponse>(generator),
        Endpoint::QueryFailover => schema::<QueryFailoverResponse>(generator),
        Endpoint::Upgrade => schema::<CreateUpgradeResponse>(generator),
        Endpoint::CreateBackrestBackup => schema::<CreateBackrestBackupResponse>(generator),
        Endpoint::CreateDrill => schema::<CreateDrillResponse>(generator),
        Endpoint::Restore => schema::<RestoreResponse>(generator),
        Endpoint::CreateDump | Endpoint::CreateBackup => schema::<CreateDumpResponse>(generator),
        Endpoint::ShowDump | Endpoint::ShowBackup => schema::<ShowDumpResponse>(generator),
        Endpoint::RestoreDump | Endpoint::RestorePgbasebackup => {
            schema::<RestoreResponse>(generator)
        }
        Endpoint::ShowBackrest => schema::<ShowBackrestResponse>(generator),
        Endpoint::CreateSchedule => schema::<CreateScheduleResponse>(generator),
        Endpoint::ShowSchedule => schema::<ShowScheduleResponse>(generator),
        Endpoint::DeleteSchedule => schema::<DeleteScheduleResponse>(generator),
        Endpoint::CreateBenchmark => schema::<CreateBenchmarkResponse>(generator),
        Endpoint::ShowBenchmark => schema::<ShowBenchmarkResponse>(generator),
        Endpoint::DeleteBackup => schema::<DeleteBackupResponse>(generator),
        Endpoint::DeleteBenchmark => schema::<DeleteBenchmarkResponse>(generator),
        Endpoint::Load => schema::<LoadResponse>(generator),
        Endpoint::ShowPolicy => schema::<ShowPolicyResponse>(generator),
        Endpoint::DeletePolicy => schema::<DeletePolicyResponse>(generator),
        Endpoint::ApplyPolicy => schema::<ApplyPolicyResponse>(generator),
        Endpoint::Reload => schema::<ReloadResponse>(generator),
        Endpoint::RestartCluster => schema::<RestartResponse>(generator),
        Endpoint::QueryRestart => schema::<QueryRestartResponse>(generator),
        Endpoint::Df => schema::<DfResponse>(generator),
        Endpoint::Ls | Endpoint::Cat => schema::<FilesResponse>(generator),
        Endpoint::ShowWorkflow => schema::<ShowWorkflowResponse>(generator),
        Endpoint::CancelWorkflow => schema::<CancelWorkflowResponse>(generator),
        Endpoint::ShowDeadLetter => schema::<ShowDeadLetterResponse>(generator),
        Endpoint::RequeueDeadLetter | Endpoint::DeleteDeadLetter => {
            schema::<DeadLetterResponse>(generator)
        }
        _ => schema::<Outcome>(generator),
    }
}

fn request(endpoint: Endpoint, generator: &mut SchemaGenerator) -> Value {
    match endpoint {
        Endpoint::CreateCluster => optional::<CreateClusterRequest>(generator),
        Endpoint::ShowCluster => optional::<ShowClusterRequest>(generator),
        Endpoint::DeleteCluster => optional::<DeleteClusterRequest>(generator),
        Endpoint::TestCluster => optional::<ClusterTestRequest>(generator),
        Endpoint::UpdateCluster => optional::<UpdateClusterRequest>(generator),
        Endpoint::CreateFailover => optional::<CreateFailoverRequest>(generator),
        Endpoint::Upgrade => optional::<CreateUpgradeRequest>(generator),
        Endpoint::CreateBackrestBackup => optional::<CreateBackrestBackupRequest>(generator),
        Endpoint::CreateDump | Endpoint::CreateBackup => optional::<CreateDumpRequest>(generator),
        Endpoint::CreateDrill => optional::<CreateDrillRequest>(generator),
        Endpoint::RestorePgbasebackup => optional::<RestoreBaseRequest>(generator),
        Endpoint::RestoreDump => optional::<RestoreDumpRequest>(generator),
        Endpoint::Restore => optional::<RestoreRequest>(generator),
        Endpoint::CreateSchedule => optional::<CreateScheduleRequest>(generator),
        Endpoint::ShowSchedule | Endpoint::DeleteSchedule => {
            optional::<SelectScheduleRequest>(generator)
        }
        Endpoint::CreateBenchmark => optional::<CreateBenchmarkRequest>(generator),
        Endpoint::ShowBenchmark | Endpoint::DeleteBenchmark => {
            optional::<SelectBenchmarkRequest>(generator)
        }
        Endpoint::Load => optional::<LoadRequest>(generator),
        Endpoint::CreatePolicy => optional::<CreatePolicyRequest>(generator),
        Endpoint::ShowPolicy => optional::<ShowPolicyRequest>(generator),
        Endpoint::DeletePolicy => optional::<DeletePolicyRequest>(generator),
        Endpoint::ApplyPolicy => optional::<ApplyPolicyRequest>(generator),
        Endpoint::Reload => optional::<ReloadRequest>(generator),
        Endpoint::RestartCluster => optional::<RestartRequest>(generator),
        Endpoint::CancelWorkflow => optional::<CancelWorkflowRequest>(generator),
        Endpoint::Ls | Endpoint::Cat => optional::<FilesRequest>(generator),
        Endpoint::ShowDeadLetter | Endpoint::RequeueDeadLetter | Endpoint::DeleteDeadLetter => {
            optional::<DeadLetterRequest>(generator)
        }
        _ => optional::<RequestHead>(generator),
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The schema of a request: no field of it must be there.
fn optional<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let reference = schema::<T>(generator);
    let definition = generator.definitions_mut().get_mut(&*T::schema_name());
    if let Some(fields) = definition.and_then(Value::as_object_mut) {
        fields.remove("required");
    }
    reference
}

/// Variable segments of the path, and the query.
fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let of_path = route.path.split(['{', '}']).skip(1).step_by(2).map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
    );
    let mut parameters: Vec<Value> = of_path.collect();
    if route.carrier == Carrier::Query {
        let query = match route.endpoint {
            Endpoint::Events => generator.root_schema_for::<EventsQuery>(),
            Endpoint::ScaleCluster => generator.root_schema_for::<ScaleQuery>(),
            Endpoint::Df => generator.root_schema_for::<DfQuery>(),
            Endpoint::ScaleDown => generator.root_schema_for::<ScaleDownQuery>(),
            Endpoint::ShowDump => generator.root_schema_for::<ShowDumpQuery>(),
            Endpoint::DeleteBackup => generator.root_schema_for::<DeleteBackupQuery>(),
            Endpoint::ShowBackrest => generator.root_schema_for::<ShowBackrestQuery>(),
            _ => generator.root_schema_for::<StatusQuery>(),
        };
        let properties = query.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            let mut schema = schema.clone();
            let description = schema
                .as_object_mut()
                .and_then(|fields| fields.remove("description"));
            parameters.push(json!({
                "name": name, "in": "query", "schema": schema,
                "description": description.unwrap_or_default(),
            }));
        }
    }
    parameters
}
