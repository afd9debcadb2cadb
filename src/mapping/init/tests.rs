//! Mappings of generated schemas.

use proptest::prelude::*;

use super::*;
use crate::mapping::{Key, Mapping};

/// Columns are written `name type`, with `!` if never null and `~` if they compare without case.
fn table(name: &str, columns: &[&str], key: &[&str], foreign: &[(&[&str], &str, &[&str])]) -> TableSchema {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let column = |text: &&str| {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        ColumnSchema {
            name: name.to_owned(),
            declared: rest.trim_end_matches(['!', '~']).to_owned(),
            not_null: rest.contains('!'),
            generated: false,
            collation: if rest.contains('~') { "NOCASE" } else { "BINARY" }.to_owned(),
        }
    };
    TableSchema {
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: owned(key),
        rowid: Some("rowid".to_owned()),
        without_rowid: false,
        strict: false,
        foreign_keys: foreign
            .iter()
            .map(|(columns, parent, referenced)| ForeignKey {
                columns: owned(columns),
                parent: (*parent).to_owned(),
                referenced: owned(referenced),
                by_value: false,
            })
            .collect(),
    }
}

fn mapped(tables: Vec<TableSchema>) -> Mapping {
    let (text, _) = init(&Schema { tables, ..Schema::default() }, "shop");
    Mapping::parse("mapping.yaml", &text).unwrap()
}

fn key_of(mapping: &Mapping, name: &str) -> String {
    let table = mapping.table(name).unwrap();
    match &table.key {
        Key::Cells(cells) if *cells == table.identity => "identity".to_owned(),
        Key::Cells(cells) => cells.iter().map(|cell| table.columns[*cell].name.clone()).collect::<Vec<_>>().join(","),
        Key::Through(through) => format!("through {} by {}", through.parent, through.columns.join(",")),
    }
}

#[test]
fn keys_lead_to_the_root() {
    let mapping = mapped(vec![
        table("item", &["id INTEGER", "o INTEGER!"], &["id"], &[(&["o"], "order", &["id"])]),
        table("order", &["id INTEGER", "c TEXT"], &["id"], &[(&["c"], "customer", &["id"])]),
        table("customer", &["id TEXT", "mail TEXT"], &["id"], &[]),
        table("visit", &["c TEXT"], &[], &[(&["c"], "customer", &["id"])]),
        table("mail", &["m TEXT"], &[], &[(&["m"], "customer", &["mail"])]),
        table("count", &["c INTEGER"], &[], &[(&["c"], "customer", &["id"])]),
    ]);
    assert_eq!(key_of(&mapping, "customer"), "identity");
    assert_eq!(key_of(&mapping, "order"), "c");
    assert_eq!(key_of(&mapping, "item"), "through order by o");
    assert_eq!(key_of(&mapping, "visit"), "c");
    assert_eq!(key_of(&mapping, "mail"), "through customer by m");
    // The text of 1.0 in an integer column is not the text the parent holds.
    assert_eq!(key_of(&mapping, "count"), "through customer by c");
    let names: Vec<&str> = mapping.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customer", "order", "item", "visit", "mail", "count"]);
    assert_eq!(mapping.topics[0].name, "shop.rows");
    assert_eq!(mapping.topics[0].partitions, 6);
}

#[test]
fn the_first_reference_that_is_never_null_is_taken() {
    let roots = ["a", "b", "c"].map(|name| table(name, &["id TEXT"], &["id"], &[]));
    let references: &[(&[&str], &str, &[&str])] =
        &[(&["x"], "a", &["id"]), (&["y"], "b", &["id"]), (&["z"], "c", &["id"])];
    let with = |columns: &[&str]| {
        let mut tables = roots.to_vec();
        tables.push(table("t", columns, &[], references));
        key_of(&mapped(tables), "t")
    };
    assert_eq!(with(&["x TEXT", "y TEXT!", "z TEXT!"]), "y");
    assert_eq!(with(&["x TEXT", "y TEXT", "z TEXT"]), "x");
}

