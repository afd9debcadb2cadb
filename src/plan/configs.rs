//! What is known of a topic's configs: their names, when two values are one, and what a change of them risks.

use std::collections::BTreeSet;

/// Topic configs of Apache Kafka 4.1; brokers may know others.
pub const KNOWN: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Whether two values of a config mean the same: lists have no order, words no case.
pub(super) fn same(key: &str, one: &str, other: &str) -> bool {
    let list = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|part| part.trim().to_ascii_lowercase()).filter(|part| !part.is_empty()).collect()
    };
    match key {
        "cleanup.policy" => list(one) == list(other),
        _ => one.trim() == other.trim() || (is_word(one) && one.eq_ignore_ascii_case(other)),
    }
}

fn is_word(text: &str) -> bool {
    ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a cleanup policy has `word` in it.
pub(super) fn has_policy(policy: &str, word: &str) -> bool {
    policy.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// A limit as a number, without one the largest: Kafka writes "no limit" as -1.
pub(super) fn limit(value: &str) -> Option<u64> {
    match value.trim().parse::<i64>().ok()? {
        -1 => Some(u64::MAX),
        number => u64::try_from(number).ok(),
    }
}

/// Why a change of a config from one value to another is not safe: reason code, and what it does.
pub(super) fn hazard(key: &str, from: Option<&str>, to: &str) -> Option<(&'static str, String)> {
    let lowered = || limit(to)?.lt(&limit(from?)?).then_some(());
    match key {
        "retention.ms" | "retention.bytes" | "local.retention.ms" | "local.retention.bytes" => {
            lowered()?;
            Some(("retention-lowered", "records older or beyond the new limit are deleted for ever".to_owned()))
        }
        "delete.retention.ms" => {
            lowered()?;
            Some(("retention-lowered", "deletions are forgotten sooner: a slow reader may miss them".to_owned()))
        }
        "max.message.bytes" => {
            lowered()?;
            Some(("record-size-lowered", "writers of larger records fail from then on".to_owned()))
        }
        "cleanup.policy" => {
            let gains = |word| has_policy(to, word) && !from.is_some_and(|from| has_policy(from, word));
            if gains("compact") {
                Some(("cleanup-policy-changed", "of each key only the newest record is kept".to_owned()))
            } else if gains("delete") {
                Some(("cleanup-policy-changed", "records begin to expire by the topic's retention".to_owned()))
            } else {
                None
            }
        }
        "unclean.leader.election.enable" if same(key, to, "true") => {
            let text = "a broker that lags may become leader, and acknowledged records are lost then";
            Some(("unclean-election", text.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_by_meaning() {
        assert!(same("cleanup.policy", "compact,delete", "delete, compact"));
        assert!(!same("cleanup.policy", "compact", "delete"));
        assert!(same("unclean.leader.election.enable", "TRUE", "true"));
        assert!(same("retention.ms", "5", " 5"));
        assert!(!same("compression.type", "LZ4x", "lz4x"));
    }

    #[test]
    fn what_takes_records_away_is_told() {
        let cases: &[(&str, Option<&str>, &str, Option<&str>)] = &[
            ("retention.ms", Some("100"), "50", Some("retention-lowered")),
            ("retention.ms", Some("-1"), "9223372036854775807", Some("retention-lowered")),
            ("retention.ms", Some("100"), "-1", None),
            ("retention.ms", Some("50"), "100", None),
            ("retention.ms", None, "100", None),
            ("retention.bytes", Some("-1"), "100", Some("retention-lowered")),
            ("max.message.bytes", Some("100"), "99", Some("record-size-lowered")),
            ("cleanup.policy", Some("delete"), "compact", Some("cleanup-policy-changed")),
            ("cleanup.policy", Some("compact"), "compact,delete", Some("cleanup-policy-changed")),
            ("cleanup.policy", Some("delete,compact"), "compact", None),
            ("unclean.leader.election.enable", Some("false"), "true", Some("unclean-election")),
            ("unclean.leader.election.enable", Some("true"), "false", None),
            ("segment.bytes", Some("9"), "1", None),
        ];
        for (key, from, to, expected) in cases {
            assert_eq!(hazard(key, *from, to).map(|(code, _)| code), *expected, "{key} {from:?} {to}");
        }
    }
}
