//! Which routes there are, who may use them and what is checked before a handler runs.

use std::fmt;

use crate::{Permission, Permission as P};

/// An HTTP method that some route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl Method {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which methods a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Any, as 4.1 left it on some routes.
    Any,
    /// This one; others are answered with 405.
    One(Method),
}

impl Methods {
    /// Whether a request of the method of this name is for the route.
    pub fn allow(self, method: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one.as_str() == method,
        }
    }
}

/// Where a request has its version, namespace and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It has none.
    None,
    /// In the query (`version`, `namespace`, …).
    Query,
    /// In a JSON body ([`RequestHead`](crate::RequestHead) and more).
    Body,
}

/// How the namespace of a request is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceCheck {
    /// Not at all.
    None,
    /// One must be given, the user may use it, and it belongs to the installation.
    Required,
    /// As above where one is given; else the answer holds what is in namespaces the user may use.
    IfGiven,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub endpoint: Endpoint,
    /// Methods it takes.
    pub methods: Methods,
    /// Path, with `{name}` or `{id}` for a variable segment.
    pub path: &'static str,
    /// What it does, as a sentence: the comment of its row.
    pub summary: &'static str,
    /// What the user must be permitted; `None`: the route needs no user.
    pub permission: Option<Permission>,
    /// Whether the client's version must be [`PGO_VERSION`](crate::PGO_VERSION).
    pub checks_version: bool,
    /// How the namespace is checked, after the version.
    pub namespace: NamespaceCheck,
    /// Where the arguments are.
    pub carrier: Carrier,
    /// Whether it works in this version. One that does not is checked like any other and then answered with
    /// [`texts::not_available`](crate::texts::not_available).
    pub available: bool,
}

/// Whether a row's route works in this version.
const AVAILABLE: bool = true;
const LATER: bool = false;

macro_rules! routes {
    ( $(
        #[doc = $summary:literal]
        $endpoint:ident $method:ident $path:literal $permission:expr, $version:ident, $namespace:ident, $carrier:ident, $available:ident;
    )* ) => {
        /// What a route does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Endpoint { $( #[doc = $summary] $endpoint, )* }

        impl Endpoint {
            /// Its row in the table.
            pub fn route(self) -> &'static Route {
                &ROUTES[self as usize]
            }
        }

        /// Every route: one row per [`Endpoint`], in the same order.
        pub const ROUTES: &[Route] = &[ $( Route {
            endpoint: Endpoint::$endpoint,
            methods: routes!(@methods $method),
            path: $path,
            summary: $summary.trim_ascii(),
            permission: $permission,
            checks_version: routes!(@version $version),
            namespace: routes!(@namespace $namespace),
            carrier: Carrier::$carrier,
            available: $available,
        }, )* ];
    };
    (@methods Any) => { Methods::Any };
    (@methods $one:ident) => { Methods::One(Method::$one) };
    (@version V) => { true };
    (@version x) => { false };
    (@namespace N) => { NamespaceCheck::Required };
    (@namespace Given) => { NamespaceCheck::IfGiven };
    (@namespace x) => { NamespaceCheck::None };
}

