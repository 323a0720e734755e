//! Generates the gRPC code from `proto/`; protox compiles the files, so no protoc is needed.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo runs this in the crate's folder. A path that is compiled in would be that of the clone it was compiled in.
    let root = Path::new("../../proto");
    let files = [
        "pgo/agent/v1/agent.proto",
        "pgo/agent/v1/inspection.proto",
        "pgo/agent/v1/peer.proto",
        "pgo/agent/v1/policy.proto",
        "pgo/agent/v1/repository.proto",
        "pgo/event/v1/event.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
