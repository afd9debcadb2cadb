//! The transfer of a session, and the value of its event.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};

/// A system that may own a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Legacy,
    Events,
}

impl Side {
    pub fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Events => "events",
        }
    }
}

/// One transfer of a session; the record's key names the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub to: Side,
    /// One more than the session's last transfer had.
    pub epoch: u64,
}

/// The newest form of the value.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    to: Side,
    epoch: u64,
}

impl Transfer {
    pub fn write(self) -> Result<Vec<u8>> {
        serde_json::to_vec(&Written { v: VERSION, to: self.to, epoch: self.epoch })
            .map_err(|error| Error::failed("a transfer has no JSON form").because(error))
    }

    pub fn read(value: &[u8]) -> Result<Self> {
        let unreadable = |error| {
            Error::corrupt("a transfer of ownership cannot be read")
                .hint("was it written by a newer crossfade? Then use that one")
                .because(error)
        };
        let written: Written = serde_json::from_slice(value).map_err(unreadable)?;
        if written.v != VERSION {
            let message =
                format!("a transfer of ownership has version {}; this tool reads version {VERSION}", written.v);
            return Err(Error::refused(message).hint("use the tool version that wrote it, or a newer one"));
        }
        Ok(Self { to: written.to, epoch: written.epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn a_transfer_is_read_as_it_was_written() {
        let transfer = Transfer { to: Side::Events, epoch: 7 };
        let value = transfer.write().unwrap();
        assert_eq!(value, br#"{"v":1,"to":"events","epoch":7}"#);
        assert_eq!(Transfer::read(&value).unwrap(), transfer);
        for (value, kind) in [
            (r#"{"v":2,"to":"events","epoch":7}"#, Kind::Refused),
            (r#"{"v":1,"to":"both","epoch":7}"#, Kind::Corrupt),
            (r#"{"v":1,"to":"events","epoch":7,"share":50}"#, Kind::Corrupt),
            (r#"{"v":1,"to":"events","epoch":-1}"#, Kind::Corrupt),
        ] {
            assert_eq!(Transfer::read(value.as_bytes()).map_err(|error| error.kind()), Err(kind), "{value}");
        }
    }
}
