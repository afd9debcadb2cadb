//! Access rules and users.

use std::collections::BTreeMap;
use std::ptr;

use rd::rd_kafka_AclOperation_t as Op;
use rd::rd_kafka_ResourcePatternType_t as PatternType;
use rd::rd_kafka_ResourceType_t as ResourceType;
use rdkafka_sys as rd;

use super::{Answer, Ask, Handle, Owned, Words, c_text, call, error, list, pointers, text};
use crate::plan::{Acl, Operation, Pattern, Resource};

/// A cluster has the number that brokers have among configs.
const RESOURCES: &[(Resource, ResourceType)] = &[
    (Resource::Topic, ResourceType::RD_KAFKA_RESOURCE_TOPIC),
    (Resource::Group, ResourceType::RD_KAFKA_RESOURCE_GROUP),
    (Resource::Cluster, ResourceType::RD_KAFKA_RESOURCE_BROKER),
    (Resource::TransactionalId, ResourceType::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID),
];

const PATTERNS: &[(Pattern, PatternType)] = &[
    (Pattern::Literal, PatternType::RD_KAFKA_RESOURCE_PATTERN_LITERAL),
    (Pattern::Prefixed, PatternType::RD_KAFKA_RESOURCE_PATTERN_PREFIXED),
];

const OPERATIONS: &[(Operation, Op)] = &[
    (Operation::All, Op::RD_KAFKA_ACL_OPERATION_ALL),
    (Operation::Read, Op::RD_KAFKA_ACL_OPERATION_READ),
    (Operation::Write, Op::RD_KAFKA_ACL_OPERATION_WRITE),
    (Operation::Create, Op::RD_KAFKA_ACL_OPERATION_CREATE),
    (Operation::Delete, Op::RD_KAFKA_ACL_OPERATION_DELETE),
    (Operation::Alter, Op::RD_KAFKA_ACL_OPERATION_ALTER),
    (Operation::Describe, Op::RD_KAFKA_ACL_OPERATION_DESCRIBE),
    (Operation::ClusterAction, Op::RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION),
    (Operation::DescribeConfigs, Op::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS),
    (Operation::AlterConfigs, Op::RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS),
    (Operation::IdempotentWrite, Op::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE),
];

/// The library's word for ours; the tables hold every one of ours.
fn theirs<O: PartialEq, T: Copy>(table: &[(O, T)], ours: &O, unknown: T) -> T {
    table.iter().find(|(word, _)| word == ours).map_or(unknown, |(_, theirs)| *theirs)
}

fn ours<O: Copy, T: PartialEq>(table: &[(O, T)], theirs: &T) -> Option<O> {
    table.iter().find(|(_, word)| word == theirs).map(|(ours, _)| *ours)
}

/// Adds the rules, one answer for each in their order. A rule that is there already is fine.
pub(in crate::kafka) fn create_acls(handle: Handle<'_>, acls: &[Acl], ask: Ask) -> Answer<Vec<Answer>> {
    let wanted = acls.iter().map(binding).collect::<Answer<Vec<_>>>()?;
    let mut raw = pointers(&wanted);
    call(
        handle,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe {
            rd::rd_kafka_CreateAcls(client, raw.as_mut_ptr(), raw.len(), options, queue);
        },
        rd::rd_kafka_event_CreateAcls_result,
        // SAFETY: the answer lives while it is read, and errors with it.
        |answer| unsafe {
            let results = list(answer, rd::rd_kafka_CreateAcls_result_acls);
            results.map(|result| error(rd::rd_kafka_acl_result_error(result))).collect()
        },
    )
}

fn binding(acl: &Acl) -> Answer<Owned<rd::rd_kafka_AclBinding_t>> {
    let (name, principal, host) = (c_text(&acl.name)?, c_text(&acl.principal)?, c_text(&acl.host)?);
    let permission = match acl.allow {
        true => rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        false => rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
    };
    let mut words = Words::new();
    // SAFETY: the texts and the room for words live during the call; the object is ours.
    let made = unsafe {
        let made = rd::rd_kafka_AclBinding_new(
            theirs(RESOURCES, &acl.resource, ResourceType::RD_KAFKA_RESOURCE_UNKNOWN),
            name.as_ptr(),
            theirs(PATTERNS, &acl.pattern, PatternType::RD_KAFKA_RESOURCE_PATTERN_UNKNOWN),
            principal.as_ptr(),
            host.as_ptr(),
            theirs(OPERATIONS, &acl.operation, Op::RD_KAFKA_ACL_OPERATION_UNKNOWN),
            permission,
            words.0.as_mut_ptr(),
            words.0.len(),
        );
        Owned::new(made, rd::rd_kafka_AclBinding_destroy)
    };
    made.ok_or_else(|| words.refusal())
}