#[test]
fn a_parent_key_with_a_collation_is_asked_for() {
    let mapping = mapped(vec![
        table("root", &["id TEXT~"], &["id"], &[]),
        table("child", &["id TEXT", "r TEXT"], &["id"], &[(&["r"], "root", &["id"])]),
    ]);
    assert_eq!(key_of(&mapping, "child"), "through root by r");
}

#[test]
fn composite_keys_follow_the_order_of_the_roots_identity() {
    let mapping = mapped(vec![
        table("root", &["a TEXT", "b TEXT"], &["a", "b"], &[]),
        table("child", &["x TEXT", "y TEXT"], &[], &[(&["y", "x"], "root", &["b", "a"])]),
    ]);
    assert_eq!(key_of(&mapping, "child"), "x,y");
}

#[test]
fn circles_are_no_way_to_a_root() {
    let mapping = mapped(vec![
        table("tree", &["id TEXT", "up TEXT!"], &["id"], &[(&["up"], "tree", &["id"])]),
        table("hen", &["id TEXT", "egg TEXT!"], &["id"], &[(&["egg"], "egg", &["id"])]),
        table(
            "egg",
            &["id TEXT", "hen TEXT!", "tree TEXT"],
            &["id"],
            &[(&["hen"], "hen", &["id"]), (&["tree"], "tree", &["id"])],
        ),
        table("chick", &["id TEXT", "egg TEXT"], &["id"], &[(&["egg"], "egg", &["id"])]),
    ]);
    assert_eq!(key_of(&mapping, "tree"), "identity");
    assert_eq!(key_of(&mapping, "hen"), "identity");
    assert_eq!(key_of(&mapping, "egg"), "tree");
    assert_eq!(key_of(&mapping, "chick"), "through egg by egg");
    let parents = |name: &str| mapping.table(name).unwrap().parents.clone();
    assert_eq!(parents("hen"), ["egg"]);
    assert_eq!(parents("egg"), ["tree"]);
}

#[test]
fn what_a_person_should_look_at_is_said() {
    let mut taken = table("taken", &["rowid TEXT", "_rowid_ TEXT", "oid TEXT"], &[], &[]);
    taken.rowid = None;
    let mut strict = table("strict", &["id ANY", "v any"], &["id"], &[]);
    strict.strict = true;
    let schema = Schema {
        tables: vec![table("loose", &["a TEXT"], &[], &[]), table("blobs", &["id BLOB"], &["id"], &[]), taken, strict],
        unreadable: vec![Unreadable { table: "ft\ns".into(), why: "it is a virtual table".into() }],
        notes: vec!["a note".into()],
        ..Schema::default()
    };
    let (text, warnings) = init(&schema, "m");
    for (warning, words) in warnings.iter().zip([
        "a note",
        "'loose' has no primary key",
        "'id' of table 'blobs'",
        "'ft\ns' cannot",
        "'taken' cannot",
    ]) {
        assert!(warning.contains(words), "{warning}");
    }
    assert_eq!(warnings.len(), 5);
    let mapping = Mapping::parse("mapping.yaml", &text).unwrap();
    assert_eq!(mapping.tables.len(), 3);
    assert_eq!(mapping.table("loose").unwrap().rowid.as_deref(), Some("rowid"));
    let strict = mapping.table("strict").unwrap();
    assert!(strict.columns.iter().all(|column| column.declared == "BLOB"));
    assert!(text.contains("# Not mapped: \"ft\\ns\""));
}

#[test]
fn a_database_without_tables_has_a_mapping() {
    assert!(mapped(Vec::new()).tables.is_empty());
}

