//! Ignore rules: differences somebody answers for, until a day.

use super::Ignored;

impl Ignored {
    /// Whether the rule's last day has passed; `today` is `YYYY-MM-DD`.
    pub fn expired(&self, today: &str) -> bool {
        self.expires.as_str() < today
    }
}

/// The reasons that explain a row changed in exactly these columns; `None` when one column has no rule in force.
pub fn explain(rules: &[Ignored], table: &str, columns: &[&str], today: &str) -> Option<String> {
    let mut reasons: Vec<&str> = Vec::new();
    for column in columns {
        let fits = |rule: &&Ignored| rule.table == table && rule.column == *column && !rule.expired(today);
        let reason = &rules.iter().find(fits)?.reason;
        if !reasons.contains(&reason.as_str()) {
            reasons.push(reason);
        }
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_whose_every_column_has_a_rule_in_force_is_explained() {
        let rule = |column: &str, expires: &str| Ignored {
            table: "t".into(),
            column: column.into(),
            reason: format!("{column} drifts"),
            owner: "ops".into(),
            expires: expires.into(),
        };
        let rules = [rule("a", "2026-12-31"), rule("b", "2026-11-22")];
        let explain = |columns: &[&str], today| explain(&rules, "t", columns, today);
        assert_eq!(explain(&["a"], "2026-11-23").as_deref(), Some("a drifts"));
        assert_eq!(explain(&["a", "b"], "2026-11-23"), None);
        assert_eq!(explain(&["a", "b"], "2026-11-22").as_deref(), Some("a drifts; b drifts"));
        assert_eq!(explain(&["c"], "2026-11-23"), None);
        assert_eq!(explain(&[], "2026-11-23"), None);
    }
}
