//! `init` on a server: what it maps, recognises and refuses.

use serde_json::Value;

use super::acc::SCHEMA;
use crate::support::cli::{Log, Migration, Ran};
use crate::support::flow::{diff, json, run_all};
use crate::support::postgres::{Database, password};

/// A folder without a config, in which `init` has run on the database.
fn init(database: &Database) -> (Migration, Ran) {
    let migration = Migration::new(Log::Embedded, "  preset: acc\n  store: sqlite:none.db\n", "");
    std::fs::remove_file(migration.path("crossfade.yaml")).unwrap();
    let mut command = migration.command(&["init", "--from", &database.url(), "--output", "json"]);
    let ran = Ran::of(command.env("CROSSFADE_LEGACY_PASSWORD", password()).output().unwrap());
    (migration, ran)
}

fn text(migration: &Migration, file: &str) -> String {
    std::fs::read_to_string(migration.path(file)).unwrap()
}

#[test]
#[ignore = "needs PostgreSQL"]
fn any_schema_is_mapped_by_its_keys_and_comes_back() {
    let database = Database::with(
        "CREATE TYPE mood AS ENUM ('good', 'so so');
         CREATE DOMAIN price AS numeric(12,3) CHECK (value >= 0);
         CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL, state mood, \"Odd \"\"name\" text[]);
         CREATE TABLE orders (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer integer NOT NULL REFERENCES customer);
         CREATE TABLE item (orders bigint REFERENCES orders, line smallint, cost price, twice numeric GENERATED ALWAYS AS (cost * 2) STORED,
             PRIMARY KEY (orders, line));
         CREATE TABLE note (code varchar(10) NOT NULL UNIQUE, said text);
         CREATE TABLE by_worth (worth numeric PRIMARY KEY);
         CREATE TABLE of_worth (id integer PRIMARY KEY, worth numeric NOT NULL REFERENCES by_worth);
         CREATE TABLE years (year integer NOT NULL, place text NOT NULL, PRIMARY KEY (year, place)) PARTITION BY RANGE (year);
         CREATE TABLE years_early PARTITION OF years FOR VALUES FROM (0) TO (2000);
         CREATE TABLE years_late PARTITION OF years FOR VALUES FROM (2000) TO (3000);
         CREATE TABLE keyless (a integer, b integer UNIQUE);
         CREATE TABLE priced (id integer PRIMARY KEY, amount money);
         CREATE TABLE composite (id integer PRIMARY KEY, whole customer);
         CREATE VIEW seen AS SELECT id FROM customer;
         INSERT INTO customer SELECT n, 'name ' || n, CASE WHEN n % 3 > 0 THEN 'so so'::mood END, ARRAY['a', NULL, 'b,\"c'] FROM generate_series(1, 50) AS n;
         INSERT INTO orders (customer) SELECT 1 + n % 50 FROM generate_series(1, 200) AS n;
         INSERT INTO item (orders, line, cost) SELECT 1 + n / 3, n % 3, n * 1.5 FROM generate_series(1, 500) AS n;
         INSERT INTO note SELECT 'c' || n, repeat('x', n) FROM generate_series(1, 20) AS n;
         INSERT INTO by_worth VALUES (1.0), (2.50);
         INSERT INTO of_worth VALUES (1, 1.00), (2, 2.5), (3, 2.500);
         INSERT INTO years SELECT 1990 + n, 'here' FROM generate_series(1, 20) AS n;",
    );
    let (migration, ran) = init(&database);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let told = json(&ran.stdout);
    let warnings: Vec<&str> = told["warnings"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for (table, why) in [
        ("keyless", "neither a primary key nor a unique key of columns that are never null"),
        ("priced", "column 'amount' has the type money: its text depends on the server"),
        ("composite", "column 'whole' has the type public.customer: a row type cannot be carried"),
    ] {
        let line = warnings.iter().find(|line| line.contains(&format!("table '{table}' cannot be mapped")));
        assert!(line.is_some_and(|line| line.contains(why)), "{table}: {warnings:?}");
    }
    let mapping = text(&migration, "mapping.yaml");
    for line in [
        "types: postgres",
        "cost: \"numeric(12,3)\"",
        "state: public.mood",
        "generated: [twice]",
        "identity: [code]",
        "identity: [orders, line]",
    ] {
        assert!(mapping.contains(line), "no '{line}' in {mapping}");
    }
    assert!(!text(&migration, "crossfade.yaml").contains(&password()));
    let config = text(&migration, "crossfade.yaml").replace("  # password_file: FILE ", "  password_file: password #");
    std::fs::write(migration.path("crossfade.yaml"), config).unwrap();
    std::fs::write(migration.path("password"), password()).unwrap();
    for projection in ["sqlite:.crossfade/p.db".to_owned(), format!("{}?schema=projected", database.url())] {
        let config = text(&migration, "crossfade.yaml");
        let config: Vec<&str> = config.lines().filter(|line| !line.starts_with("projection")).collect();
        let more = if projection.starts_with("postgres") { "projection_password_file: password\n" } else { "" };
        let config = format!("{}\nprojection: {projection}\n{more}", config.join("\n"));
        std::fs::write(migration.path("crossfade.yaml"), config).unwrap();
        run_all(&migration, &[&["provision", "apply"], &["replay"], &["project"]]);
        let report = diff(&migration, &[], 0);
        assert_eq!(report["verdict"], "PASS", "{report:#}");
        assert_eq!(report["totals"]["compared"], 50 + 200 + 500 + 20 + 2 + 3 + 20);
        let unmapped: Vec<&Value> =
            report["tables"].as_array().unwrap().iter().filter(|table| table["state"] == "unmapped").collect();
        assert_eq!(unmapped.len(), 3, "{unmapped:?}");
    }
    // All rows of a customer share one key, through orders; equal numerics of other scales share their parent's.
    let events = crate::support::flow::events(
        crate::support::flow::open_log(&migration).as_ref(),
        &crate::support::flow::mapping(&migration),
    );
    let of = |table: &str, column: &str, value: Value| {
        let found = events.iter().find(|event| event.value["table"] == table && event.value["row"][column] == value);
        found.unwrap_or_else(|| panic!("no {table} with {column} {value}")).key.clone()
    };
    let customer =
        events.iter().find(|event| event.value["table"] == "orders" && event.value["row"]["number"] == 7).unwrap();
    assert_eq!(of("item", "orders", 7.into()), customer.value["row"]["customer"].to_string());
    assert_eq!(of("of_worth", "id", 1.into()), "1.0");
    assert_eq!(of("of_worth", "id", 3.into()), "2.50");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn acc_is_recognised_in_both_of_its_object_sets() {
    let database = Database::with(SCHEMA);
    for (more, says) in [
        ("", "stopped at its first error"),
        (
            "CREATE VIEW session_activity_with_users AS SELECT 1 AS one; CREATE FUNCTION refresh_materialized_views() RETURNS void LANGUAGE sql AS ''",
            "ran to the end",
        ),
    ] {
        database.execute(more);
        let (_folder, ran) = init(&database);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let told = json(&ran.stdout);
        assert_eq!(told["preset"], "acc");
        assert!(told["warnings"].to_string().contains(says), "{told}");
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_schema_with_nothing_to_map_is_refused_with_the_reason() {
    let database = Database::with("CREATE TABLE priced (id integer PRIMARY KEY, amount money[])");
    let (migration, ran) = init(&database);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("no table that can be mapped") && ran.stderr.contains("'amount'"), "{}", ran.stderr);
    assert!(!migration.path("crossfade.yaml").exists());
}
