//! Topics made, grown and deleted, and the brokers of the cluster.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka_sys as rd;
use rdkafka_sys::rd_kafka_admin_op_t as Op;

use super::{Answer, Ask, Handle, Owned, Refusal, Words, c_text, call, error, list, pointers, refusal, text};
use crate::plan::Broker;

pub(in crate::kafka) struct NewTopic<'t> {
    pub(in crate::kafka) name: &'t str,
    pub(in crate::kafka) partitions: i32,
    pub(in crate::kafka) replication: i32,
    pub(in crate::kafka) configs: Vec<(&'t str, &'t str)>,
}

/// An answer for each topic named.
pub(in crate::kafka) type PerTopic = BTreeMap<String, Answer>;

/// # Safety
/// `results` are of an answer that lives during the call.
unsafe fn per_topic(results: impl Iterator<Item = *const rd::rd_kafka_topic_result_t>) -> PerTopic {
    let found = results.map(|found| {
        // SAFETY: the caller's promise; name and words live as long as the answer.
        unsafe {
            let code = rd::rd_kafka_topic_result_error(found);
            let words = rd::rd_kafka_topic_result_error_string(found);
            (text(rd::rd_kafka_topic_result_name(found)).unwrap_or_default(), refusal(code, words))
        }
    });
    found.collect()
}

pub(in crate::kafka) fn create_topics(handle: Handle<'_>, topics: &[NewTopic<'_>], ask: Ask) -> Answer<PerTopic> {
    let wanted = topics.iter().map(new_topic).collect::<Answer<Vec<_>>>()?;
    let mut wanted_raw = pointers(&wanted);
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_CREATETOPICS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_CreateTopics(client, wanted_raw.as_mut_ptr(), wanted_raw.len(), options, queue);
        },
        rd::rd_kafka_event_CreateTopics_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe { per_topic(list(answer, rd::rd_kafka_CreateTopics_result_topics)) },
    )
}

fn new_topic(topic: &NewTopic<'_>) -> Answer<Owned<rd::rd_kafka_NewTopic_t>> {
    let name = c_text(topic.name)?;
    let mut words = Words::new();
    // SAFETY: name and room for words live during the call; the object is ours.
    let made = unsafe {
        let (room, length) = (words.0.as_mut_ptr(), words.0.len());
        let made = rd::rd_kafka_NewTopic_new(name.as_ptr(), topic.partitions, topic.replication, room, length);
        Owned::new(made, rd::rd_kafka_NewTopic_destroy)
    };
    let made = made.ok_or_else(|| words.refusal())?;
    for (name, value) in &topic.configs {
        let (name, value) = (c_text(name)?, c_text(value)?);
        // SAFETY: the object and both texts live during the call, which copies them.
        unsafe {
            let code = rd::rd_kafka_NewTopic_set_config(made.raw(), name.as_ptr(), value.as_ptr());
            refusal(code, std::ptr::null())?;
        }
    }
    Ok(made)
}

/// Each topic with its new number of partitions.
pub(in crate::kafka) fn create_partitions(handle: Handle<'_>, topics: &[(&str, i32)], ask: Ask) -> Answer<PerTopic> {
    let new_partitions = |(name, total): &(&str, i32)| {
        let name = c_text(name)?;
        let total = usize::try_from(*total).unwrap_or_default();
        let mut words = Words::new();
        // SAFETY: name and room for words live during the call; the object is ours.
        let made = unsafe {
            let (room, length) = (words.0.as_mut_ptr(), words.0.len());
            let made = rd::rd_kafka_NewPartitions_new(name.as_ptr(), total, room, length);
            Owned::new(made, rd::rd_kafka_NewPartitions_destroy)
        };
        made.ok_or_else(|| words.refusal())
    };
    let wanted = topics.iter().map(new_partitions).collect::<Answer<Vec<_>>>()?;
    let mut wanted_raw = pointers(&wanted);
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_CreatePartitions(client, wanted_raw.as_mut_ptr(), wanted_raw.len(), options, queue);
        },
        rd::rd_kafka_event_CreatePartitions_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe { per_topic(list(answer, rd::rd_kafka_CreatePartitions_result_topics)) },
    )
}

