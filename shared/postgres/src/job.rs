//! Benchmarks and loads: what `pgbench` and `psql` are told, and what they say.
//!
//! ```text
//! Order ─► Calls of pgbench: initialize, run ─► what it printed ─► its figures in one line
//! Order ─► is the file what it is said to be? ─► Call of psql: COPY ─► how many rows
//! ```

use std::{
    io::{self, BufRead},
    path::Path,
};

use serde::Deserialize;

use crate::client::{Call, NEVER_ASK, database, with_settings};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// Id of the operation.
    pub operation: String,
    /// It.
    #[serde(flatten)]
    pub work: Work,
}

impl std::str::FromStr for Order {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "work", rename_all = "camelCase")]
pub enum Work {
    /// It measures.
    Benchmark(Benchmark),
    /// It loads a file into a table.
    Load(Load),
}

/// A benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Benchmark {
    /// The database.
    pub database: String,
    /// Further arguments of `pgbench --initialize`.
    pub init: Vec<String>,
    /// Further arguments of the run.
    pub options: Vec<String>,
    /// How many clients there are.
    pub clients: u32,
    /// How many threads these have.
    pub threads: u32,
    /// Scale factor.
    pub scale: u32,
    /// Transactions of each client.
    pub transactions: u32,
    /// Where the transaction comes from that is run instead of pgbench's own.
    #[serde(default)]
    pub script: Option<String>,
}

/// A load.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Load {
    /// The database.
    pub database: String,
    /// The role whose rights it has.
    pub role: String,
    /// The table as SQL has it.
    pub table: String,
    /// The claim with the file.
    pub claim: String,
    /// Where the file is in that.
    pub file: String,
    /// What it holds.
    pub format: Format,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// A JSON value in each line.
    Json,
}

/// What makes the tables of a benchmark, in the place of those that are there.
pub fn initialize(work: &Benchmark) -> Call {
    let mut arguments = vec!["--initialize".to_owned(), format!("--scale={}", work.scale)];
    arguments.extend(work.init.iter().cloned());
    arguments.push(database(&work.database));
    Call::of("pgbench", arguments)
}

/// What measures; `script` is the file with the transaction that is run instead of pgbench's own.
pub fn measure(work: &Benchmark, script: &Path) -> Call {
    let mut arguments = vec![
        format!("--client={}", work.clients),
        format!("--jobs={}", work.threads),
    ];
    // One or the other ends it.
    if !work.options.iter().any(|one| one.starts_with("--time=")) {
        arguments.push(format!("--transactions={}", work.transactions));
    }
    if work.script.is_some() {
        arguments.push(format!("--file={}", script.display()));
    }
    arguments.extend(work.options.iter().cloned());
    arguments.push(database(&work.database));
    Call::of("pgbench", arguments)
}

/// The figures of what `pgbench` has printed, in one line.
pub fn figures(printed: &str) -> String {
    let wanted = [
        "number of transactions actually processed:",
        "number of failed transactions:",
        "latency average =",
        "tps =",
    ];
    let lines = printed.lines().map(str::trim);
    let told = lines.filter(|line| wanted.iter().any(|word| line.starts_with(word)));
    told.collect::<Vec<_>>().join(", ")
}

