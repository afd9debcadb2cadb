//! Session files in the three shapes of ACC's programs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::acc::shared;
use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    FLOW, committed_count, diff, events, execute, has_finding, mapping, on_both_logs, open_log, run_all, started, table,
};

on_both_logs!(
    each_shape_becomes_rows_and_its_changes_events,
    i11_what_lets_a_session_be_taken_up_is_never_read,
    a_half_written_file_is_waited_for_and_a_broken_one_deletes_nothing,
    a_follow_is_woken_by_files,
    i04_half_of_a_surrogate_pair_is_no_other_text,
);

fn migration(log: Log, more: &str) -> Migration {
    let migration = Migration::new(log, "  mapping: mapping.yaml\n  store: files:sessions\n", more);
    let mut text = crossfade::acc::FILES_MAPPING.to_owned();
    for topic in crossfade::acc::files_mapping().unwrap().topics {
        text = text.replace(&topic.name, &format!("{}.{}", migration.name, topic.name));
    }
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    std::fs::create_dir(migration.path("sessions")).unwrap();
    migration
}

fn file(migration: &Migration, name: &str) -> PathBuf {
    migration.path("sessions").join(name)
}

/// As the programs write: two spaces, whole.
fn write(path: &Path, document: &Value) {
    std::fs::write(path, serde_json::to_string_pretty(document).unwrap()).unwrap();
}

fn cli_session(id: &str, iterations: usize) -> Value {
    let iteration = |number: usize| {
        json!({"iteration": number, "prompt": format!("step {number}"),
            "output": {"result": "done", "files": [], "commands": ["ls"], "tools": ["Read"], "sessionId": "x"},
            "exitCode": 0, "duration": 1.25 * number as f64, "timestamp": format!("2025-09-01T10:{:02}:00.000Z", number % 60)})
    };
    json!({"id": id, "startTime": "2025-09-01T10:00:00.000Z", "initialPrompt": "build it", "workDir": "/w",
        "iterations": (1..=iterations).map(iteration).collect::<Vec<_>>(), "status": "running"})
}

fn monitor_session(id: &str, messages: usize) -> Value {
    let message = |number: usize| {
        json!({"agentType": "manager", "messageType": "prompt", "content": format!("say {number}\u{0}"),
            "metadata": {"cost": 0.1, "files": ["a"]}, "id": format!("{id}-{number}"), "sessionId": id, "timestamp": "2025-09-01T10:00:00.500Z"})
    };
    json!({"id": id, "startTime": "2025-09-01T10:00:00.000Z", "status": "running", "initialTask": "a task", "workDir": "/w",
        "messages": (1..=messages).map(message).collect::<Vec<_>>()})
}

fn simple_session(id: &str) -> Value {
    json!({"id": id, "initialTask": "t", "workDir": "/w", "status": "active", "createdAt": "2025-09-01T10:00:00.000Z",
        "updatedAt": "2025-09-01T10:00:00.000Z",
        "messages": [{"id": "msg-1-a", "agentType": "anyone", "messageType": "anything", "content": {"a": 1}, "metadata": null, "timestamp": "2025-09-01T10:00:00.000Z"}],
        "agentStates": {"manager": {"status": "idle", "lastActive": "2025-09-01T10:00:00.000Z"}}})
}

#[track_caller]
fn passes(migration: &Migration) -> Value {
    let report = diff(migration, &[], 0);
    assert_eq!(report["verdict"], "PASS");
    report
}

#[track_caller]
fn brought_over(migration: &Migration) -> Value {
    run_all(migration, &[&["replay"], &["project"]]);
    passes(migration)
}

