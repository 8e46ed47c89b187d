//! What a farm takes in from outside beyond what its schema says. The limits are those of the farm's api, which this room
//! does not know: whoever imports brings them.

use grove_domain::limit::Limit;
use grove_domain::request::Request;
use grove_domain::rule::Rule;
use grove_domain::worker::Worker;

/// Numbers of an import are at most this: no farm counts so far, and every counter goes on from there.
pub(super) const MOST: i64 = 1 << 53;

/// Refuses what the farm's api would refuse, with what is wrong.
pub trait Admission {
    /// Whether a worker may be registered like this.
    ///
    /// # Errors
    /// What is wrong with it.
    fn worker(&self, worker: &Worker) -> Result<(), String>;

    /// Whether a request may be made like this.
    ///
    /// # Errors
    /// What is wrong with it.
    fn request(&self, request: &Request) -> Result<(), String>;

    /// Whether there may be such a rule on inventories.
    ///
    /// # Errors
    /// What is wrong with it.
    fn rule(&self, rule: &Rule) -> Result<(), String>;

    /// Whether a limit may be set like this.
    ///
    /// # Errors
    /// What is wrong with it.
    fn limit(&self, limit: &Limit) -> Result<(), String>;
}

/// Whatever the schema allows: a farm's own rows were admitted once.
pub struct Admitted;

impl Admission for Admitted {
    fn worker(&self, _: &Worker) -> Result<(), String> {
        Ok(())
    }

    fn request(&self, _: &Request) -> Result<(), String> {
        Ok(())
    }

    fn rule(&self, _: &Rule) -> Result<(), String> {
        Ok(())
    }

    fn limit(&self, _: &Limit) -> Result<(), String> {
        Ok(())
    }
}
