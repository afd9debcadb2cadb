//! Random SQLite databases with rows, the same for the same seed.

mod values;

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use self::values::{Cell, Dice, identity, payload, quote, respelled};

/// Names that break careless quoting, in SQL or in YAML.
const NAMES: [&str; 36] = [
    "plain",
    "select",
    "a b",
    "we\"ird",
    "it's",
    "größe",
    "名前",
    "🚀",
    "yes",
    "NULL",
    "1",
    "1.5",
    "a: b",
    "a #b",
    "- dash",
    "line\nbreak",
    "tab\t",
    " lead",
    "trail ",
    "~",
    "<<",
    "{x}",
    "[x]",
    "%",
    "a,b",
    "a\\b",
    "`tick`",
    "Rowid",
    "oid",
    "_cf",
    "key",
    "table",
    "data",
    "before",
    "Größe",
    "?",
];

const TYPES: [&str; 16] = [
    "",
    "TEXT",
    "INTEGER",
    "REAL",
    "NUMERIC",
    "BLOB",
    "DATETIME",
    "BOOLEAN",
    "VARCHAR(10)",
    "DECIMAL(10,2)",
    "FLOATING POINT",
    "UNSIGNED BIG INT",
    "DOUBLE PRECISION",
    "JSON",
    "STRING",
    "CLOB",
];

const STRICT_TYPES: [&str; 6] = ["INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY"];

/// Longer chains are not made.
const DEEPEST: usize = 3;

#[derive(Clone)]
struct Column {
    name: String,
    declared: String,
    collation: &'static str,
    not_null: bool,
}

/// What later tables may reference: the columns of a unique key, and its values.
struct Target {
    table: String,
    columns: Vec<Column>,
    implicit: bool,
    values: Vec<Vec<Cell>>,
    depth: usize,
}

struct Reference {
    target: usize,
    /// Places among the table's columns.
    columns: Vec<usize>,
}

/// Makes a database at `path` (WAL, closed again): two to seven tables with keys of every kind or none, foreign keys in
/// chains, to themselves and in circles, generated columns, odd names and types, and values of every storage class.
/// Identities hold no null and no blob; references may lead nowhere.
pub fn generate(seed: u64, path: &Path) {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF").unwrap();
    let count = 2 + dice.below(6);
    let names: Vec<String> = (0..count).map(|number| format!("{}{number}", dice.pick(&NAMES))).collect();
    let mut targets: Vec<Target> = Vec::new();
    for number in 0..count {
        Maker { dice: &mut dice, connection: &connection, names: &names, number }.make(&mut targets);
    }
    if seed % 10 == 3 {
        connection
            .execute_batch("CREATE TABLE hidden (rowid TEXT, _rowid_ INT, oid); INSERT INTO hidden VALUES (1, 2, 3)")
            .unwrap();
    }
    if seed % 10 == 5 {
        let columns = "(rowid TEXT, _rowid_ INT, oid, k TEXT, PRIMARY KEY (k DESC))";
        connection.execute_batch(&format!("CREATE TABLE taken {columns}")).unwrap();
        for word in ["b", "a", "", "c", "aa", "ä"] {
            connection.execute("INSERT INTO taken VALUES (1, 2, 3, ?1)", [word]).unwrap();
        }
    }
    if seed % 10 == 7 {
        let view = format!("CREATE VIEW \"the view\" AS SELECT * FROM {}", quote(&names[0]));
        connection.execute_batch(&view).unwrap();
        connection
            .execute_batch("CREATE VIRTUAL TABLE words USING fts5(word); INSERT INTO words VALUES ('w')")
            .unwrap();
    }
}

struct Maker<'a> {
    dice: &'a mut Dice,
    connection: &'a Connection,
    names: &'a [String],
    number: usize,
}

