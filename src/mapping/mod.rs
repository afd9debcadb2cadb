//! From tables to events: exact values, which table goes where, and the rules a row must keep.

mod check;
pub mod fit;
pub mod init;
mod key;
mod model;
mod parse;
mod types;
pub mod value;

pub use check::Broken;
pub use key::KeyText;
pub use model::{
    Column, EventTypes, FOREIGN_SETTLED, FOREIGN_WRITE, Key, Mapping, OWN_TYPES, OWNERSHIP, PROBE, Rule, Table,
    Through, Topic, UpdateType, Use,
};
use parse::is_kept;
pub use parse::{Raw, RawTable, RawThrough};
pub use types::{Carried, Declared, Types};
pub use value::{Row, Rows, Value};