fn each_shape_becomes_rows_and_its_changes_events(log: Log) {
    let migration = migration(log, "");
    write(&file(&migration, "session-a.json"), &cli_session("session-a", 3));
    write(&file(&migration, "session-dual.json"), &cli_session("session-dual", 0));
    write(&file(&migration, "m.json"), &monitor_session("0b1e6d2c-0000-4000-8000-000000000001", 70));
    write(&file(&migration, "session-1-s.json"), &simple_session("session-1-s"));
    // What is no session: another suffix, a hidden file, a folder, a file of some other kind.
    std::fs::write(file(&migration, "session-b.json.tmp"), "{").unwrap();
    std::fs::write(file(&migration, ".session-c.json"), "{").unwrap();
    std::fs::create_dir(file(&migration, "folder.json")).unwrap();
    std::fs::write(file(&migration, "package.json"), "{\"name\": \"x\"}").unwrap();
    run_all(&migration, &FLOW);
    let report = passes(&migration);
    for (name, rows) in [
        ("cli_sessions", 2),
        ("cli_iterations", 3),
        ("monitor_sessions", 1),
        ("monitor_messages", 70),
        ("simple_sessions", 1),
        ("simple_messages", 1),
    ] {
        assert_eq!(table(&report, name)["compared"], rows, "{name}");
    }
    let unknown = |finding: &&Value| {
        finding["code"] == "unmapped-table" && finding["text"].as_str().unwrap().contains("package.json")
    };
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(unknown).count(), 1, "{report:#}");
    let before = events(open_log(&migration).as_ref(), &mapping(&migration));
    let iterations: Vec<_> = before.iter().filter(|event| event.value["table"] == "cli_iterations").collect();
    assert_eq!(iterations.len(), 3);
    assert!(iterations.iter().all(|event| event.event_type == "CliIterationRecorded" && event.key == "session-a"));
    let row = &iterations[1].value["row"];
    assert_eq!((&row["place"], &row["duration"], &row["exit_code"]), (&json!(2), &json!(2.5), &json!(0)));
    assert_eq!(
        row["output"].as_str().unwrap(),
        json!({"result": "done", "files": [], "commands": ["ls"], "tools": ["Read"], "sessionId": "x"}).to_string()
    );

    let mut grown = cli_session("session-a", 4);
    grown["status"] = "completed".into();
    grown["endTime"] = "2025-09-01T11:00:00.000Z".into();
    write(&file(&migration, "session-a.json"), &grown);
    let mut ended = monitor_session("0b1e6d2c-0000-4000-8000-000000000001", 70);
    ended["summary"] = json!({"totalMessages": 70, "successRate": 100});
    write(&file(&migration, "m.json"), &ended);
    std::fs::remove_file(file(&migration, "session-1-s.json")).unwrap();
    // It was the only one of its kind: two tables are empty now.
    assert_eq!(migration.run(&["replay"]).code, Some(3));
    migration.expect(&["replay", "--allow", "mass-delete"], 0);
    brought_over(&migration);
    let after = events(open_log(&migration).as_ref(), &mapping(&migration));
    let mut new: Vec<&str> = after[before.len()..].iter().map(|event| event.event_type.as_str()).collect();
    new.sort_unstable();
    assert_eq!(
        new,
        ["CliIterationRecorded", "CliSessionEnded", "MessageDeleted", "SessionDeleted", "SessionRowCorrected"]
    );
}

fn i11_what_lets_a_session_be_taken_up_is_never_read(log: Log) {
    let migration = migration(log, "");
    let token = "take-it-up-again-9f86d081884c7d65";
    let mut session = cli_session("session-a", 1);
    session["executionMode"] = "sdk".into();
    session["continueToken"] = token.into();
    session["initialPrompt"] = json!({"task": "t", "continueToken": token});
    session["iterations"][0]["output"]["deep"] = json!([{"continueToken": token, "kept": 1}]);
    session["iterations"][0]["sdkSessionId"] = "s".into();
    write(&file(&migration, "a.json"), &session);
    run_all(&migration, &FLOW);
    passes(&migration);
    let all = events(open_log(&migration).as_ref(), &mapping(&migration));
    let text = format!("{all:?}");
    assert!(!text.contains(token) && !text.contains("continueToken"), "{text}");
    assert!(text.contains("kept") && text.contains("executionMode") && text.contains("sdkSessionId"), "{text}");
    for path in [migration.projection(), migration.path(".crossfade/journal.db")] {
        let bytes = std::fs::read(&path).unwrap();
        assert!(memchr::memmem::find(&bytes, token.as_bytes()).is_none(), "{}", path.display());
    }
}

