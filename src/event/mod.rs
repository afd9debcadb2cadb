//! Events: envelope, identity, exact row images.

pub mod codec;
pub mod decode;
pub mod encode;
pub mod envelope;
pub mod id;
mod in_order;
pub mod partition;
pub mod partitioners;
pub mod schema;
pub mod sequence;
pub mod time;
mod upcast;

pub use decode::{Decoder, RowEvent};
pub use encode::Encoder;
pub use envelope::{Envelope, Op, Stamp, Whose, migration_of};
pub use sequence::Sequence;