/// The variables with which a load runs: it has the rights of its role, and a file is as programs write it today, not as this
/// machine's language would have it.
pub fn variables(work: &Load) -> [(&'static str, String); 2] {
    let rights = with_settings(&[("role", work.role.as_str())]);
    [rights, utf8()]
}

/// The variable by which texts are UTF-8.
pub fn utf8() -> (&'static str, String) {
    ("PGCLIENTENCODING", "UTF8".to_owned())
}

/// What loads the file that it reads, all of it or nothing.
pub fn load(work: &Load) -> Call {
    let how = match work.format {
        Format::Csv => "FORMAT csv",
        // No character of JSON is one of these: each line is one value.
        Format::Json => "FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02'",
    };
    let arguments = [
        "--no-psqlrc",
        NEVER_ASK,
        "--set=ON_ERROR_STOP=1",
        "--set=VERBOSITY=verbose",
        &format!("--command=COPY {} FROM STDIN WITH ({how})", work.table),
        &format!("--dbname={}", database(&work.database)),
    ];
    Call::of("psql", arguments.map(str::to_owned))
}

/// How many rows were loaded, by what `psql` has printed.
pub fn rows(printed: &str) -> Option<u64> {
    let lines = printed.lines();
    let mut counts = lines.filter_map(|line| line.strip_prefix("COPY ")?.trim().parse().ok());
    counts.next_back()
}

/// The line of a file at which `COPY` would end and drop what follows without a word, where there is one: `\.` alone.
///
/// # Errors
/// The file cannot be read.
pub fn early_end(mut file: impl BufRead) -> io::Result<Option<u64>> {
    let (mut line, mut number, mut found) = (Vec::new(), 0_u64, None);
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        // Something follows.
        if found.is_some() {
            return Ok(found);
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text == b"\\." {
            found = Some(number);
        }
    }
}

/// The error that a line says which one of these programs writes to standard error. Statements are in none, and of values that
/// PostgreSQL quotes, as it cannot read them, only the quotes.
pub fn error(line: &str) -> Option<String> {
    let of_program = ["pgbench: ", "psql: "];
    if of_program.iter().any(|name| line.starts_with(name)) {
        let told = ["ERROR:  ", "FATAL:  ", "error: ", "fatal: "];
        return told
            .iter()
            .any(|word| line.contains(word))
            .then(|| line.to_owned());
    }
    let severities = ["ERROR:  ", "FATAL:  ", "PANIC:  "];
    let text = severities.iter().find_map(|word| line.strip_prefix(word))?;
    let code = text.split_once(": ").filter(|(code, _)| {
        let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        code.len() == 5 && code.bytes().all(is_part)
    });
    Some(match code {
        // Data exceptions.
        Some((code, text)) if code.starts_with("22") => {
            format!("{} (SQLSTATE {code})", unquoted(text))
        }
        Some((code, text)) => format!("{text} (SQLSTATE {code})"),
        None => text.to_owned(),
    })
}

/// A text without what is between its quotes, from the first to the last one: a value may hold some.
fn unquoted(text: &str) -> String {
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}\"…{}", &text[..first], &text[last..])
        }
        _ => text.to_owned(),
    }
}

