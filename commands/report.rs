//! Report files, common to every command that compares.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use crossfade::base::{Error, Result};
use crossfade::diff::Outcome;
use crossfade::report::{Format, render, table};

use crate::context::Context;
use crate::ui::{Output, Ui};

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ReportArgs {
    /// Also write a report: junit, md, html, json, ndjson or table; repeatable
    #[arg(long, value_name = "KIND=FILE", value_parser = parse)]
    report: Vec<(Format, PathBuf)>,
}

fn parse(text: &str) -> std::result::Result<(Format, PathBuf), String> {
    let (kind, file) = text.split_once('=').ok_or("write KIND=FILE, as html=diff.html")?;
    Ok((kind.parse().map_err(|error: Error| error.to_string())?, PathBuf::from(file)))
}

/// Report files, opened.
pub(crate) struct Reports(Vec<(Format, PathBuf, std::fs::File)>);

impl ReportArgs {
    pub(crate) fn open(&self, context: &Context) -> Result<Reports> {
        let open = |(format, path): &(Format, PathBuf)| Ok((*format, path.clone(), context.create_output(path)?));
        Ok(Reports(self.report.iter().map(open).collect::<Result<_>>()?))
    }
}

impl Reports {
    /// Writes the outcome to stdout, then every report file; one that cannot be written keeps no other from being.
    pub(crate) fn write(self, outcome: &Outcome, ui: &Ui) -> Result<()> {
        let mut result = ui.result(&match ui.output {
            Output::Table => table::render(outcome, table::Style { color: ui.color, width: ui.width() }),
            Output::Json => render(outcome, Format::Json),
            Output::Ndjson => render(outcome, Format::Ndjson),
        });
        for (format, path, mut file) in self.0 {
            match file.write_all(&render(outcome, format)) {
                Ok(()) => ui.note(format!("report written: {}", path.display())),
                Err(error) => {
                    let message = format!("report {} could not be written", path.display());
                    result = result.and(Err(Error::failed(message)
                        .hint("the verdict above stands; run the same command again for the report")
                        .because(error)));
                }
            }
        }
        result
    }
}
