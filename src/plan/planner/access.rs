//! Access rules that are missing, as steps.

use std::collections::BTreeMap;

use super::super::change::{Action, Change, Kind, Op, Risk, WayBack};
use super::super::desired::Desired;
use super::super::document::{Act, Step};
use super::super::effective::covers;
use super::super::fingerprint::of_acls;
use super::super::observed::{Acl, Observed, Pattern, Seen};
use super::{impossible, needs_flag};

/// Rules that are missing, principal by principal. Rules nobody declared are left alone.
pub(super) fn steps(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut missing: BTreeMap<&str, Vec<Acl>> = BTreeMap::new();
    let known = observed.acls.known();
    for rule in &desired.acls {
        if !known.is_some_and(|known| known.contains(rule)) {
            missing.entry(&rule.principal).or_default().push(rule.clone());
        }
    }
    if matches!(observed.acls, Seen::NotHere(_)) {
        return Vec::new();
    }
    let steps = missing.into_iter().map(|(principal, acls)| {
        let item = acl_item(principal);
        let changes: Vec<Change> = acls.iter().map(|rule| change(rule, observed)).collect();
        let action = Action::CreateAcls { principal: principal.to_owned(), acls: acls.clone() };
        let have = known.map_or(&[][..], Vec::as_slice);
        let before = of_acls(principal, have);
        let after = of_acls(principal, &[have, &acls].concat());
        Step { item, changes, act: Some(Act::Home(action)), answer: None, before, after }
    });
    steps.collect()
}

fn change(rule: &Acl, observed: &Observed) -> Change {
    let mut change = Change {
        kind: Kind::Acl,
        op: Op::Add,
        name: rule.principal.clone(),
        field: words(rule),
        from: None,
        to: Some("allow".to_owned()),
        reason: "access-missing".to_owned(),
        risk: Risk::Safe,
        way_back: WayBack::Reversible,
        note: String::new(),
    };
    let Seen::Known(known) = &observed.acls else {
        let Seen::Hidden(why) = &observed.acls else { return change };
        impossible(&mut change, "access-hidden", format!("the cluster does not tell its access rules: {why}"));
        return change;
    };
    let open = observed.broker_configs.known().and_then(|configs| configs.get("allow.everyone.if.no.acl.found"));
    let ruled = known.iter().any(|other| other.resource == rule.resource && covers(other, &rule.name));
    let ours = observed.topics.contains_key(&rule.name);
    if open.is_some_and(|value| value.eq_ignore_ascii_case("true")) && !ruled && ours {
        let text = "no rule names it yet, so everybody may use it; the first rule shuts out all who have none";
        needs_flag(&mut change, "first-rule-closes", text.to_owned());
    }
    change
}

/// An access rule for people: `topic session.events read`.
pub fn words(rule: &Acl) -> String {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(|text| text.replace('_', "-"))).unwrap_or_default()
    };
    let resource = word(serde_json::to_value(rule.resource));
    let operation = word(serde_json::to_value(rule.operation));
    let star = if rule.pattern == Pattern::Prefixed { "*" } else { "" };
    let host = if rule.host == "*" { String::new() } else { format!(" from {}", rule.host) };
    let deny = if rule.allow { "" } else { " (deny)" };
    format!("{resource} {}{star} {operation}{host}{deny}", rule.name)
}

pub(in crate::plan) fn acl_item(principal: &str) -> String {
    format!("access:{principal}")
}