/// The place in a file that PostgreSQL names with an error: `CONTEXT:  COPY people, line 3, column age: "x"` without the value.
pub fn place(line: &str) -> Option<&str> {
    let place = line.strip_prefix("CONTEXT:  COPY ")?;
    let (_, place) = place.split_once(", line ")?;
    let end = place.find(": ").unwrap_or(place.len());
    let place = &place[..end];
    let digits = place.bytes().take_while(u8::is_ascii_digit).count();
    // `line 3, column age`, or `line 3`; a column is named as the table has it.
    (digits > 0).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn benchmark(options: &[&str], script: Option<&str>) -> Benchmark {
        Benchmark {
            database: "user'db".to_owned(),
            init: vec!["--quiet".to_owned()],
            options: options.iter().map(|one| (*one).to_owned()).collect(),
            clients: 4,
            threads: 2,
            scale: 10,
            transactions: 100,
            script: script.map(str::to_owned),
        }
    }

    #[test]
    fn an_order_is_read_as_the_reconciler_writes_it() {
        let order: Order = r#"{"operation":"o","work":"load","database":"userdb","role":"testuser","table":"people",
            "claim":"files","file":"a.csv","format":"json","supplementalGroup":7}"#
            .parse()
            .expect("an order");
        let Work::Load(load) = order.work else {
            panic!("a load")
        };
        assert_eq!((load.format, load.file.as_str()), (Format::Json, "a.csv"));
        let order: Result<Order, _> =
            r#"{"operation":"o","work":"benchmark","database":"postgres","init":[],"options":[],
            "clients":1,"threads":1,"scale":1,"transactions":1}"#
                .parse();
        assert!(matches!(
            order,
            Ok(Order {
                work: Work::Benchmark(_),
                ..
            })
        ));
    }

    #[test]
    fn a_benchmark_is_told_what_to_measure() {
        let init = initialize(&benchmark(&[], None));
        assert_eq!(
            init.arguments[..3],
            ["--initialize", "--scale=10", "--quiet"]
        );
        assert!(
            init.arguments[3].starts_with("dbname='user\\'db' "),
            "{init:?}"
        );
        let script = Path::new("/pgconf/transactions.sql");
        let run = measure(&benchmark(&["--select-only"], None), script);
        assert_eq!(
            run.arguments[..4],
            [
                "--client=4",
                "--jobs=2",
                "--transactions=100",
                "--select-only"
            ]
        );
        let run = measure(&benchmark(&["--time=5"], Some("tx")), script);
        assert_eq!(
            run.arguments[..4],
            [
                "--client=4",
                "--jobs=2",
                "--file=/pgconf/transactions.sql",
                "--time=5"
            ],
            "a time ends it, instead of a number"
        );
    }

    #[test]
    fn its_figures_are_one_line() {
        let printed = "pgbench (15.18)\nscaling factor: 1\nnumber of transactions actually processed: 10/10\n\
                       number of failed transactions: 0 (0.000%)\nlatency average = 3.131 ms\n\
                       initial connection time = 7.2 ms\ntps = 319.3 (without initial connection time)\n";
        assert_eq!(
            figures(printed),
            "number of transactions actually processed: 10/10, number of failed transactions: 0 (0.000%), \
             latency average = 3.131 ms, tps = 319.3 (without initial connection time)"
        );
    }

    #[test]
    fn a_file_is_loaded_by_copy_with_the_rights_of_its_role() {
        let mut work = Load {
            database: "userdb".to_owned(),
            role: "an app".to_owned(),
            table: "public.people".to_owned(),
            claim: "files".to_owned(),
            file: "a.csv".to_owned(),
            format: Format::Csv,
        };
        assert_eq!(
            load(&work).arguments[4],
            "--command=COPY public.people FROM STDIN WITH (FORMAT csv)"
        );
        work.format = Format::Json;
        assert!(
            load(&work).arguments[4].ends_with("(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')")
        );
        let [(_, options), (_, encoding)] = variables(&work);
        assert_eq!(options, "-c lc_messages=C -c role=an\\ app");
        assert_eq!(encoding, "UTF8");
        assert_eq!(rows("COPY 3\n"), Some(3));
        assert_eq!(rows(""), None);
    }

    #[test]
    fn a_line_that_would_end_it_early_is_found() {
        let find = |text: &str| early_end(text.as_bytes()).expect("it is read");
        assert_eq!(find("a,b\n\\.\nc,d\n"), Some(2));
        assert_eq!(find("a,b\r\n\\.\r\nc,d"), Some(2));
        assert_eq!(find("a,b\n\\.\n"), None, "nothing follows");
        assert_eq!(find("a,\\.\nc,d\n"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn of_an_error_the_place_is_told_and_no_value() {
        let said = "ERROR:  22P02: invalid input syntax for type integer: \"a \"secret\"\"";
        assert_eq!(
            error(said).as_deref(),
            Some("invalid input syntax for type integer: \"…\" (SQLSTATE 22P02)")
        );
        let said = "ERROR:  42P01: relation \"people\" does not exist";
        assert_eq!(
            error(said).as_deref(),
            Some("relation \"people\" does not exist (SQLSTATE 42P01)")
        );
        let said = "pgbench: error: connection to server failed";
        assert_eq!(error(said).as_deref(), Some(said));
        for other in [
            "LINE 1: SELECT 'error: '",
            "done in 0.1 s (vacuum 0.02 s)",
            "DETAIL:  Key (id)=(1)",
            "pgbench: pghost:",
        ] {
            assert_eq!(error(other), None);
        }
        assert_eq!(
            place("CONTEXT:  COPY people, line 3, column age: \"secret\""),
            Some("3, column age")
        );
        assert_eq!(
            place("CONTEXT:  COPY people, line 3: \"1,secret\""),
            Some("3")
        );
        assert_eq!(place("CONTEXT:  COPY people, line 3"), Some("3"));
        assert_eq!(place("CONTEXT:  SQL function"), None);
    }
}
