//! The only room that knows ACC: its mapping.
