//! The server as clients meet it: a real controller on surroundings in memory.

mod kit;

mod golden;
