//! Telling what looks like a credential: at the end of a run, and as findings of a report.

use crossfade::base::Result;
use crossfade::base::words::counted;
use crossfade::diff::{Finding, Severity};
use crossfade::scan::{Found, Mode};
use serde_json::json;

use crate::context::{Context, today};

/// Lines of a result.
pub(crate) fn tell(context: &Context, found: &[Found]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    context.ui.line(summary(context, found))?;
    for found in found {
        context.ui.line(format!("  {}", found.sentence()))?;
    }
    Ok(())
}

/// One line for all of it.
pub(crate) fn summary(context: &Context, found: &[Found]) -> String {
    let values = found.iter().map(|found| found.values).sum();
    let what = match context.screen.mode() {
        Mode::Report => "copied as they are (scan.mode is report)",
        Mode::Refuse => "their rows refused",
        Mode::Redact => "taken out",
    };
    format!("what looks like credentials: {}, {what}", counted(values, "value"))
}

pub(crate) fn json(context: &Context, found: &[Found]) -> serde_json::Value {
    json!({"mode": context.screen.mode(), "found": found})
}

/// What was found in the rows of this run, and the ignore rules in force.
pub(crate) fn findings(context: &Context, found: &[Found]) -> Vec<Finding> {
    let mode = context.screen.mode();
    let (code, severity, what) = match mode {
        Mode::Report => ("credential", Severity::Warning, "looks like a credential, copied as it is"),
        Mode::Refuse => ("credential-refused", Severity::Warning, "looks like a credential, refused"),
        Mode::Redact => {
            ("credential-redacted", Severity::Note, "looks like a credential, taken out and compared without it")
        }
    };
    let mut findings: Vec<Finding> =
        found.iter().map(|found| Finding { code, severity, text: format!("{what}: {}", found.sentence()) }).collect();
    let today = today();
    for rule in &context.config.scan.ignore {
        let (what, until) = (format!("{} in {}.{}", rule.rule, rule.table, rule.column), &rule.expires);
        findings.push(if rule.expired(&today) {
            let text = format!("the scan's ignore rule for {what} expired on {until} (owner {})", rule.owner);
            Finding { code: "scan-rule-expired", severity: Severity::Failure, text }
        } else {
            let text = format!("{what} is let through until {until}: {} (owner {})", rule.reason, rule.owner);
            Finding { code: "scan-rule", severity: Severity::Note, text }
        });
    }
    findings
}
