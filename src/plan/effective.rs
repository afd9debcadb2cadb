//! What access rules come to: whether a client may do something, and which rule says so.
//!
//! As Kafka's `StandardAuthorizer` decides: a denial wins over whatever allows, an allowance includes what it implies.

use super::observed::{Acl, Operation, Pattern, Resource};

/// The rules of everybody.
pub(super) const EVERYBODY: &str = "User:*";

/// What a cluster's rules say to one operation on one resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling<'a> {
    /// Every rule that denies it: the operation stays denied until the last of them is removed.
    Denied(Vec<&'a Acl>),
    Allowed(&'a Acl),
    /// No rule gives it, but some name the resource.
    NotAllowed,
    /// No rule names the resource: who may use it then is a setting of the brokers.
    NotNamed,
}

/// What `rules` say to who needs `wanted`, from the hosts it names. Where all hosts are wanted, a denial for one of them counts.
pub(super) fn ruling<'a>(rules: &'a [Acl], wanted: &Acl) -> Ruling<'a> {
    let named: Vec<&Acl> =
        rules.iter().filter(|rule| rule.resource == wanted.resource && covers(rule, &wanted.name)).collect();
    let of_ours = |rule: &&&Acl| rule.principal == wanted.principal || rule.principal == EVERYBODY;
    let from_ours = |rule: &Acl| rule.host == "*" || rule.host == wanted.host;
    let denied = named.iter().copied().filter(|rule| of_ours(&rule)).filter(|rule| {
        !rule.allow && (from_ours(rule) || wanted.host == "*") && says(rule.operation, wanted.operation)
    });
    let denied: Vec<&Acl> = denied.collect();
    let allowed = named.iter().filter(of_ours).filter(|rule| {
        let given = says(rule.operation, wanted.operation) || implies(rule.operation, wanted.operation);
        rule.allow && from_ours(rule) && given
    });
    if !denied.is_empty() {
        return Ruling::Denied(denied);
    }
    match allowed.min_by_key(|rule| **rule != wanted) {
        Some(allowed) => Ruling::Allowed(allowed),
        None if named.is_empty() => Ruling::NotNamed,
        None => Ruling::NotAllowed,
    }
}

/// Whether a rule names a resource of its kind.
pub(super) fn covers(rule: &Acl, name: &str) -> bool {
    match rule.pattern {
        Pattern::Literal => rule.name == name || rule.name == "*",
        Pattern::Prefixed => name.starts_with(&rule.name),
    }
}

fn says(rule: Operation, wanted: Operation) -> bool {
    rule == wanted || rule == Operation::All
}

/// Whether who is allowed one may do the other, too; a denial implies nothing.
fn implies(rule: Operation, wanted: Operation) -> bool {
    use Operation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    matches!((rule, wanted), (Read | Write | Delete | Alter, Describe) | (AlterConfigs, DescribeConfigs))
}

