//! The tool's own files, changed by others: newer, damaged, foreign, out of place.

use super::shop::{MAPPING, edit, moved, refuses, shop, sql, stops};
use crate::support::cli::Migration;

/// Commands that open the embedded log.
const LOG_USERS: [&[&str]; 5] = [&["provision", "apply"], &["replay"], &["project"], &["diff"], &["status"]];

fn log(migration: &Migration) -> std::path::PathBuf {
    migration.path(".crossfade/log.db")
}

#[test]
fn a_log_of_a_newer_version_is_refused() {
    let shop = moved(3);
    sql(&log(&shop), "PRAGMA user_version = 99");
    for args in LOG_USERS {
        refuses(
            &shop,
            args,
            3,
            &["log.db has log format 99, newer than this tool knows", "help: use a newer crossfade"],
        );
    }
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let shop = moved(3);
    sql(&shop.path(".crossfade/journal.db"), "PRAGMA user_version = 99");
    for args in [&["replay"][..], &["project"], &["journal", "show"], &["journal", "verify"], &["status"]] {
        refuses(&shop, args, 3, &["journal.db has version 99, written by a newer crossfade", "use the newer version"]);
    }
}

#[test]
fn a_projection_of_a_newer_version_is_refused() {
    let shop = moved(3);
    sql(&shop.projection(), "UPDATE _cf_meta SET value = 99 WHERE key = 'format'");
    for args in [&["project"][..], &["diff"], &["status"]] {
        stops(&shop, args, 3, &["projection.db has format 99, written by a newer version", "help: "]);
    }
}

#[test]
fn a_snapshot_of_a_newer_version_is_refused_before_the_projection_is_touched() {
    let shop = moved(3);
    shop.expect(&["project", "--snapshot", "fold.snap"], 0);
    let text = std::fs::read_to_string(shop.path("fold.snap")).unwrap();
    assert!(text.contains("\"version\":1"));
    std::fs::write(shop.path("fold.snap"), text.replacen("\"version\":1", "\"version\":99", 1)).unwrap();
    refuses(
        &shop,
        &["project", "--restore", "fold.snap"],
        3,
        &["fold.snap has snapshot version 99", "project --rebuild"],
    );
}

#[test]
fn a_snapshot_that_is_none_or_gone_or_cut_is_refused() {
    let shop = moved(3);
    refuses(&shop, &["project", "--restore", "gone.snap"], 2, &["gone.snap cannot be read", "help: "]);
    refuses(&shop, &["project", "--restore", "mapping.yaml"], 2, &["mapping.yaml is no fold snapshot"]);
    shop.expect(&["project", "--snapshot", "fold.snap"], 0);
    let text = std::fs::read_to_string(shop.path("fold.snap")).unwrap();
    std::fs::write(shop.path("fold.snap"), &text[..text.len() / 2]).unwrap();
    refuses(&shop, &["project", "--restore", "fold.snap"], 2, &["fold.snap"]);
}

#[test]
fn a_damaged_batch_of_the_log_is_named() {
    let shop = moved(3);
    sql(&log(&shop), "UPDATE batches SET blob = zeroblob(length(blob))");
    for args in [&["project", "--rebuild"][..], &["diff", "--from-log"]] {
        stops(&shop, args, 2, &["log.db", "shop.rows", "checksum", "help: "]);
    }
}

#[test]
fn a_log_file_that_is_something_else_is_left_alone() {
    for other in ["notes.db", "notes.txt"] {
        let shop = shop(3, &format!("log: {{embedded: {other}}}\n"));
        if other == "notes.db" {
            sql(&shop.path(other), "CREATE TABLE notes (id)");
        } else {
            std::fs::write(shop.path(other), "a shopping list, a long one, longer than a header of SQLite\n".repeat(9))
                .unwrap();
        }
        for args in LOG_USERS {
            refuses(&shop, args, 2, &[other, "log", "help: "]);
        }
    }
}

#[test]
fn a_journal_or_projection_file_that_is_something_else_is_left_alone() {
    let foreign = shop(3, "projection: sqlite:other.db\n");
    sql(&foreign.path("other.db"), "CREATE TABLE orders (id)");
    foreign.expect(&["provision", "apply"], 0);
    foreign.expect(&["replay"], 0);
    stops(&foreign, &["project"], 3, &["other.db holds tables, but is no projection", "help: "]);
    let foreign = shop(3, "");
    std::fs::create_dir(foreign.path(".crossfade")).unwrap();
    sql(&foreign.path(".crossfade/journal.db"), "CREATE TABLE orders (id)");
    stops(&foreign, &["provision", "apply"], 3, &["journal.db is no journal of crossfade", "help: "]);
}

#[test]
fn a_topic_with_other_partitions_than_planned_is_refused() {
    let shop = shop(3, "");
    shop.expect(&["provision", "apply"], 0);
    edit(&shop, "mapping.yaml", "partitions: 2", "partitions: 5");
    for args in LOG_USERS {
        let says: &[&str] = match args[0] {
            "provision" => &["shop.rows partitions 2 → 5", "--allow partitions-added --confirm shop.rows"],
            _ => &["topic 'shop.rows' of embedded", "has 2 partitions, planned are 5", "help: "],
        };
        refuses(&shop, args, 3, says);
    }
}

