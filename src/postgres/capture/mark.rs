//! What a position says of the server it was taken on, so that an older backup in its place is found out.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::base::Error;
use crate::port::change_source::Position;

/// The server's log is looked at again after this time.
const NAP: Duration = Duration::from_millis(5);

/// The server as it stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Another one begins with every recovery from a backup, and with every takeover by a standby.
    pub timeline: u32,
    /// Up to here its log was safe. In a position of a follow also: what lies before is told, or in the rows it goes on
    /// from.
    pub flushed: u64,
    /// The last transaction told; 0 for none.
    pub xid: u64,
}

impl Mark {
    pub fn of(position: &Position) -> crate::base::Result<Self> {
        position.mark.parse().map_err(|()| Error::corrupt(format!("the position '{}' is none", position.mark)))
    }

    /// The server as it stands.
    pub fn read(client: &mut Client) -> Result<Self, postgres::Error> {
        let row = client.query_one(
            "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint, \
             (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint",
            &[],
        )?;
        let (timeline, flushed): (i64, i64) = (row.get(0), row.get(1));
        Ok(Self { timeline: timeline as u32, flushed: flushed.unsigned_abs(), xid: 0 })
    }

    /// The server as it stands, with all that was committed by now before the end of its log.
    ///
    /// A commit that does not wait for the disk is seen before it is safe. It is safe within three turns of the server's
    /// own writer; what is left then is of transactions that have not ended.
    pub fn settled(client: &mut Client) -> Result<Self, postgres::Error> {
        let row = client.query_one(
            "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, setting::bigint FROM pg_settings WHERE name = 'wal_writer_delay'",
            &[],
        )?;
        let (written, turn) =
            (row.get::<_, i64>(0).unsigned_abs(), Duration::from_millis(row.get::<_, i64>(1).unsigned_abs()));
        let began = Instant::now();
        loop {
            let late = began.elapsed() > 3 * turn;
            let mark = Self::read(client)?;
            if late || mark.flushed >= written {
                return Ok(Self { flushed: mark.flushed.min(written), ..mark });
            }
            std::thread::sleep(NAP);
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.timeline, lsn(self.flushed), self.xid)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let (Some(timeline), Some(flushed), Some(xid), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let (high, low) = flushed.split_once('/').ok_or(())?;
        let hex = |text: &str| u32::from_str_radix(text, 16).map(u64::from).map_err(|_| ());
        Ok(Self {
            timeline: timeline.parse().map_err(|_| ())?,
            flushed: hex(high)? << 32 | hex(low)?,
            xid: xid.parse().map_err(|_| ())?,
        })
    }
}

/// A position in the server's log as it writes it itself.
pub fn lsn(at: u64) -> String {
    format!("{:X}/{:X}", at >> 32, at & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back() {
        for mark in [
            Mark::default(),
            Mark { timeline: 3, flushed: 0x1_0000_00ff, xid: 5 << 32 },
            Mark { timeline: u32::MAX, flushed: u64::MAX, xid: u64::MAX },
        ] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        assert_eq!(Mark { timeline: 1, flushed: 0x16_b374_d848, xid: 7 }.to_string(), "1 16/B374D848 7");
        for odd in ["", "1", "1 0 1", "1 0/0", "1 0/0 1 1", "1 g/0 1", "1 0/100000000 1", "x 0/0 0"] {
            assert_eq!(odd.parse::<Mark>(), Err(()), "{odd}");
        }
    }
}
