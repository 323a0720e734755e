//! Log records: their form, what is logged, and how that is changed while the process runs.

use std::{fmt, str::FromStr, sync::Arc};

use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{self, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use crate::{InitError, Settings};

/// What is logged where nothing is set.
pub(crate) const DEFAULT: &str = "info";

/// What `CRUNCHY_DEBUG=true` means: our own debug records, not those of the network libraries, which log each frame.
pub(crate) const DEBUG: &str =
    "debug,h2=info,hyper=info,hyper_util=info,rustls=info,tower=info,tonic=info,kube_client=info";

/// Form of the log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// One line of text for people.
    Text,
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(()),
        }
    }
}

/// Why a text is not a filter of log records.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Nothing was given; that would log nothing.
    #[error("the filter is empty; give a level, as in \"info\" or \"info,pgo_agent=debug\"")]
    Empty,
    /// A word that stands alone is no level; most often a misspelt one, which would silence everything.
    #[error(
        "{0:?} is no level; use off, error, warn, info, debug or trace, or target=level for a part of the program"
    )]
    Level(String),
    /// The text does not follow the syntax.
    #[error("{text:?} is no filter: {reason}")]
    Syntax {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This process does not log, so there is nothing to change.
    #[error("this process has no logging to change")]
    NoLogging,
}

/// Parses `text`, tracing's filter syntax, but with each word that stands alone being a level.
fn parse_filter(text: &str) -> Result<EnvFilter, FilterError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(FilterError::Empty);
    }
    let plain = |part: &&str| !part.contains(['=', '[', ']', '{', '}', '"']);
    if let Some(word) = text
        .split(',')
        .map(str::trim)
        .filter(plain)
        .find(|word| word.parse::<LevelFilter>().is_err())
    {
        return Err(FilterError::Level(word.to_owned()));
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| FilterError::Syntax {
            text: text.to_owned(),
            reason: error.to_string(),
        })
}

type Replace = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// Changes what is logged.
#[derive(Clone)]
pub(crate) struct FilterHandle(Option<Arc<Replace>>);

impl FilterHandle {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Logs from now on what `text` lets through.
    pub(crate) fn set(&self, text: &str) -> Result<(), FilterError> {
        let filter = parse_filter(text)?;
        let replace = self.0.as_ref().ok_or(FilterError::NoLogging)?;
        replace(filter).map_err(|_| FilterError::NoLogging)
    }
}

/// Logs to the standard output of this process.
pub(crate) fn install(settings: &Settings) -> Result<FilterHandle, InitError> {
    let (subscriber, handle) = subscriber(settings, std::io::stdout)?;
    subscriber.try_init().map_err(|_| InitError::Again)?;
    Ok(handle)
}

/// A subscriber that writes to `writer`, and the handle to change its filter.
fn subscriber<W>(
    settings: &Settings,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + 'static, FilterHandle), FilterError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse_filter(&settings.filter)?);
    let records = tracing_subscriber::fmt::layer().with_writer(writer);
    let base = format::format()
        .with_file(true)
        .with_line_number(true)
        .with_ansi(false);
    let version = settings.version;
    let records = match settings.format {
        Format::Json => records
            .json()
            .event_format(WithVersion::json(
                version,
                base.json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(true),
            ))
            .boxed(),
        Format::Text => records
            .with_ansi(false)
            .event_format(WithVersion::text(version, base))
            .boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(records);
    let replace = move |filter| handle.reload(filter);
    Ok((subscriber, FilterHandle(Some(Arc::new(replace)))))
}

/// Adds the constant field `version`, which 4.1's records have, to the records of another format.
struct WithVersion<F> {
    /// What goes before the second byte of a record: JSON's fields follow its opening brace.
    after_brace: String,
    /// What goes at the end of a record.
    at_end: String,
    inner: F,
}

impl<F> WithVersion<F> {
    fn json(version: &str, inner: F) -> Self {
        // A version is digits, dots and letters: nothing in it needs escaping.
        Self {
            after_brace: format!("\"version\":\"{version}\","),
            at_end: String::new(),
            inner,
        }
    }

    fn text(version: &str, inner: F) -> Self {
        Self {
            after_brace: String::new(),
            at_end: format!(" version={version}"),
            inner,
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithVersion<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut record = String::with_capacity(256);
        self.inner
            .format_event(context, Writer::new(&mut record), event)?;
        let record = record.trim_end_matches('\n');
        let rest = match (self.after_brace.is_empty(), record.strip_prefix('{')) {
            (false, Some(rest)) => {
                write!(writer, "{{{}", self.after_brace)?;
                rest
            }
            _ => record,
        };
        writeln!(writer, "{rest}{}", self.at_end)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Mutex, PoisonError},
    };

    use super::*;

    /// A writer that tests can read.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8(bytes.clone()).expect("logs are UTF-8")
        }
    }

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, work: impl FnOnce(&FilterHandle)) -> String {
        let page = Page::default();
        let settings = Settings {
            process: "event",
            version: "4.1.0",
            format,
            filter: filter.to_owned(),
        };
        let writer = page.clone();
        let (subscriber, handle) =
            subscriber(&settings, move || writer.clone()).expect("a good filter");
        tracing::subscriber::with_default(subscriber, || work(&handle));
        page.text()
    }

    #[test]
    fn a_json_record_has_level_message_fields_file_line_and_version() {
        let text = logged(Format::Json, "info", |_| {
            let _span = tracing::info_span!("request", id = 7).entered();
            tracing::info!(cluster = "hippo", "created \"it\"");
        });
        let record: serde_json::Value = serde_json::from_str(text.trim()).expect("one JSON object");
        assert_eq!(record["level"], "INFO");
        assert_eq!(record["message"], "created \"it\"");
        assert_eq!(record["cluster"], "hippo");
        assert_eq!(record["version"], "4.1.0");
        assert_eq!(record["spans"][0]["id"], 7);
        assert!(
            record["filename"]
                .as_str()
                .is_some_and(|f| f.ends_with("logs.rs"))
        );
        assert!(record["line_number"].as_u64().is_some_and(|line| line > 0));
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn a_text_record_has_file_line_and_version() {
        let text = logged(Format::Text, "info", |_| {
            tracing::warn!(port = 5432, "slow");
        });
        assert!(text.contains("WARN") && text.contains("slow") && text.contains("port=5432"));
        assert!(text.contains("logs.rs:"), "{text}");
        assert!(text.ends_with(" version=4.1.0\n"), "{text}");
    }

    #[test]
    fn the_level_changes_while_running() {
        let text = logged(Format::Text, "warn", |handle| {
            tracing::info!("before");
            handle.set("debug").expect("a good filter");
            tracing::debug!("after");
        });
        assert!(
            !text.contains("before") && text.contains("after"),
            "{text:?}"
        );
    }

    #[test]
    fn wrong_filters_are_refused_and_the_old_one_stays() {
        let text = logged(Format::Text, "warn", |handle| {
            assert!(matches!(handle.set("  "), Err(FilterError::Empty)));
            assert!(
                matches!(handle.set("debgu"), Err(FilterError::Level(word)) if word == "debgu")
            );
            assert!(matches!(
                handle.set("info,pgo_agent=loud"),
                Err(FilterError::Syntax { .. })
            ));
            tracing::info!("hidden");
            tracing::warn!("shown");
        });
        assert!(!text.contains("hidden") && text.contains("shown"));
    }

    #[test]
    fn what_the_settings_may_choose_can_be_parsed() {
        for filter in [
            DEFAULT,
            DEBUG,
            "off",
            "warn,pgo_agent=debug,[request]=trace",
        ] {
            parse_filter(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        }
    }
}
