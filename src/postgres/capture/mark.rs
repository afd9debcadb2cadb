//! What a position says of the server it was taken on, so that an older backup in its place is found out.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use postgres::Client;

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
    /// Of a server as it stands: what was committed before lies before it in the log, also where a commit does not wait for
    /// the disk; see [`Mark::settled`].
    pub written: Option<u64>,
}

impl Mark {
    /// The server as it stands.
    pub fn read(client: &mut Client) -> Result<Self, postgres::Error> {
        // Where the next record begins is behind the header of a page that has no record yet.
        let row = client.query_one(
            "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint, \
             (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint, \
             next - CASE WHEN next % segment = 40 THEN 40 WHEN next % page = 24 THEN 24 ELSE 0 END \
             FROM (SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS next, \
             pg_size_bytes(current_setting('wal_segment_size')) AS segment, \
             current_setting('wal_block_size')::bigint AS page) AS log",
            &[],
        )?;
        let (timeline, at) = (row.get::<_, i64>(0) as u32, |place| row.get::<_, i64>(place).unsigned_abs());
        Ok(Self { timeline, flushed: at(1), xid: 0, written: Some(at(2)) })
    }

    /// The server as it stands, once its log is safe up to there or holds nothing more that was committed: a commit that does
    /// not wait for the disk is there within three turns of the server's own writer, and what is left then is of
    /// transactions that have not ended.
    pub fn settled(client: &mut Client) -> Result<Self, postgres::Error> {
        let mut mark = Self::read(client)?;
        let turn = "SELECT setting::bigint FROM pg_settings WHERE name = 'wal_writer_delay'";
        let turn = Duration::from_millis(client.query_one(turn, &[])?.get::<_, i64>(0).unsigned_abs());
        let began = Instant::now();
        loop {
            let late = began.elapsed() > 3 * turn;
            let flushed = Self::read(client)?.flushed;
            if late || mark.written.is_none_or(|written| written <= flushed) {
                mark.written = mark.written.map(|written| written.min(flushed));
                return Ok(mark);
            }
            std::thread::sleep(NAP);
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.timeline, lsn(self.flushed), self.xid)?;
        self.written.map_or(Ok(()), |written| write!(f, " {}", lsn(written)))
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let (Some(timeline), Some(flushed), Some(xid)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(());
        };
        let written = parts.next().map(place).transpose()?;
        if parts.next().is_some() {
            return Err(());
        }
        Ok(Self {
            timeline: timeline.parse().map_err(|_| ())?,
            flushed: place(flushed)?,
            xid: xid.parse().map_err(|_| ())?,
            written,
        })
    }
}

/// A position in the server's log as it writes it itself.
pub fn lsn(at: u64) -> String {
    format!("{:X}/{:X}", at >> 32, at & 0xffff_ffff)
}

fn place(text: &str) -> Result<u64, ()> {
    let (high, low) = text.split_once('/').ok_or(())?;
    let hex = |text: &str| u32::from_str_radix(text, 16).map(u64::from).map_err(|_| ());
    Ok(hex(high)? << 32 | hex(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back() {
        for mark in [
            Mark::default(),
            Mark { timeline: 3, flushed: 0x1_0000_00ff, xid: 5 << 32, written: None },
            Mark { timeline: u32::MAX, flushed: u64::MAX, xid: u64::MAX, written: Some(u64::MAX) },
        ] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        assert_eq!(Mark { timeline: 1, flushed: 0x16_b374_d848, xid: 7, written: None }.to_string(), "1 16/B374D848 7");
        assert_eq!(Mark { timeline: 1, flushed: 1, xid: 0, written: Some(2) }.to_string(), "1 0/1 0 0/2");
        for odd in ["", "1", "1 0 1", "1 0/0", "1 0/0 1 1", "1 0/0 1 0/1 1", "1 g/0 1", "1 0/100000000 1", "x 0/0 0"] {
            assert_eq!(odd.parse::<Mark>(), Err(()), "{odd}");
        }
    }
}
