//! One test or more for each guest, and for what holds whichever guest it is.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod cache;
mod cancellation;
mod drivers;
mod hostile_drivers;
mod inspectors;
mod loading;
mod policies;
mod shipped;

use grove_tests_conformance::guests;

/// Every guest has a test whose name begins with the guest's.
#[test]
fn no_guest_without_a_test() {
    let tests = [
        include_str!("cancellation.rs"),
        include_str!("drivers.rs"),
        include_str!("hostile_drivers.rs"),
        include_str!("inspectors.rs"),
        include_str!("loading.rs"),
        include_str!("policies.rs"),
    ]
    .concat();
    let mut number = 0;
    for entry in std::fs::read_dir(guests().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().unwrap().to_str().unwrap().replace('-', "_");
            assert!(tests.contains(&format!("fn {name}_")), "guest {name} has no test `fn {name}_…`");
            number += 1;
        }
    }
    assert!(number >= 20, "only {number} guests were built");
}
