//! Whether two versions of a JSON Schema go together, judged here. Pure.
//!
//! A verdict is never a guess: `Compatible` is proven keyword by keyword, `Incompatible` has an instance that one schema
//! takes and the other does not, and everything else is `Unknown`.

mod instance;
mod proof;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use proof::{Case, Gap, Node};

/// A registry's compatibility level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }

    /// Whether every older version counts, not the latest only.
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    fn is_backward(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

/// The answer to whether a schema may follow the ones before it, with the reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    Compatible,
    Incompatible(Vec<String>),
    /// It could not be told.
    Unknown(Vec<String>),
}

/// Judges `new` against `older`, the latest last. Of them only the latest counts where the level is not transitive.
pub fn judge(level: Level, new: &Json, older: &[&Json]) -> Judgement {
    let from = if level.is_transitive() { 0 } else { older.len().saturating_sub(1) };
    let (mut broken, mut unknown) = (Vec::new(), Vec::new());
    for old in &older[from..] {
        let backward = level.is_backward().then(|| follows(old, new, "the new schema"));
        let forward = level.is_forward().then(|| follows(new, old, "the old schema"));
        for judgement in [backward, forward].into_iter().flatten() {
            match judgement {
                Judgement::Compatible => {}
                Judgement::Incompatible(reasons) => broken.extend(reasons),
                Judgement::Unknown(reasons) => unknown.extend(reasons),
            }
        }
    }
    for reasons in [&mut broken, &mut unknown] {
        let mut seen = std::collections::BTreeSet::new();
        reasons.retain(|reason| seen.insert(reason.clone()));
    }
    match (broken.is_empty(), unknown.is_empty()) {
        (false, _) => Judgement::Incompatible(broken),
        (true, false) => Judgement::Unknown(unknown),
        (true, true) => Judgement::Compatible,
    }
}

/// Whether `reader` takes every instance of `writer`. `name` is what a reason calls the reader.
fn follows(writer: &Json, reader: &Json, name: &str) -> Judgement {
    if writer == reader {
        return Judgement::Compatible;
    }
    let (from, to) = (Node::root(writer), Node::root(reader));
    let gaps = match proof::cases(&[from], 0) {
        Ok(cases) => {
            let gaps: Vec<Gap> = cases.iter().flat_map(|case| proof::covers(case, to, "", 0)).collect();
            if gaps.is_empty() {
                return Judgement::Compatible;
            }
            if let Some(witness) = witness(&cases, from, to) {
                let mut reasons = words(&gaps, name);
                reasons.push(format!("an example that {name} refuses: {witness}"));
                return Judgement::Incompatible(reasons);
            }
            gaps
        }
        Err(gap) => vec![gap],
    };
    Judgement::Unknown(words(&gaps, name))
}

fn words(gaps: &[Gap], name: &str) -> Vec<String> {
    gaps.iter()
        .map(|gap| {
            let place = if gap.path.is_empty() { "at the top".to_owned() } else { format!("at {}", gap.path) };
            format!("{place}: {}", gap.what.replace("{reader}", name))
        })
        .collect()
}

/// An instance that `from` takes and `to` does not.
fn witness(cases: &[Case<'_>], from: Node<'_>, to: Node<'_>) -> Option<Json> {
    let pool = instance::Pool::of(&[from, to]);
    let tried = cases.iter().flat_map(|case| instance::samples(case, &pool, 0));
    tried
        .into_iter()
        .find(|sample| instance::valid(from, sample, 0) == Some(true) && instance::valid(to, sample, 0) == Some(false))
}
