//! The sealed batches of an open transaction: in memory up to a bound, beyond it in a file without a name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::failure;
use super::frames::Sealed;
use crate::base::Result;

const IN_MEMORY: usize = 12 << 20;

pub(super) struct Pending {
    path: PathBuf,
    batches: Vec<Waiting>,
    in_memory: usize,
    bound: usize,
    spill: Option<(File, u64)>,
}

struct Waiting {
    lane: usize,
    sealed: Sealed,
    /// Place and length in the file; the blob of `sealed` is empty then.
    spilled: Option<(u64, usize)>,
}

impl Pending {
    /// `log` is the file the batches will go to; what does not fit in memory lies beside it.
    pub(super) fn new(log: &Path) -> Self {
        Self { path: log.to_owned(), batches: Vec::new(), in_memory: 0, bound: IN_MEMORY, spill: None }
    }

    pub(super) fn push(&mut self, lane: usize, sealed: Sealed) -> Result<()> {
        self.in_memory += sealed.blob.len();
        self.batches.push(Waiting { lane, sealed, spilled: None });
        if self.in_memory > self.bound { self.spill() } else { Ok(()) }
    }

    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.in_memory = 0;
        self.spill = None;
    }

    /// Lends every batch in the order of `push`.
    pub(super) fn each(&mut self, mut each: impl FnMut(usize, &Sealed, &[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = Vec::new();
        for Waiting { lane, sealed, spilled } in &self.batches {
            let blob = match (spilled, &mut self.spill) {
                (Some((at, length)), Some((file, _))) => {
                    buffer.resize(*length, 0);
                    file.seek(SeekFrom::Start(*at))
                        .and_then(|_| file.read_exact(&mut buffer))
                        .map_err(|error| failure::of_io(&self.path, error))?;
                    &buffer
                }
                _ => &sealed.blob,
            };
            each(*lane, sealed, blob)?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let fail = |error| failure::of_io(&self.path, error);
        let (file, end) = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert((nameless(&self.path)?, 0)),
        };
        file.seek(SeekFrom::Start(*end)).map_err(fail)?;
        for Waiting { sealed, spilled, .. } in self.batches.iter_mut().filter(|batch| batch.spilled.is_none()) {
            let blob = std::mem::take(&mut sealed.blob);
            file.write_all(&blob).map_err(fail)?;
            *spilled = Some((*end, blob.len()));
            *end += blob.len() as u64;
        }
        self.in_memory = 0;
        Ok(())
    }
}

/// A file beside `log` that is gone with its handle, also after a kill.
fn nameless(log: &Path) -> Result<File> {
    let mut name = log.as_os_str().to_owned();
    name.push(format!("-spill-{}", uuid::Uuid::new_v4()));
    let open = OpenOptions::new().read(true).write(true).create_new(true).open(&name);
    open.and_then(|file| std::fs::remove_file(&name).map(|()| file)).map_err(|error| failure::of_io(log, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_beyond_the_bound_come_back_in_order_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut pending = Pending { bound: 1_000, ..Pending::new(&folder.path().join("log.db")) };
        for round in 0..2 {
            for number in 0..50_u8 {
                let blob = vec![number; 100 + usize::from(number)];
                let sealed = Sealed { count: 1, first_ms: 0, last_ms: 0, codec: 0, checksum: 0, blob };
                pending.push(usize::from(number) % 3, sealed).unwrap();
            }
            assert!(pending.in_memory <= 1_000 && pending.spill.is_some());
            let mut seen = 0_u8;
            pending
                .each(|lane, _, blob| {
                    assert_eq!(lane, usize::from(seen) % 3);
                    assert_eq!(blob, vec![seen; 100 + usize::from(seen)], "round {round}");
                    seen += 1;
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, 50);
            pending.clear();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
