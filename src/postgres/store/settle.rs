//! The end of a rebuild: applying the rule to identities that arrived more than once, and building the index.

use uuid::Uuid;

use super::super::fault::fault;
use super::super::form::Raw;
use super::meta::Meta;
use super::shape::Shape;
use crate::base::Result;
use crate::fold::LastEvent;

/// Arrivals looked at together.
const FETCHED: usize = 5_000;

/// Leaves of each identity what applying its changes one by one would have left, and indexes the table.
pub(super) fn settle(meta: &mut Meta<'_>, shape: &Shape, tombstones: bool) -> Result<()> {
    let settling = fault(meta.store, "settling repeated rows");
    if tombstones || meta.client.query_one(&shape.doubled, &[]).map_err(&settling)?.get::<_, bool>(0) {
        drop_losers(meta, shape)?;
    }
    meta.run("building an index", &format!("{}; ANALYZE {}", shape.index, shape.name))
}

fn drop_losers(meta: &mut Meta<'_>, shape: &Shape) -> Result<()> {
    let doing = "settling repeated rows";
    meta.run(
        doing,
        &format!(
            "CREATE TEMP TABLE IF NOT EXISTS _cf_losers (number bigint) ON COMMIT DROP;
             DECLARE _cf_arrivals NO SCROLL CURSOR FOR {}",
            shape.arrivals
        ),
    )?;
    let mut standing: Option<(Uuid, Option<(i64, LastEvent)>)> = None;
    let mut losers: Vec<i64> = Vec::new();
    loop {
        let settling = fault(meta.store, doing);
        let arrivals = meta.client.query(&format!("FETCH {FETCHED} FROM _cf_arrivals"), &[]).map_err(&settling)?;
        if arrivals.is_empty() {
            break;
        }
        for row in &arrivals {
            let id: Uuid = row.get(0);
            let number: i64 = row.get(5);
            let delete = row.try_get::<_, Raw<'_>>(3).is_ok_and(|event| event.0.is_none());
            let event = LastEvent { partition: row.get(1), offset: row.get(2), id: [0; 16], sequence: row.get(4) };
            if standing.as_ref().is_none_or(|(of, _)| *of != id) {
                standing = Some((id, None));
            }
            let Some((_, left)) = &mut standing else { continue };
            let wins = left.is_none_or(|(_, last)| event.supersedes(&last));
            if wins && let Some((old, _)) = left.take() {
                losers.push(old);
            }
            if wins && !delete {
                *left = Some((number, event));
            } else {
                losers.push(number);
            }
        }
        let insert = "INSERT INTO pg_temp._cf_losers SELECT unnest($1::bigint[])";
        meta.client.execute(insert, &[&losers]).map_err(&settling)?;
        losers.clear();
    }
    meta.run(
        doing,
        &format!(
            "CLOSE _cf_arrivals; ANALYZE pg_temp._cf_losers;
             DELETE FROM {} AS t USING pg_temp._cf_losers AS l WHERE t._cf_row = l.number;
             TRUNCATE pg_temp._cf_losers",
            shape.name
        ),
    )
}
