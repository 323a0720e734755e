//! What pgBackRest's commands write while they work, line by line.

/// Longest error that is told, in bytes.
const LONGEST: usize = 1024;

/// What is wrong, of what a command wrote; its last words where it names no error. Lines of an error that are indented belong to
/// it; of a request that S3 refused, only what it answered.
pub fn error(text: &str) -> String {
    let mut error = String::new();
    let (mut inside, mut within_request) = (false, false);
    for line in text.lines() {
        let is_more = line.starts_with([' ', '\t']);
        if let Some((_, said)) = line.split_once("ERROR: ") {
            (inside, within_request) = (true, false);
            push(&mut error, said);
        } else if inside && is_more {
            within_request |= line.trim().starts_with(REQUEST);
            if within_request {
                answer(&mut error, line);
            } else {
                push(&mut error, line);
            }
        } else {
            inside = false;
        }
    }
    if error.is_empty() {
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        push(&mut error, last.unwrap_or("it said nothing"));
    }
    error.truncate(error.floor_char_boundary(LONGEST));
    error
}

/// From here on pgBackRest shows a request and its answer, whole.
const REQUEST: &str = "*** Path/Query ***";

/// A text without the requests that S3 refused, of which only the answer stays.
pub fn without_requests(text: &str) -> String {
    let mut shown = String::new();
    let mut within_request = false;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if line.trim().starts_with(REQUEST) {
            within_request = true;
        } else if within_request && indent < INDENT {
            within_request = false;
        }
        if !within_request {
            shown.push_str(line);
            shown.push('\n');
            continue;
        }
        let mut said = String::new();
        answer(&mut said, line);
        if !said.is_empty() {
            shown.push_str(&format!("{:INDENT$}{said}\n", ""));
        }
    }
    shown
}

/// How far `info` indents the lines of an error.
const INDENT: usize = 12;

/// What S3 says of a request that it refuses.
fn answer(error: &mut String, line: &str) {
    for element in ["Code", "Message"] {
        let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
        let behind = line.split_once(&begin).map(|(_, behind)| behind);
        if let Some((said, _)) = behind.and_then(|behind| behind.split_once(&end)) {
            push(error, said);
        }
    }
}

fn push(error: &mut String, line: &str) {
    if !error.is_empty() {
        error.push_str("; ");
    }
    error.push_str(line.trim());
}

/// How far a backup is, in per cent, by the line of a file that was copied.
pub fn percent(line: &str) -> Option<u32> {
    if !line.contains(" DETAIL: ") {
        return None;
    }
    let (before, _) = line.rsplit_once("%)")?;
    let at = before.rfind(|c: char| !c.is_ascii_digit() && c != '.')?;
    let whole = before[at + 1..].split('.').next()?;
    whole.parse().ok().filter(|percent| *percent <= 100)
}

/// Label of the backup that was made, by the line that tells it.
pub fn label(line: &str) -> Option<&str> {
    let (_, label) = line.split_once("new backup label = ")?;
    Some(label.trim())
}

/// In which file, and where in it, pages have wrong checksums, by the line that warns of them.
pub fn damaged_pages(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("invalid page checksum")?;
    let (_, place) = rest.split_once("found in file ")?;
    Some(place.trim())
}

/// Whether what a restore failed with stays so: a backup that is damaged, or options that do not fit.
pub fn is_final(error: &str) -> bool {
    // pgBackRest's sources, error.yaml: checksum, formatInvalid, optionInvalid, optionInvalidValue, optionRequired, fileMissing,
    // backupSetInvalid.
    let codes = [
        "[026]", "[029]", "[031]", "[032]", "[037]", "[055]", "[075]",
    ];
    codes.iter().any(|code| error.starts_with(code))
}

