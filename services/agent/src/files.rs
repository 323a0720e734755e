//! Files that users may see: below a few folders and nowhere else, whatever links say, and none that holds a secret.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::Read as _,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, User};
use pgo_proto::agent::{Entry, ListFolderResponse};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat,
        openat2, readlinkat, statat,
    },
    io::Errno,
};

/// Largest file that is shown, in bytes.
const LARGEST: u64 = 1 << 20;

/// Most entries of a folder that are listed.
const MOST: usize = 5000;

/// What the names of files have in them that hold passwords.
const OF_PASSWORDS: [&str; 4] = ["pgpass", "password", "passwd", "secret"];

/// How the names of files end that hold private keys.
const OF_KEYS: [&str; 4] = [".key", ".p12", ".pfx", ".jks"];

/// What every private key in PEM has in it (RFC 7468, sections 10 and 11, and the older forms).
const KEY: &str = "PRIVATE KEY-----";

/// Why a file is not shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// It is none of those that may be.
    #[error("{path} is not below {roots}: other files are not shown")]
    Outside {
        /// As it was given.
        path: String,
        /// Where files are shown.
        roots: String,
    },
    /// There is none.
    #[error("{0} is not there")]
    Missing(String),
    /// A folder where a file was asked for.
    #[error("{0} is a folder; pgo ls lists it")]
    Folder(String),
    /// A pipe, a socket or a device.
    #[error("{0} is no file that has a text")]
    Special(String),
    /// It is too large.
    #[error("{0} has {1} bytes; files of more than {LARGEST} are not shown")]
    Large(String, u64),
    /// It is not in UTF-8, or has zeros.
    #[error("{0} is no text")]
    Binary(String),
    /// A secret is in it.
    #[error("{0} holds a secret, and is not shown")]
    Secret(String),
    /// The kernel cannot confine a path.
    #[error(
        "the kernel of this node cannot keep a path below a folder (openat2, Linux 5.6 or later): no file is shown"
    )]
    Kernel,
    /// Something else.
    #[error("{0} cannot be read: {1}")]
    Failed(String, Errno),
}

/// Where files are shown.
#[derive(Clone, Debug)]
pub struct Places {
    /// The data directory, from which other paths begin.
    data: PathBuf,
    /// The folders.
    roots: Vec<PathBuf>,
}

impl Places {
    /// The volume with the data directory `data`, and the user's configuration.
    pub fn new(data: &Path, custom: &Path) -> Self {
        let volume = data.parent().unwrap_or(data);
        Self {
            data: data.to_owned(),
            roots: vec![volume.to_owned(), custom.to_owned()],
        }
    }

    /// The text of a file. It waits for the volume.
    ///
    /// # Errors
    /// It is not shown.
    pub fn read(&self, path: &str) -> Result<String, NotShown> {
        // A pipe must not be waited for.
        let found = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = fstat(&found).map_err(|error| failed(path, error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(NotShown::Folder(path.to_owned())),
            _ => return Err(NotShown::Special(path.to_owned())),
        }
        if name_of(&found).is_none_or(|name| is_secret(&name)) {
            return Err(NotShown::Secret(path.to_owned()));
        }
        let mut bytes = Vec::new();
        let read = File::from(found).take(LARGEST + 1).read_to_end(&mut bytes);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if let Err(error) = read {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            return Err(failed(path, error));
        }
        if bytes.len() as u64 > LARGEST {
            return Err(NotShown::Large(path.to_owned(), size.max(LARGEST + 1)));
        }
        let text = String::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| NotShown::Binary(path.to_owned()))?;
        match text.contains(KEY) {
            true => Err(NotShown::Secret(path.to_owned())),
            false => Ok(text),
        }
    }