// V: the version is checked, N: the namespace is, x: it is not. Some permissions look wrong (benchmarks need those of
// schedules, pgoroles those of pgousers, showing users that of secrets): roles made for 4.1 count on them.
routes! {
    /// Answers with the version of the server.
    Version Any "/version" Some(P::Version), x, x, None, AVAILABLE;
    /// Answers that the server runs, in 4.1's form.
    Health Any "/health" None, x, x, None, AVAILABLE;
    /// Answers that the process runs; never needs a certificate.
    Healthz Any "/healthz" None, x, x, None, AVAILABLE;
    /// New: answers whether requests can be served now, for probes.
    Readyz Any "/readyz" None, x, x, None, AVAILABLE;
    /// New: gives the metrics of the process to Prometheus.
    Metrics Get "/metrics" None, x, x, None, AVAILABLE;
    /// New: gives the history of events, and follows them.
    Events Get "/events" Some(P::ShowCluster), V, Given, Query, AVAILABLE;
    /// New: shows messages that nobody could handle.
    ShowDeadLetter Post "/deadlettershow" Some(P::ShowDeadLetter), V, x, Body, AVAILABLE;
    /// New: gives messages that nobody could handle to their topics again.
    RequeueDeadLetter Post "/deadletterrequeue" Some(P::RequeueDeadLetter), V, x, Body, AVAILABLE;
    /// New: forgets messages that nobody could handle.
    DeleteDeadLetter Post "/deadletterdelete" Some(P::DeleteDeadLetter), V, x, Body, AVAILABLE;

    /// Asks for a new cluster.
    CreateCluster Post "/clusters" Some(P::CreateCluster), V, N, Body, AVAILABLE;
    /// Shows clusters with their pods, Services and replicas.
    ShowCluster Post "/showclusters" Some(P::ShowCluster), V, N, Body, AVAILABLE;
    /// Asks for clusters to be deleted, with their data and backups or without.
    DeleteCluster Post "/clustersdelete" Some(P::DeleteCluster), V, N, Body, AVAILABLE;
    /// Tries to connect to the databases of clusters.
    TestCluster Post "/testclusters" Some(P::TestCluster), V, N, Body, AVAILABLE;
    /// Shows how many clusters, volumes and pods there are, and what is not ready.
    Status Any "/status" Some(P::Status), V, N, Query, AVAILABLE;

    /// Changes settings of clusters.
    UpdateCluster Post "/clustersupdate" Some(P::UpdateCluster), V, N, Body, AVAILABLE;
    /// Asks for further replicas of a cluster.
    ScaleCluster Any "/clusters/scale/{name}" Some(P::ScaleCluster), V, N, Query, AVAILABLE;
    /// Shows the replicas of a cluster that could be removed.
    ScaleQuery Get "/scale/{name}" Some(P::ScaleCluster), V, N, Query, AVAILABLE;
    /// Asks for a replica to be removed.
    ScaleDown Get "/scaledown/{name}" Some(P::ScaleCluster), V, N, Query, AVAILABLE;
    /// Shows how full the volumes of clusters are.
    Df Any "/df/{name}" Some(P::DfCluster), V, N, Query, AVAILABLE;
    /// Shows the pgo.yaml in force.
    ShowConfig Any "/config" Some(P::ShowConfig), V, N, Query, LATER;
    /// Shows how far a creation, backup or restore is.
    ShowWorkflow Get "/workflow/{id}" Some(P::ShowWorkflow), V, N, Query, AVAILABLE;
    /// New: has operations that wait or are under way go on no longer.
    CancelWorkflow Post "/workflowcancel" Some(P::UpdateCluster), V, N, Body, AVAILABLE;
    /// Lists the files on a volume claim.
    ShowPvc Post "/showpvc" Some(P::ShowPVC), V, N, Body, LATER;

    /// Stores a policy, which is SQL to be run on clusters.
    CreatePolicy Any "/policies" Some(P::CreatePolicy), V, N, Body, AVAILABLE;
    /// Shows policies.
    ShowPolicy Post "/showpolicies" Some(P::ShowPolicy), V, N, Body, AVAILABLE;
    /// Deletes policies.
    DeletePolicy Post "/policiesdelete" Some(P::DeletePolicy), V, N, Body, AVAILABLE;
    /// Runs policies on clusters.
    ApplyPolicy Post "/policies/apply" Some(P::ApplyPolicy), x, N, Body, AVAILABLE;

    /// Creates a user of PGO.
    CreatePgouser Post "/pgousercreate" Some(P::CreatePgouser), V, x, Body, LATER;
    /// Shows users of PGO, without their passwords.
    ShowPgouser Post "/pgousershow" Some(P::ShowPgouser), V, x, Body, LATER;
    /// Deletes users of PGO.
    DeletePgouser Post "/pgouserdelete" Some(P::DeletePgouser), V, x, Body, LATER;
    /// Changes the password, roles or namespaces of a user of PGO.
    UpdatePgouser Post "/pgouserupdate" Some(P::UpdatePgouser), x, x, Body, LATER;
    /// Creates a role of PGO.
    CreatePgorole Post "/pgorolecreate" Some(P::CreatePgouser), V, x, Body, LATER;
    /// Shows roles of PGO with their permissions.
    ShowPgorole Post "/pgoroleshow" Some(P::ShowPgouser), V, x, Body, LATER;
    /// Deletes roles of PGO.
    DeletePgorole Post "/pgoroledelete" Some(P::DeletePgouser), V, x, Body, LATER;
    /// Changes the permissions of a role of PGO.
    UpdatePgorole Post "/pgoroleupdate" Some(P::UpdatePgouser), x, x, Body, LATER;

    /// Puts a label on clusters.
    Label Post "/label" Some(P::Label), V, N, Body, LATER;
    /// Takes a label off clusters.
    DeleteLabel Post "/labeldelete" Some(P::Label), V, N, Body, LATER;
    /// Loads a file into a table of clusters.
    Load Post "/load" Some(P::Load), V, N, Body, AVAILABLE;
    /// Asks for clusters to run another image of PostgreSQL.
    Upgrade Post "/upgrades" Some(P::CreateUpgrade), V, Given, Body, AVAILABLE;
    /// Asks for the settings of clusters to be read again.
    Reload Post "/reload" Some(P::Reload), x, N, Body, AVAILABLE;
    /// New: asks for instances of a cluster to be restarted in place.
    RestartCluster Post "/restart" Some(P::RestartCluster), V, N, Body, AVAILABLE;
    /// New: shows the instances of a cluster that can be restarted.
    QueryRestart Get "/restart/{name}" Some(P::RestartCluster), V, N, Query, AVAILABLE;
    /// Lists files of the primary of a cluster.
    Ls Post "/ls" Some(P::Ls), x, N, Body, AVAILABLE;
    /// Shows files of the primary of a cluster.
    Cat Post "/cat" Some(P::Cat), x, N, Body, AVAILABLE;

    /// Creates a PostgreSQL user in clusters.
    CreateUser Post "/usercreate" Some(P::CreateUser), V, N, Body, LATER;
    /// Changes passwords of PostgreSQL users, or how long they are valid.
    UpdateUser Post "/userupdate" Some(P::UpdateUser), V, N, Body, LATER;
    /// Shows the PostgreSQL users of clusters.
    ShowUser Post "/usershow" Some(P::ShowSecrets), V, N, Body, LATER;
    /// Deletes a PostgreSQL user from clusters.
    DeleteUser Post "/userdelete" Some(P::DeleteUser), V, N, Body, LATER;

    /// Shows namespaces, and whether the user and the installation use them.
    ShowNamespace Post "/namespace" Some(P::ShowNamespace), V, x, Body, LATER;
    /// Creates namespaces for clusters.
    CreateNamespace Post "/namespacecreate" Some(P::CreateNamespace), V, x, Body, LATER;
    /// Deletes namespaces.
    DeleteNamespace Post "/namespacedelete" Some(P::DeleteNamespace), V, x, Body, LATER;
    /// Gives namespaces the objects that clusters in them need.
    UpdateNamespace Post "/namespaceupdate" Some(P::UpdateNamespace), V, x, Body, LATER;

    /// Shows the pg_basebackup backups of a cluster.
    ShowBackup Get "/backups/{name}" Some(P::ShowBackup), V, N, Query, AVAILABLE;
    /// Deletes the pg_basebackup backups of a cluster, or its dumps.
    DeleteBackup Get "/backupsdelete/{name}" Some(P::DeleteBackup), V, N, Query, AVAILABLE;
    /// Asks for a backup by pg_basebackup.
    CreateBackup Post "/backups" Some(P::CreateBackup), x, N, Body, AVAILABLE;
    /// Asks for a restore from a backup by pg_basebackup.
    RestorePgbasebackup Post "/pgbasebackuprestore" Some(P::RestorePgbasebackup), x, N, Body, AVAILABLE;
    /// Asks for a backup by pgBackRest.
    CreateBackrestBackup Post "/backrestbackup" Some(P::CreateBackup), x, N, Body, AVAILABLE;
    /// Shows the pgBackRest backups of a cluster.
    ShowBackrest Get "/backrest/{name}" Some(P::ShowBackup), V, N, Query, AVAILABLE;
    /// New: asks for a restore drill, which shows whether a backup can be relied on.
    CreateDrill Post "/restoredrill" Some(P::CreateBackup), V, N, Body, AVAILABLE;
    /// Asks for a restore by pgBackRest.
    Restore Post "/restore" Some(P::Restore), x, N, Body, AVAILABLE;
    /// Asks for a dump by pg_dump.
    CreateDump Post "/pgdumpbackup" Some(P::CreateDump), x, N, Body, AVAILABLE;
    /// Shows the dumps of a cluster.
    ShowDump Get "/pgdump/{name}" Some(P::ShowBackup), V, N, Query, AVAILABLE;
    /// Asks for a dump to be restored.
    RestoreDump Post "/pgdumprestore" Some(P::RestoreDump), x, N, Body, AVAILABLE;

    /// Asks for another primary of a cluster.
    CreateFailover Post "/failover" Some(P::CreateFailover), V, N, Body, AVAILABLE;
    /// Shows the replicas of a cluster that could become its primary.
    QueryFailover Get "/failover/{name}" Some(P::CreateFailover), V, N, Query, AVAILABLE;

    /// Adds pgBouncer to clusters.
    CreatePgbouncer Post "/pgbouncer" Some(P::CreatePgbouncer), V, N, Body, LATER;
    /// Removes pgBouncer from clusters.
    DeletePgbouncerByMethod Delete "/pgbouncer" Some(P::DeletePgbouncer), V, N, Body, LATER;
    /// Removes pgBouncer from clusters, by POST.
    DeletePgbouncer Post "/pgbouncerdelete" Some(P::DeletePgbouncer), V, N, Body, LATER;
    /// Adds pgpool to clusters.
    CreatePgpool Post "/pgpool" Some(P::CreatePgpool), V, N, Body, LATER;
    /// Removes pgpool from clusters.
    DeletePgpool Post "/pgpooldelete" Some(P::DeletePgpool), V, N, Body, LATER;

    /// Creates schedules of backups or policies.
    CreateSchedule Post "/schedule" Some(P::CreateSchedule), x, N, Body, AVAILABLE;
    /// Deletes schedules.
    DeleteSchedule Post "/scheduledelete" Some(P::DeleteSchedule), x, N, Body, AVAILABLE;
    /// Shows schedules.
    ShowSchedule Post "/scheduleshow" Some(P::ShowSchedule), x, N, Body, AVAILABLE;
    /// Asks for a run of pgbench on clusters.
    CreateBenchmark Post "/benchmark" Some(P::CreateSchedule), x, N, Body, AVAILABLE;
    /// Deletes runs of pgbench.
    DeleteBenchmark Post "/benchmarkdelete" Some(P::DeleteSchedule), x, N, Body, AVAILABLE;
    /// Shows runs of pgbench.
    ShowBenchmark Post "/benchmarkshow" Some(P::ShowSchedule), x, N, Body, AVAILABLE;
}

