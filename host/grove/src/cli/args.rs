//! Arguments that several commands share.

use clap::Args;
use grove_client::wire::{Span, Timestamp, Uuid};
use jiff::SignedDuration;

use super::clock;
use super::config;

/// Which request.
#[derive(Debug, Args)]
pub(crate) struct RequestId {
    /// Number of the request
    #[arg(env = "GROVE_REQUEST", hide_env_values = true, value_name = "REQUEST")]
    pub(crate) request: u64,
}

/// Which worker.
#[derive(Debug, Args)]
pub(crate) struct WorkerId {
    /// UUID of the worker
    #[arg(env = "GROVE_WORKER", hide_env_values = true, value_name = "WORKER")]
    pub(crate) worker: Uuid,
}

/// What a user wants, in the words that `request create`, `run` and `ssh` share.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// What the board must have: camera, !camera, board=rpi4, baud=57600,115200, uart=2.., lab!=berlin; none = any
    #[arg(value_name = "TERM")]
    pub(crate) terms: Vec<String>,
    /// How long the job may run, like 90s, 30m, 1h30m [default: the farm's]
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) length: Option<Span>,
    /// Place in the queue: 1 (first) to 16
    #[arg(
        long,
        value_name = "N",
        default_value_t = grove_client::wire::limits::PRIORITY_DEFAULT,
        value_parser = clap::value_parser!(u8).range(1..=16)
    )]
    pub(crate) priority: u8,
    /// For the farm's policy
    #[arg(long = "hint", value_name = "KEY=VALUE", value_parser = config::pair)]
    pub(crate) hints: Vec<(String, String)>,
}

/// A time: RFC 3339, or a length from now.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let span: Span = text
        .parse()
        .map_err(|_| "expected a time like 2026-01-31T12:00:00Z, or a length from now like 2h".to_owned())?;
    let length = SignedDuration::try_from(span.duration()).map_err(|error| error.to_string())?;
    clock::now().checked_add(length).map_err(|error| error.to_string())
}

/// A word of the wire (a state, a kind), as its type writes it.
pub(crate) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

/// The wire's word for a state or kind.
pub(crate) fn wire_word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