/// Whether a rule does more than to let look.
pub(super) fn changes(rule: &Acl) -> bool {
    use Operation::{Describe, DescribeConfigs, IdempotentWrite};
    rule.resource != Resource::Cluster || !matches!(rule.operation, Describe | DescribeConfigs | IdempotentWrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `principal host resource name operation`, with `!` before the principal for a denial and `…` behind a prefix.
    fn rule(text: &str) -> Acl {
        let words: Vec<&str> = text.split(' ').collect();
        let [who, host, resource, name, operation] = words[..] else { panic!("{text}") };
        let of = |word: &str| serde_json::Value::String(word.to_owned());
        let pattern = if name.ends_with('…') { Pattern::Prefixed } else { Pattern::Literal };
        Acl {
            principal: format!("User:{}", who.trim_start_matches('!')),
            host: host.to_owned(),
            resource: serde_json::from_value(of(resource)).unwrap(),
            name: name.trim_end_matches('…').to_owned(),
            pattern,
            operation: serde_json::from_value(of(operation)).unwrap(),
            allow: !who.starts_with('!'),
        }
    }

    #[test]
    fn rules_come_to_what_the_brokers_make_of_them() {
        let wanted = "r * topic shop.rows write";
        let from = "r 10.0.0.1 topic shop.rows write";
        let describe = "r * topic shop.rows describe";
        // What is needed, the rules there are, and the rules that decide, or what is said without one.
        type Told<'a> = Result<&'a [usize], Ruling<'a>>;
        let cases: &[(&str, &[&str], Told<'_>)] = &[
            (wanted, &[wanted], Ok(&[0])),
            (wanted, &[], Err(Ruling::NotNamed)),
            (wanted, &["r * topic shop.rows read"], Err(Ruling::NotAllowed)),
            (wanted, &["r * topic shop.row write"], Err(Ruling::NotNamed)),
            (wanted, &["r * group shop.rows write"], Err(Ruling::NotNamed)),
            (wanted, &["q * topic shop.rows write"], Err(Ruling::NotAllowed)),
            (wanted, &["r * topic shop.… write"], Ok(&[0])),
            (wanted, &["r * topic * all"], Ok(&[0])),
            (wanted, &["* * topic shop.… all"], Ok(&[0])),
            // The rule that was planned is the one that is named.
            (wanted, &["* * topic * all", wanted], Ok(&[1])),
            (wanted, &[wanted, "!r * topic shop.… write"], Ok(&[1])),
            (wanted, &[wanted, "!r * topic * all"], Ok(&[1])),
            (wanted, &[wanted, "!* * topic shop.rows write"], Ok(&[1])),
            (wanted, &[wanted, "!q * topic shop.rows write"], Ok(&[0])),
            (wanted, &[wanted, "!r * topic shop.rows read"], Ok(&[0])),
            (wanted, &[wanted, "!r * topic other.… write"], Ok(&[0])),
            // One of all its hosts is shut out; of one host only that one counts.
            (wanted, &[wanted, "!r 10.0.0.9 topic shop.rows write"], Ok(&[1])),
            (from, &[from, "!r 10.0.0.9 topic shop.rows write"], Ok(&[0])),
            (from, &[from, "!r 10.0.0.1 topic shop.rows write"], Ok(&[1])),
            (from, &[wanted], Ok(&[0])),
            (wanted, &[from], Err(Ruling::NotAllowed)),
            // Who may write may look; who may not write may look nevertheless.
            (describe, &[wanted], Ok(&[0])),
            (describe, &["r * topic shop.rows alter_configs"], Err(Ruling::NotAllowed)),
            (describe, &[describe, "!r * topic shop.rows write"], Ok(&[0])),
            (describe, &[wanted, "!r * topic shop.rows all"], Ok(&[1])),
            (describe, &[wanted, "!r * topic shop.rows describe"], Ok(&[1])),
            (wanted, &[wanted, "!r * topic shop.rows describe"], Ok(&[0])),
            ("r * topic shop.rows describe_configs", &["r * topic shop.rows alter_configs"], Ok(&[0])),
            ("r * topic shop.rows read", &[wanted], Err(Ruling::NotAllowed)),
            // Removing one of several denials does not give the right back.
            (wanted, &["!r * topic shop.… write", wanted, "!* 10.0.0.9 topic shop.rows all"], Ok(&[0, 2])),
        ];
        for (wanted, texts, expected) in cases {
            let rules: Vec<Acl> = texts.iter().map(|text| rule(text)).collect();
            let at = |by: &Acl| rules.iter().position(|rule| rule == by).unwrap();
            let found: Result<Vec<usize>, _> = match ruling(&rules, &rule(wanted)) {
                Ruling::Denied(by) => {
                    assert!(by.iter().all(|rule| !rule.allow), "{wanted} of {texts:?}");
                    Ok(by.into_iter().map(at).collect())
                }
                Ruling::Allowed(by) => {
                    assert!(by.allow, "{wanted} of {texts:?}");
                    Ok(vec![at(by)])
                }
                other => Err(other),
            };
            let expected = expected.as_ref().map(|at| at.to_vec());
            assert_eq!(found.as_ref(), expected.as_ref().map_err(|other| *other), "{wanted} of {texts:?}");
        }
    }
}
