//! Config and mapping files that are wrong: the place, the word, and what was probably meant.

use super::shop::{edit, refuses, shop, stops};
use crate::support::cli::{Log, Migration};

/// Appends `more` to a good crossfade.yaml, whose own lines are 1 to 5.
#[track_caller]
fn config(more: &str, says: &[&str]) {
    let shop = shop(1, more);
    for args in [&["config"][..], &["replay"]] {
        refuses(&shop, args, 2, says);
    }
}

#[test]
fn unknown_fields_are_refused_with_place_and_nearest_word() {
    config(
        "projecton: sqlite:x.db\n",
        &["crossfade.yaml:6:1: unknown field `projecton`", "did you mean 'projection'?"],
    );
    config("replay: {transaction_row: 5}\n", &["crossfade.yaml:6:10: ", "did you mean 'transaction_rows'?"]);
    config("log: {kafka: {bootstrap: [a:1], securty: {}}}\n", &["crossfade.yaml:6:33: ", "did you mean 'security'?"]);
    config("completely: other\n", &["crossfade.yaml:6:1: unknown field `completely`, expected one of version"]);
}

#[test]
fn doubled_keys_are_refused() {
    config("version: 1\n", &["crossfade.yaml:6:1: duplicate mapping key: version"]);
    config(
        "replay:\n  retained_mb: 1\n  retained_mb: 2\n",
        &["crossfade.yaml:8:3: duplicate mapping key: retained_mb"],
    );
}

#[test]
fn wrong_types_are_refused_in_words() {
    config("replay: {transaction_rows: many}\n", &["crossfade.yaml:6:28: a whole number from 0 on is expected"]);
    config("projection: [1]\n", &["crossfade.yaml:6:13: a text is expected"]);
    config("log: {kafka: {bootstrap: broker:9092}}\n", &["crossfade.yaml:6:26: a list is expected"]);
    config("log: 7\n", &["crossfade.yaml:6:6: "]);
}

#[test]
fn impossible_values_are_refused() {
    config("replay: {transaction_rows: 0}\n", &["crossfade.yaml:6:28: ", "must be at least 1"]);
    config(
        "projection: sqlight:x.db\n",
        &["crossfade.yaml:6:13: 'projection' is sqlite:FILE or postgres://user@host/database, found 'sqlight:x.db'"],
    );
    config("projection: http://h/d\n", &["crossfade.yaml:6:13: ", "cannot be a 'http' store"]);
    config("projection: postgres://h/d\n", &["crossfade.yaml:6:13: 'projection': the URL names no user", "help: "]);
    config(
        "projection: postgres://u:p@h/d\n",
        &["'projection': a password stands in the URL", "'projection_password_file'", "CROSSFADE_PROJECTION_PASSWORD"],
    );
    config("projection: postgres://u@h/d?sslmod=x\n", &["parameter 'sslmod'", "help: did you mean 'sslmode'?"]);
    config(
        "projection_password_file: x\n",
        &["crossfade.yaml:6:27: 'projection_password_file' belongs to a PostgreSQL store"],
    );
    config("log: {kafka: {bootstrap: []}}\n", &["crossfade.yaml:6:14: ", "names no broker", "help: list at least one"]);
    config("log: {embedded: a.db, kafka: {bootstrap: [a:1]}}\n", &["crossfade.yaml:6:30: give either"]);
}

#[test]
fn a_file_serves_one_purpose_only() {
    for same in ["legacy.db", "./legacy.db", "x/../legacy.db"] {
        let says = ["crossfade.yaml:6:13: 'projection' and 'legacy.store' are the same store", "help: "];
        config(&format!("projection: sqlite:{same}\n"), &says);
        config(
            &format!("log: {{embedded: {same}}}\n"),
            &["crossfade.yaml:6:17: 'log.embedded' is the file of another store"],
        );
    }
}

