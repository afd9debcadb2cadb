//! Applying events to rows, and the snapshot form.