impl Maker<'_> {
    fn make(mut self, targets: &mut Vec<Target>) {
        let strict = self.dice.percent(25);
        let without_rowid = self.dice.percent(20);
        let mut columns = Vec::new();
        let mut references = Vec::new();
        let key = self.key(strict, without_rowid, targets, &mut columns, &mut references);
        let mut constraints = Vec::new();
        let unique = (!key.is_empty() && self.dice.percent(25)).then(|| {
            columns.push(self.column("u", "TEXT", 50));
            constraints.push(format!("UNIQUE ({})", quote(&columns[columns.len() - 1].name)));
            columns.len() - 1
        });
        while references.len() < 3 && self.dice.percent(60) {
            if let Some(reference) = self.reference(strict, targets, &mut columns) {
                references.push(reference);
            }
            if self.dice.percent(30) {
                break;
            }
        }
        for _ in 0..self.dice.below(6) {
            let declared = *self.dice.pick(if strict { &STRICT_TYPES } else { &TYPES[..] });
            let column = self.column("c", declared, 15);
            columns.push(column);
        }
        if columns.is_empty() {
            columns.push(self.column("c", "TEXT", 0));
        }
        for reference in &references {
            constraints.push(foreign_key(&columns, reference, &targets[reference.target]));
        }
        let writable = columns.len();
        self.loops(strict, &key, &mut columns, &mut constraints);
        let generated = self.generated(strict, &columns, &key);
        self.create(&columns, &generated, &key, without_rowid, strict, &constraints);
        let values = self.rows(&columns[..writable], &key, unique, &references, targets);
        let depth = references.iter().map(|reference| targets[reference.target].depth + 1).max().unwrap_or(0);
        let mut offer = |places: &[usize], implicit| {
            targets.push(Target {
                table: self.names[self.number].clone(),
                columns: places.iter().map(|place| columns[*place].clone()).collect(),
                implicit,
                values: values.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect(),
                depth,
            });
        };
        if !key.is_empty() {
            offer(&key, true);
        }
        if let Some(unique) = unique {
            offer(&[unique], false);
        }
    }

    fn column(&mut self, stem: &str, declared: &str, not_null: usize) -> Column {
        let odd = if self.dice.percent(50) { *self.dice.pick(&NAMES) } else { "" };
        let tail = self.dice.below(100_000);
        let collation = if self.dice.percent(15) { *self.dice.pick(&["NOCASE", "RTRIM"]) } else { "" };
        let not_null = self.dice.percent(not_null);
        Column { name: format!("{odd}{stem}{tail}"), declared: declared.to_owned(), collation, not_null }
    }

    /// Adds the key's columns and gives their places in the order of the key.
    fn key(
        &mut self,
        strict: bool,
        without_rowid: bool,
        targets: &[Target],
        columns: &mut Vec<Column>,
        references: &mut Vec<Reference>,
    ) -> Vec<usize> {
        let style = self.dice.below(if without_rowid { 8 } else { 10 });
        let loose = if strict { "ANY" } else { "" };
        match style {
            0..=1 => columns.push(self.column("id", "INTEGER", 0)),
            2..=3 => columns.push(self.column("id", "TEXT", 30)),
            4 => columns.push(self.column("id", if strict { "REAL" } else { "NUMERIC" }, 30)),
            5..=6 => {
                for _ in 0..2 + self.dice.below(2) {
                    let declared = *self.dice.pick(&["TEXT", "INTEGER", "REAL", loose]);
                    let column = self.column("k", declared, 30);
                    columns.push(column);
                }
            }
            7 => match self.reference(strict, targets, columns) {
                Some(reference) => references.push(reference),
                None => columns.push(self.column("id", loose, 30)),
            },
            _ => return Vec::new(),
        }
        let mut key: Vec<usize> = (0..columns.len()).collect();
        if self.dice.percent(30) {
            key.reverse();
        }
        key
    }

    /// Adds columns that reference a table made before.
    fn reference(&mut self, strict: bool, targets: &[Target], columns: &mut Vec<Column>) -> Option<Reference> {
        let near: Vec<usize> = (0..targets.len()).filter(|index| targets[*index].depth < DEEPEST).collect();
        if near.is_empty() {
            return None;
        }
        let target = *self.dice.pick(&near);
        let not_null = if self.dice.percent(40) { 100 } else { 0 };
        let mut places = Vec::new();
        for parent in &targets[target].columns {
            let types = if strict { &STRICT_TYPES } else { &TYPES[..] };
            let same = self.dice.percent(70) && types.contains(&parent.declared.as_str());
            let declared = if same { parent.declared.clone() } else { (*self.dice.pick(types)).to_owned() };
            places.push(columns.len());
            let column = self.column("f", &declared, not_null);
            columns.push(column);
        }
        Some(Reference { target, columns: places })
    }

    /// References to the table itself, round a circle, and to nothing; their columns stay null.
    fn loops(&mut self, strict: bool, key: &[usize], columns: &mut Vec<Column>, constraints: &mut Vec<String>) {
        let mut add = |name: &str, target: &str| {
            let declared = if strict { "ANY" } else { "" };
            columns.push(Column {
                name: name.to_owned(),
                declared: declared.to_owned(),
                collation: "",
                not_null: false,
            });
            constraints.push(format!("FOREIGN KEY ({}) REFERENCES {}", quote(name), quote(target)));
        };
        if key.len() == 1 && self.dice.percent(30) {
            add("loop self", &self.names[self.number]);
        }
        // Both ends go by the name, so that circles close.
        if self.number + 1 < self.names.len() && self.names[self.number].len().is_multiple_of(3) {
            add("loop on", &self.names[self.number + 1]);
        }
        if self.number > 0 && self.names[self.number - 1].len().is_multiple_of(3) {
            add("loop back", &self.names[self.number - 1]);
        }
        if self.dice.percent(5) {
            add("loop nowhere", "no such table");
        }
    }

    fn generated(&mut self, strict: bool, columns: &[Column], key: &[usize]) -> Vec<String> {
        let mut generated = Vec::new();
        for number in 0..self.dice.below(4).saturating_sub(1) {
            let place = self.dice.below(columns.len());
            let of = quote(&columns[place].name);
            let expression = match self.dice.below(4) {
                0 => format!("typeof({of}) || 'é'"),
                1 => format!("length({of})"),
                2 => of.clone(),
                _ => format!("coalesce({of}, 'none')"),
            };
            let declared = if strict { "ANY" } else { *self.dice.pick(&TYPES) };
            let kept = if self.dice.percent(50) && !key.contains(&place) { "STORED" } else { "VIRTUAL" };
            generated.push(format!("\"g \"\"{number}\" {declared} GENERATED ALWAYS AS ({expression}) {kept}"));
        }
        generated
    }

    fn create(
        &mut self,
        columns: &[Column],
        generated: &[String],
        key: &[usize],
        without_rowid: bool,
        strict: bool,
        constraints: &[String],
    ) {
        let mut parts: Vec<String> = columns.iter().map(Column::definition).collect();
        let place = self.dice.below(parts.len() + 1);
        parts.splice(place..place, generated.iter().cloned());
        if !key.is_empty() {
            let terms = key.iter().map(|place| {
                let collation = if self.dice.percent(15) { " COLLATE NOCASE" } else { "" };
                let descending = if key.len() > 1 && self.dice.percent(30) { " DESC" } else { "" };
                format!("{}{collation}{descending}", quote(&columns[*place].name))
            });
            let terms: Vec<String> = terms.collect();
            parts.push(format!("PRIMARY KEY ({})", terms.join(", ")));
        }
        parts.extend(constraints.iter().cloned());
        let options: Vec<&str> = [(without_rowid && !key.is_empty(), "WITHOUT ROWID"), (strict, "STRICT")]
            .iter()
            .filter_map(|(wanted, option)| wanted.then_some(*option))
            .collect();
        let name = quote(&self.names[self.number]);
        let sql = format!("CREATE TABLE {name} ({}) {}", parts.join(", "), options.join(", "));
        self.connection.execute_batch(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// Inserts rows, and gives what was inserted; one that breaks a constraint is left out.
    fn rows(
        &mut self,
        columns: &[Column],
        key: &[usize],
        unique: Option<usize>,
        references: &[Reference],
        targets: &[Target],
    ) -> Vec<Vec<Cell>> {
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let name = quote(&self.names[self.number]);
        let sql = format!("INSERT INTO {name} ({}) VALUES ({marks})", names.join(", "));
        let mut statement = self.connection.prepare(&sql).unwrap();
        let mut inserted = Vec::new();
        self.connection.execute_batch("BEGIN").unwrap();
        for _ in 0..*self.dice.pick(&[0, 3, 15, 40, 120]) {
            let mut row: Vec<Cell> = columns.iter().map(|column| payload(self.dice, &column.declared)).collect();
            if let Some(unique) = unique {
                row[unique] = identity(self.dice, "TEXT");
            }
            for place in key {
                row[*place] = identity(self.dice, &columns[*place].declared);
            }
            for reference in references {
                let target = &targets[reference.target];
                let nullable = !reference.columns.iter().any(|place| key.contains(place) || columns[*place].not_null);
                let values = match self.dice.below(10) {
                    0..=6 if !target.values.is_empty() => self.dice.pick(&target.values).clone(),
                    7 if nullable => vec![Cell::Plain(Value::Null); reference.columns.len()],
                    _ => target.columns.iter().map(|column| identity(self.dice, &column.declared)).collect(),
                };
                for (place, value) in reference.columns.iter().zip(values) {
                    row[*place] = respelled(self.dice, value);
                }
            }
            if statement.execute(params_from_iter(&row)).is_ok() {
                inserted.push(row);
            }
        }
        self.connection.execute_batch("COMMIT").unwrap();
        if self.dice.percent(30) {
            let first = &names[0];
            let delete = format!("DELETE FROM {name} WHERE {first} = (SELECT max({first}) FROM {name})");
            self.connection.execute_batch(&delete).unwrap();
        }
        inserted
    }
}

impl Column {
    fn definition(&self) -> String {
        let collation = if self.collation.is_empty() { String::new() } else { format!(" COLLATE {}", self.collation) };
        let not_null = if self.not_null { " NOT NULL" } else { "" };
        format!("{} {}{not_null}{collation}", quote(&self.name), self.declared)
    }
}

fn foreign_key(columns: &[Column], reference: &Reference, target: &Target) -> String {
    let list = |names: Vec<String>| format!("({})", names.join(", "));
    let from = list(reference.columns.iter().map(|place| quote(&columns[*place].name)).collect());
    let to = list(target.columns.iter().map(|column| quote(&column.name)).collect());
    let to = if target.implicit && target.table.len().is_multiple_of(2) { String::new() } else { to };
    format!("FOREIGN KEY {from} REFERENCES {} {to}", quote(&target.table))
}
