//! Writing and restoring fold snapshots.

use std::io::{BufRead, ErrorKind, Write};
use std::sync::Arc;

use crate::base::{Error, Result};
use crate::event::Decoder;
use crate::fold::snapshot::{self, Header, Seal, Trailer};
use crate::mapping::Mapping;
use crate::port::boundary::boundary;
use crate::port::event_log::Positions;
use crate::port::identity::{REBUILD, RowTopics};
use crate::port::row_store::{Change, Mode, RowStore};

/// A failure of the file system under a snapshot.
pub fn io(error: std::io::Error) -> Error {
    let what = "the snapshot could not be written or read";
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::full(format!("{what}: no room left"))
            .hint("make room and run the command again: the projection stays, and so does a snapshot made before"),
        _ => Error::failed(what),
    }
    .because(error)
}

/// Writes what the store holds as one file. The store must be whole.
pub fn write(
    store: &dyn RowStore,
    mapping: &Arc<Mapping>,
    (migration, cluster): (&str, &str),
    taken_at: String,
    out: &mut dyn Write,
) -> Result<Trailer> {
    let mut view = store.view(mapping)?;
    let positions =
        view.state().positions.iter().map(|((topic, partition), next)| (topic.clone(), *partition, *next)).collect();
    let topics = view.state().topics.clone();
    let header = Header { topics, ..Header::new(migration, &mapping.hash, cluster, taken_at, positions) };
    let failed = |error| Error::failed("the snapshot's header has no JSON form").because(error);
    let mut seal = Seal::default();
    let mut line = serde_json::to_vec(&header).map_err(failed)?;
    seal.header(&line);
    line.push(b'\n');
    out.write_all(&line).map_err(io)?;
    for table in &mapping.tables {
        view.scan(table, &mut |rows, lasts| {
            for (row, last) in rows.iter().zip(lasts) {
                snapshot::write_row(table, row, last, &mut line);
                seal.row(&line);
                line.push(b'\n');
                out.write_all(&line).map_err(io)?;
            }
            Ok(())
        })?;
    }
    let trailer = seal.trailer();
    serde_json::to_writer(&mut *out, &trailer).map_err(failed)?;
    out.write_all(b"\n").map_err(io)?;
    Ok(trailer)
}

/// Reads a whole snapshot and checks its seal; changes nothing.
pub fn check(file: &str, input: &mut dyn BufRead) -> Result<(Header, Trailer)> {
    let mut seal = Seal::default();
    let mut lines = Lines { file, input, line: Vec::new(), next: Vec::new() };
    let header = Header::read(file, lines.first()?)?;
    seal.header(&lines.line);
    while lines.advance()? {
        seal.row(&lines.line);
    }
    let trailer = lines.trailer()?;
    if trailer != seal.trailer() {
        return Err(Error::corrupt(format!("{file} was changed or cut: its hash does not fit its content")));
    }
    Ok((header, trailer))
}

/// Puts a snapshot's rows and positions into the store in place of what it holds. Check the file first.
pub fn restore(
    file: &str,
    input: &mut dyn BufRead,
    store: &dyn RowStore,
    mapping: &Arc<Mapping>,
    (migration, cluster, found): (&str, &str, &RowTopics),
) -> Result<Trailer> {
    let mut lines = Lines { file, input, line: Vec::new(), next: Vec::new() };
    let header = Header::read(file, lines.first()?)?;
    if header.mapping_hash != mapping.hash {
        return Err(Error::stale(format!("{file} was taken under another mapping"))
            .hint("rebuild: crossfade project --rebuild"));
    }
    if header.migration != migration {
        let other = &header.migration;
        return Err(Error::stale(format!("{file} was taken of the migration '{other}', this one is '{migration}'"))
            .hint("restore a snapshot of this migration, or rebuild: crossfade project --rebuild"));
    }
    if header.cluster != cluster {
        return Err(Error::stale(format!(
            "{file} was taken of another log ({}), this one is {cluster}",
            header.cluster
        )));
    }
    let positions: Positions =
        header.positions.iter().map(|(topic, partition, next)| ((topic.clone(), *partition), *next)).collect();
    if let Some(lost) = found.lost(&header.topics, &positions) {
        return Err(lost.refusal(&format!("the snapshot {file}"), REBUILD));
    }
    let mut writer = store.claim(mapping, Mode::Rebuild)?;
    writer.lies_in(&found.ids);
    let mut decoder = Decoder::new(mapping);
    let mut chunks = decoder.chunks();
    while lines.advance()? {
        let (table, last) = snapshot::read_row(&mapping.tables, &mut decoder, &lines.line, &mut chunks)?;
        writer.apply(table, Change::Put(chunks[table].row(0)), last)?;
        chunks[table].reset(mapping.tables[table].width());
    }
    let trailer = lines.trailer()?;
    writer.commit(&positions)?;
    boundary("restore.rows-committed");
    writer.finish()?;
    boundary("restore.finished");
    Ok(trailer)
}

/// Lines with one of look-ahead, because the last one is the trailer.
struct Lines<'a> {
    file: &'a str,
    input: &'a mut dyn BufRead,
    line: Vec<u8>,
    next: Vec<u8>,
}

impl Lines<'_> {
    fn first(&mut self) -> Result<&[u8]> {
        self.pull()?;
        std::mem::swap(&mut self.line, &mut self.next);
        self.pull()?;
        Ok(&self.line)
    }

    /// Moves to the next row line; false when only the trailer is left.
    fn advance(&mut self) -> Result<bool> {
        std::mem::swap(&mut self.line, &mut self.next);
        self.pull()?;
        Ok(!self.next.is_empty())
    }

    fn pull(&mut self) -> Result<()> {
        self.next.clear();
        self.input.read_until(b'\n', &mut self.next).map_err(io)?;
        if self.next.last() == Some(&b'\n') {
            self.next.pop();
        }
        Ok(())
    }

    /// The trailer, once `advance` has said false.
    fn trailer(&self) -> Result<Trailer> {
        serde_json::from_slice(&self.line)
            .map_err(|error| Error::corrupt(format!("{} is cut: its end is missing", self.file)).because(error))
    }
}
