//! Running a policy, with a deadline, and what may be said of its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Config, NoTls, SimpleQueryMessage, error::DbError, error::ErrorPosition,
    error::Severity, error::SqlState,
};

use super::Place;
use crate::{SUPERUSER, Socket, session::shown};

/// How long it may take to get a session.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long a statement may take to end that was cancelled, and a question that is asked beside the policy.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Settings of the session. Messages are in English, which is what is looked through for quotations. Neither statements nor
/// what PostgreSQL quotes of them come into its log: the log is of the pod, and a policy may hold passwords.
const SETTINGS: &str = "-c lc_messages=C -c log_statement=none -c log_min_error_statement=panic -c log_min_messages=panic \
                        -c log_min_duration_statement=-1 -c log_duration=off -c pg_stat_statements.track_utility=off";

/// Functions of PostgreSQL and its languages by which SQL raises errors with words of its own.
const RAISERS: [&str; 4] = [
    "exec_stmt_raise",
    "PLy_output",
    "do_util_elog",
    "pltcl_elog",
];

/// Longest message of PostgreSQL that is passed on, in characters.
const LONGEST: usize = 300;

/// A policy that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// How many warnings and notices it gave. What they say may be what the policy says, and is kept by nobody.
    pub notices: u32,
}

/// Why a policy was not applied. None of the texts holds a text of the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Nothing was run; it is worth another try.
    #[error("PostgreSQL cannot be asked: {0}")]
    Unreachable(String),
    /// The server replays another one's WAL.
    #[error("this instance is not the primary")]
    Replica,
    /// A statement failed, and nothing of its transaction stayed.
    #[error("{place}{message} (SQLSTATE {code})", place = before(.place))]
    Failed {
        /// Where.
        place: Option<Place>,
        /// PostgreSQL's words, without what they quote.
        message: String,
        /// PostgreSQL's code.
        code: String,
    },
    /// It cannot be run at all, for this reason.
    #[error("{0}")]
    Unfit(&'static str),
    /// It took too long and was cancelled.
    #[error("it was cancelled as it had not ended within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The session ended before its answer came.
    #[error(
        "the session ended before PostgreSQL had said what became of it; whether it was applied is not known"
    )]
    Unknown,
}

fn before(place: &Option<Place>) -> String {
    place.map(|place| format!("{place}: ")).unwrap_or_default()
}

/// A session that counts what comes beside the answers.
struct Session {
    client: Client,
    heard: Arc<Heard>,
    driver: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    notices: AtomicU32,
    no_transaction: AtomicBool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Runs a policy in a database as a role, or as the superuser where the role is empty: all of it in one transaction, unless it has transactions of its own or is a
/// single statement that no transaction takes.
///
/// # Errors
/// It was not applied, or that is not known.
pub async fn apply(
    socket: &Socket,
    (database, role): (&str, &str),
    sql: &str,
    deadline: Duration,
) -> Result<Applied, PolicyError> {
    if sql.contains('\0') {
        return Err(PolicyError::Unfit("it holds a character with the number 0"));
    }
    let session = Session::open(socket, database, role).await?;
    if session.is_replica().await? {
        return Err(PolicyError::Replica);
    }
    let running = session.run(sql);
    let mut running = std::pin::pin!(running);
    match timeout(deadline, &mut running).await {
        Ok(ended) => ended?,
        Err(_) => {
            let cancel = session.client.cancel_token();
            // Where this fails nothing ends, and the session is given up.
            let _ = timeout(END_DEADLINE, cancel.cancel_query(NoTls)).await;
            match timeout(END_DEADLINE, running).await {
                Ok(Ok(())) => {}
                Ok(Err(PolicyError::Failed { code, .. }))
                    if code == SqlState::QUERY_CANCELED.code() =>
                {
                    return Err(PolicyError::Deadline(deadline));
                }
                Ok(Err(other)) => return Err(other),
                Err(_) => return Err(PolicyError::Unknown),
            }
        }
    }
    session.ends_its_transactions().await?;
    let notices = session.heard.notices.load(Ordering::Relaxed);
    Ok(Applied { notices })
}

impl Session {
    async fn open(socket: &Socket, database: &str, role: &str) -> Result<Self, PolicyError> {
        let mut config = Config::new();
        config
            .host_path(&socket.folder)
            .port(socket.port)
            .user(SUPERUSER)
            .dbname(database)
            .options(settings(role))
            .application_name("pgo-policy");
        let connecting = timeout(CONNECT_DEADLINE, config.connect(NoTls)).await;
        let connected = connecting
            .map_err(|_| PolicyError::Unreachable("no answer in time".to_owned()))?
            .map_err(|error| match error.as_db_error() {
                Some(db) if is_about_place(db.code()) => PolicyError::Failed {
                    place: None,
                    message: db.message().to_owned(),
                    code: db.code().code().to_owned(),
                },
                _ => PolicyError::Unreachable(shown(&error)),
            });
        let (client, mut connection) = connected?;
        let heard = Arc::new(Heard::default());
        let hears = heard.clone();
        let driver = tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    if *notice.code() == SqlState::NO_ACTIVE_SQL_TRANSACTION {
                        hears.no_transaction.store(true, Ordering::Relaxed);
                    }
                    hears.notices.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self {
            client,
            heard,
            driver,
        })
    }

