//! The end of a rebuild: building the identity index and applying the rule to identities that arrived more than once.

use rusqlite::{Connection, Row, Statement};

use super::fault::fault;
use super::meta::Meta;
use super::shape::Shape;
use super::{bind, follows, lend};
use crate::base::Result;
use crate::mapping::{Table, Value};
use crate::port::row_store::LastEvent;

/// Indexes a table filled by appending and leaves of each identity what applying its changes one by one would have left.
pub(super) fn settle(meta: &Meta<'_>, shape: &Shape, table: &Table, tombstones: bool) -> Result<()> {
    let Some(index) = &shape.index else { return Ok(()) };
    meta.run("building an index", index)?;
    let steps = || {
        // On disk when it grows, so that a rebuild with many changes takes no more memory than one without.
        meta.connection.execute_batch("CREATE TEMP TABLE IF NOT EXISTS _cf_losers (number INTEGER PRIMARY KEY)")?;
        let losers = find_losers(meta.connection, shape, table.identity.len())?;
        if losers > 0 {
            let name = &shape.name;
            meta.connection.execute_batch(&format!(
                "DELETE FROM main.{name} WHERE _cf_row IN (SELECT number FROM temp._cf_losers);
                 DELETE FROM temp._cf_losers;"
            ))?;
        }
        if tombstones {
            meta.connection.execute_batch(&format!("DELETE FROM {} WHERE _cf_event IS NULL", shape.name))?;
        }
        Ok(())
    };
    steps().map_err(fault(meta.path, "settling repeated rows"))
}

/// Lists the rows that lose; returns how many.
fn find_losers(connection: &Connection, shape: &Shape, width: usize) -> rusqlite::Result<u64> {
    let mut doubled = connection.prepare(&shape.doubled)?;
    let mut arrivals = connection.prepare(&shape.arrivals)?;
    let mut lose = connection.prepare("INSERT INTO temp._cf_losers VALUES (?1)")?;
    let mut losers = 0;
    let mut groups = doubled.query([])?;
    while let Some(group) = groups.next()? {
        for at in 0..width {
            arrivals.raw_bind_parameter(at + 1, bind(lend(group.get_ref(at)?)))?;
        }
        losers += settle_group(&mut arrivals, &mut lose, width)?;
    }
    Ok(losers)
}

/// What stands of one exact identity so far.
struct Standing {
    identity: Vec<u8>,
    row: Option<(i64, LastEvent)>,
}

/// Runs the rule over rows that SQLite calls equal, in order of arrival; exact identities are told apart here.
fn settle_group(arrivals: &mut Statement<'_>, lose: &mut Statement<'_>, width: usize) -> rusqlite::Result<u64> {
    let mut standing: Vec<Standing> = Vec::new();
    let mut image = Vec::new();
    let mut losers = 0;
    let mut rows = arrivals.raw_query();
    while let Some(row) = rows.next()? {
        image.clear();
        for at in 0..width {
            lend(row.get_ref(5 + at)?).write_image(&mut image);
        }
        let found = match standing.iter().position(|one| one.identity == image) {
            Some(found) => found,
            None => {
                standing.push(Standing { identity: image.clone(), row: None });
                standing.len() - 1
            }
        };
        let one = &mut standing[found];
        let (number, delete, event) = read(row)?;
        let wins = one.row.is_none_or(|(_, last)| follows(&event, &last));
        let loser = match (wins, delete) {
            (true, false) => one.row.replace((number, event)).map(|(old, _)| old),
            (true, true) => one.row.take().map(|(old, _)| old),
            (false, false) => Some(number),
            (false, true) => None,
        };
        for number in loser.into_iter().chain(delete.then_some(number)) {
            losers += 1;
            lose.execute([number])?;
        }
    }
    Ok(losers)
}

/// Row number, whether it stands for a delete, and where its event stood.
fn read(row: &Row<'_>) -> rusqlite::Result<(i64, bool, LastEvent)> {
    let delete = lend(row.get_ref(3)?) == Value::Null;
    let event = LastEvent { partition: row.get(1)?, offset: row.get(2)?, id: [0; 16], sequence: row.get(4)? };
    Ok((row.get(0)?, delete, event))
}
