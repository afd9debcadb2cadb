//! The end of a rebuild: building the identity index and applying the rule to identities that arrived more than once.

use rusqlite::{Connection, Row, Statement};

use super::fault::fault;
use super::lend;
use super::meta::Meta;
use super::shape::Shape;
use crate::base::Result;
use crate::mapping::{Rows, Table, Value};
use crate::port::row_store::LastEvent;

/// Indexes a table filled by appending and leaves of each identity what applying its changes one by one would have left.
pub(super) fn settle(meta: &Meta<'_>, shape: &Shape, table: &Table, tombstones: bool) -> Result<()> {
    let Some(index) = &shape.index else { return Ok(()) };
    let building = "building an index";
    meta.run(building, index)?;
    let settling = || fault(meta.path, "settling repeated rows");
    let doubled = meta.connection.prepare(&shape.doubled).and_then(|mut doubled| doubled.exists([]));
    if !tombstones && !doubled.map_err(settling())? {
        return Ok(());
    }
    // Rows go in the order of the table, without an index to be kept: both would be random access.
    meta.run(building, &shape.drop_index)?;
    drop_losers(meta.connection, shape, table.identity.len()).map_err(settling())?;
    meta.run(building, index)
}

fn drop_losers(connection: &Connection, shape: &Shape, width: usize) -> rusqlite::Result<()> {
    // SQLite keeps a temporary table on disk when it grows, so memory does not depend on how many rows lose.
    connection.execute_batch("CREATE TEMP TABLE IF NOT EXISTS _cf_losers (number INTEGER PRIMARY KEY)")?;
    find_losers(connection, shape, width)?;
    let name = &shape.name;
    connection.execute_batch(&format!(
        "DELETE FROM main.{name} WHERE _cf_row IN (SELECT number FROM temp._cf_losers);
         DELETE FROM temp._cf_losers;"
    ))
}

/// What stands of one exact identity so far.
struct Standing {
    identity: Vec<u8>,
    row: Option<(i64, LastEvent)>,
}

/// Runs the rule over the arrivals of each identity and lists the rows that lose.
fn find_losers(connection: &Connection, shape: &Shape, width: usize) -> rusqlite::Result<()> {
    let mut arrivals = connection.prepare(&shape.arrivals)?;
    let mut lose = connection.prepare("INSERT INTO temp._cf_losers VALUES (?1)")?;
    let mut group = Rows::new(width);
    let mut standing: Vec<Standing> = Vec::new();
    let mut image = Vec::new();
    let mut rows = arrivals.query([])?;
    while let Some(row) = rows.next()? {
        image.clear();
        let mut same = !group.is_empty();
        for at in 0..width {
            let value = lend(row.get_ref(5 + at)?);
            value.write_image(&mut image);
            same = same && alike(value, group.row(0).get(at));
        }
        if !same {
            standing.clear();
            group.reset(width);
            for at in 0..width {
                group.push(lend(row.get_ref(5 + at)?));
            }
        }
        let found = match standing.iter().position(|one| one.identity == image) {
            Some(found) => found,
            None => {
                standing.push(Standing { identity: image.clone(), row: None });
                standing.len() - 1
            }
        };
        judge(&mut standing[found].row, row, &mut lose)?;
    }
    Ok(())
}

/// Applies one arrival to what stands; whatever does not stand any more loses.
fn judge(standing: &mut Option<(i64, LastEvent)>, row: &Row<'_>, lose: &mut Statement<'_>) -> rusqlite::Result<()> {
    let number: i64 = row.get(0)?;
    let event = LastEvent { partition: row.get(1)?, offset: row.get(2)?, id: [0; 16], sequence: row.get(4)? };
    let delete = lend(row.get_ref(3)?) == Value::Null;
    let wins = standing.is_none_or(|(_, last)| event.supersedes(&last));
    if wins && let Some((old, _)) = standing.take() {
        lose.execute([old])?;
    }
    if wins && !delete {
        *standing = Some((number, event));
    } else {
        lose.execute([number])?;
    }
    Ok(())
}

/// Whether two values of one class sort as one: the two zeros do, and are told apart by their image.
fn alike(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::Real(a), Value::Real(b)) => a == b,
        (a, b) => a == b,
    }
}
