//! Events: their JSON Schemas, ids and row images, and how strictly they are read.

mod codec;
mod given;
mod golden;
mod headers;
mod ids;
mod schema;
mod strict;
