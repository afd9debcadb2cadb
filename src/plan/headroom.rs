//! Whether the disks hold what the migration will write. Pure.

use std::collections::BTreeMap;

use super::configs::{has_policy, limit};
use super::desired::{COPIES, Desired, DesiredTopic, Owner};
use super::observed::{Disk, FoundTopic, Observed, Room, Seen};
use crate::base::words::{bytes, counted};
use crate::diff::{Checked, Severity};

const DAY: u64 = 24 * 3600 * 1000;
/// Of the disk, to be left at the end.
const SPARE_PERCENT: u64 = 20;
/// Of the disk, in use now.
const FULL_PERCENT: u64 = 90;
/// On top of what is written: indexes, and segments that outlive their records.
const MARGIN_PERCENT: u128 = 10;

/// The disks as they are, and after `days` of `mb_per_day`, which the topics share by their partitions.
pub fn headroom(desired: &Desired, observed: &Observed, days: u64, mb_per_day: Option<u64>) -> Vec<Checked> {
    let tell = |code, subject: &str, severity, text: String, help: Option<&str>| {
        let (subject, help) = (subject.to_owned(), help.map(str::to_owned));
        Checked { code, subject, severity, text, help }
    };
    let disks = match &observed.disks {
        Seen::Known(disks) => disks,
        Seen::Hidden(why) => {
            let text = format!("the room on the brokers' disks is not known: {why}");
            let help = "the user needs Describe on the cluster; brokers before Kafka 3.3 do not tell";
            return vec![tell("disk-headroom", "cluster", Severity::Warning, text, Some(help))];
        }
        Seen::NotHere(why) => {
            return vec![tell("disk-headroom", "log", Severity::Note, format!("does not apply: {why}"), None)];
        }
    };
    let mut checks: Vec<Checked> = disks
        .iter()
        .map(|disk| {
            let (code, severity, text, help) = as_it_is(desired, disk);
            tell(code, &format!("broker {} {}", disk.broker, disk.path), severity, text, help)
        })
        .collect();
    let Some(mb_per_day) = mb_per_day else {
        if !disks.is_empty() {
            let text = "whether the disks hold the migration is not known: nobody said how much will be written";
            let help = Some("set planned.mb_per_day in crossfade.yaml");
            checks.push(tell("disk-headroom", "cluster", Severity::Warning, text.to_owned(), help));
        }
        return checks;
    };
    for (broker, disks) in by_broker(disks) {
        let rooms = || disks.iter().filter_map(|disk| disk.room);
        let sum = |of: fn(Room) -> u64| rooms().map(of).fold(0u64, u64::saturating_add);
        let (total, usable) = (sum(|room| room.total), sum(|room| room.usable));
        // Of a broker that lost its disks the check has told already.
        if rooms().next().is_none() {
            continue;
        }
        let more = growth(desired, observed, broker, &disks, days, mb_per_day);
        let (severity, text, help) = in_the_end(total, usable, more, days);
        checks.push(tell("disk-headroom", &format!("broker {broker}"), severity, text, help));
    }
    checks
}

