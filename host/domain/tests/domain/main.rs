//! The rules of a farm, tested from outside.

mod fixtures;

mod matching;
mod matching_model;
mod wants;
