//! What is left of a credential must fit the column it stood in, on a real server.

use crate::support::cli::Log;
use crate::support::flow::{FLOW, diff, run_all, table};
use crate::support::postgres::{Database, migration, projection};

#[test]
#[ignore = "needs PostgreSQL"]
fn i11_redacted_values_fit_their_columns_and_the_verdict_passes() {
    let token = format!("ghp_{}", "q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6dE0fGh2Jk");
    let password = "pwd=aB3!kQ77x";
    let rows = format!(
        "CREATE TABLE notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), long varchar(60), short varchar(14),
            filled char(60), doc jsonb, plain json, list text[], mark xml, more text, size integer, raw bytea);
         INSERT INTO notes (long, short, filled, doc, plain, list, mark, more, size, raw) VALUES
         ('{token}', '{password}', '{token}', '{{\"z\": 1, \"text\": \"see {token}\"}}', '{{\"a\" : \"{token}\", \"b\":2}}',
            ARRAY['{token}', 'a b', NULL], '<a>{token}</a>', E'first\\n{token}', 7, '\\x00'),
         (NULL, NULL, 'short', '{{\"{token}\": 1, \"b\": {{\"{token}x\": 2}}}}', '[]', '{{}}', NULL, '-----BEGIN PRIVATE KEY-----', NULL, NULL),
         ('clean', 'clean', 'clean', '[1.50, \"x\"]', '[ 1 ]', '{{a}}', '<b/>', 'clean', 0, NULL);"
    );
    for in_postgres in [true, false] {
        let database = Database::with(&rows);
        let more = format!("{}scan: {{mode: redact}}\n", projection(&database, in_postgres));
        let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", &more);
        let text = "version: 1\ntypes: postgres\ntopics: {notes: {partitions: 2}}\ntables:\n  notes:\n    topic: notes\n    identity: [id]\n    key: [id]\n    columns:\n      id: uuid\n      long: character varying(60)\n      short: character varying(14)\n      filled: character(60)\n      doc: jsonb\n      plain: json\n      list: text[]\n      mark: xml\n      more: text\n      size: integer\n      raw: bytea\n    events: {insert: Noted, update: Amended, delete: Gone}\n";
        std::fs::write(migration.path("mapping.yaml"), text).unwrap();
        run_all(&migration, &FLOW);
        let report = diff(&migration, &[], 0);
        assert_eq!(report["verdict"], "PASS", "{report:#}");
        assert_eq!(table(&report, "notes")["redacted"], 2);
        assert_eq!(diff(&migration, &["--from-log"], 0)["verdict"], "PASS");
        run_all(&migration, &[&["replay"], &["project", "--rebuild"], &["diff"]]);
        if in_postgres {
            let of =
                |column: &str| database.column(&format!("SELECT {column}::text FROM projected.notes WHERE size = 7"));
            assert_eq!(of("long"), ["[redacted:github-token]"]);
            assert_eq!(of("short"), ["[redacted]"]);
            assert_eq!(of("doc"), [r#"{"z": 1, "text": "see [redacted:github-token]"}"#]);
            assert_eq!(of("plain"), [r#"{"a" : "[redacted:github-token]", "b":2}"#]);
            assert_eq!(of("list[2]"), ["a b"]);
            let whole = database.column("SELECT doc::text FROM projected.notes WHERE filled = 'short'");
            assert_eq!(whole, [r#""[redacted:github-token]""#]);
            let found =
                database.column(&format!("SELECT n::text FROM projected.notes AS n WHERE n::text LIKE '%{token}%'"));
            assert_eq!(found, Vec::<String>::new());
        }
    }
}