pub(in crate::kafka) fn delete_topic(handle: Handle<'_>, name: &str, ask: Ask) -> Answer {
    let c_name: CString = c_text(name)?;
    // SAFETY: the name lives during the call; the object is ours.
    let wanted = unsafe { Owned::new(rd::rd_kafka_DeleteTopic_new(c_name.as_ptr()), rd::rd_kafka_DeleteTopic_destroy) };
    let wanted = wanted.ok_or_else(|| Refusal::new(Code::InvalidArgument, "no name"))?;
    let mut raw = [wanted.raw()];
    let mut results = call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_DELETETOPICS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_DeleteTopics(client, raw.as_mut_ptr(), raw.len(), options, queue);
        },
        rd::rd_kafka_event_DeleteTopics_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe { per_topic(list(answer, rd::rd_kafka_DeleteTopics_result_topics)) },
    )?;
    results.remove(name).unwrap_or_else(|| Err(Refusal::new(Code::Fail, "the broker does not tell")))
}

/// The id of each as two halves, high first; both are 0 where the brokers give topics none (before Kafka 2.8).
pub(in crate::kafka) fn describe_topics(
    handle: Handle<'_>,
    names: &[&str],
    ask: Ask,
) -> Answer<BTreeMap<String, Answer<[i64; 2]>>> {
    let names = names.iter().map(|name| c_text(name)).collect::<Answer<Vec<_>>>()?;
    let mut raw: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the names live during the call, which copies them; the object is ours.
    let wanted = unsafe {
        let wanted = rd::rd_kafka_TopicCollection_of_topic_names(raw.as_mut_ptr(), raw.len());
        Owned::new(wanted, rd::rd_kafka_TopicCollection_destroy)
    };
    let wanted = wanted.ok_or_else(|| Refusal::new(Code::InvalidArgument, "no names"))?;
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        ask,
        // SAFETY: all pointers live during the call.
        |client, options, queue| unsafe { rd::rd_kafka_DescribeTopics(client, wanted.raw(), options, queue) },
        rd::rd_kafka_event_DescribeTopics_result,
        // SAFETY: the answer lives while it is read, and names and errors with it.
        |answer| unsafe {
            let topics = list(answer, rd::rd_kafka_DescribeTopics_result_topics).map(|topic| {
                let name = text(rd::rd_kafka_TopicDescription_name(topic)).unwrap_or_default();
                let id = rd::rd_kafka_TopicDescription_topic_id(topic);
                let halves =
                    || [rd::rd_kafka_Uuid_most_significant_bits(id), rd::rd_kafka_Uuid_least_significant_bits(id)];
                let told = error(rd::rd_kafka_TopicDescription_error(topic));
                (name, told.map(|()| if id.is_null() { [0; 2] } else { halves() }))
            });
            topics.collect()
        },
    )
}

/// The cluster's id and the brokers alive.
pub(in crate::kafka) fn describe_cluster(handle: Handle<'_>, ask: Ask) -> Answer<(String, Vec<Broker>)> {
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
        ask,
        // SAFETY: all pointers live during the call.
        |client, options, queue| unsafe { rd::rd_kafka_DescribeCluster(client, options, queue) },
        rd::rd_kafka_event_DescribeCluster_result,
        // SAFETY: the answer lives while it is read, and nodes and texts with it.
        |answer| unsafe {
            let brokers = list(answer, rd::rd_kafka_DescribeCluster_result_nodes).map(|node| Broker {
                id: rd::rd_kafka_Node_id(node),
                host: text(rd::rd_kafka_Node_host(node)).unwrap_or_default(),
                rack: text(rd::rd_kafka_Node_rack(node)).filter(|rack| !rack.is_empty()),
            });
            let mut brokers: Vec<Broker> = brokers.collect();
            brokers.sort_by_key(|broker| broker.id);
            (text(rd::rd_kafka_DescribeCluster_result_cluster_id(answer)).unwrap_or_default(), brokers)
        },
    )
}
