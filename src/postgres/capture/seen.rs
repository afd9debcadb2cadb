//! What a snapshot sees: the text form of `pg_snapshot`, and transaction numbers of 64 bits.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use postgres::Client;

/// A snapshot of the server: a transaction's changes are in its rows exactly when it sees the transaction's top-level
/// number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Every number below has ended.
    pub xmin: u64,
    /// No number from here on has ended.
    pub xmax: u64,
    /// Those in between that have not ended.
    running: BTreeSet<u64>,
}

impl Seen {
    /// Whether the changes of a transaction that was committed are in the snapshot's rows.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }

    /// The one of now, or of the transaction `client` is in where that keeps one.
    pub fn read(client: &mut Client) -> Result<Self, postgres::Error> {
        let text: String = client.query_one("SELECT pg_current_snapshot()::text", &[])?.get(0);
        // No server writes another form; nothing is seen by one that could not be read.
        Ok(text.parse().unwrap_or(Self { xmin: 0, xmax: 0, running: BTreeSet::new() }))
    }
}

impl FromStr for Seen {
    type Err = ();

    /// Reads `xmin:xmax:xid,…`, refusing what no server would write.
    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().map_err(|_| ()),
            false => Err(()),
        };
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(running), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let running: BTreeSet<u64> =
            running.split(',').filter(|xid| !xid.is_empty()).map(number).collect::<Result<_, ()>>()?;
        let inside = running.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin == 0 || xmin > xmax || !inside {
            return Err(());
        }
        Ok(Self { xmin, xmax, running })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, running.join(","))
    }
}

/// The whole number of which 32 bits were sent, nearest to one that is known: numbers in use never lie further apart.
pub fn widen(xid: u32, near: u64) -> u64 {
    near.wrapping_add_signed(i64::from(xid.wrapping_sub(near as u32) as i32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_ended_before_it() {
        let seen: Seen = "10:20:10,14,15".parse().unwrap();
        for (xid, sees) in
            [(3, true), (9, true), (10, false), (11, true), (14, false), (15, false), (16, true), (19, true)]
        {
            assert_eq!(seen.sees(xid), sees, "{xid}");
        }
        for xid in [20, 21, u64::MAX] {
            assert!(!seen.sees(xid), "{xid}");
        }
        let quiet: Seen = "8589934600:8589934600:".parse().unwrap();
        assert!(quiet.sees(8_589_934_599) && quiet.sees(5) && !quiet.sees(8_589_934_600));
    }

    #[test]
    fn texts_no_server_writes_are_none() {
        for text in [
            "",
            "1",
            "1:2",
            "1:2:3:4",
            "2:1:",
            "a:2:",
            "1:2:x",
            "-1:2:",
            "5:9:3",
            "5:9:9",
            "0:1:",
            "+1:2:",
            "1:99999999999999999999:",
        ] {
            assert_eq!(text.parse::<Seen>(), Err(()), "{text}");
        }
    }

    #[test]
    fn numbers_of_32_bits_are_widened_by_the_nearest() {
        const EPOCH: u64 = 1 << 32;
        for (xid, near, wide) in [
            (700, 690, 700),
            (680, 690, 680),
            (5, EPOCH - 3, EPOCH + 5),
            (u32::MAX, EPOCH + 5, EPOCH - 1),
            (5, 3 * EPOCH + 1, 3 * EPOCH + 5),
            (0x8000_0000, 7 * EPOCH + 0x7fff_ffff, 7 * EPOCH + 0x8000_0000),
        ] {
            assert_eq!(widen(xid, near), wide, "{xid} near {near}");
        }
    }

    proptest! {
        #[test]
        fn any_number_within_reach_is_found_again(near in 1_u64 << 40..1 << 60, apart in -(1_i64 << 31)..(1 << 31)) {
            let wide = near.wrapping_add_signed(apart);
            prop_assert_eq!(widen(wide as u32, near), wide);
        }

        #[test]
        fn snapshots_are_read_back(xmin in 1_u64..1 << 50, rest in proptest::collection::btree_set(0_u64..1000, 0..20)) {
            let running: Vec<String> = rest.iter().map(|xid| (xmin + xid).to_string()).collect();
            let text = format!("{xmin}:{}:{}", xmin + 1000, running.join(","));
            let seen: Seen = text.parse().unwrap();
            prop_assert_eq!(seen.to_string(), text);
            for xid in 0..1000 {
                prop_assert_eq!(seen.sees(xmin + xid), !rest.contains(&xid));
            }
        }

        #[test]
        fn odd_texts_never_panic(text in "[0-9:,x-]{0,40}") {
            if let Ok(seen) = text.parse::<Seen>() {
                seen.sees(7);
            }
        }
    }
}
