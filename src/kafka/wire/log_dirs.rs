//! DescribeLogDirs: the folders of a broker, the room on their disks, and what partitions hold there.

use std::collections::BTreeMap;

use super::frame::Reader;
use super::{Told, odd};
use crate::plan::{Disk, Room};

pub(super) const KEY: i16 = 35;
/// The first that tells the room.
pub(super) const VERSION: i16 = 4;
/// Every topic: no list of them, and no tagged fields.
pub(super) const ALL: &[u8] = &[0, 0];

const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;

pub(super) fn read(broker: i32, answer: &[u8]) -> Told<Vec<Disk>> {
    match answered(broker, &mut Reader::new(answer)).ok_or_else(odd)? {
        (0, Some(disks)) => Ok(disks),
        (0, None) => Err("it does not know the room on its disks".to_owned()),
        (CLUSTER_AUTHORIZATION_FAILED, _) => Err("the user lacks the right to look at it".to_owned()),
        (code, _) => Err(format!("it refuses to tell, with Kafka's error {code}")),
    }
}

/// The error code of the whole, and the disks; none of them where the room on one is not told.
fn answered(broker: i32, answer: &mut Reader<'_>) -> Option<(i16, Option<Vec<Disk>>)> {
    let _throttled = answer.int32()?;
    let code = answer.int16()?;
    let mut disks = Vec::new();
    for _ in 0..answer.count()? {
        disks.push(disk(broker, answer)?);
    }
    answer.tags()?;
    Some((code, disks.into_iter().collect()))
}

fn disk(broker: i32, answer: &mut Reader<'_>) -> Option<Option<Disk>> {
    let code = answer.int16()?;
    let path = answer.compact_text()?.to_owned();
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..answer.count()? {
        let name = answer.compact_text()?;
        let mut bytes: u64 = 0;
        for _ in 0..answer.count()? {
            let _partition = answer.int32()?;
            bytes = bytes.saturating_add(u64::try_from(answer.int64()?).unwrap_or(0));
            let _lag = answer.int64()?;
            let _moves_here = answer.int8()?;
            answer.tags()?;
        }
        answer.tags()?;
        let sum = held.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(bytes);
    }
    let (total, usable) = (answer.int64()?, answer.int64()?);
    answer.tags()?;
    let room = match (u64::try_from(total), u64::try_from(usable)) {
        _ if code != 0 => None,
        (Ok(total), Ok(usable)) => Some(Room { total, usable }),
        _ => return Some(None),
    };
    Some(Some(Disk { broker, path, room, held }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(into: &mut Vec<u8>, text: &str) {
        into.push(u8::try_from(text.len() + 1).unwrap());
        into.extend(text.as_bytes());
    }

    /// An answer with one disk that holds `topics` of two partitions each.
    fn answer(code: i16, of_disk: i16, topics: &[(&str, [i64; 2])], room: (i64, i64)) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(code.to_be_bytes());
        bytes.push(2);
        bytes.extend(of_disk.to_be_bytes());
        text(&mut bytes, "/data");
        bytes.push(u8::try_from(topics.len() + 1).unwrap());
        for (name, sizes) in topics {
            text(&mut bytes, name);
            bytes.push(3);
            for (number, size) in (0i32..).zip(sizes) {
                bytes.extend(number.to_be_bytes());
                bytes.extend(size.to_be_bytes());
                bytes.extend([0; 9]);
                bytes.push(0);
            }
            // A field of a later version is passed over.
            bytes.extend([1, 0, 2, 7, 7]);
        }
        bytes.extend(room.0.to_be_bytes());
        bytes.extend(room.1.to_be_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn whole() -> Vec<u8> {
        answer(0, 0, &[("a", [5, 7]), ("b", [0, i64::MAX])], (1000, 400))
    }

    #[test]
    fn a_disk_is_read_with_its_room_and_what_it_holds() {
        let disks = read(3, &whole()).unwrap();
        let held = BTreeMap::from([("a".to_owned(), 12), ("b".to_owned(), i64::MAX as u64)]);
        let room = Some(Room { total: 1000, usable: 400 });
        assert_eq!(disks, [Disk { broker: 3, path: "/data".to_owned(), room, held }]);
        let of = |answer: Vec<u8>| read(1, &answer).map(|disks| disks[0].room);
        assert_eq!(of(answer(0, 56, &[], (-1, -1))), Ok(None));
        assert!(of(answer(0, 0, &[], (1000, -1))).unwrap_err().contains("does not know the room"));
        assert!(of(answer(31, 0, &[], (1, 1))).unwrap_err().contains("right"));
        assert!(of(answer(7, 0, &[], (1, 1))).unwrap_err().contains("error 7"));
    }

    #[test]
    fn an_answer_cut_short_is_none() {
        let whole = whole();
        for end in 0..whole.len() {
            assert_eq!(read(1, &whole[..end]), Err(odd()), "{end} of {}", whole.len());
        }
    }

    proptest! {
        #[test]
        fn odd_bytes_are_refused_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(1, &bytes);
            let _ = super::super::highest(&bytes, KEY);
            let mut headed = vec![0, 0, 0, 0, 0, 0];
            headed.extend(&bytes);
            let _ = read(1, &headed);
        }

        #[test]
        fn a_changed_byte_is_read_or_refused(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = whole();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(1, &bytes);
        }
    }
}