fn name() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        "yes",
        "no",
        "~",
        "null",
        "Null",
        "true",
        "1",
        "1.5",
        "0x1f",
        "1e5",
        "2026-11-23",
        "<<",
        "=",
        "a: b",
        "a #b",
        "- a",
        "? a",
        "'",
        "\"",
        "\\",
        "{a}",
        "[a]",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "a\nb",
        "a\r\nb",
        "\t",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "größe",
        "名前",
        "🚀",
        "e\u{301}",
        "---",
        "...",
        ".inf",
        "NaN",
        "-",
        "_",
        "a,b",
        "\u{7f}",
    ];
    prop_oneof![
        proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
        "[a-zA-Z_][a-zA-Z0-9_]{0,8}",
        any::<String>().prop_map(|name| name.replace('\0', "")),
        proptest::collection::vec(any::<char>(), 1..12)
            .prop_map(|name| name.into_iter().filter(|each| *each != '\0').collect()),
        "[a-z\"é ]{400,1200}",
    ]
}

proptest! {
    #[test]
    fn every_name_reads_back_as_itself(
        names in proptest::collection::btree_set(name(), 1..5),
        columns in proptest::collection::btree_set(name(), 2..6),
        declared in name(),
    ) {
        let columns: Vec<String> = columns.into_iter().collect();
        let mut parent: Option<String> = None;
        let mut tables = Vec::new();
        for name in names {
            let key = vec![columns[0].clone()];
            let foreign_keys = parent.iter().map(|parent| ForeignKey {
                columns: vec![columns[1].clone()],
                parent: parent.clone(),
                referenced: key.clone(),
                by_value: false,
            });
            let foreign_keys = foreign_keys.collect();
            parent = Some(name.clone());
            let column = |name: &String| ColumnSchema {
                name: name.clone(),
                declared: declared.clone(),
                not_null: false,
                generated: *name == columns[1],
                collation: "BINARY".into(),
            };
            tables.push(TableSchema {
                name,
                columns: columns.iter().map(column).collect(),
                key,
                rowid: None,
                without_rowid: true,
                strict: false,
                foreign_keys,
            });
        }
        let schema = Schema { tables, ..Schema::default() };
        let (text, _) = init(&schema, "m");
        let mapping = Mapping::parse("mapping.yaml", &text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(mapping.tables.len(), schema.tables.len());
        for (index, (table, wanted)) in mapping.tables.iter().zip(&schema.tables).enumerate() {
            prop_assert_eq!(&table.name, &wanted.name);
            let found: Vec<&String> = table.columns.iter().map(|column| &column.name).collect();
            prop_assert_eq!(found, columns.iter().collect::<Vec<_>>());
            prop_assert!(table.columns.iter().all(|column| column.declared == declared));
            prop_assert!(table.columns[1].generated && !table.columns[0].generated);
            let parents: Vec<&String> = wanted.foreign_keys.iter().map(|key| &key.parent).collect();
            prop_assert_eq!(table.parents.iter().collect::<Vec<_>>(), parents);
            match (&table.key, index) {
                (Key::Cells(cells), 0) => prop_assert_eq!(cells, &[0]),
                (Key::Cells(cells), 1) => prop_assert_eq!(cells, &[1]),
                (Key::Through(through), _) => prop_assert_eq!(&through.columns[0], &columns[1]),
                (key, _) => prop_assert!(false, "{:?}", key),
            }
        }
    }
}

#[test]
fn names_a_projection_keeps_are_left_out_and_refused() {
    let tables = vec![
        table("t", &["id INTEGER"], &["id"], &[]),
        table("_cf_own", &["id INTEGER"], &["id"], &[]),
        table("u", &["id INTEGER", "_CF_offset INT"], &["id"], &[]),
    ];
    let (text, warnings) = init(&Schema { tables, ..Schema::default() }, "shop");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("'u' cannot be mapped: '_CF_offset'"), "{warnings:?}");
    assert_eq!(Mapping::parse("mapping.yaml", &text).unwrap().tables.len(), 1);
    let refused = Mapping::parse("mapping.yaml", &text.replace("id: INTEGER", "id: INTEGER\n      _cf_x: INT"));
    assert!(refused.unwrap_err().message().contains("'_cf_x' of table 't'"));
}
