//! Who the user is: variables, else the first file there is.

use std::{ffi::OsString, fmt, fs, io, path::PathBuf};

use super::ClientError;

/// Where a file is looked for last.
const SYSTEM_FILE: &str = "/etc/pgo/pgouser";

/// User and password for basic authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ***)", self.user)
    }
}

/// Finds the credentials: `PGOUSERNAME` with `PGOUSERPASS`, the file `PGOUSER` names, `$HOME/.pgouser`,
/// `/etc/pgo/pgouser`. An empty variable counts as not set.
pub fn resolve(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Credentials, ClientError> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let text = |name| set(name).map(|value| value.to_string_lossy().into_owned());
    match (text("PGOUSERNAME"), text("PGOUSERPASS")) {
        (Some(user), Some(password)) => return Ok(Credentials { user, password }),
        (Some(_), None) => return Err(half("PGOUSERPASS", "PGOUSERNAME")),
        (None, Some(_)) => return Err(half("PGOUSERNAME", "PGOUSERPASS")),
        (None, None) => {}
    }
    if let Some(path) = set("PGOUSER").map(PathBuf::from) {
        return read(path.clone()).map_err(|error| unreadable(path, "PGOUSER", error))?;
    }
    let home = set("HOME").map(|home| PathBuf::from(home).join(".pgouser"));
    let candidates: Vec<PathBuf> = home.into_iter().chain([SYSTEM_FILE.into()]).collect();
    for path in &candidates {
        match read(path.clone()) {
            Ok(credentials) => return credentials,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(path.clone(), "convention", error)),
        }
    }
    let looked: Vec<String> = candidates
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(ClientError::NoCredentials {
        looked: looked.join(" and "),
    })
}

fn half(missing: &'static str, present: &'static str) -> ClientError {
    ClientError::HalfOfCredentials { missing, present }
}

fn unreadable(path: PathBuf, named_by: &'static str, cause: io::Error) -> ClientError {
    ClientError::Unreadable {
        what: "the pgouser file",
        path,
        named_by,
        cause,
    }
}

/// The outer error is about the file, the inner one about what is in it.
fn read(path: PathBuf) -> io::Result<Result<Credentials, ClientError>> {
    let text = fs::read_to_string(&path)?;
    Ok(parse(&text).ok_or(ClientError::Credentials { path }))
}

/// One line `user:password`; the password may have colons.
fn parse(text: &str) -> Option<Credentials> {
    let line = text.trim();
    let (user, password) = line.split_once(':')?;
    (!line.contains('\n') && !user.is_empty()).then(|| Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Credentials, ClientError> {
        let pairs: Vec<(String, OsString)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect();
        resolve(&move |name| {
            let pair = pairs.iter().find(|(have, _)| have == name)?;
            Some(pair.1.clone())
        })
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.into(),
            password: password.into(),
        }
    }

    #[test]
    fn variables_go_before_files() {
        let found = with(&[
            ("PGOUSERNAME", "vic"),
            ("PGOUSERPASS", "a:b"),
            ("PGOUSER", "/nosuch"),
        ]);
        assert_eq!(found.unwrap(), credentials("vic", "a:b"));
    }

    #[test]
    fn one_variable_without_the_other_names_the_missing_one() {
        let error = with(&[("PGOUSERNAME", "vic"), ("PGOUSERPASS", "")]).unwrap_err();
        assert!(error.to_string().starts_with("PGOUSERPASS is not set"));
        let error = with(&[("PGOUSERPASS", "x")]).unwrap_err();
        assert!(error.to_string().starts_with("PGOUSERNAME is not set"));
    }

    #[test]
    fn the_file_of_pgouser_goes_before_that_in_home() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("named");
        fs::write(&named, "\n alice:s3:cret \n").unwrap();
        fs::write(folder.path().join(".pgouser"), "bob:x").unwrap();
        let home = ("HOME", folder.path().to_str().unwrap());
        assert_eq!(with(&[home]).unwrap(), credentials("bob", "x"));
        assert_eq!(
            with(&[home, ("PGOUSER", named.to_str().unwrap())]).unwrap(),
            credentials("alice", "s3:cret")
        );
    }

    #[test]
    fn a_missing_file_of_pgouser_is_named_with_the_variable() {
        let error = with(&[("PGOUSER", "/nosuch/pgouser")]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nosuch/pgouser") && text.contains("named by PGOUSER"));
    }

    #[test]
    fn a_file_of_two_lines_or_without_a_colon_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgouser");
        for content in ["alice:secret\nbob:two\n", "alicesecret", "", ":secret"] {
            fs::write(&path, content).unwrap();
            let text = with(&[("PGOUSER", path.to_str().unwrap())])
                .unwrap_err()
                .to_string();
            assert!(text.starts_with("unable to parse credentials in pgouser file"));
            assert!(!text.contains("secret"));
        }
    }

    #[test]
    fn without_any_it_says_where_it_looked() {
        let error = with(&[("HOME", "/nosuch")]).unwrap_err().to_string();
        assert!(error.starts_with("could not find pgouser file"), "{error}");
        assert!(error.contains("/nosuch/.pgouser and /etc/pgo/pgouser"));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", credentials("vic", "hidden")).contains("hidden"));
    }
}
