//! The claims of a migration on its topics, as one step of its plan.

use super::change::{Change, Kind, Op, Risk, WayBack};
use super::desired::{Desired, DesiredTopic, Owner};
use super::document::{Act, Step};
use super::observed::{Claims, Observed, Seen};
use crate::base::hex;

/// The topics a migration claims: those of its mapping. The tool's own have its name in theirs, and what the config adds may
/// be others' too.
fn claimed(desired: &Desired) -> impl Iterator<Item = &DesiredTopic> {
    desired.topics.iter().filter(|topic| topic.owner == Owner::Mapping && !topic.absent)
}

fn item(desired: &Desired) -> String {
    format!("claims:{}", desired.migration)
}

/// What of the claims a plan depends on.
pub(super) fn print(desired: &Desired, observed: &Observed) -> Option<(String, String)> {
    let claims = observed.claims.known()?;
    Some((item(desired), of(desired, |topic| claims.owners.get(topic).map(String::as_str))))
}

fn of<'a>(desired: &Desired, owner: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut lines: Vec<String> =
        claimed(desired).map(|topic| format!("{} {}\n", topic.name, owner(&topic.name).unwrap_or("-"))).collect();
    lines.sort();
    hex(&blake3::hash(lines.concat().as_bytes()).as_bytes()[..16])
}

/// The step that claims what nobody has; without a way through where another migration has a topic.
pub(super) fn step(desired: &Desired, observed: &Observed) -> Option<Step> {
    let claims = match &observed.claims {
        Seen::Known(claims) => claims,
        Seen::NotHere(_) => return None,
        Seen::Hidden(why) => {
            let mut change = change(&desired.migration, None, "claims-hidden");
            (change.risk, change.note) = (Risk::Impossible, format!("whose the topics are cannot be read: {why}"));
            return Some(Step::without_act(item(desired), vec![change]));
        }
    };
    // Whose a topic is that may not be looked at is not known, and nothing can be done about it.
    let seen = claimed(desired).filter(|topic| !observed.hidden.contains(&topic.name));
    let changes: Vec<Change> = seen.filter_map(|topic| one(desired, claims, &topic.name)).collect();
    let before = print(desired, observed)?.1;
    let topics: Vec<String> = changes.iter().map(|change| change.name.clone()).collect();
    if changes.is_empty() {
        return None;
    }
    if changes.iter().any(|change| change.risk == Risk::Impossible) {
        return Some(Step::without_act(item(desired), changes));
    }
    let after = of(desired, |_| Some(desired.migration.as_str()));
    Some(Step {
        item: item(desired),
        changes,
        act: Some(Act::Claim { migration: desired.migration.clone(), topics }),
        answer: None,
        before,
        after,
    })
}

fn one(desired: &Desired, claims: &Claims, topic: &str) -> Option<Change> {
    let own = Some(desired.migration.clone());
    match (claims.owners.get(topic), claims.shared.get(topic)) {
        (Some(owner), _) if *owner == desired.migration => None,
        (Some(owner), _) => {
            let mut change = Change { from: Some(owner.clone()), ..change(topic, own, "topic-of-another") };
            change.op = Op::Alter;
            change.risk = Risk::Impossible;
            change.note = format!(
                "it belongs to the migration '{owner}': give this one topics of its own (topics.prefix), or give the topic up \
                 there (provision apply --release {topic})"
            );
            Some(change)
        }
        (None, Some(other)) => {
            let mut change = change(topic, own, "topic-shared");
            change.risk = Risk::NeedsFlag;
            change.note = format!(
                "nobody has claimed it, and events of the migration '{other}' lie in it, which will be refused to write there: \
                 topics of its own (topics.prefix) are better"
            );
            Some(change)
        }
        (None, None) => Some(change(topic, own, "topic-unclaimed")),
    }
}

fn change(name: &str, to: Option<String>, reason: &str) -> Change {
    Change {
        kind: Kind::Claim,
        op: Op::Add,
        name: name.to_owned(),
        field: String::new(),
        from: None,
        to,
        reason: reason.to_owned(),
        risk: Risk::Safe,
        way_back: WayBack::Reversible,
        note: String::new(),
    }
}