/// Why there is no route for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// Answered with 404.
    #[error("the apiserver has no such path")]
    UnknownPath,
    /// Answered with 405.
    #[error("the path takes another method")]
    OtherMethod,
}

impl Route {
    /// The route for a request, by the name of its method and its path (without query).
    pub fn find(method: &str, path: &str) -> Result<&'static Self, NoRoute> {
        let mut why = NoRoute::UnknownPath;
        for route in ROUTES.iter().filter(|route| route.matches(path)) {
            if route.methods.allow(method) {
                return Ok(route);
            }
            why = NoRoute::OtherMethod;
        }
        Err(why)
    }

    /// The variable segment of a path that this route is for; empty where it has none.
    pub fn variable<'a>(&self, path: &'a str) -> &'a str {
        let at = self.path.split('/').position(|part| part.starts_with('{'));
        at.and_then(|at| path.split('/').nth(at))
            .unwrap_or_default()
    }

    /// Its path with a value in place of the variable segment.
    pub fn path_with(&self, value: &str) -> String {
        let parts = self.path.split('/');
        let parts: Vec<String> = parts
            .map(|part| match part.starts_with('{') {
                true => crate::events::escape(value),
                false => part.to_owned(),
            })
            .collect();
        parts.join("/")
    }

    fn matches(&self, path: &str) -> bool {
        let mut have = path.split('/');
        let all = self.path.split('/').all(|want| match have.next() {
            Some(segment) if want.starts_with('{') => !segment.is_empty(),
            Some(segment) => segment == want,
            None => false,
        });
        all && have.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_finds_its_own_row_and_each_row_its_endpoint() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert_eq!(route.endpoint as usize, at);
            assert_eq!(route.endpoint.route(), route);
            let method = match route.methods {
                Methods::Any => "PATCH",
                Methods::One(method) => method.as_str(),
            };
            let path = route.path.replace("{name}", "hippo").replace("{id}", "17");
            assert_eq!(Route::find(method, &path), Ok(route));
        }
    }

    #[test]
    fn a_path_with_another_method_is_told_from_an_unknown_path() {
        assert_eq!(Route::find("GET", "/clusters"), Err(NoRoute::OtherMethod));
        assert_eq!(Route::find("GET", "/nosuch"), Err(NoRoute::UnknownPath));
        assert_eq!(Route::find("GET", "/scale/"), Err(NoRoute::UnknownPath));
        assert_eq!(Route::find("GET", "/scale/a/b"), Err(NoRoute::UnknownPath));
        assert_eq!(
            Route::find("DELETE", "/pgbouncer").map(|route| route.endpoint),
            Ok(Endpoint::DeletePgbouncerByMethod)
        );
    }

    #[test]
    fn a_variable_segment_is_filled_and_found_again() {
        let route = Endpoint::ScaleCluster.route();
        let path = route.path_with("hippo/../x");
        assert_eq!(path, "/clusters/scale/hippo%2F..%2Fx");
        assert_eq!(route.variable("/clusters/scale/hippo"), "hippo");
        assert_eq!(Endpoint::Status.route().variable("/status"), "");
    }

    #[test]
    fn only_probes_and_metrics_need_no_user() {
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.permission.is_none())
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/health", "/healthz", "/readyz", "/metrics"]);
    }

    #[test]
    fn what_is_checked_has_a_place_to_be_read_from() {
        for route in ROUTES {
            let checked = route.checks_version || route.namespace != NamespaceCheck::None;
            assert!(!checked || route.carrier != Carrier::None, "{}", route.path);
        }
    }
}
