//! `crossfade init`: look at a legacy store and write crossfade.yaml, and a mapping where no preset fits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use crossfade::acc;
use crossfade::base::words::counted;
use crossfade::base::{Error, Result};
use crossfade::mapping::init::{Schema, init};
use serde_json::json;

use crate::context::{command_of, describe_store, unsafe_live, write_text};
use crate::error::Exit;
use crate::ui::{Output, Ui};

const EXAMPLES: &str = "\
Examples:
  crossfade init --from sqlite:data/app.db
  crossfade --config shop/crossfade.yaml init --from sqlite:/var/lib/shop/shop.db --migration shop";

/// Look at a legacy store and write crossfade.yaml, and a mapping where no preset fits
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// The legacy store: sqlite:FILE
    #[arg(long, value_name = "STORE")]
    from: String,
    /// Name of the migration; becomes part of topic names
    #[arg(long, value_name = "NAME")]
    migration: Option<String>,
}

pub(crate) fn run(args: &InitArgs, file: &Path, ui: &Ui) -> Result<Exit> {
    let store = match args.from.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => PathBuf::from(path),
        _ => {
            let message = format!("'--from' is sqlite:FILE, found '{}'", args.from);
            let hint = match args.from.split_once(':') {
                None if !args.from.is_empty() => format!("write --from sqlite:{}", args.from),
                _ => "this version reads SQLite files; other kinds of stores come later".to_owned(),
            };
            return Err(Error::config(message).hint(hint));
        }
    };
    if !store.exists() {
        let message = format!("there is no file '{}'", store.display());
        return Err(Error::connect(message).hint("check the path; a relative one starts at the current folder"));
    }
    let schema = describe_store(&store)?;
    let preset = acc::recognises(&columns(&schema));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let migration = match &args.migration {
        Some(name) => name.clone(),
        None if preset => "acc".to_owned(),
        None => name_of(&store),
    };
    let mapping_file = file.with_file_name("mapping.yaml");
    for path in [file, mapping_file.as_path()].into_iter().take(if preset { 1 } else { 2 }) {
        if path.exists() {
            return Err(Error::refused(format!("{} exists already", path.display()))
                .hint("move it away, or name another with --config"));
        }
    }
    if !preset && schema.tables.is_empty() {
        return Err(Error::refused(format!("'{}' has no table that can be mapped", store.display()))
            .hint("name the file the legacy system opens, or run this again once its tables are there"));
    }
    let (mapping, mut warnings) = if preset {
        (None, Vec::new())
    } else {
        Some(init(&schema, &migration)).map_or((None, Vec::new()), |(text, warnings)| (Some(text), warnings))
    };
    warnings.extend(unsafe_live(&store));
    let legacy = if preset { "preset: acc" } else { "mapping: mapping.yaml" };
    let place = serde_json::to_string(&format!("sqlite:{}", relative(&store, folder).display()))
        .map_err(|error| Error::failed("the store's path has no text form").because(error))?;
    let text = format!(
        "version: 1\nmigration: {migration}\nlegacy:\n  {legacy}\n  store: {place}\n\
         # log:                      # the embedded log in .crossfade/log.db, unless a cluster is named:\n\
         #   kafka: {{bootstrap: [\"127.0.0.1:9092\"]}}\n"
    );
    crossfade::config::Config::load(file, &text, &|_| None)?;
    if let Some(mapping) = &mapping {
        write_text(&mapping_file, mapping)?;
    }
    write_text(file, &text)?;
    if ui.output == Output::Table {
        let what = if preset {
            "an ACC store, for which there is a preset".to_owned()
        } else {
            format!("{}, mapped in {}", counted(schema.tables.len() as u64, "table"), mapping_file.display())
        };
        ui.line(format!("{}: {what}", store.display()))?;
        for warning in &warnings {
            ui.line(format!("warning: {warning}"))?;
        }
        ui.line(format!("written: {}", file.display()))?;
        ui.note(format!("next: {}", command_of(file, "provision apply")));
    } else {
        let files: Vec<&Path> =
            [Some(file), mapping.is_some().then_some(mapping_file.as_path())].into_iter().flatten().collect();
        ui.json(
            &json!({"schema_version": 1, "preset": preset.then_some("acc"), "files": files, "warnings": warnings}),
        )?;
    }
    Ok(Exit::Good)
}

fn columns(schema: &Schema) -> BTreeMap<String, Vec<String>> {
    let names = |table: &crossfade::mapping::init::TableSchema| {
        table.columns.iter().map(|column| column.name.clone()).collect()
    };
    schema.tables.iter().map(|table| (table.name.clone(), names(table))).collect()
}

/// A migration's name made of the file's.
fn name_of(store: &Path) -> String {
    let stem = store.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let legal =
        |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' { letter } else { '-' };
    let name: String = stem.chars().map(legal).take(60).collect();
    if name.is_empty() { "migration".to_owned() } else { name }
}

/// The store's path as the config should say it: relative to the config's folder where it lies below, else absolute.
fn relative(store: &Path, folder: &Path) -> PathBuf {
    let absolute = |path: &Path| std::fs::canonicalize(path).ok();
    match (absolute(store), absolute(folder)) {
        (Some(store), Some(folder)) => store.strip_prefix(&folder).map(Path::to_owned).unwrap_or(store),
        (Some(store), None) => store,
        _ => store.to_owned(),
    }
}
