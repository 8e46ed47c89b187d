//! The rules of a farm, and nothing else.
//!
//! Everything here is a value or a pure function: what a worker, a request, a job and a task are, which events move
//! them, who may use what, and which worker fits which request. Time, randomness and new ids are always inputs.
//!
//! What must never happen here: I/O, a clock, a random number, async code, serialisation of any kind, a lock.

pub mod id;
pub mod moment;

pub mod capability;
pub mod group;
pub mod wants;

pub mod task;

pub mod instance;
pub mod limit;
pub mod mode;

pub mod worker;

pub mod request;

pub mod plugin;

pub mod inventory;

pub mod introspection;

pub mod rule;

pub mod matching;

pub mod event;

pub mod change;
pub mod history;
