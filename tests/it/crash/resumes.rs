//! More than one kill in one migration, and the lock a killed run leaves behind.

use crate::support::cli::Log;
use crate::support::crash::{Trial, bring_back, take_away};

#[test]
fn i02_a_row_that_goes_and_comes_back_the_same_has_a_new_event_each_time() {
    let trial = Trial::new(Log::Embedded, 3);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    for _ in 0..3 {
        bring_back(&trial.migration.legacy());
        trial.expect(&["replay"], 0);
        take_away(&trial.migration.legacy());
        trial.expect(&["replay"], 0);
    }
    bring_back(&trial.migration.legacy());
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}
