//! `crossfade init`: look at a legacy store and write crossfade.yaml, and a mapping where no preset fits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use crossfade::acc;
use crossfade::base::words::counted;
use crossfade::base::{Error, Result};
use crossfade::config::{Postgres, PostgresStore};
use crossfade::mapping::Types;
use crossfade::mapping::init::{Schema, init};
use crossfade::scan::mask;
use serde_json::json;

use crate::context::{command_of, describe_file, describe_server, unsafe_live, write_text};
use crate::error::Exit;
use crate::ui::{Output, Ui};

const EXAMPLES: &str = "\
Examples:
  crossfade init --from sqlite:data/app.db
  crossfade init --from 'postgres://reader@db.example/app?sslmode=verify-full'
  crossfade --config shop/crossfade.yaml init --from sqlite:/var/lib/shop/shop.db --migration shop";

/// Look at a legacy store and write crossfade.yaml, and a mapping where no preset fits
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// The legacy store: sqlite:FILE, or postgres://user@host/database (its password in CROSSFADE_LEGACY_PASSWORD)
    #[arg(long, value_name = "STORE")]
    from: String,
    /// Name of the migration; becomes part of topic names
    #[arg(long, value_name = "NAME")]
    migration: Option<String>,
}

pub(crate) fn run(args: &InitArgs, file: &Path, ui: &Ui) -> Result<Exit> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let from = look(&args.from, folder)?;
    let schema = &from.schema;
    let preset = acc::recognises(&columns(schema));
    let migration = match &args.migration {
        Some(name) => name.clone(),
        None if preset => "acc".to_owned(),
        None => from.name.clone(),
    };
    let mapping_file = file.with_file_name("mapping.yaml");
    for path in [file, mapping_file.as_path()].into_iter().take(if preset { 1 } else { 2 }) {
        if path.exists() {
            return Err(Error::refused(format!("{} exists already", path.display()))
                .hint("move it away, or name another with --config"));
        }
    }
    if !preset && schema.tables.is_empty() {
        let error = Error::refused(format!("'{}' has no table that can be mapped", from.place));
        return Err(match schema.unreadable.first() {
            Some(other) => error.hint(format!("table '{}' cannot be: {}", other.table, other.why)),
            None => error.hint("name the store the legacy system opens, or run this again once its tables are there"),
        });
    }
    let (mapping, mut warnings) = if preset {
        (None, Vec::new())
    } else {
        Some(init(schema, &migration)).map_or((None, Vec::new()), |(text, warnings)| (Some(text), warnings))
    };
    warnings.extend(from.warning.clone());
    if preset && schema.types == Types::Postgres {
        warnings.push(acc::object_set(&schema.views, &from.functions).to_owned());
    }
    let legacy = if preset { "preset: acc" } else { "mapping: mapping.yaml" };
    let place = serde_json::to_string(&from.setting)
        .map_err(|error| Error::failed("the store's place has no text form").because(error))?;
    let text = format!(
        "version: 1\nmigration: {migration}\nlegacy:\n  {legacy}\n  store: {place}\n{}\
         # log:                      # the embedded log in .crossfade/log.db, unless a cluster is named:\n\
         #   kafka: {{bootstrap: [\"127.0.0.1:9092\"]}}\n",
        from.more
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
        ui.line(format!("{}: {what}", from.place))?;
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

/// A store that was looked at.
struct Looked {
    schema: Schema,
    functions: Vec<String>,
    /// For people.
    place: String,
    /// As crossfade.yaml says it.
    setting: String,
    /// Further lines under `legacy`.
    more: String,
    /// A migration's name made of the store's.
    name: String,
    warning: Option<String>,
}

fn look(from: &str, folder: &Path) -> Result<Looked> {
    match from.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => look_at_file(Path::new(path), folder),
        Some(("postgres" | "postgresql", _)) => look_at_server(from, folder),
        _ => {
            let message = format!("'--from' is sqlite:FILE or postgres://user@host/database, found '{}'", mask(from));
            let hint = match from.split_once(':') {
                None if !from.is_empty() => format!("write --from sqlite:{from}"),
                Some(("files" | "http" | "https", _)) => format!(
                    "it is the same for all of these: write crossfade.yaml with version: 1, migration: NAME, legacy: {{preset: acc, store: \"{}\"}}",
                    mask(from)
                ),
                _ => "it looks at SQLite files and PostgreSQL schemas".to_owned(),
            };
            Err(Error::config(message).hint(hint))
        }
    }
}

fn look_at_file(store: &Path, folder: &Path) -> Result<Looked> {
    if !store.exists() {
        let message = format!("there is no file '{}'", store.display());
        return Err(Error::connect(message).hint("check the path; a relative one starts at the current folder"));
    }
    Ok(Looked {
        schema: describe_file(store)?,
        functions: Vec::new(),
        place: store.display().to_string(),
        setting: format!("sqlite:{}", relative(store, folder).display()),
        more: String::new(),
        name: name_of(store),
        warning: unsafe_live(store),
    })
}

/// The password comes from its variable: there is no crossfade.yaml yet that could name a file.
fn look_at_server(from: &str, folder: &Path) -> Result<Looked> {
    let place = Postgres::parse(from, folder, PASSWORD).map_err(|(message, hint)| {
        let error = Error::config(format!("'--from': {message}"));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    let (schema, functions) = describe_server(&PostgresStore {
        place: place.clone(),
        password_file: None,
        password_variable: PASSWORD,
        statement_timeout_ms: 60_000,
        slot_mb: (0, 0),
    })?;
    Ok(Looked {
        schema,
        functions,
        place: place.describe(),
        setting: from.to_owned(),
        more: format!("  # password_file: FILE      # or the variable {PASSWORD}\n"),
        name: name_of(Path::new(&place.database)),
        warning: None,
    })
}

const PASSWORD: &str = "CROSSFADE_LEGACY_PASSWORD";

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
