//! Consumer groups and how far they are.

use std::collections::BTreeMap;
use std::ptr;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka_sys as rd;
use rdkafka_sys::rd_kafka_admin_op_t as Op;

use super::{Answer, Ask, Handle, Owned, Refusal, c_text, call, error, list, refusal, text};

/// The names of groups, and what brokers said that did not tell theirs.
pub(in crate::kafka) fn list_groups(handle: Handle<'_>, ask: Ask) -> Answer<(Vec<String>, Vec<Refusal>)> {
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS,
        ask,
        // SAFETY: all pointers live during the call.
        |client, options, queue| unsafe { rd::rd_kafka_ListConsumerGroups(client, options, queue) },
        rd::rd_kafka_event_ListConsumerGroups_result,
        // SAFETY: the answer lives while it is read, and texts and errors with it.
        |answer| unsafe {
            let names = list(answer, rd::rd_kafka_ListConsumerGroups_result_valid)
                .filter_map(|group| text(rd::rd_kafka_ConsumerGroupListing_group_id(group)));
            let errors = list(answer, rd::rd_kafka_ListConsumerGroups_result_errors);
            (names.collect(), errors.filter_map(|failed| error(failed).err()).collect())
        },
    )
}

/// State and number of members of each group.
pub(in crate::kafka) fn describe_groups(
    handle: Handle<'_>,
    names: &[String],
    ask: Ask,
) -> Answer<BTreeMap<String, Answer<(String, usize)>>> {
    let names = names.iter().map(|name| c_text(name)).collect::<Answer<Vec<_>>>()?;
    let mut raw: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_DescribeConsumerGroups(client, raw.as_mut_ptr(), raw.len(), options, queue);
        },
        rd::rd_kafka_event_DescribeConsumerGroups_result,
        // SAFETY: the answer lives while it is read, and texts and errors with it.
        |answer| unsafe {
            let groups = list(answer, rd::rd_kafka_DescribeConsumerGroups_result_groups).filter_map(|group| {
                let state = rd::rd_kafka_consumer_group_state_name(rd::rd_kafka_ConsumerGroupDescription_state(group));
                let told = (text(state).unwrap_or_default(), rd::rd_kafka_ConsumerGroupDescription_member_count(group));
                let failed = error(rd::rd_kafka_ConsumerGroupDescription_error(group));
                Some((text(rd::rd_kafka_ConsumerGroupDescription_group_id(group))?, failed.map(|()| told)))
            });
            groups.collect()
        },
    )
}

/// What a group has committed, of all its partitions.
pub(in crate::kafka) fn group_offsets(
    handle: Handle<'_>,
    group: &str,
    ask: Ask,
) -> Answer<BTreeMap<(String, i32), i64>> {
    let name = c_text(group)?;
    // SAFETY: the name lives during the call, null stands for all partitions; the object is ours.
    let wanted = unsafe {
        let wanted = rd::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null());
        Owned::new(wanted, rd::rd_kafka_ListConsumerGroupOffsets_destroy)
    };
    let wanted = wanted.ok_or_else(|| Refusal::new(Code::InvalidArgument, "no name"))?;
    let mut raw = [wanted.raw()];
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_ListConsumerGroupOffsets(client, raw.as_mut_ptr(), raw.len(), options, queue);
        },
        rd::rd_kafka_event_ListConsumerGroupOffsets_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe {
            let groups = list(answer, rd::rd_kafka_ListConsumerGroupOffsets_result_groups);
            let found = groups.map(|group| offsets(group)).collect::<Answer<Vec<_>>>()?;
            Ok(found.into_iter().flatten().collect())
        },
    )?
}

/// # Safety
/// `group` is of an answer that lives during the call.
unsafe fn offsets(group: *const rd::rd_kafka_group_result_t) -> Answer<Vec<((String, i32), i64)>> {
    let mut found = Vec::new();
    // SAFETY: the caller's promise; the list has `cnt` elements and lives, with its texts, as long as the answer.
    unsafe {
        error(rd::rd_kafka_group_result_error(group))?;
        let Some(partitions) = rd::rd_kafka_group_result_partitions(group).as_ref() else { return Ok(found) };
        for index in 0..usize::try_from(partitions.cnt).unwrap_or_default() {
            let element = &*partitions.elems.add(index);
            refusal(element.err, ptr::null())?;
            // Below zero nothing was committed.
            if let (Some(topic), 0..) = (text(element.topic), element.offset) {
                found.push(((topic, element.partition), element.offset));
            }
        }
    }
    Ok(found)
}
