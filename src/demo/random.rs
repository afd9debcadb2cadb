//! Seeded randomness: the same numbers on every machine and in every version.

/// Independent streams, so that a change of one part leaves the others as they were.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Plan = 1,
    Schedule,
    Session,
    Message,
    Communication,
    SystemEvent,
    Metric,
    Account,
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, stream: Stream) -> Self {
        Self(mix(seed ^ mix(stream as u64)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number under `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The id of the `index`-th row of a stream, known before the row is made.
pub(super) fn id(seed: u64, stream: Stream, index: usize) -> String {
    let mut random = Random(mix(seed ^ mix(stream as u64 ^ 0x6964)) ^ mix(index as u64));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random.next().to_be_bytes());
    bytes[8..].copy_from_slice(&random.next().to_be_bytes());
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_published_ones_of_splitmix64() {
        let mut random = Random(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn ids_are_version_4_and_differ_by_seed_stream_and_index() {
        let ids = [
            id(1, Stream::Message, 0),
            id(2, Stream::Message, 0),
            id(1, Stream::Session, 0),
            id(1, Stream::Message, 1),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(!ids[..index].contains(id));
        }
    }
}
