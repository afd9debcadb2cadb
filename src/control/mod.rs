//! Who may act: the run lock and the journalled steps.
