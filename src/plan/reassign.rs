//! The reassignment that gives a topic another number of copies, for the operator to run.

use serde_json::json;

use super::observed::{Broker, FoundTopic};

/// The JSON that `kafka-reassign-partitions.sh` takes: copies a partition has are kept from the first on, and new ones go
/// to the brokers with the fewest so far, on racks it does not stand on yet where there are racks. `None` when there are
/// fewer brokers than copies.
pub(super) fn json(topic: &str, found: &FoundTopic, copies: usize, brokers: &[Broker]) -> Option<String> {
    if copies == 0 || brokers.len() < copies {
        return None;
    }
    let mut load: Vec<(usize, &Broker)> = brokers.iter().map(|broker| (0, broker)).collect();
    for replica in found.partitions.iter().flat_map(|partition| &partition.replicas) {
        if let Some((count, _)) = load.iter_mut().find(|(_, broker)| broker.id == *replica) {
            *count += 1;
        }
    }
    let partitions = found.partitions.iter().enumerate().map(|(number, partition)| {
        let mut replicas = partition.replicas.clone();
        replicas.truncate(copies);
        while replicas.len() < copies {
            let rack = |id: i32| brokers.iter().find(|broker| broker.id == id).and_then(|broker| broker.rack.clone());
            let racks: Vec<_> = replicas.iter().filter_map(|id| rack(*id)).collect();
            let next =
                load.iter_mut().filter(|(_, broker)| !replicas.contains(&broker.id)).min_by_key(|(count, broker)| {
                    (broker.rack.as_ref().is_some_and(|rack| racks.contains(rack)), *count, broker.id)
                });
            let Some((count, broker)) = next else { break };
            *count += 1;
            replicas.push(broker.id);
        }
        json!({"topic": topic, "partition": number, "replicas": replicas})
    });
    let partitions: Vec<_> = partitions.collect();
    Some(json!({"version": 1, "partitions": partitions}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::observed::{Partition, Seen};

    fn broker(id: i32, rack: Option<&str>) -> Broker {
        Broker { id, host: String::new(), rack: rack.map(str::to_owned) }
    }

    fn topic(replicas: &[&[i32]]) -> FoundTopic {
        let partition = |ids: &&[i32]| Partition { leader: None, replicas: ids.to_vec(), in_sync: Vec::new() };
        FoundTopic { partitions: replicas.iter().map(partition).collect(), configs: Seen::NotHere(String::new()) }
    }

    #[test]
    fn copies_are_added_evenly_and_kept_from_the_first_on() {
        let brokers = [broker(1, None), broker(2, None), broker(3, None)];
        let more = json("t", &topic(&[&[1, 2], &[2, 3]]), 3, &brokers).unwrap();
        assert_eq!(
            more,
            r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2,3]},{"topic":"t","partition":1,"replicas":[2,3,1]}]}"#
        );
        let fewer = json("t", &topic(&[&[3, 1, 2]]), 1, &brokers).unwrap();
        assert!(fewer.contains(r#""replicas":[3]"#), "{fewer}");
        assert_eq!(json("t", &topic(&[&[1]]), 4, &brokers), None);
    }

    #[test]
    fn a_new_copy_goes_to_another_rack() {
        let brokers = [broker(1, Some("a")), broker(2, Some("a")), broker(3, Some("b"))];
        let found = json("t", &topic(&[&[1]]), 2, &brokers).unwrap();
        assert!(found.contains(r#""replicas":[1,3]"#), "{found}");
    }
}
