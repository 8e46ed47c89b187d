//! The whole of Grove, from outside: real processes, real ssh, real crashes. The tests are in `tests/e2e`; what they
//! stand on is in `grove-tests-kit`.
//!
//! What must never happen here: a look into the controller by another way than its own interfaces; a test that leaves
//! a process, a file or a user behind.
