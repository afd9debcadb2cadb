//! `journal show`, `verify` and `export`.

use crossfade::port::journal::{Entry, verify};
use serde_json::Value;

use super::shop::{moved, sql, stops};
use crate::support::cli::Migration;

fn journal(migration: &Migration) -> std::path::PathBuf {
    migration.path(".crossfade/journal.db")
}

/// Changes the journal and asserts what `verify` then says.
#[track_caller]
fn broken(change: &str, says: &str) {
    let shop = moved(3);
    let told = shop.expect(&["journal", "verify"], 0);
    assert!(told.contains("20 entries, each follows the one before; the log vouches for the first 18"), "{told}");
    sql(&journal(&shop), change);
    let told = shop.expect(&["journal", "verify"], 1);
    assert!(told.contains("BROKEN: ") && told.contains(says), "{told}");
    let told: Value = serde_json::from_str(&shop.expect(&["journal", "verify", "--output", "json"], 1)).unwrap();
    assert_eq!(told["verdict"], "FAIL");
}

#[test]
fn an_edited_entry_is_found() {
    broken("UPDATE entries SET detail = '{}' WHERE seq = 2", "entry 2 was edited");
    broken("UPDATE entries SET at = at + 1 WHERE seq = 5", "entry 5 was edited");
}

#[test]
fn a_dropped_entry_is_found() {
    broken("DELETE FROM entries WHERE seq = 3", "entry 4 stands where entry 3 belongs");
}

#[test]
fn reordered_entries_are_found() {
    let swap = "UPDATE entries SET seq = 99 WHERE seq = 1; UPDATE entries SET seq = 1 WHERE seq = 2;
                UPDATE entries SET seq = 2 WHERE seq = 99";
    broken(swap, "entry 1");
}

#[test]
fn a_cut_tail_is_found_because_the_log_knows_the_head() {
    broken("DELETE FROM entries WHERE seq > 3", "the log knows entry 18");
    broken("DELETE FROM entries", "the log knows entry 18");
}

#[test]
fn a_tail_cut_before_the_next_act_stays_visible() {
    let shop = moved(3);
    sql(&journal(&shop), "DELETE FROM entries WHERE seq > 2");
    let ran = stops(&shop, &["replay"], 0, &["the log knows entry 18 of a journal, which this one lacks"]);
    assert!(ran.stdout.contains("nothing had changed"), "{}", ran.stdout);
    let told = shop.expect(&["journal", "verify"], 0);
    assert!(told.contains("warning: at entry 3 the log knew an entry 18 that this journal lacked"), "{told}");
}

#[test]
fn an_export_verifies_by_itself() {
    let shop = moved(3);
    shop.expect(&["diff"], 0);
    shop.expect(&["journal", "export", "journal.ndjson"], 0);
    let text = std::fs::read_to_string(shop.path("journal.ndjson")).unwrap();
    let mut entries: Vec<Entry> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 21);
    assert_eq!(verify(&entries), Ok(()));
    entries[3].act.push('!');
    assert!(verify(&entries).is_err());
    assert_eq!(shop.expect(&["journal", "export"], 0), text);
}

#[test]
fn every_act_is_announced_and_told() {
    let shop = moved(3);
    shop.expect(&["diff"], 0);
    let shown: Value = serde_json::from_str(&shop.expect(&["journal", "show", "--output", "json"], 0)).unwrap();
    let word = |entry: &Value| format!("{} {}", entry["act"].as_str().unwrap(), entry["stage"].as_str().unwrap());
    let words = shown["entries"].as_array().unwrap().iter().map(word);
    let (steps, acts): (Vec<String>, Vec<String>) = words.partition(|word| word.starts_with("provision step"));
    assert_eq!(steps, ["provision step announced", "provision step done"].repeat(6));
    let wanted = [
        "provision apply announced",
        "provision apply done",
        "provision apply announced",
        "provision apply done",
        "replay announced",
        "replay done",
        "project announced",
        "project done",
        "diff noted",
    ];
    assert_eq!(acts, wanted);
    let table = shop.expect(&["journal", "show", "--last", "1"], 0);
    assert!(table.contains("PASS, 6 rows compared, all equal") && table.lines().count() <= 4, "{table}");
}

#[test]
fn without_the_log_the_end_is_not_vouched_for() {
    let shop = moved(3);
    std::fs::remove_file(shop.path(".crossfade/log.db")).unwrap();
    let told = shop.expect(&["journal", "verify"], 5);
    assert!(told.contains("the end is not vouched for"), "{told}");
}

#[test]
fn a_second_machine_without_the_journal_goes_on() {
    let shop = moved(3);
    std::fs::remove_file(journal(&shop)).unwrap();
    std::fs::remove_file(shop.projection()).unwrap();
    let status = shop.expect(&["status"], 0);
    assert!(status.contains("done, equal to the legacy of") && status.contains("next: crossfade project"), "{status}");
    stops(&shop, &["journal", "show"], 2, &["there is no journal at", "help: "]);
    sql(&shop.legacy(), "INSERT INTO customers VALUES (4, 'Dan')");
    let told = shop.expect(&["replay"], 0);
    assert!(told.contains("1 inserted"), "{told}");
    shop.expect(&["project"], 0);
    shop.expect(&["diff"], 0);
    shop.expect(&["journal", "verify"], 0);
}
