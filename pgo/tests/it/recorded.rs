//! Conversations recorded from 4.1, with our client in the place of 4.1's: the same requests, the same text.

use std::{fs, path::Path};

use crate::fake::{Fake, Ran, Reply, run};
use serde_json::{Value, json};

/// The conversation of this number.
fn recording(number: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/api/tests/recorded");
    let file = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(number)
        })
        .unwrap();
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The arguments of a conversation.
fn argv(recording: &Value) -> Vec<&str> {
    let argv = recording["argv"].as_array().unwrap().iter();
    argv.map(|word| word.as_str().unwrap()).collect()
}

/// Runs our client with the recorded arguments against the recorded answers; holds its requests against the recorded
/// ones. The recording, and how ours ended.
fn replay(number: &str) -> (Value, Ran) {
    let recording = recording(number);
    let exchanges = recording["http"].as_array().unwrap().clone();

    let answers: Vec<Value> = exchanges
        .iter()
        .map(|exchange| exchange["response"]["body"].clone())
        .collect();
    let fake = Fake::start(move |_| Reply::Json(answers[0].clone()));
    let mut command = fake.pgo(&argv(&recording));
    // What some of them read.
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.sql");
    fs::write(policy, "create table if not exists demo(id int);\n").unwrap();
    command.current_dir(folder.path());
    if number == "203" {
        command.env("PGO_NAMESPACE", "");
    }
    let ran = run(&mut command);

    let requests = fake.requests();
    assert_eq!(requests.len(), exchanges.len(), "{number}: {requests:?}");
    for (ours, exchange) in requests.iter().zip(&exchanges) {
        let recorded = &exchange["request"];
        assert_eq!(ours.method, recorded["method"], "{number}");
        assert_eq!(ours.path, recorded["path"], "{number}");
        let mut body = recorded["body"].clone();
        if number == "008" {
            // 4.1 had the flag and never sent it.
            body["Ccpimagetag"] = "nosuch".into();
        }
        assert_eq!(ours.body, body, "{number}");
        assert_eq!(ours.credentials, "pgoadmin:examplepassword", "{number}");
    }
    (recording, ran)
}

#[test]
fn what_4_1_did_and_printed_ours_does_and_prints() {
    for number in [
        "001", "005", "030", "031", "033", "046", "065", "070", "071", "075", "080", "081", "105",
        "110", "126", "128", "138", "141", "183", "206",
    ] {
        let (recording, ran) = replay(number);
        let printed = recording["stdout"].as_str().unwrap();
        match printed.starts_with('{') {
            true => assert_eq!(
                serde_json::from_str::<Value>(&ran.stdout).unwrap(),
                serde_json::from_str::<Value>(printed).unwrap(),
                "{number}"
            ),
            false => assert_eq!(ran.stdout, printed, "{number}"),
        }
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{number}");
    }
}

#[test]
fn status_has_4_1_s_layout() {
    let (recording, ran) = replay("200");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let recorded = recording["stdout"].as_str().unwrap();
    let [(ours, our_labels), (theirs, their_labels)] =
        [&ran.stdout, recorded].map(|text| text.split_once("\nLabels (count > 1)").unwrap());
    // 4.1 prints a node's labels in random order.
    assert_eq!(sorted(ours), sorted(theirs));
    // In the order of the answer, and no label of one pod alone.
    assert_eq!(our_labels, their_labels);
    assert_eq!(our_labels.lines().count(), 7);
    assert_eq!(ran.code, Some(0));

    let (recording, ran) = replay("201");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let recorded: Value = serde_json::from_str(recording["stdout"].as_str().unwrap()).unwrap();
    assert_eq!(printed, recorded);
}

#[test]
fn what_is_new_in_the_status_stands_apart_from_4_1_s_list_of_pods() {
    let mut answer = recording("200")["http"][0]["response"]["body"].clone();
    answer["Result"]["NotReady"] = json!(["hippo-abcd"]);
    answer["Result"]["ClustersNotReady"] = json!(["rhino"]);
    answer["Result"]["SettingsNotAvailable"] = json!(["Cluster.Metrics"]);
    let fake = Fake::start(move |_| Reply::Json(answer.clone()));
    let ran = run(&mut fake.pgo(&["status"]));
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
    let place = |line: &str| lines.iter().position(|have| *have == line).unwrap();
    for (title, name) in [
        ("Databases Not Ready:", "\thippo-abcd"),
        ("Clusters Not Ready:", "\trhino"),
        (
            "Settings Of pgo.yaml Not Available Yet:",
            "\tCluster.Metrics",
        ),
    ] {
        assert_eq!(lines[place(title)..][..2], [title, name]);
    }
}

#[test]
fn an_error_has_4_1_s_words_on_standard_error_and_exit_status_2() {
    for number in [
        "010", "013", "015", "016", "018", "020", "021", "025", "066", "068", "076", "096", "098",
        "100", "101", "106", "115", "130", "140", "150", "185", "203", "205", "208", "145", "146",
        "148",
    ] {
        let (recording, ran) = replay(number);
        let recorded = recording["stdout"].as_str().unwrap().trim();
        assert!(recorded.starts_with("Error: "), "{number}");
        assert!(ran.stderr.starts_with(recorded), "{number}: {}", ran.stderr);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{number}");
    }
}