#[test]
fn ignore_rules_are_checked_against_the_mapping_and_the_calendar() {
    let rule = |text: &str, says: &[&str]| config(&format!("diff:\n  ignore:\n    - {{{text}}}\n"), says);
    rule(
        "table: orders, column: total, reason: ' ', owner: o, expires: 2027-01-31",
        &["crossfade.yaml:8:46: ", "needs a 'reason'"],
    );
    rule(
        "table: orders, column: total, reason: r, owner: o, expires: 2027-02-30",
        &["crossfade.yaml:8:", "'expires' is a day"],
    );
    let refused = |text: &str, says: &[&str]| {
        let more = format!("diff:\n  ignore:\n    - {{{text}, reason: r, owner: o, expires: 2027-01-31}}\n");
        refuses(&shop(1, &more), &["diff"], 2, says);
    };
    refused(
        "table: order, column: total",
        &["crossfade.yaml:8:15: the mapping has no table 'order'", "did you mean 'orders'?"],
    );
    refused("table: orders, column: totl", &["crossfade.yaml:8:31: ", "no column", "'totl'", "did you mean 'total'?"]);
}

#[test]
fn a_registry_is_an_address_without_secrets_and_a_level_that_exists() {
    let registry = |text: &str, says: &[&str]| config(&format!("registry: {{{text}}}\n"), says);
    registry("url: \"ftp://r\"", &["crossfade.yaml:6:17: 'registry.url' is no address of a registry", "help: "]);
    registry("url: \"http://\"", &["crossfade.yaml:6:17: 'registry.url' is no address"]);
    registry("url: \"http://r/x?y\"", &["crossfade.yaml:6:17: 'registry.url' is no address"]);
    registry("urls: \"http://r\"", &["crossfade.yaml:6:12: unknown field `urls`", "did you mean 'url'?"]);
    registry(
        "compatibility: BACKWARDS",
        &["crossfade.yaml:6:27: 'BACKWARDS' is no compatibility level: NONE,", "did you mean 'BACKWARD'?"],
    );
    registry("compatibility: full", &["crossfade.yaml:6:27: ", "did you mean 'FULL'?"]);
    registry("username: ada", &["crossfade.yaml:6:22: 'registry.username' is of no use without 'registry.url'"]);
    registry("url: \"http://r\", password_file: p", &["crossfade.yaml:6:44: a password needs 'registry.username'"]);
    let shop = shop(1, "registry: {url: \"http://ada:tell-nobody@r:8081\"}\n");
    let ran = refuses(&shop, &["config"], 2, &["crossfade.yaml:6:17: 'registry.url' may not hold credentials"]);
    assert!(!ran.stderr.contains("tell-nobody") && !ran.stdout.contains("tell-nobody"), "{ran:?}");
}

#[test]
fn a_registry_shows_among_the_settings_without_its_password() {
    let shop = shop(1, "registry: {url: \"http://r:8081/\", username: ada, password_file: p, compatibility: FULL}\n");
    let shown = shop.expect(&["config"], 0);
    for (setting, value) in
        [("url", "http://r:8081/"), ("username", "ada"), ("password", "***"), ("compatibility", "FULL")]
    {
        let name = format!("registry.{setting} ");
        let line = shown.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("no {name}in\n{shown}"));
        assert!(line.contains(value), "{line}");
    }
}

#[test]
fn keys_of_later_versions_are_refused_not_ignored() {
    for key in ["dual: {listen: 127.0.0.1:4001}", "rollout: {}"] {
        let word = key.split(':').next().unwrap();
        let says =
            [&format!("crossfade.yaml:6:1: unknown field `{word}`"), &format!("'{word}' comes with a later version")];
        config(&format!("{key}\n"), &says.map(String::as_str));
    }
}

