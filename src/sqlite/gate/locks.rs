//! The lock bytes of a `-shm` file (sqlite.org/walformat.html, "WAL locks"), by two descriptors of the gate's own.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::Holder;
use crate::base::{Error, Result};

/// The read lock of whoever needs nothing of the write-ahead log.
const FIRST: (i64, i64) = (123, 1);
/// The read locks of all others.
const OTHERS: (i64, i64) = (124, 4);
const ALL: (i64, i64) = (123, 5);
/// Held by each process that has the file open.
const CONNECTED: (i64, i64) = (128, 1);

/// File systems whose locks do not hold, or that share no memory, between hosts: NFS, SMB and CIFS, Coda, AFS, Ceph, 9P,
/// whatever is behind FUSE, GFS2, OCFS2, Lustre, GPFS.
const REMOTE: [u32; 14] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x7375_7245,
    0x5346_414F,
    0x00C3_6400,
    0x0102_1997,
    0x6573_5546,
    0x0116_1970,
    0x7461_636F,
    0x0BD0_0BD0,
    0x4750_4653,
    0x6B41_4653,
];

pub(super) struct Locks {
    /// Its locks are of its own, also against those of this process.
    own: Option<File>,
    /// Its locks are those of the process, as SQLite's are.
    process: Option<File>,
    store: String,
}

impl Locks {
    /// The connection must have read once, so that SQLite has the file open.
    pub(super) fn open(store: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::connect(format!("the locks of '{}' cannot be seen", store.display()))
                .hint("run as a user who may write it and its -shm file")
                .because(error)
        };
        let mut path = std::fs::canonicalize(store).map_err(failed)?.into_os_string();
        path.push("-shm");
        let open = || OpenOptions::new().read(true).write(true).open(&path).map_err(failed);
        let locks = Self { own: Some(open()?), process: Some(open()?), store: store.display().to_string() };
        let kind = nix::sys::statfs::fstatfs(locks.own()?).map_err(|error| failed(error.into()))?;
        if REMOTE.contains(&(kind.filesystem_type().0 as u32)) {
            return Err(Error::refused(format!(
                "'{}' lies on a file system of a network: who reads it cannot be seen from here",
                store.display()
            ))
            .hint("run crossfade where the legacy has the file on a disk of its own"));
        }
        if others(locks.own()?) != Some(true) {
            return Err(Error::refused(format!("SQLite does not have its locks of '{}' beside it", store.display()))
                .hint("name the file itself, as the legacy opens it"));
        }
        Ok(locks)
    }

    fn own(&self) -> Result<&File> {
        self.own.as_ref().ok_or_else(|| Error::failed("a gate was closed already"))
    }

    fn process(&self) -> Result<&File> {
        self.process.as_ref().ok_or_else(|| Error::failed("a gate was closed already"))
    }

    /// Who holds a read lock; a connection of this process counts.
    pub(super) fn reader(&self) -> Result<Option<Holder>> {
        let mut asked = lock(libc::F_WRLCK, ALL);
        self.told(fcntl(self.own()?, FcntlArg::F_OFD_GETLK(&mut asked)))?;
        Ok(holder(&asked))
    }

    /// Who of the other processes does.
    pub(super) fn reader_beside_own(&self) -> Result<Option<Holder>> {
        let mut asked = lock(libc::F_WRLCK, OTHERS);
        self.told(fcntl(self.process()?, FcntlArg::F_GETLK(&mut asked)))?;
        Ok(holder(&asked))
    }

    /// No other process has the file open.
    pub(super) fn alone(&self) -> Result<bool> {
        let mut asked = lock(libc::F_WRLCK, CONNECTED);
        self.told(fcntl(self.process()?, FcntlArg::F_GETLK(&mut asked)))?;
        Ok(holder(&asked).is_none())
    }

    pub(super) fn close_first(&self) -> Result<bool> {
        self.taken(fcntl(self.own()?, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK, FIRST))))
    }

    /// All or none of them.
    pub(super) fn close_others(&self) -> Result<bool> {
        self.taken(fcntl(self.process()?, FcntlArg::F_SETLK(&lock(libc::F_WRLCK, OTHERS))))
    }

    /// The connection must have ended its read.
    pub(super) fn open_all(&self) -> Result<()> {
        let others = fcntl(self.process()?, FcntlArg::F_SETLK(&lock(libc::F_UNLCK, OTHERS)));
        let first = fcntl(self.own()?, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK, FIRST)));
        self.told(others.and(first)).map(|_| ())
    }

    fn taken(&self, done: nix::Result<i32>) -> Result<bool> {
        match done {
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            done => self.told(done).map(|_| true),
        }
    }

    fn told(&self, done: nix::Result<i32>) -> Result<i32> {
        done.map_err(|error| {
            Error::refused(format!("the locks of '{}' cannot be asked or taken", self.store))
                .hint("put the file on a local file system of Linux")
                .because(error)
        })
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        // Closing one would take the locks of whatever connection this process still has to the file.
        let (own, process) = (self.own.take(), self.process.take());
        if own.as_ref().is_none_or(|own| others(own) != Some(false)) {
            std::mem::forget((own, process));
        }
    }
}

/// Whether anything in this process but a gate's two descriptors has the file open; `None` where that cannot be seen.
fn others(file: &File) -> Option<bool> {
    let identity = |of: &std::fs::Metadata| (of.dev(), of.ino());
    let wanted = identity(&file.metadata().ok()?);
    let mut found = 0;
    for entry in std::fs::read_dir("/proc/self/fd").ok()? {
        // What was closed since is not there any more.
        if std::fs::metadata(entry.ok()?.path()).is_ok_and(|of| identity(&of) == wanted) {
            found += 1;
        }
    }
    Some(found > 2)
}

fn lock(kind: i32, (start, length): (i64, i64)) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

fn holder(answer: &libc::flock) -> Option<Holder> {
    if answer.l_type == libc::F_UNLCK as libc::c_short {
        return None;
    }
    Some(if answer.l_pid > 0 { Holder::Process(answer.l_pid) } else { Holder::Unknown })
}
