//! Benchmarks and loads: the bodies of `/benchmark`, `/benchmarkshow`, `/benchmarkdelete` and `/load`.

use crate::wire::wire;

wire! {
    /// `POST /benchmark`. 4.1's client sends no version with it, nor with the others about benchmarks.
    pub struct CreateBenchmarkRequest {
        /// The names that were given; only the cluster's name counts, as in 4.1.
        args: Vec<String> = "Args",
        /// Further options of the run.
        benchmark_opts: String = "BenchmarkOpts",
        /// Clients; 0 means 1.
        clients: i64 = "Clients",
        /// Name of one cluster.
        cluster_name: String = "ClusterName",
        /// The database; empty means `postgres`.
        database: String = "Database",
        /// Further options of the initialisation.
        init_opts: String = "InitOpts",
        /// Threads; 0 means 1.
        jobs: i64 = "Jobs",
        /// Namespace of the cluster.
        namespace: String = "Namespace",
        /// A policy whose SQL is the transaction that is run; empty means pgbench's own.
        policy: String = "Policy",
        /// Scale factor; 0 means 1.
        scale: i64 = "Scale",
        /// Kubernetes label selector of clusters; before the name of one.
        selector: String = "Selector",
        /// Transactions of each client; 0 means 1.
        transactions: i64 = "Transactions",
        /// Sent by no client, and not available.
        user: String = "User",
    }
}

wire! {
    /// Answer of `POST /benchmark`.
    pub response CreateBenchmarkResponse {
        /// Two texts per cluster: that it was asked for, and the id of its workflow.
        results: Vec<String> = "Results",
        /// New, and only there where there are any: the benchmarks that were asked for.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        jobs: Vec<AskedJob> = "Jobs",
    }
}

wire! {
    /// A benchmark, or a load, that was asked for.
    pub struct AskedJob {
        /// The cluster.
        cluster: String = "Cluster",
        /// Its name, and that of its task.
        job: String = "Job",
        /// Id of the operation, by which its events are found.
        operation: String = "OperationID",
    }
}

wire! {
    /// `POST /benchmarkshow` and `POST /benchmarkdelete`.
    pub struct SelectBenchmarkRequest {
        /// The names that were given; only the cluster's name counts, as in 4.1.
        args: Vec<String> = "Args",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// Name of one cluster; without it and a selector all benchmarks of the namespace are meant.
        cluster_name: String = "ClusterName",
        /// Kubernetes label selector of clusters; before the name of one.
        selector: String = "Selector",
    }
}

wire! {
    /// Answer of `POST /benchmarkshow`.
    pub response ShowBenchmarkResponse {
        /// One text per benchmark, with lines.
        results: Vec<String> = "Results",
        /// New, and only there where there are any: the same as fields.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        benchmarks: Vec<BenchmarkDetail> = "Benchmarks",
    }
}

wire! {
    /// A benchmark that was asked for.
    pub struct BenchmarkDetail {
        /// Its name, and that of its task.
        job: String = "Job",
        /// The cluster.
        cluster: String = "Cluster",
        /// Id of the operation.
        operation: String = "OperationID",
        /// `waiting`, `running`, `completed` or `failed`.
        state: String = "State",
        /// Why it failed.
        cause: String = "Cause",
        /// What pgbench printed, once it is completed.
        output: String = "Output",
    }
}

wire! {
    /// Answer of `POST /benchmarkdelete`.
    pub response DeleteBenchmarkResponse {
        /// One text per benchmark.
        results: Vec<String> = "Results",
    }
}

wire! {
    /// `POST /load`.
    pub struct LoadRequest {
        /// Names of clusters; `all` means all of the namespace.
        args: Vec<String> = "Args",
        /// Kubernetes label selector; before the names where both are given.
        selector: String = "Selector",
        /// Namespace of the clusters.
        namespace: String = "Namespace",
        /// The load file, as text: YAML or JSON.
        load_config: String = "LoadConfig",
        /// Names of policies that are applied before, with commas between them.
        policies: String = "Policies",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// Answer of `POST /load`.
    pub response LoadResponse {
        /// One text per cluster.
        results: Vec<String> = "Results",
        /// New, and only there where there are any: the loads that were asked for.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        jobs: Vec<AskedJob> = "Jobs",
    }
}
