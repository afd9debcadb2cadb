//! Where other clients put a key: names the partitioner of keys that lie where murmur2 does not put them.

use std::fmt;

use super::partition::{murmur2, partition};

/// A rule that is not [`partition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioner {
    /// `consistent` and `consistent_random` of librdkafka.
    Crc32,
    /// Sarama's and kafka-go's default, and `fnv1a` of librdkafka.
    Fnv1a,
    /// KafkaJS before version 2, and its `LegacyPartitioner`: murmur2 in floating point, which rounds its products.
    KafkaJsLegacy,
    /// The default of @platformatic/kafka: murmur2 with its sign bit kept.
    Murmur2Unsigned,
    /// The right rule, over as many partitions as the topic once had.
    Fewer(i32),
}

/// Of what is misplaced, a named rule explains at least this much.
const EXPLAINED_PERCENT: u64 = 95;
/// Below this many bits of evidence a rule may fit by chance.
const EVIDENCE_BITS: f64 = 16.0;

impl Partitioner {
    /// Every rule that may put keys of a topic elsewhere.
    pub fn all(partitions: i32) -> Vec<Self> {
        let mut all = vec![Self::Crc32, Self::Fnv1a, Self::KafkaJsLegacy, Self::Murmur2Unsigned];
        all.extend((1..partitions).rev().map(Self::Fewer));
        all
    }

    pub fn partition(self, key: &[u8], partitions: i32) -> i32 {
        let count = partitions.max(1).cast_unsigned();
        let hash = match self {
            Self::Crc32 => crc32(key),
            Self::Fnv1a => fnv1a(key).cast_signed().unsigned_abs(),
            Self::KafkaJsLegacy => float_murmur2(key).cast_unsigned() & 0x7fff_ffff,
            Self::Murmur2Unsigned => murmur2(key),
            Self::Fewer(once) => return partition(key, once),
        };
        (hash % count).cast_signed()
    }

    /// Whose rule it is, for people.
    pub fn used_by(self) -> &'static str {
        match self {
            Self::Crc32 => "the default of librdkafka and of the Python, Go and .NET clients on it",
            Self::Fnv1a => "the default of Sarama and kafka-go",
            Self::KafkaJsLegacy => "KafkaJS before version 2, or its LegacyPartitioner",
            Self::Murmur2Unsigned => "the default of @platformatic/kafka",
            Self::Fewer(_) => "partitions were added after these records were written",
        }
    }

    /// What would help.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Crc32 => "set `partitioner=murmur2_random` in this producer",
            Self::Fnv1a => "give this producer the murmur2 partitioner of its library",
            Self::KafkaJsLegacy => "set `createPartitioner: Partitioners.DefaultPartitioner` in this producer",
            Self::Murmur2Unsigned => "set `partitioner: compatibilityPartitioner` in this producer",
            Self::Fewer(_) => {
                "the order of a key's records holds only from the newer ones on; a new topic has it whole"
            }
        }
    }
}

/// As in "these keys lie where … would put them".
impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crc32 => f.write_str("CRC32"),
            Self::Fnv1a => f.write_str("FNV-1a"),
            Self::KafkaJsLegacy => f.write_str("KafkaJS's legacy murmur2"),
            Self::Murmur2Unsigned => f.write_str("murmur2 with its sign bit"),
            Self::Fewer(1) => f.write_str("murmur2 over 1 partition"),
            Self::Fewer(once) => write!(f, "murmur2 over {once} partitions"),
        }
    }
}

/// Counts by which rules misplaced keys lie where they lie.
#[derive(Clone, Debug)]
pub struct Tally {
    partitions: i32,
    rules: Vec<(Partitioner, u64)>,
    keys: u64,
}

impl Tally {
    pub fn new(partitions: i32) -> Self {
        let rules = Partitioner::all(partitions).into_iter().map(|rule| (rule, 0)).collect();
        Self { partitions, rules, keys: 0 }
    }