/// Codes of errors (pgBackRest's sources, error.yaml) that say nothing of what lies in a repository, but that it cannot be reached,
/// that something is in the way, or that there is no room for a copy: protocol, pathCreate, hostConnect, lockAcquire, fileSync,
/// pathSync, stop, term, fileWrite, memory, kernel, service, execute, access, clock.
const PASSING: [&str; 15] = [
    "[039]", "[047]", "[049]", "[050]", "[052]", "[054]", "[062]", "[063]", "[064]", "[094]",
    "[100]", "[101]", "[102]", "[105]", "[106]",
];

/// The same as words, by which an error tells of each of several repositories, or of a connection that ends in the middle.
pub const PASSING_WORDS: [&str; 9] = [
    "[HostConnectError]",
    "[ServiceError]",
    "[ProtocolError]",
    "[LockAcquireError]",
    "[AccessError]",
    "[StopError]",
    "timeout after",
    "unexpected eof while reading line",
    "TLS error",
];

/// Whether what a command failed with says nothing of what lies in the repository: that could not be asked, or the command was
/// ended before it could say what is wrong.
pub fn is_passing(error: &str) -> bool {
    let is_ended = !error.starts_with('[');
    is_ended
        || PASSING.iter().any(|code| error.starts_with(code))
        || PASSING_WORDS.iter().any(|word| error.contains(word))
}

/// Whether no stanza can be made because the repository has that of another database.
pub fn is_of_another_database(error: &str) -> bool {
    // 28 is fileInvalid in pgBackRest's error.yaml; the words tell this case from others.
    error.contains("[028]") && error.contains("do not match the database")
}

