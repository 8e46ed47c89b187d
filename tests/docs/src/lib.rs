//! Holds README, docs and examples to what the product does: every command that they show is run, every file that
//! they quote is the file, every link leads somewhere. All of it is in `tests/docs`.
//!
//! What must never happen here: a shown command that is passed over in silence.