    /// Takes in a misplaced key; the same key twice would count as evidence twice.
    pub fn add(&mut self, key: &[u8], found: i32) {
        self.keys += 1;
        for (rule, explained) in &mut self.rules {
            *explained += u64::from(rule.partition(key, self.partitions) == found);
        }
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The rule that explains nearly all keys, when they are too many for chance.
    pub fn rule(&self) -> Option<Partitioner> {
        let evidence = self.keys as f64 * f64::from(self.partitions).log2() - (self.rules.len() as f64).log2();
        let most = self.rules.iter().map(|(_, explained)| *explained).max()?;
        let mut best = self.rules.iter().filter(|(_, explained)| *explained == most).map(|(rule, _)| *rule);
        let rule = best.next()?;
        let known = evidence >= EVIDENCE_BITS && most * 100 >= self.keys * EXPLAINED_PERCENT;
        (known && best.next().is_none()).then_some(rule)
    }
}

const CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |rest, byte| rest >> 8 ^ CRC32[(rest as u8 ^ byte) as usize])
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// What JavaScript makes of murmur2 when its products are floats: they keep 53 bits, and the low ones are what is used.
/// The last, incomplete word is mixed in like a whole one, and then once more as it should be.
fn float_murmur2(bytes: &[u8]) -> i32 {
    let multiply = |one: i32| (f64::from(one) * f64::from(0x5bd1_e995_u32)) as i64 as i32;
    let shifted = |one: i32, by: u32| one ^ (one.cast_unsigned() >> by).cast_signed();
    let mut hash = (0x9747_b28c_u32 ^ bytes.len() as u32).cast_signed();
    for chunk in bytes.chunks(4) {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        let k = shifted(multiply(i32::from_le_bytes(word)), 24);
        hash = multiply(hash) ^ multiply(k);
    }
    let rest = bytes.as_chunks::<4>().1;
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= i32::from(*byte) << (8 * place);
        }
        hash = multiply(hash);
    }
    shifted(multiply(shifted(hash, 13)), 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_those_of_the_clients() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        // From librdkafka's own test, which has them from Go's hash/fnv by way of Sarama's absolute value.
        for (key, expected) in [("kafka", 0x0d33_c4e1), ("giberish123456789", 0x77a5_8295), ("1234", 0x023b_dd03)] {
            assert_eq!(fnv1a(key.as_bytes()).cast_signed().unsigned_abs(), expected, "{key}");
        }
        // Computed by kafkajs 2.2.4.
        for (key, expected) in [
            ("", 275_646_684),
            ("21", -595_812_486),
            ("foobar", -309_133_275),
            ("a-little-bit-long-string", 2_065_008_938),
            ("a-little-bit-longer-string", -1_016_907_723),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 1_360_862_267),
            ("abc", 1_545_667_907),
            ("сессия-1", 956_608_265),
        ] {
            assert_eq!(float_murmur2(key.as_bytes()), expected, "{key}");
        }
        // Computed by @platformatic/kafka 1.35.0.
        for (key, expected) in [
            ("21", 3_321_034_988),
            ("foobar", 3_504_634_814),
            ("a-little-bit-long-string", 3_308_985_760_u32),
            ("abc", 479_470_107),
        ] {
            let found = Partitioner::Murmur2Unsigned.partition(key.as_bytes(), 12);
            assert_eq!(found.cast_unsigned(), expected % 12, "{key}");
        }
    }

    /// The tally of `count` keys that `rule` put somewhere, and those of every tenth that lie at random.
    fn tally(partitions: i32, count: usize, random: usize, rule: impl Fn(&[u8]) -> i32) -> Tally {
        let mut tally = Tally::new(partitions);
        for number in 0..count {
            let key = format!("key {number}");
            let found = if number < random { (number * 7) as i32 % partitions } else { rule(key.as_bytes()) };
            if found != partition(key.as_bytes(), partitions) {
                tally.add(key.as_bytes(), found);
            }
        }
        tally
    }

    #[test]
    fn every_rule_is_told_from_the_others() {
        for partitions in [2, 3, 6, 7, 12, 100] {
            for rule in Partitioner::all(partitions) {
                let found = tally(partitions, 500, 0, |key| rule.partition(key, partitions));
                // With a power of two the sign bit does not matter.
                let same = rule == Partitioner::Murmur2Unsigned && partitions == 2;
                let expected = if same { None } else { Some(rule) };
                assert_eq!((found.rule(), found.keys() == 0), (expected, same), "{rule} among {partitions}");
            }
        }
    }

    #[test]
    fn a_rule_is_named_only_on_evidence() {
        let crc = |partitions| move |key: &[u8]| Partitioner::Crc32.partition(key, partitions);
        assert_eq!(tally(6, 500, 10, crc(6)).rule(), Some(Partitioner::Crc32));
        assert_eq!(tally(6, 500, 100, crc(6)).rule(), None);
        assert_eq!(tally(6, 500, 500, crc(6)).rule(), None);
        assert_eq!(tally(6, 0, 0, crc(6)).rule(), None);
        let few = tally(12, 5, 0, crc(12));
        assert!((1..6).contains(&few.keys()), "{}", few.keys());
        assert_eq!(few.rule(), None);
        assert_eq!(tally(12, 10, 0, crc(12)).rule(), Some(Partitioner::Crc32));
    }
}
