//! Seeded chance, and values of every storage class.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A value to insert; text may be any bytes.
#[derive(Clone)]
pub(super) enum Cell {
    Plain(Value),
    Text(Vec<u8>),
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Cell::Plain(value) => value.to_sql(),
            Cell::Text(bytes) => Ok(ToSqlOutput::Borrowed(ValueRef::Text(bytes))),
        }
    }
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into().into_bytes())
}

/// A value that may identify a row: no null, no blob.
pub(super) fn identity(dice: &mut Dice, declared: &str) -> Cell {
    let number = dice.below(60);
    match declared {
        "INTEGER" | "INT" => Cell::Plain(Value::Integer(match dice.below(10) {
            0 => i64::MAX - number as i64,
            1 => i64::MIN + number as i64,
            _ => number as i64 - 20,
        })),
        "REAL" => Cell::Plain(Value::Real(*dice.pick(&[number as f64, number as f64 + 0.1, 1e300 * number as f64]))),
        "TEXT" => match dice.below(12) {
            0 => Cell::Text(vec![b'n', 0, number as u8]),
            1 => Cell::Text(vec![b'x', 0xff, number as u8]),
            2 => text(format!("ключ {number}")),
            3 => text(format!("{number}")),
            4 => text(format!("K{number}")),
            _ => text(format!("k{number}")),
        },
        _ => {
            let declared = *dice.pick(&["TEXT", "INTEGER", "REAL"]);
            identity(dice, declared)
        }
    }
}

/// The same key as another program might have written it.
pub(super) fn respelled(dice: &mut Dice, value: Cell) -> Cell {
    match value {
        Cell::Text(bytes) if dice.percent(10) => Cell::Text(bytes.to_ascii_uppercase()),
        Cell::Text(bytes) if dice.percent(5) => Cell::Text([&bytes[..], b" "].concat()),
        Cell::Plain(Value::Integer(number)) if dice.percent(10) => text(format!("0{number}")),
        Cell::Plain(Value::Integer(number)) if dice.percent(10) => Cell::Plain(Value::Real(number as f64)),
        Cell::Plain(Value::Real(number)) if dice.percent(10) => text(format!("{number:?}")),
        value => value,
    }
}

pub(super) fn payload(dice: &mut Dice, declared: &str) -> Cell {
    // A strict table refuses other classes.
    if dice.percent(40) && ["INT", "INTEGER", "REAL", "TEXT"].contains(&declared) {
        return identity(dice, declared);
    }
    match dice.below(5) {
        0 => Cell::Plain(Value::Null),
        1 => Cell::Plain(Value::Integer(*dice.pick(&[0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1, 3_000_000_000]))),
        2 => Cell::Plain(Value::Real(*dice.pick(&[
            0.1,
            -0.0,
            2.0,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            5e-324,
            9_007_199_254_740_993.0,
            9e18,
        ]))),
        3 => match dice.below(9) {
            0 => text(""),
            1 => Cell::Text(b"a\0b".to_vec()),
            2 => Cell::Text(b"\xff\xfe half \xc3".to_vec()),
            3 => text("12"),
            4 => text("1e3"),
            5 => text(" 7 "),
            6 => text("ü€🚀".repeat(300)),
            7 => text("9223372036854775808"),
            _ => text("words"),
        },
        _ => Cell::Plain(Value::Blob(dice.pick(&[&b""[..], b"\xff\0", b"blob", &[7; 300]]).to_vec())),
    }
}

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
