//! crossfade.yaml: what a migration is made of.