    /// What is in a folder, or the file itself. It waits for the volume.
    ///
    /// # Errors
    /// It is not shown.
    pub fn list(&self, path: &str) -> Result<ListFolderResponse, NotShown> {
        let because = |error| failed(path, error);
        let found = self.open(path, OFlags::PATH)?;
        let stat = fstat(&found).map_err(because)?;
        let mut names = Names::default();
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(ListFolderResponse {
                folder: false,
                entries: vec![names.entry(path, &stat, String::new())],
                left_out: 0,
            });
        }
        let folder = openat(
            &found,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        );
        let folder = folder.map_err(because)?;
        let mut listed = BTreeMap::new();
        for entry in Dir::read_from(&folder).map_err(because)? {
            let entry = entry.map_err(because)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                listed.insert(name, entry.file_name().to_owned());
            }
        }
        let left_out = listed.len().saturating_sub(MOST) as u64;
        let entries = listed.iter().take(MOST).filter_map(|(name, place)| {
            // One that has gone meanwhile is none.
            let stat = statat(&folder, place, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            let target = is_link.then(|| readlinkat(&folder, place, Vec::new()).ok());
            let target = target.flatten().unwrap_or_default();
            Some(names.entry(name, &stat, target.to_string_lossy().into_owned()))
        });
        Ok(ListFolderResponse {
            folder: true,
            entries: entries.collect(),
            left_out,
        })
    }

    /// Opens what is at a path, and never anything outside.
    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, NotShown> {
        let outside = || NotShown::Outside {
            path: path.to_owned(),
            roots: self.named(),
        };
        // An absolute one replaces what it is joined to.
        let whole = self.data.join(path);
        let within = |root: &PathBuf| Some((root.clone(), whole.strip_prefix(root).ok()?));
        let (root, inner) = self.roots.iter().find_map(within).ok_or_else(outside)?;
        let inner = match inner.as_os_str().is_empty() {
            true => Path::new("."),
            false => inner,
        };
        let of_root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let missing = |error| match error {
            Errno::NOENT | Errno::NOTDIR => NotShown::Missing(path.to_owned()),
            error => failed(path, error),
        };
        let root = open(&root, of_root, Mode::empty()).map_err(missing)?;
        let confined = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        openat2(&root, inner, flags, Mode::empty(), confined).map_err(|error| match error {
            Errno::XDEV | Errno::LOOP => outside(),
            Errno::NOSYS => NotShown::Kernel,
            error => missing(error),
        })
    }

    fn named(&self) -> String {
        let roots = self.roots.iter().map(|root| root.display().to_string());
        roots.collect::<Vec<_>>().join(" or ")
    }
}

fn failed(path: &str, error: Errno) -> NotShown {
    NotShown::Failed(path.to_owned(), error)
}

/// The name of what is open, by which links of other names led here.
fn name_of(open: &OwnedFd) -> Option<String> {
    let link = format!("/proc/self/fd/{}", open.as_raw_fd());
    let path = readlinkat(CWD, link, Vec::new()).ok()?;
    let path = path.to_string_lossy().into_owned();
    let name = Path::new(&path).file_name().and_then(OsStr::to_str)?;
    Some(name.to_owned())
}

/// Whether files of this name hold passwords or private keys.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OF_PASSWORDS.iter().any(|part| name.contains(part))
        || OF_KEYS.iter().any(|end| name.ends_with(end))
}

