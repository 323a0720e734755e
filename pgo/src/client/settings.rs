//! What the client must know before its first request: flags first, then the environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::Args;
use http::Uri;

use super::{
    ClientError,
    credentials::{self, Credentials},
    limits::Limits,
};

/// Flags that every command takes. An empty value counts as not given.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalFlags {
    /// Namespace of the request [env: PGO_NAMESPACE]
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = GLOBAL)]
    pub namespace: Option<String>,
    /// URL of the apiserver [env: PGO_APISERVER_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    pub apiserver_url: Option<String>,
    /// File with the apiserver's own certificate or its issuer's [env: PGO_CA_CERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub pgo_ca_cert: Option<PathBuf>,
    /// File with the client's certificate [env: PGO_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub pgo_client_cert: Option<PathBuf>,
    /// File with the key of the client's certificate [env: PGO_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub pgo_client_key: Option<PathBuf>,
    /// Plain HTTP, without certificates [env: DISABLE_TLS=true]
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub disable_tls: bool,
    /// Tell on standard error what is sent to whom
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub debug: bool,
}

const GLOBAL: &str = "Global options";

/// Files for TLS with what named each, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// All of it, found and checked as far as that goes without reading certificates.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URL without a slash at its end.
    pub url: String,
    /// Namespace to send; may be empty, then the apiserver refuses.
    pub namespace: String,
    /// The namespace if it was given as a flag.
    pub namespace_flag: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether to tell what is sent.
    pub debug: bool,
    /// How long to wait.
    pub limits: Limits,
}

