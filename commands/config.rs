//! `crossfade config`: effective values and where each came from.

use std::path::Path;

use clap::Args;
use crossfade::base::Result;
use crossfade::config::Origin;
use crossfade::report::table::grid;
use serde_json::json;

use crate::context::load_config;
use crate::error::Exit;
use crate::ui::{Output, Ui};

/// Show the settings in force and where each came from, secrets masked
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {}

pub(crate) fn run(_args: &ConfigArgs, file: &Path, ui: &Ui) -> Result<Exit> {
    let config = load_config(file)?;
    let origin = |origin: &Origin| match origin {
        Origin::Default => "default".to_owned(),
        Origin::File => file.display().to_string(),
        Origin::Environment(name) => format!("environment {name}"),
    };
    if ui.output == Output::Table {
        let rows: Vec<Vec<String>> = config
            .effective
            .iter()
            .map(|setting| vec![setting.name.into(), setting.value.clone(), origin(&setting.origin)])
            .collect();
        ui.line(grid(&["setting", "value", "from"], &rows, ui.width()))?;
    } else {
        let settings: Vec<_> = config
            .effective
            .iter()
            .map(|setting| json!({"name": setting.name, "value": setting.value, "origin": origin(&setting.origin)}))
            .collect();
        ui.json(&json!({"schema_version": 1, "settings": settings}))?;
    }
    Ok(Exit::Good)
}