#[test]
fn head_of_the_file_is_checked() {
    let head = |from: &str, to: &str, says: &[&str]| {
        let shop = shop(1, "");
        edit(&shop, "crossfade.yaml", from, to);
        refuses(&shop, &["status"], 2, says);
    };
    head("version: 1", "version: 2", &["crossfade.yaml:1:10: version 2 is not known"]);
    head("migration: t", "migration: a/t", &["crossfade.yaml:2:12: a migration's name is"]);
    head(
        "mapping: mapping.yaml",
        "preset: ac",
        &["crossfade.yaml:4:11: there is no preset 'ac'", "the presets are: acc"],
    );
    head("  mapping: mapping.yaml\n", "", &["crossfade.yaml:4:10: 'legacy' needs 'preset' or 'mapping'"]);
    head("  mapping", "  preset: acc\n  mapping", &["crossfade.yaml:5:12: give either 'preset' or 'mapping'"]);
    head("mapping.yaml", "gone.yaml", &["gone.yaml cannot be read", "No such file"]);
}

#[test]
fn a_missing_config_file_says_how_to_make_one() {
    let shop = shop(1, "");
    std::fs::remove_file(shop.path("crossfade.yaml")).unwrap();
    for args in [&["status"][..], &["config"], &["replay"], &["journal", "show"]] {
        refuses(&shop, args, 2, &["crossfade.yaml cannot be read", "crossfade init --from sqlite:FILE"]);
    }
    refuses(&shop, &["-c", "other.yaml", "diff"], 2, &["other.yaml cannot be read"]);
}

fn mapping(from: &str, to: &str, says: &[&str]) {
    let shop = shop(1, "");
    edit(&shop, "mapping.yaml", from, to);
    for args in [&["status"][..], &["replay", "--dry-run"]] {
        refuses(&shop, args, 2, says);
    }
}

#[test]
fn an_unknown_topic_in_a_mapping_is_refused_with_the_nearest_one() {
    mapping(
        "    topic: shop.rows\n    identity: [id]\n    key",
        "    topic: shop.row\n    identity: [id]\n    key",
        &["mapping.yaml:13:12: table 'orders' names the unknown topic 'shop.row'", "did you mean 'shop.rows'?"],
    );
}

#[test]
fn mappings_are_read_as_strictly_as_the_config() {
    mapping("    parents:", "    parent:", &["mapping.yaml:16:5: unknown field `parent`", "did you mean 'parents'?"]);
    mapping("key: [customer]", "key: [custmer]", &["mapping.yaml:15:11: ", "'custmer'", "did you mean 'customer'?"]);
    mapping("partitions: 2", "partitions: 0", &["mapping.yaml:4:17: topic 'shop.rows' needs at least one partition"]);
    mapping("partitions: 2", "partitions: two", &["mapping.yaml:4:17: a whole number is expected"]);
    mapping(
        "      name: TEXT\n",
        "      name: TEXT\n      name: TEXT\n",
        &["mapping.yaml:12:7: duplicate mapping key: name"],
    );
    mapping("[customers]", "[clients]", &["mapping.yaml:16:15: table 'orders' names the unmapped parent 'clients'"]);
    mapping(
        "    identity: [id]\n    columns",
        "    columns",
        &["mapping.yaml:7:12: table 'customers' has no identity", "rowid"],
    );
    mapping("      name: TEXT", "      _cf_name: TEXT", &["mapping.yaml:7:12: '_cf_name' of table 'customers'"]);
    mapping(
        "    identity: [id]\n    key",
        "    events: {delete: crossfade.probe}\n    identity: [id]\n    key",
        &["mapping.yaml:14:22: the event type 'crossfade.probe' is the tool's own"],
    );
    mapping("version: 1", "version: 9", &["mapping.yaml:1:10: mapping version 9 is not known"]);
}

#[test]
fn a_preset_does_not_hide_a_typo_elsewhere() {
    let migration = Migration::new(Log::Embedded, "  preset: acc\n  stor: sqlite:legacy.db\n", "");
    stops(&migration, &["config"], 2, &["crossfade.yaml:5:3: unknown field `stor`", "did you mean 'store'?"]);
}