    async fn is_replica(&self) -> Result<bool, PolicyError> {
        let asking = self
            .client
            .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]);
        let asked = timeout(END_DEADLINE, asking).await;
        let row = asked
            .map_err(|_| PolicyError::Unreachable("no answer in time".to_owned()))?
            .map_err(|error| PolicyError::Unreachable(shown(&error)))?;
        let read = row.try_get(0);
        read.map_err(|error| PolicyError::Unreachable(shown(&error)))
    }

    /// Runs the statements; rows are dropped as they come.
    async fn run(&self, sql: &str) -> Result<(), PolicyError> {
        let mut done = 0;
        let asked = self.client.simple_query_raw(sql).await;
        let answers = asked.map_err(|error| ended(&error, sql, done))?;
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(SimpleQueryMessage::CommandComplete(_)) => done += 1,
                Ok(_) => {}
                Err(error) => return Err(ended(&error, sql, done)),
            }
        }
        Ok(())
    }

    /// What is begun and not committed is gone with the session: that is no success.
    async fn ends_its_transactions(&self) -> Result<(), PolicyError> {
        let notices = self.heard.notices.load(Ordering::Relaxed);
        self.heard.no_transaction.store(false, Ordering::Relaxed);
        let ending = timeout(END_DEADLINE, self.client.batch_execute("ROLLBACK")).await;
        match ending {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(PolicyError::Unknown),
        }
        if !self.heard.no_transaction.load(Ordering::Relaxed) {
            return Err(PolicyError::Unfit(
                "it begins a transaction and does not end it; nothing of that transaction stayed",
            ));
        }
        self.heard.notices.store(notices, Ordering::Relaxed);
        Ok(())
    }
}

/// The settings of a session. The role is set as one of them, so that `RESET ROLE` leads back to it.
fn settings(role: &str) -> String {
    let mut settings = SETTINGS.to_owned();
    if !role.is_empty() {
        settings.push_str(" -c role=");
        for c in role.chars() {
            // Documentation, "Database Connection Control Functions", options.
            if c == '\\' || c.is_whitespace() {
                settings.push('\\');
            }
            settings.push(c);
        }
    }
    settings
}

/// Whether there is no such database or role.
fn is_about_place(code: &SqlState) -> bool {
    // What a setting refuses has this code: the only one that may be refused is the role.
    [
        SqlState::UNDEFINED_DATABASE,
        SqlState::INVALID_PARAMETER_VALUE,
    ]
    .contains(code)
}

/// What an error says of a policy of which so many statements were done.
fn ended(error: &tokio_postgres::Error, sql: &str, done: usize) -> PolicyError {
    match error.as_db_error() {
        // The session ends with it, whatever was committed.
        Some(db)
            if matches!(
                db.parsed_severity(),
                Some(Severity::Fatal | Severity::Panic)
            ) =>
        {
            PolicyError::Unknown
        }
        Some(db) => failed(db, sql, done),
        None if error.is_closed() || std::error::Error::source(error).is_some() => {
            PolicyError::Unknown
        }
        // The one thing that PostgreSQL answers and a query does not understand.
        None => PolicyError::Unfit(
            "it copies from or to the client (COPY with STDIN or STDOUT), which a policy has not; whether the rest took effect is \
             not known",
        ),
    }
}

fn failed(db: &DbError, sql: &str, done: usize) -> PolicyError {
    let place = match db.position() {
        Some(ErrorPosition::Original(number)) => Some(Place::of_character(sql, *number)),
        _ => Place::of_statement(sql, done),
    };
    let raised = db.routine().is_some_and(|by| RAISERS.contains(&by));
    let is_foreign = raised || *db.code() == SqlState::INTERNAL_ERROR;
    PolicyError::Failed {
        place,
        message: match is_foreign {
            true => "an error was raised, which may quote the policy and is not shown".to_owned(),
            false => unquoted(db.message()),
        },
        code: db.code().code().to_owned(),
    }
}

/// A message without what it quotes: that may be a text of the policy, and may have quotation marks within itself.
fn unquoted(message: &str) -> String {
    let shortened = match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) => {
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    };
    shortened.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_quotes_is_left_out_with_the_quotation_marks_in_it() {
        assert_eq!(
            unquoted(r#"syntax error at or near "hunter2""#),
            r#"syntax error at or near "…""#
        );
        assert_eq!(
            unquoted(r#"unterminated quoted string at or near "'a"b"c" here"#),
            r#"unterminated quoted string at or near "…" here"#
        );
        assert_eq!(unquoted("division by zero"), "division by zero");
        assert_eq!(unquoted(r#"one " alone"#), r#"one "…" alone"#);
        assert_eq!(unquoted(&"x".repeat(999)).len(), LONGEST);
    }
}
