//! Configs of topics and brokers, described and altered.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka_sys as rd;
use rdkafka_sys::rd_kafka_admin_op_t as Op;

use super::{Answer, Ask, Handle, Owned, Refusal, c_text, call, error, list, pointers, refusal, text};
use crate::plan::{Config, Source};

type Resource = rd::rd_kafka_ConfigResource_t;

/// The entries of a topic or broker by name.
pub(in crate::kafka) type Entry = BTreeMap<String, Config>;

/// The configs of each topic; one that is gone or hidden has an error of its own.
pub(in crate::kafka) fn topic_configs(
    handle: Handle<'_>,
    names: &[&str],
    ask: Ask,
) -> Answer<BTreeMap<String, Answer<Entry>>> {
    let kind = rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
    let wanted = names.iter().map(|name| resource(kind, name)).collect::<Answer<Vec<_>>>()?;
    describe(handle, &wanted, ask)
}

/// The configs of a broker, told by itself.
pub(in crate::kafka) fn broker_configs(handle: Handle<'_>, id: i32, ask: Ask) -> Answer<Entry> {
    let wanted = resource(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER, &id.to_string())?;
    let found = describe(handle, &[wanted], ask)?.into_values().next();
    found.unwrap_or_else(|| Err(Refusal::new(Code::Fail, "the broker does not tell")))
}

fn resource(kind: rd::rd_kafka_ResourceType_t, name: &str) -> Answer<Owned<Resource>> {
    let text = c_text(name)?;
    // SAFETY: the name lives during the call; the object is ours.
    let made = unsafe {
        Owned::new(rd::rd_kafka_ConfigResource_new(kind, text.as_ptr()), rd::rd_kafka_ConfigResource_destroy)
    };
    made.ok_or_else(|| Refusal::new(Code::InvalidArgument, format!("'{name}' is no name")))
}

fn describe(handle: Handle<'_>, wanted: &[Owned<Resource>], ask: Ask) -> Answer<BTreeMap<String, Answer<Entry>>> {
    let mut raw = pointers(wanted);
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_DescribeConfigs(client, raw.as_mut_ptr(), raw.len(), options, queue);
        },
        rd::rd_kafka_event_DescribeConfigs_result,
        // SAFETY: the answer lives while it is read, and resources, entries and texts with it.
        |answer| unsafe {
            let found = list(answer, rd::rd_kafka_DescribeConfigs_result_resources).map(|resource| {
                let (name, told) = outcome(resource);
                let entries = list(resource, rd::rd_kafka_ConfigResource_configs).filter_map(|found| {
                    let source = source(rd::rd_kafka_ConfigEntry_source(found));
                    Some((
                        text(rd::rd_kafka_ConfigEntry_name(found))?,
                        Config { value: text(rd::rd_kafka_ConfigEntry_value(found)), source },
                    ))
                });
                (name, told.map(|()| entries.collect()))
            });
            found.collect()
        },
    )
}

/// # Safety
/// `resource` is of an answer that lives during the call.
unsafe fn outcome(resource: *const Resource) -> (String, Answer) {
    // SAFETY: the caller's promise; name and words live as long as the answer.
    unsafe {
        let code = rd::rd_kafka_ConfigResource_error(resource);
        let words = rd::rd_kafka_ConfigResource_error_string(resource);
        (text(rd::rd_kafka_ConfigResource_name(resource)).unwrap_or_default(), refusal(code, words))
    }
}

fn source(source: rd::rd_kafka_ConfigSource_t) -> Source {
    use rd::rd_kafka_ConfigSource_t as From;
    match source {
        From::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG => Source::Topic,
        From::RD_KAFKA_CONFIG_SOURCE_DEFAULT_CONFIG => Source::Default,
        _ => Source::Broker,
    }
}

/// What to change of a topic: entries to set, and names to fall back to the default.
pub(in crate::kafka) type Alteration<'a> = (&'a str, &'a BTreeMap<String, String>, &'a [String]);

/// Alters entries one by one; those not named stay.
pub(in crate::kafka) fn alter_configs(
    handle: Handle<'_>,
    topics: &[Alteration<'_>],
    ask: Ask,
) -> Answer<BTreeMap<String, Answer>> {
    let wanted = topics.iter().map(alteration).collect::<Answer<Vec<_>>>()?;
    let mut raw = pointers(&wanted);
    call(
        handle,
        Op::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_IncrementalAlterConfigs(client, raw.as_mut_ptr(), raw.len(), options, queue);
        },
        rd::rd_kafka_event_IncrementalAlterConfigs_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe {
            let resources = list(answer, rd::rd_kafka_IncrementalAlterConfigs_result_resources);
            resources.map(|resource| outcome(resource)).collect()
        },
    )
}

fn alteration((name, set, reset): &Alteration<'_>) -> Answer<Owned<Resource>> {
    use rd::rd_kafka_AlterConfigOpType_t as Alter;
    let made = resource(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name)?;
    let set = set.iter().map(|(name, value)| (name, Alter::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, Some(value)));
    let reset = reset.iter().map(|name| (name, Alter::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, None));
    for (name, op, value) in set.chain(reset) {
        let (name, value) = (c_text(name)?, value.map(|value| c_text(value)).transpose()?);
        let value = value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr());
        // SAFETY: the object and both texts live during the call, which copies them; the error it returns is ours.
        let failed = unsafe {
            let failed = rd::rd_kafka_ConfigResource_add_incremental_config(made.raw(), name.as_ptr(), op, value);
            Owned::new(failed, rd::rd_kafka_error_destroy)
        };
        if let Some(failed) = failed {
            // SAFETY: the error lives until the end of this block.
            unsafe { error(failed.raw())? };
        }
    }
    Ok(made)
}