#[test]
fn what_was_named_and_not_found_is_a_failure_with_4_1_s_text() {
    for number in [
        "003", "035", "036", "073", "111", "118", "120", "123", "143",
    ] {
        let (recording, ran) = replay(number);
        assert_eq!(
            ran.stdout,
            recording["stdout"].as_str().unwrap(),
            "{number}"
        );
        assert_eq!(ran.code, Some(2), "{number}");
        assert!(
            ran.stderr.starts_with("Error: "),
            "{number}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_name_that_is_none_makes_no_request() {
    let (recording, ran) = replay("011");
    let recorded = recording["stdout"].as_str().unwrap();
    let words = recorded.trim().strip_prefix("Error: ").unwrap();
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn what_a_schedule_lacks_is_said_in_4_1_s_words_without_a_request() {
    let (recording, ran) = replay("121");
    let words = recording["stdout"].as_str().unwrap();
    assert_eq!(ran.stderr, format!("Error: {words}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
}

#[test]
fn clusters_are_asked_for_and_shown_as_in_4_1_but_for_the_order_of_labels() {
    let lines = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let sorted = |line: &str| {
            let mut words = words(line);
            // 4.1 prints labels in random order.
            if line.starts_with("\tlabels : ") {
                words.sort();
            }
            words
        };
        text.lines().map(sorted).collect()
    };
    for number in ["008", "078", "108"] {
        let (recording, ran) = replay(number);
        let recorded = recording["stdout"].as_str().unwrap();
        assert_eq!(lines(&ran.stdout), lines(recorded), "{number}");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{number}");
    }
}

/// A creation with pgpool.
#[test]
fn what_4_1_did_and_is_not_there_yet_is_refused_without_a_request() {
    let recording = recording("026");
    let fake = Fake::start(|_| Reply::Nothing);
    let ran = run(&mut fake.pgo(&argv(&recording)));
    assert!(fake.requests().is_empty());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    let later = "is not available in this version yet";
    assert!(ran.stderr.contains(later), "{ran:?}");
}

/// Every type of resource that 4.1 lists is listed, or said to come later where it is asked for.
#[test]
fn without_a_type_4_1_s_words_are_said_with_the_types_that_work() {
    for (number, bullet) in [("210", "\t* "), ("211", "    * ")] {
        let (recording, ran) = replay(number);
        let verb = argv(&recording)[0].to_owned();
        let recorded = recording["stdout"].as_str().unwrap();
        let (words, of_4_1) = recorded.split_once(bullet).unwrap();
        let (said, ours) = ran.stderr.split_once(bullet).unwrap();
        assert_eq!(said, words, "{number}");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{number}");
        let ours: Vec<&str> = ours.trim_end().split(&format!("\n{bullet}")).collect();
        assert!(ours.contains(&"cluster"), "{ours:?}");
        for kind in of_4_1.split(bullet).map(str::trim) {
            let fake = Fake::start(|_| Reply::Nothing);
            let later = run(&mut fake.pgo(&[&verb, kind]));
            let is_later = later.stderr.contains("not available in this version yet");
            assert!(is_later != ours.contains(&kind), "{verb} {kind}: {later:?}");
        }
    }
}

/// Each with its short form; what comes later says so.
#[test]
fn create_cluster_has_every_flag_that_4_1_shows() {
    let (recording, ran) = replay("213");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let recorded = recording["stdout"].as_str().unwrap();
    let flags = recorded.lines().filter_map(|line| {
        let (before, after) = line.split_once("--")?;
        let short = before.trim().trim_end_matches(',');
        let mut words = after.split(' ').filter(|word| !word.is_empty());
        let takes = |word: Option<&str>| matches!(word, Some("string" | "int"));
        (before.trim().len() <= 3).then(|| (short, words.next().unwrap(), takes(words.next())))
    });
    let flags: Vec<_> = flags.filter(|(_, name, _)| *name != "help").collect();
    assert!(flags.len() > 28, "{flags:?}");
    for (short, name, takes) in flags {
        let shown = match short {
            "" => format!(" --{name}"),
            short => format!("{short}, --{name}"),
        };
        let is_shown = ran.stdout.contains(&shown);
        let fake = Fake::start(|_| Reply::Nothing);
        let value = if takes { "=1" } else { "" };
        let long = format!("--{name}{value}");
        let later = run(&mut fake.pgo(&["create", "cluster", "hippo", &long]));
        let is_later = later.stderr.contains("not available in this version yet");
        // --pgbackrest is there, with some of its values.
        let is_one = is_shown != is_later || name == "pgbackrest";
        assert!(is_one, "--{name}: {later:?}");
        if !is_shown && !short.is_empty() {
            let later = run(&mut fake.pgo(&["create", "cluster", "hippo", short, "x"]));
            assert!(later.stderr.contains(name), "{short}: {later:?}");
        }
    }
}

#[test]
fn a_watch_of_nothing_and_a_refused_login_have_4_1_s_words() {
    let (watch, ran) = replay("215");
    let logged = watch["stderr"].as_str().unwrap();
    let words = logged.split("msg=\"").nth(1).unwrap();
    let words = words.trim_end().trim_end_matches('"');
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));

    // What was refused there comes later; 4.1 says the same of every request.
    let refused = recording("186");
    let answer = &refused["http"][0]["response"];
    assert_eq!(answer["status"], 401);
    let fake = Fake::start(|_| Reply::Text(401, "Not authorized for this apiserver action\n"));
    let ran = run(&mut fake.pgo(&["show", "cluster", "hippo"]));
    let recorded = refused["stdout"].as_str().unwrap().trim();
    let single_blanks = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ran.stderr.starts_with(&single_blanks(recorded)), "{ran:?}");
    let body = answer["body"].as_str().unwrap().trim();
    assert!(ran.stderr.contains(body), "{ran:?}");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
}