/// Whether a line is worth a log: not that of a single file.
pub fn is_news(line: &str) -> bool {
    !line.contains(" DETAIL: ") && !line.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_damaged_are_named() {
        let one = "P01   WARN: invalid page checksum found in file hippo:/pgdata/hippo/base/5/16390 at page 3";
        let place = "hippo:/pgdata/hippo/base/5/16390 at page 3";
        assert_eq!(damaged_pages(one), Some(place));
        let several = "P01   WARN: invalid page checksums found in file /pgdata/hippo/base/5/1 at pages 1, 3-5";
        assert_eq!(
            damaged_pages(several),
            Some("/pgdata/hippo/base/5/1 at pages 1, 3-5")
        );
        assert_eq!(damaged_pages("P00   INFO: backup command end"), None);
    }

    #[test]
    fn an_error_is_told_with_all_its_lines() {
        let text = "P00   WARN: option 'repo1-retention-full' is not set\n           HINT: to retain full backups\n\
                    P00  ERROR: [103]: unable to find a valid repository:\n       repo1: [HostConnectError] refused\n\
                    P00   INFO: backup command end: aborted with exception [103]\n";
        let said = "[103]: unable to find a valid repository:; repo1: [HostConnectError] refused";
        assert_eq!(error(text), said);
        assert_eq!(
            error("\nsh: 1: pgbackrest: not found\n\n"),
            "sh: 1: pgbackrest: not found"
        );
        assert_eq!(error(""), "it said nothing");
        assert!(error(&format!("ERROR: {}", "é".repeat(2000))).len() <= LONGEST);
    }

    #[test]
    fn of_a_request_that_s3_refused_its_answer_is_told() {
        let text = "P00  ERROR: [039]: HTTP request failed with 403 (Forbidden):\n            *** Path/Query ***:\n            \
                    GET /backups/?list-type=2\n            *** Request Headers ***:\n            authorization: <redacted>\n            \
                    *** Response Content ***:\n            <?xml version=\"1.0\"?>\n            \
                    <Error><Code>InvalidAccessKeyId</Code><Message>There is no such key.</Message><RequestId>7</RequestId></Error>\n\
                    P00   INFO: backup command end: aborted with exception [039]\n";
        assert_eq!(
            error(text),
            "[039]: HTTP request failed with 403 (Forbidden):; InvalidAccessKeyId; There is no such key."
        );
    }

    #[test]
    fn what_info_says_of_a_repository_that_refuses_is_short() {
        let text = "stanza: db\n    status: error (other)\n            [ProtocolError] HTTP request failed with 403 (Forbidden):\n            \
                    *** Path/Query ***:\n            GET /backups/\n            *** Response Content ***:\n            \
                    <Error><Code>AccessDenied</Code><Message>No.</Message></Error>\n    cipher: none\n";
        let shown = "stanza: db\n    status: error (other)\n            [ProtocolError] HTTP request failed with 403 (Forbidden):\n            \
                     AccessDenied; No.\n    cipher: none\n";
        assert_eq!(without_requests(text), shown);
        let plain = "stanza: db\n    status: ok\n";
        assert_eq!(without_requests(plain), plain);
    }

    #[test]
    fn a_repository_of_another_database_is_told_from_one_that_is_damaged() {
        let other = "pgbackrest stanza-create failed: [028]: backup and archive info files exist but do not match the database; \
                     HINT: is this the correct stanza?";
        assert!(is_of_another_database(other));
        assert!(!is_of_another_database(
            "[028]: archive info file is damaged"
        ));
        assert!(!is_of_another_database(
            "[055]: they do not match the database"
        ));
    }

    #[test]
    fn progress_is_read_from_files_alone() {
        let file = "P01 DETAIL: backup file localhost:/pgdata/hippo/base/1/4159 (0B, 97.50%) checksum 0123";
        assert_eq!(percent(file), Some(97));
        let older = "P01 DETAIL: backup file /pgdata/hippo/base/1/(5%) (16KB, 100%)";
        assert_eq!(percent(older), Some(100));
        assert_eq!(percent("P00   INFO: full backup (16KB, 50%)"), None);
        assert_eq!(percent("P00 DETAIL: statistics: {}"), None);
        assert_eq!(percent("P00 DETAIL: x (900%)"), None);
    }

    #[test]
    fn what_another_try_does_not_mend_is_told_from_the_rest() {
        // As a restore says it whose backup has a file with other content.
        assert!(is_final(
            "[026]: raised from local-1 protocol: error restoring '/pgdata/hippo/base/5/1259': actual checksum 'e5' does not match"
        ));
        assert!(is_final("[055]: unable to open missing file"));
        assert!(!is_final("[103]: unable to find a valid repository"));
        assert!(!is_final("[050]: unable to acquire lock"));
    }

    #[test]
    fn a_repository_that_is_away_is_told_from_one_that_is_damaged() {
        for away in [
            "[049]: unable to connect to '127.0.0.1:9': [111] Connection refused",
            "[103]: unable to find a valid repository:; repo1: [HostConnectError] unable to connect",
            "[039]: HTTP request failed with 403 (Forbidden):; SignatureDoesNotMatch",
            "[042]: timeout after 3000ms waiting for read from 'localhost:8432'",
            "[063]: terminated on signal [SIGTERM]",
            "[064]: unable to write '/pgdrill/data/base/1/2': [28] No space left on device",
            "it said nothing",
            "sh: 1: pgbackrest: not found",
        ] {
            assert!(is_passing(away), "{away}");
            assert!(!is_final(away), "{away}");
        }
        for damaged in [
            "[026]: raised from local-1 protocol: error restoring '/pgdata/hippo/base/5/1259': actual checksum 'e5' does not match",
            "[042]: unable to get 000000010000000000000004:; repo1: 15-1/…/000000010000000000000004-7a.gz [FormatError] unexpected \
             EOF in compressed data",
            "[055]: unable to open missing file",
        ] {
            assert!(!is_passing(damaged), "{damaged}");
        }
    }

    #[test]
    fn the_label_is_found() {
        let line = "P00   INFO: new backup label = 20261126-195132F_20261126-200127I";
        assert_eq!(label(line), Some("20261126-195132F_20261126-200127I"));
        assert_eq!(label("P00   INFO: last backup label = x"), None);
    }
}