/// All rules but those of kinds the tool does not know.
pub(in crate::kafka) fn describe_acls(handle: Handle<'_>, ask: Ask) -> Answer<Vec<Acl>> {
    let mut words = Words::new();
    // SAFETY: null stands for any text; the room for words lives during the call; the object is ours.
    let all = unsafe {
        let all = rd::rd_kafka_AclBindingFilter_new(
            ResourceType::RD_KAFKA_RESOURCE_ANY,
            ptr::null(),
            PatternType::RD_KAFKA_RESOURCE_PATTERN_ANY,
            ptr::null(),
            ptr::null(),
            Op::RD_KAFKA_ACL_OPERATION_ANY,
            rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            words.0.as_mut_ptr(),
            words.0.len(),
        );
        Owned::new(all, rd::rd_kafka_AclBinding_destroy)
    };
    let all = all.ok_or_else(|| words.refusal())?;
    call(
        handle,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS,
        ask,
        // SAFETY: all pointers live during the call, which copies what it needs.
        |client, options, queue| unsafe { rd::rd_kafka_DescribeAcls(client, all.raw(), options, queue) },
        rd::rd_kafka_event_DescribeAcls_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe {
            list(answer, rd::rd_kafka_DescribeAcls_result_acls).filter_map(|found| acl(found)).collect()
        },
    )
}

/// # Safety
/// `found` is of an answer that lives during the call.
unsafe fn acl(found: *const rd::rd_kafka_AclBinding_t) -> Option<Acl> {
    // SAFETY: the caller's promise; the texts live as long as the answer.
    unsafe {
        Some(Acl {
            principal: text(rd::rd_kafka_AclBinding_principal(found))?,
            host: text(rd::rd_kafka_AclBinding_host(found))?,
            resource: ours(RESOURCES, &rd::rd_kafka_AclBinding_restype(found))?,
            name: text(rd::rd_kafka_AclBinding_name(found))?,
            pattern: ours(PATTERNS, &rd::rd_kafka_AclBinding_resource_pattern_type(found))?,
            operation: ours(OPERATIONS, &rd::rd_kafka_AclBinding_operation(found))?,
            allow: rd::rd_kafka_AclBinding_permission_type(found)
                == rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        })
    }
}

/// Users with SCRAM credentials, and the mechanisms of each.
pub(in crate::kafka) fn scram_users(handle: Handle<'_>, ask: Ask) -> Answer<BTreeMap<String, Vec<String>>> {
    call(
        handle,
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEUSERSCRAMCREDENTIALS,
        ask,
        // SAFETY: all pointers live during the call; no user named means all of them.
        |client, options, queue| unsafe {
            rd::rd_kafka_DescribeUserScramCredentials(client, ptr::null_mut(), 0, options, queue);
        },
        rd::rd_kafka_event_DescribeUserScramCredentials_result,
        // SAFETY: the answer lives while it is read.
        |answer| unsafe {
            let users = list(answer, rd::rd_kafka_DescribeUserScramCredentials_result_descriptions);
            users.filter_map(|user| scram_user(user)).collect()
        },
    )
}

/// # Safety
/// `user` is of an answer that lives during the call.
unsafe fn scram_user(user: *const rd::rd_kafka_UserScramCredentialsDescription_t) -> Option<(String, Vec<String>)> {
    use rd::rd_kafka_ScramMechanism_t as Mechanism;
    // SAFETY: the caller's promise; the index stays below the count, and the text lives as long as the answer.
    unsafe {
        let count = rd::rd_kafka_UserScramCredentialsDescription_scramcredentialinfo_count(user);
        let mechanisms = (0..count).map(|index| {
            let info = rd::rd_kafka_UserScramCredentialsDescription_scramcredentialinfo(user, index);
            match rd::rd_kafka_ScramCredentialInfo_mechanism(info) {
                Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_256 => "SCRAM-SHA-256".to_owned(),
                Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_512 => "SCRAM-SHA-512".to_owned(),
                _ => "unknown".to_owned(),
            }
        });
        Some((text(rd::rd_kafka_UserScramCredentialsDescription_user(user))?, mechanisms.collect()))
    }
}
