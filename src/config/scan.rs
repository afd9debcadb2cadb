//! What is done with credentials in the legacy's text, and which of them somebody answers for.

use super::effective::{Loader, Origin};
use super::raw::RawScan;
use crate::base::Result;
use crate::base::yaml::{self, Spanned};
use crate::scan::{Accepted, Mode, RULES};

/// The scan's settings.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    pub mode: Mode,
    pub ignore: Vec<Accepted>,
}

impl Loader<'_> {
    pub(super) fn scan(&mut self, raw: &RawScan) -> Result<Scan> {
        let (word, at) = self.setting("scan.mode", "CROSSFADE_SCAN_MODE", raw.mode.as_ref(), Mode::default().word());
        let Some(mode) = Mode::parse(&word) else {
            return Err(self.refuse(at, &format!("'scan.mode' is one of {}, found '{word}'", Mode::WORDS.join(", "))));
        };
        let mut ignore = Vec::with_capacity(raw.ignore.len());
        for Spanned { value: rule, .. } in &raw.ignore {
            if !RULES.iter().any(|known| known.name == rule.rule.value) {
                let message = format!("the scan has no rule '{}'", rule.rule.value);
                let error = yaml::refuse_at(&self.name, &rule.rule, message);
                return Err(match yaml::nearest(&rule.rule.value, RULES.iter().map(|known| known.name)) {
                    Some(word) => error.hint(format!("did you mean '{word}'?")),
                    None => error.hint("docs/config.md has the rules"),
                });
            }
            self.answered(&rule.reason, &rule.owner, &rule.expires)?;
            let column = format!("{}.{}", rule.table.value, rule.column.value);
            let text = format!("{} in {column} until {}", rule.rule.value, rule.expires.value);
            self.note("scan.ignore", &text, Origin::File);
            ignore.push(Accepted {
                rule: rule.rule.value.clone(),
                table: rule.table.value.clone(),
                column: rule.column.value.clone(),
                reason: rule.reason.value.clone(),
                owner: rule.owner.value.clone(),
                expires: rule.expires.value.clone(),
            });
        }
        Ok(Scan { mode, ignore })
    }
}
