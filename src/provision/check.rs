//! What is found in the log itself, as checks beside those of the plan.

use std::collections::BTreeMap;

use super::placement::{Limits, Placement, placements};
use super::probe::RoundTrips;
use crate::base::Result;
use crate::base::words::{counted, number};
use crate::diff::{Checked, Severity};
use crate::plan::{Desired, Observed, Owner};
use crate::port::event_log::EventLog;
use crate::port::progress::Progress;

/// The plan's word for a round trip, at the 99th percentile.
const BUDGET_MS: u128 = 100;

/// Whether keys lie where every client looks for them, in the topics of the mapping that are there. A topic that cannot be
/// read is not known.
pub fn keys(
    log: &dyn EventLog,
    desired: &Desired,
    observed: &Observed,
    progress: &dyn Progress,
) -> Result<Vec<Checked>> {
    let topics = desired.topics.iter().filter(|topic| topic.owner == Owner::Mapping && !topic.absent);
    let mut checks = Vec::new();
    for topic in topics.filter(|topic| observed.topics.contains_key(&topic.name)) {
        progress.check()?;
        match placements(log, &[&topic.name], Limits::default(), progress) {
            Ok(found) => {
                checks.extend(found.iter().map(placed));
                checks.extend(found.iter().filter_map(|found| foreign(found, &desired.migration)));
            }
            Err(error) => checks.push(Checked {
                code: "key-placement",
                subject: topic.name.clone(),
                severity: Severity::Gap,
                text: format!("its records cannot be read: {error}"),
                help: error.help().map(str::to_owned),
            }),
        }
    }
    Ok(checks)
}

/// Records of others among those looked at.
fn foreign(found: &Placement, migration: &str) -> Option<Checked> {
    let own = format!("{migration}/");
    let others: BTreeMap<&str, u64> = found
        .sources
        .iter()
        .filter(|(source, _)| !source.as_ref().is_some_and(|source| source.starts_with(&own)))
        .map(|(source, count)| (source.as_deref().unwrap_or("records without a source"), *count))
        .collect();
    let count = others.values().sum::<u64>();
    let names: Vec<&str> = others.keys().take(5).copied().collect();
    let of = number(found.records);
    let text =
        format!("{} of {of} looked at are of others and passed over: {}", counted(count, "record"), names.join(", "));
    let help = Some("give each migration and program topics of its own".to_owned());
    let (code, subject) = ("foreign-records", found.topic.clone());
    (count > 0).then_some(Checked { code, subject, severity: Severity::Warning, text, help })
}

fn placed(found: &Placement) -> Checked {
    let check =
        |severity, text, help| Checked { code: "key-placement", subject: found.topic.clone(), severity, text, help };
    let keys = counted(found.keys, "key");
    if found.misplaced == 0 {
        let part = if found.looked_through < found.positions {
            format!(", of {} of {} positions", number(found.looked_through), number(found.positions))
        } else {
            String::new()
        };
        return check(Severity::Note, format!("{keys} looked at{part}, each where murmur2 puts it"), None);
    }
    let rule = match found.lie_as {
        Some(rule) => format!("these keys lie where {rule} would put them ({})", rule.used_by()),
        None => "no partitioner that is known puts them there".to_owned(),
    };
    let by: Vec<&str> = found.producers.iter().filter_map(|producer| producer.source.as_deref()).collect();
    let by = if by.is_empty() { String::new() } else { format!(", written by {}", by.join(", ")) };
    let sample = found.samples.first().map_or(String::new(), |sample| {
        format!("; '{}' is in partition {}, others look in {}", sample.key_text(), sample.partition, sample.expected)
    });
    let text = format!("{} of {keys} misplaced{by}: {rule}{sample}", number(found.misplaced));
    check(Severity::Failure, text, found.lie_as.map(|rule| rule.remedy().to_owned()))
}

/// Round trips as checks: one that failed is a failure, a slow one a warning.
pub fn round_trips(trips: &[RoundTrips]) -> Vec<Checked> {
    let check = |trips: &RoundTrips| {
        let (severity, text, help) = match (&trips.failed, trips.visible(), trips.committed()) {
            (Some(failed), _, _) => {
                let text = format!("the round trip ended at {}: {}", failed.stage, failed.error);
                (Severity::Failure, text, failed.error.help().map(str::to_owned))
            }
            (None, Some(visible), Some(committed)) => {
                let text = format!(
                    "{}: committed p50 {} ms, visible p50 {} ms, p99 {} ms, slowest {} ms",
                    counted(trips.trips.len() as u64, "round trip"),
                    committed.p50.as_millis(),
                    visible.p50.as_millis(),
                    visible.p99.as_millis(),
                    visible.max.as_millis()
                );
                let slow = visible.p99.as_millis() > BUDGET_MS;
                let help = slow.then(|| format!("the plan asks for p99 under {BUDGET_MS} ms"));
                (if slow { Severity::Warning } else { Severity::Note }, text, help)
            }
            (None, _, _) => (Severity::Gap, "no round trip was made".to_owned(), None),
        };
        Checked { code: "probe", subject: trips.topic.clone(), severity, text, help }
    };
    trips.iter().map(check).collect()
}
