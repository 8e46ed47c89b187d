//! What the engine promises, on paused time.

mod kit;

mod installs;

mod inputs;

mod restarts;

mod bounces;

mod uninstalls;

mod stops;

mod fatal;

mod misuse;

mod reports;

mod configs;

mod leaks;

mod anything;