impl Settings {
    /// Finds everything, in the order in which 4.1's client complains: URL, credentials, certificates.
    pub fn resolve(
        flags: &GlobalFlags,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ClientError> {
        let text = |flag: &Option<String>, name: &str| {
            flag.clone().filter(|value| !value.is_empty()).or_else(|| {
                let value = env(name)?.to_string_lossy().into_owned();
                (!value.is_empty()).then_some(value)
            })
        };
        let url = text(&flags.apiserver_url, "PGO_APISERVER_URL").ok_or(ClientError::NoUrl)?;
        let disable_tls = flags.disable_tls || env("DISABLE_TLS").is_some_and(|v| v == "true");
        let url = checked(url, disable_tls)?;
        let credentials = credentials::resolve(env)?;
        let tls = match disable_tls {
            true => None,
            false => Some(tls_files(flags, env)?),
        };
        Ok(Self {
            url,
            namespace: text(&flags.namespace, "PGO_NAMESPACE").unwrap_or_default(),
            namespace_flag: flags.namespace.clone().filter(|n| !n.is_empty()),
            credentials,
            tls,
            debug: flags.debug,
            limits: Limits::default(),
        })
    }
}

/// The URL without the slashes at its end. Its scheme must fit, so that no password goes over a wire in clear text
/// unless that was asked for.
fn checked(url: String, disable_tls: bool) -> Result<String, ClientError> {
    let wrong = |why: &str| ClientError::Url {
        url: url.clone(),
        why: why.to_owned(),
    };
    let parsed: Uri = url
        .parse()
        .map_err(|error| wrong(&format!("{error}; it looks like https://host:8443")))?;
    if parsed.host().is_none_or(str::is_empty) {
        return Err(wrong(
            "it has no scheme or no host; it looks like https://host:8443",
        ));
    }
    match (parsed.scheme_str(), disable_tls) {
        (Some("https"), false) | (Some("http"), true) => {}
        (Some("http"), false) => {
            return Err(wrong(
                "it is plain http; use https, or set DISABLE_TLS=true (or --disable-tls) where the apiserver runs without TLS",
            ));
        }
        (Some("https"), true) => {
            return Err(wrong(
                "it is https, but TLS is disabled by DISABLE_TLS=true or --disable-tls; use http, or leave that away",
            ));
        }
        _ => return Err(wrong("its scheme is neither https nor http")),
    }
    if parsed.query().is_some() {
        return Err(wrong("it has a query"));
    }
    // What is left of the authority beside host and port: a port that is none, or a user.
    let host = parsed.host().unwrap_or_default();
    let authority = match parsed.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if parsed
        .authority()
        .is_none_or(|have| have.as_str() != authority)
    {
        return Err(wrong(
            "there is more than a host and a port from 1 to 65535 in it; it looks like https://host:8443",
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn tls_files(
    flags: &GlobalFlags,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<TlsFiles, ClientError> {
    let file = |given: &Option<PathBuf>,
                what: &'static str,
                variable: &'static str,
                flag: &'static str| {
        given
            .clone()
            .or_else(|| env(variable).map(PathBuf::from))
            .filter(|path| path != Path::new(""))
            .ok_or(ClientError::NoTlsFile {
                what,
                variable,
                flag,
            })
    };
    Ok(TlsFiles {
        ca: file(
            &flags.pgo_ca_cert,
            "CA certificate",
            "PGO_CA_CERT",
            "--pgo-ca-cert",
        )?,
        certificate: file(
            &flags.pgo_client_cert,
            "client certificate",
            "PGO_CLIENT_CERT",
            "--pgo-client-cert",
        )?,
        key: file(
            &flags.pgo_client_key,
            "client key",
            "PGO_CLIENT_KEY",
            "--pgo-client-key",
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 6] = [
        ("PGO_APISERVER_URL", "https://pgo:8443/"),
        ("PGOUSERNAME", "vic"),
        ("PGOUSERPASS", "x"),
        ("PGO_CA_CERT", "ca"),
        ("PGO_CLIENT_CERT", "cert"),
        ("PGO_CLIENT_KEY", "key"),
    ];

    fn resolve(flags: &GlobalFlags, env: &[(&str, &str)]) -> Result<Settings, ClientError> {
        let env: Vec<(String, OsString)> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect();
        Settings::resolve(flags, &move |name| {
            // The last one counts, so that a test can put one behind the complete set.
            let pair = env.iter().rev().find(|(have, _)| have == name)?;
            Some(pair.1.clone())
        })
    }

    fn and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        COMPLETE.iter().chain(more).copied().collect()
    }

    #[test]
    fn a_flag_goes_before_its_variable_and_an_empty_one_counts_as_none() {
        let mut flags = GlobalFlags {
            namespace: Some("one".into()),
            ..GlobalFlags::default()
        };
        let env = and(&[("PGO_NAMESPACE", "two")]);
        assert_eq!(resolve(&flags, &env).unwrap().namespace, "one");
        flags.namespace = Some(String::new());
        assert_eq!(resolve(&flags, &env).unwrap().namespace, "two");
        assert_eq!(resolve(&flags, &COMPLETE).unwrap().namespace, "");
    }

    #[test]
    fn a_slash_at_the_end_of_the_url_is_dropped() {
        let settings = resolve(&GlobalFlags::default(), &COMPLETE).unwrap();
        assert_eq!(settings.url, "https://pgo:8443");
    }

    #[test]
    fn each_missing_certificate_names_its_flag_and_variable() {
        for (variable, flag) in [
            ("PGO_CA_CERT", "--pgo-ca-cert"),
            ("PGO_CLIENT_CERT", "--pgo-client-cert"),
            ("PGO_CLIENT_KEY", "--pgo-client-key"),
        ] {
            let error = resolve(&GlobalFlags::default(), &and(&[(variable, "")])).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(variable) && text.contains(flag), "{text}");
        }
    }

    #[test]
    fn without_tls_no_certificate_is_needed_and_the_url_must_be_http() {
        let env = [
            ("PGO_APISERVER_URL", "http://pgo:8080"),
            ("PGOUSERNAME", "vic"),
            ("PGOUSERPASS", "x"),
            ("DISABLE_TLS", "true"),
        ];
        assert_eq!(resolve(&GlobalFlags::default(), &env).unwrap().tls, None);
        let error = resolve(&GlobalFlags::default(), &env[..3]).unwrap_err();
        assert!(error.to_string().contains("DISABLE_TLS=true"), "{error}");
        let error = resolve(&GlobalFlags::default(), &and(&[("DISABLE_TLS", "true")])).unwrap_err();
        assert!(error.to_string().contains("use http"), "{error}");
    }

    #[test]
    fn a_url_that_is_none_says_what_is_wrong_with_it() {
        for (url, why) in [
            ("pgo", "scheme"),
            ("pgo:8443", "scheme"),
            ("/pgo", "host"),
            ("ftp://pgo", "neither https nor http"),
            ("https://pgo:84433333", "looks like https://host:8443"),
            ("https://pgo/?x=1", "query"),
        ] {
            let env = [("PGO_APISERVER_URL", url)];
            let error = resolve(&GlobalFlags::default(), &env).unwrap_err();
            assert!(
                matches!(&error, ClientError::Url { .. }) && error.to_string().contains(why),
                "{url}: {error}"
            );
        }
    }
}