type Told = (Severity, String, Option<&'static str>);

fn as_it_is(desired: &Desired, disk: &Disk) -> (&'static str, Severity, String, Option<&'static str>) {
    let Some(Room { total, usable }) = disk.room else {
        let text = "the broker cannot use this disk: the copies on it are away".to_owned();
        let help = Some("mend or replace the disk, then restart the broker");
        return ("disk-offline", Severity::Failure, text, help);
    };
    let used = total.saturating_sub(usable);
    let planned = |name: &str| desired.topics.iter().any(|topic| topic.name == name);
    let held = |ours: bool| {
        let held = disk.held.iter().filter(|(name, _)| planned(name) == ours);
        bytes(held.fold(0u64, |sum, (_, held)| sum.saturating_add(*held)))
    };
    let text = format!(
        "{} of {} are in use, {} of it by planned topics, {} by others of Kafka's",
        bytes(used),
        bytes(total),
        held(true),
        held(false)
    );
    if total > 0 && percent(used, total) < FULL_PERCENT {
        return ("disk-full", Severity::Note, text, None);
    }
    ("disk-full", Severity::Warning, text, Some("make room before anything is written: a full disk stops the broker"))
}

fn in_the_end(total: u64, usable: u64, more: u64, days: u64) -> Told {
    let days = counted(days, "day");
    let told = format!("within {days} the topics take up to {} more, {} are free", bytes(more), bytes(usable));
    let Some(left) = usable.checked_sub(more) else {
        let help = "add room, lower retention.ms or set retention.bytes, or correct planned.mb_per_day";
        return (Severity::Failure, format!("{told}: the disk will be full"), Some(help));
    };
    let left = percent(left, total);
    if left < SPARE_PERCENT {
        let help = "add room, or lower retention.ms where records may expire";
        return (Severity::Warning, format!("{told}: {left} % of the disk are left then"), Some(help));
    }
    (Severity::Note, format!("{told}: {left} % of the disk are left then"), None)
}

fn percent(part: u64, whole: u64) -> u64 {
    clamped(u128::from(part) * 100 / u128::from(whole.max(1)))
}

fn clamped(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn by_broker(disks: &[Disk]) -> BTreeMap<i32, Vec<&Disk>> {
    let mut of: BTreeMap<i32, Vec<&Disk>> = BTreeMap::new();
    disks.iter().for_each(|disk| of.entry(disk.broker).or_default().push(disk));
    of
}

/// Bytes the planned topics will hold on a broker beyond those of now, at most. The tool's own topics are left out: they
/// are compacted, and small.
fn growth(desired: &Desired, observed: &Observed, broker: i32, disks: &[&Disk], days: u64, mb_per_day: u64) -> u64 {
    let topics = || desired.topics.iter().filter(|topic| !topic.absent && topic.owner != Owner::Tool);
    let parts: u128 = topics().map(|topic| partitions(topic, observed.topics.get(&topic.name))).sum();
    let per_day = u128::from(mb_per_day).saturating_mul(1_000_000);
    let sum = topics().fold(0u128, |sum, topic| {
        let found = observed.topics.get(&topic.name);
        let (copies, of) = copies_on(broker, topic, found, observed);
        let held = disks.iter().filter_map(|disk| disk.held.get(&topic.name)).map(|bytes| u128::from(*bytes)).sum();
        let share = Share { per_day, parts: parts.max(1), copies, of: of.max(1), held };
        sum.saturating_add(share.growth(&Limits::of(topic, found, observed), days))
    });
    clamped(sum.saturating_mul(100 + MARGIN_PERCENT) / 100)
}

fn partitions(topic: &DesiredTopic, found: Option<&FoundTopic>) -> u128 {
    let wanted = u128::try_from(topic.partitions).unwrap_or(1);
    found.map_or(wanted, |found| found.partitions.len() as u128)
}

/// Partitions of a topic that have a copy on a broker, as a fraction: one still to be made is spread evenly.
fn copies_on(broker: i32, topic: &DesiredTopic, found: Option<&FoundTopic>, observed: &Observed) -> (u128, u128) {
    if let Some(found) = found {
        return (found.partitions.iter().filter(|partition| partition.replicas.contains(&broker)).count() as u128, 1);
    }
    let brokers = observed.brokers.known().map_or(1, |brokers| brokers.len().max(1)) as u128;
    let copies = u128::try_from(topic.replication.unwrap_or(COPIES)).unwrap_or(1);
    (partitions(topic, None) * copies.min(brokers), brokers)
}

/// When records of a topic are deleted again.
struct Limits {
    ms: u64,
    bytes_of_partition: u64,
}

impl Limits {
    /// As declared, else as the topic has them, else as the brokers will give them; for ever where nobody says.
    fn of(topic: &DesiredTopic, found: Option<&FoundTopic>, observed: &Observed) -> Self {
        let brokers = observed.broker_configs.known();
        let of_brokers = |key: &str| brokers.and_then(|configs| configs.get(key)).map(String::as_str);
        let own = |key: &str| {
            let has = || found?.configs.known()?.get(key)?.value.as_deref();
            topic.configs.get(key).map(String::as_str).or_else(has)
        };
        let policy = own("cleanup.policy").or_else(|| of_brokers("log.cleanup.policy")).unwrap_or("delete");
        if !has_policy(policy, "delete") {
            return Self { ms: u64::MAX, bytes_of_partition: u64::MAX };
        }
        let hours = [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)];
        let hours = || hours.into_iter().find_map(|(key, ms)| Some(limit(of_brokers(key)?)?.saturating_mul(ms)));
        let size = own("retention.bytes").or_else(|| of_brokers("log.retention.bytes"));
        Self {
            ms: own("retention.ms").and_then(limit).or_else(hours).unwrap_or(u64::MAX),
            bytes_of_partition: size.and_then(limit).unwrap_or(u64::MAX),
        }
    }
}

/// What one broker gets of one topic: `copies / of` partitions out of `parts`.
struct Share {
    per_day: u128,
    parts: u128,
    copies: u128,
    of: u128,
    held: u128,
}

impl Share {
    fn growth(&self, limits: &Limits, days: u64) -> u128 {
        let days = u128::from(days.saturating_mul(DAY));
        let kept = u128::from(limits.ms).min(days);
        let scale = u128::from(DAY) * self.parts * self.of;
        let written = self.per_day.saturating_mul(self.copies).saturating_mul(kept) / scale;
        // What is there by now will have expired.
        let more = if kept < days { written.saturating_sub(self.held) } else { written };
        let most = u128::from(limits.bytes_of_partition).saturating_mul(self.copies) / self.of;
        if limits.bytes_of_partition == u64::MAX { more } else { more.min(most.saturating_sub(self.held)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Override;
    use super::super::observed::{Broker, Config, Partition, Source};
    use super::*;
    use crate::mapping::Mapping;

    const GB: u64 = 1_000_000_000;

    fn disk(broker: i32, total: u64, usable: u64, held: &[(&str, u64)]) -> Disk {
        let held = held.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
        Disk { broker, path: "/data".to_owned(), room: Some(Room { total, usable }), held }
    }

    /// A topic with copies on brokers 1 and 2.
    fn found(partitions: usize) -> FoundTopic {
        let partition = Partition { leader: Some(1), replicas: vec![1, 2], in_sync: vec![1, 2] };
        let week = Config { value: Some((7 * DAY).to_string()), source: Source::Default };
        let configs = Seen::Known([("retention.ms".to_owned(), week)].into());
        FoundTopic { partitions: vec![partition; partitions], configs }
    }

    fn cluster(topics: &[(&str, usize)], disks: Seen<Vec<Disk>>) -> Observed {
        let broker = |id| Broker { id, host: String::new(), rack: None };
        Observed {
            home: String::new(),
            cluster_id: String::new(),
            brokers: Seen::Known(vec![broker(1), broker(2), broker(3)]),
            broker_configs: Seen::Known([("log.retention.hours".to_owned(), "48".to_owned())].into()),
            topics: topics.iter().map(|(name, count)| ((*name).to_owned(), found(*count))).collect(),
            hidden: Default::default(),
            config_names: Default::default(),
            acls: Seen::NotHere(String::new()),
            scram_users: Seen::NotHere(String::new()),
            groups: Seen::NotHere(String::new()),
            claims: Seen::NotHere(String::new()),
            disks,
        }
    }

    fn wish(name: &str, partitions: i32, configs: &[(&str, &str)]) -> Override {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Override { name: name.to_owned(), partitions: Some(partitions), configs, ..Override::default() }
    }

    fn desired(wishes: &[Override]) -> Desired {
        let mapping = "version: 1\ntopics:\n  none: {partitions: 1}\ntables:\n  t: {topic: none, identity: [id], columns: {id: TEXT}}\n";
        let mapping = Mapping::parse("m.yaml", mapping).unwrap();
        let absent = Override { name: "none".to_owned(), absent: true, ..Override::default() };
        let wishes: Vec<Override> = wishes.iter().cloned().chain([absent]).collect();
        Desired::new("m", &mapping, Vec::new(), None, &wishes, Vec::new()).unwrap()
    }

    fn told(checks: &[Checked], code: &str) -> Vec<(String, Severity)> {
        let of = checks.iter().filter(|check| check.code == code);
        of.map(|check| (check.subject.clone(), check.severity)).collect()
    }

    /// Name, wishes, topics that are there, bytes held by now, the broker, and how much more it takes.
    type Case<'a> = (&'a str, &'a [Override], &'a [(&'a str, usize)], &'a [(&'a str, u64)], i32, u64);

    #[test]
    fn growth_is_what_is_kept_of_what_is_written() {
        let forever: &[(&str, &str)] = &[("retention.ms", "-1")];
        let cases: &[Case] = &[
            // 1 GB a day for 30 days, and a tenth.
            ("kept", &[wish("a", 4, forever)], &[("a", 4)], &[("a", 5 * GB)], 1, 33 * GB),
            ("no copy here", &[wish("a", 4, forever)], &[("a", 4)], &[], 3, 0),
            ("retention found", &[wish("a", 4, &[])], &[("a", 4)], &[], 1, 77 * GB / 10),
            ("less what expires", &[wish("a", 4, &[])], &[("a", 4)], &[("a", 5 * GB)], 1, 22 * GB / 10),
            ("nothing more", &[wish("a", 4, &[])], &[("a", 4)], &[("a", 50 * GB)], 1, 0),
            (
                "bytes of a partition",
                &[wish("a", 4, &[("retention.ms", "-1"), ("retention.bytes", "1000000000")])],
                &[("a", 4)],
                &[("a", GB)],
                1,
                33 * GB / 10,
            ),
            (
                "compacted",
                &[wish("a", 4, &[("cleanup.policy", "compact"), ("retention.ms", "1"), ("retention.bytes", "1")])],
                &[("a", 4)],
                &[],
                1,
                33 * GB,
            ),
            ("still to be made: 2 copies on 3 brokers", &[wish("a", 3, forever)], &[], &[], 3, 22 * GB),
            ("the brokers' retention", &[wish("a", 3, &[])], &[], &[], 2, 22 * GB / 15),
            (
                "by partitions",
                &[wish("a", 3, forever), wish("b", 1, &[])],
                &[("a", 3), ("b", 1)],
                &[],
                2,
                26_675_000_000,
            ),
        ];
        for (case, wishes, topics, held, broker, expected) in cases {
            let observed = cluster(topics, Seen::NotHere(String::new()));
            let disk = disk(*broker, 0, 0, held);
            let more = growth(&desired(wishes), &observed, *broker, &[&disk], 30, 1000);
            assert!(more.abs_diff(*expected) < 10, "{case}: {more}, not {expected}");
        }
        let huge = disk(1, 0, 0, &[]);
        let observed = cluster(&[("a", 4)], Seen::NotHere(String::new()));
        assert_eq!(growth(&desired(&[wish("a", 4, forever)]), &observed, 1, &[&huge], u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn each_broker_is_judged_by_what_is_left_in_the_end() {
        let desired = desired(&[wish("a", 4, &[("retention.ms", "-1")])]);
        let broker = |id: i32| format!("broker {id}");
        for (usable, expected) in [
            (100, Severity::Note),
            (53, Severity::Note),
            (52, Severity::Warning),
            (33, Severity::Warning),
            (32, Severity::Failure),
        ] {
            let disks = vec![disk(1, 100 * GB, usable * GB, &[]), disk(2, 900 * GB, 900 * GB, &[])];
            let checks = headroom(&desired, &cluster(&[("a", 4)], Seen::Known(disks)), 30, Some(1000));
            let expected = [(broker(1), expected), (broker(2), Severity::Note)];
            assert_eq!(told(&checks, "disk-headroom"), expected, "{usable}: {checks:?}");
        }
        // Two disks of one broker are one room.
        let disks = vec![disk(1, 50 * GB, 30 * GB, &[]), disk(1, 50 * GB, 40 * GB, &[])];
        let checks = headroom(&desired, &cluster(&[("a", 4)], Seen::Known(disks)), 30, Some(1000));
        assert_eq!(told(&checks, "disk-headroom"), [(broker(1), Severity::Note)]);
        assert!(checks.iter().any(|check| check.text.ends_with("37 % of the disk are left then")), "{checks:?}");
    }

    #[test]
    fn disks_are_told_as_they_are() {
        let desired = desired(&[wish("a", 4, &[])]);
        let lost = Disk { room: None, ..disk(4, 0, 0, &[]) };
        let disks = vec![disk(1, 100, 11, &[("a", 5), ("b", 3)]), disk(2, 100, 10, &[]), disk(3, 0, 0, &[]), lost];
        let checks = headroom(&desired, &cluster(&[("a", 4)], Seen::Known(disks)), 30, Some(0));
        let at = |broker: i32| format!("broker {broker} /data");
        let full = [(at(1), Severity::Note), (at(2), Severity::Warning), (at(3), Severity::Warning)];
        assert_eq!(told(&checks, "disk-full"), full);
        assert_eq!(told(&checks, "disk-offline"), [(at(4), Severity::Failure)]);
        assert_eq!(told(&checks, "disk-headroom").len(), 3, "nothing is foretold of a broker without disks");
        assert!(checks[0].text.contains("5 bytes of it by planned topics, 3 bytes by others"), "{}", checks[0].text);
    }

    #[test]
    fn what_is_not_known_warns_and_decides_nothing() {
        let desired = desired(&[wish("a", 4, &[])]);
        let of = |disks, mb| told(&headroom(&desired, &cluster(&[], disks), 30, mb), "disk-headroom");
        let warned = [("cluster".to_owned(), Severity::Warning)];
        assert_eq!(of(Seen::Hidden("no right".to_owned()), Some(1)), warned);
        assert_eq!(of(Seen::Known(vec![disk(1, 100, 90, &[])]), None), warned);
        assert_eq!(of(Seen::NotHere("one file".to_owned()), None), [("log".to_owned(), Severity::Note)]);
    }
}
