//! DescribeProducers and ListTransactions: who has a transaction open in a partition.

use super::frame::{Reader, put_compact};
use super::{Told, odd};

pub(super) const DESCRIBE: i16 = 61;
pub(super) const LIST: i16 = 66;
pub(super) const VERSION: i16 = 0;
/// Transactions in any state, of any producer.
pub(super) const ALL: &[u8] = &[1, 1, 0];

/// A producer whose transaction is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Open {
    pub(in crate::kafka) producer: i64,
    /// Where its first record of the transaction lies.
    pub(in crate::kafka) since: i64,
}

/// The question for one partition.
pub(super) fn question(topic: &str, partition: i32) -> Vec<u8> {
    let mut body = vec![2];
    put_compact(&mut body, topic);
    body.push(2);
    body.extend(partition.to_be_bytes());
    body.extend([0, 0]);
    body
}

pub(super) fn read(answer: &[u8]) -> Told<Vec<Open>> {
    match described(&mut Reader::new(answer)).ok_or_else(odd)? {
        (0, open) => Ok(open),
        (code, _) => Err(format!("it refuses to tell, with Kafka's error {code}")),
    }
}

fn described(answer: &mut Reader<'_>) -> Option<(i16, Vec<Open>)> {
    let _throttled = answer.int32()?;
    let (mut code, mut open) = (0, Vec::new());
    for _ in 0..answer.count()? {
        let _topic = answer.compact_text()?;
        for _ in 0..answer.count()? {
            let _partition = answer.int32()?;
            code = answer.int16()?;
            let _message = answer.compact_text()?;
            for _ in 0..answer.count()? {
                let producer = answer.int64()?;
                let (_epoch, _sequence, _at, _coordinator) =
                    (answer.int32()?, answer.int32()?, answer.int64()?, answer.int32()?);
                let since = answer.int64()?;
                answer.tags()?;
                if since >= 0 {
                    open.push(Open { producer, since });
                }
            }
            answer.tags()?;
        }
        answer.tags()?;
    }
    Some((code, open))
}

/// The producers a broker coordinates, each with its transactional id.
pub(super) fn ids(answer: &[u8]) -> Told<Vec<(i64, String)>> {
    listed(&mut Reader::new(answer)).ok_or_else(odd)
}

fn listed(answer: &mut Reader<'_>) -> Option<Vec<(i64, String)>> {
    let (_throttled, _code) = (answer.int32()?, answer.int16()?);
    for _ in 0..answer.count()? {
        answer.compact_text()?;
    }
    let mut ids = Vec::new();
    for _ in 0..answer.count()? {
        let id = answer.compact_text()?.to_owned();
        ids.push((answer.int64()?, id));
        let _state = answer.compact_text()?;
        answer.tags()?;
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(since: i64) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend([2, 2, b't', 2, 0, 0, 0, 3, 0, 0, 0, 2]);
        bytes.extend(4711_i64.to_be_bytes());
        bytes.extend([0; 20]);
        bytes.extend(since.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn only_a_producer_with_a_first_record_has_a_transaction_open() {
        assert_eq!(read(&answer(9)).unwrap(), [Open { producer: 4711, since: 9 }]);
        assert_eq!(read(&answer(-1)).unwrap(), []);
        let mut refused = answer(9);
        refused[13] = 29;
        assert!(read(&refused).unwrap_err().contains("error 29"));
        for end in 0..answer(9).len() - 1 {
            assert!(read(&answer(9)[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn ids_are_listed_by_producer() {
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 1, 2, 4, b'a', b'/', b'b'];
        bytes.extend(4711_i64.to_be_bytes());
        bytes.extend([3, b'O', b'n', 0, 0]);
        assert_eq!(ids(&bytes).unwrap(), [(4711, "a/b".to_owned())]);
    }

    proptest! {
        #[test]
        fn odd_bytes_are_refused_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read(&bytes), ids(&bytes));
        }
    }
}
