//! The answer of a comparison; never green when nothing was compared.

use serde::{Deserialize, Serialize};

/// PASS, FAIL or INCONCLUSIVE, ordered by what wins when verdicts are joined: a found difference
/// beats a missing comparison, which beats equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Pass,
    Inconclusive,
    Fail,
}

impl Verdict {
    /// The worse of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Fail => "FAIL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Fail, Inconclusive, Pass};

    #[test]
    fn a_difference_wins_over_a_gap_and_a_gap_over_equality() {
        assert_eq!(Pass.and(Inconclusive), Inconclusive);
        assert_eq!(Inconclusive.and(Fail), Fail);
        assert_eq!(Pass.and(Pass), Pass);
    }
}
