//! What the apiserver may see of an instance beside its database.

use pgo_proto::agent::{
    DatabaseSizeRequest, ListFolderRequest, ReadFileRequest, inspection_client::InspectionClient,
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    rig::{PROGRAMS, Rig},
    unprivileged::unprivileged,
};

async fn size(client: &mut InspectionClient<Channel>) -> Result<u64, Status> {
    let answer = client.database_size(DatabaseSizeRequest {}).await?;
    Ok(answer.into_inner().bytes)
}

async fn read(client: &mut InspectionClient<Channel>, path: &str) -> Result<String, Status> {
    let path = path.to_owned();
    let answer = client.read_file(ReadFileRequest { path }).await?;
    Ok(answer.into_inner().text)
}

async fn names(client: &mut InspectionClient<Channel>, path: &str) -> Result<Vec<String>, Status> {
    let path = path.to_owned();
    let answer = client.list_folder(ListFolderRequest { path }).await?;
    let entries = answer.into_inner().entries.into_iter();
    Ok(entries.map(|entry| entry.name).collect())
}

#[test]
fn the_apiserver_sees_sizes_and_files_and_nobody_else_does() {
    let name = "inspection::the_apiserver_sees_sizes_and_files_and_nobody_else_does";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.customise("postgresql.conf", "work_mem = '5MB'\n");
        rig.start().await;
        rig.until_running().await;

        let mut others = InspectionClient::new(rig.channel("reconciler.pgo"));
        for refused in [
            size(&mut others).await.map(drop),
            read(&mut others, "PG_VERSION").await.map(drop),
            names(&mut others, "").await.map(drop),
        ] {
            let refused = refused.expect_err("not its task");
            assert_eq!(refused.code(), Code::PermissionDenied);
        }

        let mut apiserver = InspectionClient::new(rig.channel("apiserver.pgo"));
        let before = size(&mut apiserver).await.expect("a size");
        assert!(before > 1 << 20, "{before}");
        rig.execute("CREATE TABLE t AS SELECT generate_series(1, 100000)")
            .await;
        let after = size(&mut apiserver).await.expect("a size");
        assert!(after > before + (1 << 20), "{before} {after}");

        let version = read(&mut apiserver, "PG_VERSION").await.expect("a file");
        assert!(version.trim().parse::<u32>().is_ok(), "{version}");
        let of_user = rig.settings.custom.join("postgresql.conf");
        let of_user = read(&mut apiserver, &of_user.display().to_string()).await;
        assert_eq!(of_user.expect("a file"), "work_mem = '5MB'\n");
        let listed = names(&mut apiserver, "").await.expect("a folder");
        assert!(listed.contains(&"pg_wal".to_owned()), "{listed:?}");

        // Not its own key, nor the passwords that it holds.
        for outside in [&rig.settings.tls.join("tls.key"), &rig.settings.secrets] {
            let outside = outside.display().to_string();
            for refused in [
                read(&mut apiserver, &outside).await.map(drop),
                names(&mut apiserver, &outside).await.map(drop),
            ] {
                let refused = refused.expect_err("outside");
                assert_eq!(refused.code(), Code::FailedPrecondition);
                let why = refused.message();
                assert!(why.contains("is not below"), "{why}");
            }
        }
        // Password hashes are in a file of the data directory, which is no text.
        let roles = read(&mut apiserver, "global/1260").await;
        let why = roles.expect_err("no text").message().to_owned();
        assert!(why.contains("is no text"), "{why}");
        rig.stop().await;
    });
}

#[test]
fn a_data_volume_is_told_with_what_is_used_of_it() {
    let name = "inspection::a_data_volume_is_told_with_what_is_used_of_it";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = Rig::new("hippo");
        rig.start().await;
        let measured = |state: &pgo_proto::agent::InstanceState| state.volume_bytes > 0;
        let (state, _) = rig.until("measured", measured).await;
        assert!(state.volume_used > 0 && state.volume_used <= state.volume_bytes);
        rig.stop().await;
    });
}
