//! A legacy that lost many rows at once: an operator is asked before they become deletes.

use crossfade::demo::Sizes;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{column, committed_count, confirmed_pass, execute, on_both_logs, projected};

on_both_logs!(rows_gone_in_masses_become_deletes_only_with_a_word);

const SIZES: Sizes = Sizes { sessions: 32, messages: 400, seed: 5 };

#[track_caller]
fn refused(migration: &Migration, args: &[&str], words: &str) {
    let before = committed_count(migration);
    let ran = migration.run(args);
    assert_eq!(ran.code, Some(3), "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(words) && ran.stderr.contains("--allow mass-delete"), "{args:?}: {}", ran.stderr);
    assert_eq!(committed_count(migration), before, "{args:?}");
}

fn rows_gone_in_masses_become_deletes_only_with_a_word(log: Log) {
    let migration = projected(log, SIZES);
    let delete = |which: &str| assert_ne!(execute(&migration.legacy(), &format!("DELETE FROM messages {which}")), 0);
    let by_passes = ["follow", "--mode", "reconcile", "--until-caught-up"];
    // A share below the limit, and one above it of fewer rows than count.
    delete("WHERE rowid % 20 = 0");
    migration.expect(&["replay"], 0);
    delete("WHERE rowid % 5 = 1");
    migration.expect(&["replay"], 0);
    delete("WHERE rowid % 2 = 0");
    for args in [&["replay"][..], &by_passes] {
        refused(&migration, args, "table 'messages': ");
    }
    migration.expect(&[&by_passes[..], &["--allow", "mass-delete"]].concat(), 0);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    // The word held for that once.
    let left = column(&migration.legacy(), "SELECT CAST(count(*) AS TEXT) FROM messages").remove(0);
    delete("");
    refused(&migration, &["replay"], &format!("table 'messages': {left} of {left} rows are gone, 0 are there"));
    let copied = migration.run(&["replay", "--recopy"]);
    assert_eq!(copied.code, Some(3), "{}", copied.stderr);
    refused(&migration, &["replay"], "table 'messages': ");
    migration.expect(&["replay", "--allow", "mass-delete"], 0);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
}
