//! Report files, common to every command that compares.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use crossfade::base::{Error, Result};
use crossfade::diff::Outcome;
use crossfade::report::{Format, render, table};

use crate::context::create_output;
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
    pub(crate) fn open(&self) -> Result<Reports> {
        let open = |(format, path): &(Format, PathBuf)| Ok((*format, path.clone(), create_output(path)?));
        Ok(Reports(self.report.iter().map(open).collect::<Result<_>>()?))
    }
}

impl Reports {
    /// Writes every report file, and the outcome to stdout.
    pub(crate) fn write(self, outcome: &Outcome, ui: &Ui) -> Result<()> {
        for (format, path, mut file) in self.0 {
            file.write_all(&render(outcome, format)).map_err(|error| {
                Error::failed(format!("report {} could not be written", path.display())).because(error)
            })?;
            ui.note(format!("report written: {}", path.display()));
        }
        ui.result(&match ui.output {
            Output::Table => table::render(outcome, table::Style { color: ui.color, width: ui.width() }),
            Output::Json => render(outcome, Format::Json),
            Output::Ndjson => render(outcome, Format::Ndjson),
        })
    }
}
