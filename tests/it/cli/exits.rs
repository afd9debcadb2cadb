//! One test for each exit code of the table in `--help`; 130 and 143 are in `signals.rs`.

use super::shop::{edit, moved, shop, sql};

#[test]
fn exit_0_good_or_nothing_to_do() {
    let shop = moved(3);
    shop.expect(&["diff"], 0);
    assert!(shop.expect(&["provision", "apply"], 0).contains("nothing to do"));
    assert!(shop.expect(&["replay"], 0).contains("nothing had changed"));
    assert!(shop.expect(&["project"], 0).contains("nothing to fold"));
}

#[test]
fn exit_1_the_two_sides_differ() {
    let shop = moved(3);
    sql(&shop.legacy(), "UPDATE customers SET name = 'Eve' WHERE id = 1");
    let told = shop.expect(&["diff"], 1);
    assert!(told.contains("FAIL: 1 of 6 rows differs") && told.contains("next: crossfade replay"), "{told}");
}

#[test]
fn exit_1_a_row_may_not_become_an_event() {
    let shop = shop(3, "");
    edit(&shop, "mapping.yaml", "      name: TEXT\n", "      name: TEXT\n    rules:\n      name: {not_null: true}\n");
    shop.expect(&["provision", "apply"], 0);
    let ran = shop.run(&["replay"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for text in ["'customers'", "'name'", "not_null", "--quarantine"] {
        assert!(ran.stderr.contains(text), "no {text} in {}", ran.stderr);
    }
    assert!(shop.expect(&["replay", "--dry-run"], 1).contains("row-rejected"));
}

#[test]
fn exit_2_could_not_run() {
    let shop = shop(3, "");
    edit(&shop, "crossfade.yaml", "legacy.db", "gone.db");
    shop.expect(&["replay"], 2);
}

#[test]
fn exit_3_refused() {
    shop(3, "").expect(&["replay"], 3);
}

#[test]
fn exit_4_the_plan_is_stale() {
    let shop = moved(3);
    edit(&shop, "mapping.yaml", "name: TEXT", "name: VARCHAR");
    shop.expect(&["replay"], 4);
}

#[test]
fn exit_5_nothing_was_compared() {
    let shop = shop(3, "");
    sql(&shop.legacy(), "DELETE FROM orders; DELETE FROM customers");
    shop.expect(&["provision", "apply"], 0);
    shop.expect(&["replay"], 0);
    shop.expect(&["project"], 0);
    let told = shop.expect(&["diff"], 5);
    assert!(told.contains("INCONCLUSIVE: nothing was compared"), "{told}");
    assert!(told.contains("once the legacy has rows"), "{told}");
}

#[test]
fn exit_5_rows_in_quarantine_were_never_compared() {
    let shop = shop(3, "");
    edit(&shop, "mapping.yaml", "      name: TEXT\n", "      name: TEXT\n    rules:\n      name: {not_null: true}\n");
    shop.expect(&["provision", "apply"], 0);
    let told = shop.expect(&["replay", "--quarantine", "rejected.ndjson"], 0);
    assert!(told.contains("in quarantine: 1 row"), "{told}");
    assert_eq!(std::fs::read_to_string(shop.path("rejected.ndjson")).unwrap().lines().count(), 1);
    shop.expect(&["project"], 0);
    shop.expect(&["diff"], 5);
}