/// Names of users and groups, each looked up once.
#[derive(Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    fn entry(&mut self, name: &str, stat: &Stat, target: String) -> Entry {
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        Entry {
            name: name.to_owned(),
            mode: stat.st_mode,
            links: stat.st_nlink,
            owner: self.user(stat.st_uid),
            group: self.group(stat.st_gid),
            size: number(stat.st_size),
            blocks: number(stat.st_blocks),
            modified: Some(prost_types::Timestamp {
                seconds: stat.st_mtime,
                nanos: i32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            }),
            target,
        }
    }

    fn user(&mut self, id: u32) -> String {
        let look = || {
            let user = User::from_uid(Uid::from_raw(id)).ok().flatten();
            user.map_or_else(|| id.to_string(), |user| user.name)
        };
        self.users.entry(id).or_insert_with(look).clone()
    }

    fn group(&mut self, id: u32) -> String {
        let look = || {
            let group = Group::from_gid(Gid::from_raw(id)).ok().flatten();
            group.map_or_else(|| id.to_string(), |group| group.name)
        };
        self.groups.entry(id).or_insert_with(look).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::*;

    /// A data volume and a configuration as in a pod, with what must not be seen beside them.
    struct Rig {
        folder: TempDir,
        places: Places,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let at = |path: &str| folder.path().join(path);
            for path in ["pgdata/hippo/log", "pgconf/..v1", "pgo"] {
                fs::create_dir_all(at(path)).expect("a folder");
            }
            let files = [
                ("pgdata/hippo/PG_VERSION", "15\n"),
                ("pgdata/hippo/log/x.log", "LOG:  ready\n"),
                ("pgdata/hippo/.hidden", "x"),
                ("pgconf/..v1/postgresql.conf", "work_mem = 1MB\n"),
                ("pgo/outside", "not to be seen"),
            ];
            for (path, text) in files {
                fs::write(at(path), text).expect("written");
            }
            // As Kubernetes mounts a ConfigMap.
            symlink("..v1", at("pgconf/..data")).expect("a link");
            let of_map = "..data/postgresql.conf";
            symlink(of_map, at("pgconf/postgresql.conf")).expect("a link");
            let places = Places::new(&at("pgdata/hippo"), &at("pgconf"));
            Self { folder, places }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn path(&self, path: &str) -> String {
            self.at(path).display().to_string()
        }

        fn refusal(&self, path: &str) -> NotShown {
            self.places.read(path).expect_err("not shown")
        }
    }

    #[test]
    fn files_below_the_roots_are_shown_also_by_links_and_from_the_data_directory() {
        let rig = Rig::new();
        for (path, text) in [
            (rig.path("pgdata/hippo/PG_VERSION"), "15\n"),
            ("PG_VERSION".to_owned(), "15\n"),
            ("log/../log/x.log".to_owned(), "LOG:  ready\n"),
            (rig.path("pgconf/postgresql.conf"), "work_mem = 1MB\n"),
        ] {
            assert_eq!(rig.places.read(&path).as_deref(), Ok(text), "{path}");
        }
    }

    #[test]
    fn nothing_outside_is_shown_whatever_leads_there() {
        let rig = Rig::new();
        symlink(rig.at("pgo/outside"), rig.at("pgdata/absolute")).expect("a link");
        symlink("../../pgo", rig.at("pgdata/hippo/relative")).expect("a link");
        for path in [
            "/etc/hostname".to_owned(),
            "/proc/self/environ".to_owned(),
            "../../pgo/outside".to_owned(),
            "relative/outside".to_owned(),
            rig.path("pgo/outside"),
            rig.path("pgdata/../pgo/outside"),
            rig.path("pgdata/absolute"),
        ] {
            let found = rig.refusal(&path);
            assert!(matches!(found, NotShown::Outside { .. }), "{path}: {found}");
            let listed = rig.places.list(&path).expect_err("not listed");
            assert_eq!(listed, found);
        }
    }

    #[test]
    fn secrets_are_not_shown_under_whatever_name() {
        let rig = Rig::new();
        let key = "-----BEGIN RSA PRIVATE KEY-----\nx\n";
        for (name, text) in [
            (".pgpass", "*:*:*:*:x"),
            ("server.key", "x"),
            ("PASSWORDS.txt", "x"),
            ("harmless.pem", key),
        ] {
            fs::write(rig.at("pgdata").join(name), text).expect("written");
            let path = rig.path(&format!("pgdata/{name}"));
            assert_eq!(rig.refusal(&path), NotShown::Secret(path));
        }
        symlink(".pgpass", rig.at("pgdata/harmless")).expect("a link");
        let path = rig.path("pgdata/harmless");
        assert_eq!(rig.refusal(&path), NotShown::Secret(path));
    }

    #[test]
    fn what_is_no_text_of_a_sensible_size_is_refused_with_the_reason() {
        let rig = Rig::new();
        let large = usize::try_from(LARGEST).expect("a size");
        fs::write(rig.at("pgdata/hippo/fits"), "x".repeat(large)).expect("written");
        assert_eq!(rig.places.read("fits").map(|text| text.len()), Ok(large));
        fs::write(rig.at("pgdata/hippo/large"), "x".repeat(large + 1)).expect("written");
        fs::write(rig.at("pgdata/hippo/zeros"), "a\0b").expect("written");
        fs::write(rig.at("pgdata/hippo/bytes"), b"\xff\xfe").expect("written");
        let pipe = rig.at("pgdata/hippo/pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
        for (path, why) in [
            ("large", NotShown::Large("large".to_owned(), LARGEST + 1)),
            ("zeros", NotShown::Binary("zeros".to_owned())),
            ("bytes", NotShown::Binary("bytes".to_owned())),
            ("pipe", NotShown::Special("pipe".to_owned())),
            ("log", NotShown::Folder("log".to_owned())),
            ("nosuch", NotShown::Missing("nosuch".to_owned())),
            ("PG_VERSION/x", NotShown::Missing("PG_VERSION/x".to_owned())),
        ] {
            assert_eq!(rig.refusal(path), why);
        }
    }

    #[test]
    fn a_folder_is_listed_by_name_without_what_is_hidden() {
        let rig = Rig::new();
        symlink("PG_VERSION", rig.at("pgdata/hippo/link")).expect("a link");
        let listed = rig.places.list("").expect("listed");
        let names: Vec<&str> = listed.entries.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["PG_VERSION", "link", "log"]);
        assert!(listed.folder && listed.left_out == 0);
        let [version, link, log] = &listed.entries[..] else {
            panic!("{listed:?}");
        };
        assert_eq!((version.size, version.links), (3, 1));
        assert!(!version.owner.is_empty() && version.modified.is_some());
        assert_eq!(link.target, "PG_VERSION");
        assert_eq!(log.mode & 0o170_000, 0o040_000);

        let file = rig.places.list("PG_VERSION").expect("a file");
        assert!(!file.folder);
        assert_eq!(file.entries[0].name, "PG_VERSION");
    }

    #[test]
    fn what_is_too_much_of_a_folder_is_counted() {
        let rig = Rig::new();
        for number in 0..MOST + 2 {
            fs::write(rig.at(&format!("pgdata/hippo/log/{number}")), "").expect("written");
        }
        let listed = rig.places.list("log").expect("listed");
        assert_eq!((listed.entries.len(), listed.left_out), (MOST, 3));
    }
}