fn a_half_written_file_is_waited_for_and_a_broken_one_deletes_nothing(log: Log) {
    let migration = migration(log, "");
    let path = file(&migration, "a.json");
    let whole = serde_json::to_vec_pretty(&cli_session("session-a", 200)).unwrap();
    migration.expect(FLOW[0], 0);
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let finish = {
        let (path, whole) = (path.clone(), whole.clone());
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            std::fs::write(path, whole).unwrap();
        })
    };
    migration.expect(FLOW[1], 0);
    finish.join().unwrap();
    migration.expect(FLOW[2], 0);
    assert_eq!(table(&passes(&migration), "cli_iterations")["compared"], 200);

    for broken in [&whole[..whole.len() - 2], b"", b"{\"id\": \"session-a\xff\"}", b"null x"] {
        std::fs::write(&path, broken).unwrap();
        let ran = migration.run(&["replay"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("a.json"), "{}", ran.stderr);
    }
    // A file that cannot be read at all: a link to itself, which stops every user.
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let ran = migration.run(&["replay"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("a.json"), "{}", ran.stderr);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(table(&brought_over(&migration), "cli_iterations")["compared"], 200);

    // Two files of one session say nothing certain of it.
    std::fs::copy(&path, file(&migration, "a-copy.json")).unwrap();
    let ran = migration.run(&["replay"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("session-a"), "{}", ran.stderr);
    std::fs::remove_file(file(&migration, "a-copy.json")).unwrap();
    passes(&migration);
}

fn a_follow_is_woken_by_files(log: Log) {
    let migration = migration(log, "");
    write(&file(&migration, "a.json"), &cli_session("session-a", 1));
    run_all(&migration, &FLOW);
    let mut follow = started(&migration, &["follow", "--mode", "reconcile", "--every", "0"], "compared: ");
    let before = committed_count(&migration);
    // In two pieces, as a program writes a large file.
    let whole = serde_json::to_vec_pretty(&cli_session("session-a", 50)).unwrap();
    std::fs::write(file(&migration, "a.json"), &whole[..whole.len() / 3]).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    std::fs::write(file(&migration, "a.json"), &whole).unwrap();
    let began = std::time::Instant::now();
    while committed_count(&migration) < before + 49 {
        assert!(began.elapsed() < Duration::from_secs(30), "not woken");
        assert!(follow.try_wait().unwrap().is_none(), "the follow ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &follow.id().to_string()]).status().unwrap().success());
    assert_eq!(follow.wait().unwrap().code(), Some(130));
    migration.expect(&["project"], 0);
    let report = passes(&migration);
    assert_eq!(table(&report, "cli_iterations")["compared"], 50);
    let unseen = |finding: &&Value| {
        finding["code"] == "follow-blind" && finding["text"].as_str().unwrap().contains("rewritten whole")
    };
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(unseen).count(), 1, "{report:#}");
}

/// Real posts as the file store would have kept them, and no false alarm of the scan in them.
#[test]
#[ignore = "needs ../shared/legacy-data"]
fn the_posts_of_a_real_run_fit_a_file() {
    let posts = shared("legacy-data/acc-cli-monitoring-posts.jsonl").expect("not run: ../shared/legacy-data is absent");
    let text = std::fs::read_to_string(posts).unwrap();
    let migration = migration(Log::Embedded, "");
    let messages: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|post| !post["b"].is_null())
        .enumerate()
        .map(|(number, post)| {
            let body = &post["b"];
            json!({"agentType": body["agentType"], "messageType": body["messageType"], "content": body["message"], "metadata": body["metadata"],
                "id": format!("m{number}"), "sessionId": "real", "timestamp": body["metadata"]["timestamp"]})
        })
        .collect();
    assert!(messages.len() > 2_000);
    let count = messages.len();
    let mut session = monitor_session("real", 0);
    session["messages"] = messages.into();
    write(&file(&migration, "real.json"), &session);
    run_all(&migration, &FLOW);
    let report = passes(&migration);
    assert_eq!(table(&report, "monitor_messages")["compared"], count);
    assert!(
        !report["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "credential"),
        "{report:#}"
    );
    execute(&migration.projection(), "UPDATE monitor_messages SET content = 'x' WHERE place = 7");
    diff(&migration, &[], 1);
}

#[test]
fn odd_texts_come_through_and_an_empty_folder_is_inconclusive() {
    let migration = migration(Log::Embedded, "");
    run_all(&migration, &FLOW);
    assert_eq!(diff(&migration, &[], 5)["verdict"], "INCONCLUSIVE");
    let text = serde_json::to_string_pretty(&cli_session("session-a", 2)).unwrap();
    let text = text.replace("step 1", "\\ud83d \\ud83d\\ude00 \\u0000 \u{202e}").replace("\"step 2\"", "7");
    std::fs::write(file(&migration, "a.json"), format!("\u{feff}{text}")).unwrap();
    brought_over(&migration);
    let rows = crate::support::flow::column(
        &migration.projection(),
        "SELECT typeof(prompt) || hex(prompt) FROM cli_iterations ORDER BY place",
    );
    assert_eq!(rows, ["textEDA0BD20F09F988020002 0E280AE".replace(' ', ""), "integer37".to_owned()]);
    let mut wrong = cli_session("session-a", 0);
    wrong["id"] = Value::Null;
    write(&file(&migration, "b.json"), &wrong);
    assert_eq!(migration.run(&["replay"]).code, Some(1));
    migration.expect(&["replay", "--quarantine", "bad.ndjson"], 0);
    migration.expect(&["project"], 0);
    has_finding(&diff(&migration, &[], 5), "quarantined", "gap");
}

#[test]
fn i11_a_credential_in_a_file_is_redacted_like_any_other() {
    let migration = migration(Log::Embedded, "scan: {mode: redact}\n");
    let token = format!("ghp_{}", "q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6dE0fGh2Jk");
    let mut session = cli_session("session-a", 1);
    session["iterations"][0]["output"]["result"] = format!("the token is {token}").into();
    write(&file(&migration, "a.json"), &session);
    run_all(&migration, &FLOW);
    let report = passes(&migration);
    assert_eq!(table(&report, "cli_iterations")["redacted"], 1);
    let all = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert!(!format!("{all:?}").contains(&token));
}

#[test]
fn a_folder_has_no_outbox_and_no_password() {
    let migration = migration(Log::Embedded, "");
    run_all(&migration, &FLOW);
    for args in [&["follow"][..], &["follow", "--install"]] {
        let ran = migration.run(args);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains("--mode reconcile"), "{}", ran.stderr);
    }
    let gone = Migration::new(Log::Embedded, "  preset: acc\n  store: files:nowhere\n", "");
    gone.expect(&["provision", "apply"], 0);
    let ran = gone.run(&["replay"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("nowhere"), "{}", ran.stderr);
    for (more, says) in [("projection: files:x\n", "projection"), ("projection: http://127.0.0.1:1\n", "projection")] {
        let wrong = Migration::new(Log::Embedded, "  preset: acc\n  store: files:sessions\n", more);
        let ran = wrong.run(&["status"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
}

fn i04_half_of_a_surrogate_pair_is_no_other_text(log: Log) {
    let migration = migration(log, "");
    let whole = serde_json::to_string_pretty(&monitor_session("halves", 1)).unwrap();
    let say = |text: &str| {
        let said = whole.replace("say 1\\u0000", text);
        assert_ne!(said, whole);
        std::fs::write(file(&migration, "halves.json"), said).unwrap();
    };
    say("say \\ud800");
    run_all(&migration, &FLOW);
    diff(&migration, &[], 0);
    let told = events(open_log(&migration).as_ref(), &mapping(&migration));
    let tagged = |event: &crate::support::flow::Seen| event.value["row"]["content"]["$text"] == "c2F5IO2ggA==";
    assert_eq!(told.iter().filter(|event| tagged(event)).count(), 1, "{told:#?}");
    for other in ["say \\ufffd", "say \\udfff", "say \u{10fffe}d800"] {
        say(other);
        assert_eq!(diff(&migration, &[], 1)["totals"]["differing"], 1, "{other}");
        run_all(&migration, &[&["replay"], &["project"]]);
        diff(&migration, &[], 0);
    }
}
