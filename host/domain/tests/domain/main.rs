//! The rules of a farm, tested from outside.

mod wants;