#[test]
fn before_provision_every_command_names_it() {
    let shop = shop(3, "");
    for args in [&["replay"][..], &["project"], &["diff"]] {
        refuses(&shop, args, 3, &["log.db does not exist yet", "crossfade provision apply"]);
    }
    shop.expect(&["provision", "apply"], 0);
    // Rows need no topic but their own.
    edit(&shop, "mapping.yaml", "  shop.rows:\n", "  shop.more: {partitions: 1}\n  shop.rows:\n");
    shop.expect(&["replay"], 0);
    edit(&shop, "mapping.yaml", "topic: shop.rows", "topic: shop.more");
    for args in [&["replay"][..], &["project"]] {
        refuses(&shop, args, 3, &["has no topic shop.more", "crossfade provision apply"]);
    }
}

#[test]
fn a_mapping_changed_after_replay_is_stale_and_recopy_helps() {
    let shop = moved(3);
    edit(&shop, "mapping.yaml", "name: TEXT", "name: VARCHAR");
    stops(&shop, &["replay"], 4, &["the mapping has changed", "crossfade replay --recopy"]);
    stops(&shop, &["diff"], 4, &["under another mapping", "crossfade replay --recopy"]);
    shop.expect(&["replay", "--recopy"], 0);
    shop.expect(&["project"], 0);
    shop.expect(&["diff"], 0);
}

#[test]
fn a_projection_of_another_mapping_is_stale_and_rebuild_helps() {
    let shop = moved(3);
    std::fs::copy(shop.projection(), shop.path("old.db")).unwrap();
    edit(&shop, "mapping.yaml", "name: TEXT", "name: VARCHAR");
    shop.expect(&["replay", "--recopy"], 0);
    std::fs::copy(shop.path("old.db"), shop.projection()).unwrap();
    for args in [&["diff"][..], &["project"]] {
        stops(&shop, args, 4, &["another mapping", "project --rebuild"]);
    }
    shop.expect(&["project", "--rebuild"], 0);
    shop.expect(&["diff"], 0);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let below = "mapping.yaml/x.db";
    let log = shop(3, &format!("log: {{embedded: {below}}}\n"));
    refuses(&log, &["provision", "apply"], 2, &["mapping.yaml"]);
    let projection = shop(3, &format!("projection: sqlite:{below}\n"));
    projection.expect(&["provision", "apply"], 0);
    projection.expect(&["replay"], 0);
    stops(&projection, &["project"], 2, &["mapping.yaml"]);
    let state = shop(3, "log: {embedded: log.db}\n");
    std::fs::write(state.path(".crossfade"), "in the way").unwrap();
    stops(&state, &["provision", "apply"], 2, &[".crossfade"]);
}

#[test]
fn a_report_that_has_no_place_fails_before_the_work() {
    let shop = moved(3);
    let missing = |args: &[&str]| refuses(&shop, args, 2, &["gone/out cannot be written", "nothing was done"]);
    missing(&["diff", "--report", "html=gone/out"]);
    missing(&["diff", "--keys", "gone/out"]);
    missing(&["replay", "--dry-run", "--report", "json=gone/out"]);
    missing(&["replay", "--quarantine", "gone/out"]);
    missing(&["journal", "export", "gone/out"]);
    refuses(&shop, &["project", "--snapshot", "gone/out"], 2, &["gone/out.part cannot be written"]);
}

#[test]
fn reports_of_no_known_kind_or_onto_the_migration_s_own_files_are_refused() {
    let shop = moved(3);
    refuses(&shop, &["diff", "--report", "bad=x"], 2, &["unknown report format 'bad'", "html"]);
    refuses(&shop, &["diff", "--report", "diff.html"], 2, &["write KIND=FILE, as html=diff.html"]);
    for own in
        ["legacy.db", ".crossfade/log.db", ".crossfade/../.crossfade/projection.db", "mapping.yaml", "crossfade.yaml"]
    {
        refuses(&shop, &["diff", "--report", &format!("json={own}")], 3, &[own, "is not overwritten", "help: "]);
    }
    assert_eq!(std::fs::read_to_string(shop.path("mapping.yaml")).unwrap(), MAPPING);
}

#[test]
fn a_report_that_cannot_be_written_to_its_end_leaves_the_verdict_and_the_other_reports() {
    let shop = moved(3);
    let args = ["diff", "--report", "html=/dev/full", "--report", "md=diff.md"];
    let ran =
        stops(&shop, &args, 2, &["report /dev/full could not be written", "No space left", "the verdict above stands"]);
    assert!(ran.stdout.contains("PASS: 6 rows compared"), "{}", ran.stdout);
    assert!(std::fs::read_to_string(shop.path("diff.md")).unwrap().contains("**PASS**"));
    let status = shop.expect(&["status"], 0);
    assert!(status.contains("PASS"), "{status}");
}
