//! No gate: this system has no locks of open file descriptions, or was never tried.

use std::convert::Infallible;
use std::path::Path;

use super::Holder;
use crate::base::{Error, Result};

/// There is none.
pub(super) struct Locks(Infallible);

impl Locks {
    pub(super) fn open(store: &Path) -> Result<Self> {
        Err(Error::refused(format!("'{}' cannot be written to beside its programs on this system", store.display()))
            .hint("run this command on Linux, or follow without triggers: --mode reconcile"))
    }

    pub(super) fn reader(&self) -> Result<Option<Holder>> {
        match self.0 {}
    }

    pub(super) fn reader_beside_own(&self) -> Result<Option<Holder>> {
        match self.0 {}
    }

    pub(super) fn alone(&self) -> Result<bool> {
        match self.0 {}
    }

    pub(super) fn close_first(&self) -> Result<bool> {
        match self.0 {}
    }

    pub(super) fn close_others(&self) -> Result<bool> {
        match self.0 {}
    }

    pub(super) fn open_all(&self) -> Result<()> {
        match self.0 {}
    }
}
