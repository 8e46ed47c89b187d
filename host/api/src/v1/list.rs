//! What a list is asked for, and how it is answered.

use axum::response::Response;
use http::{HeaderName, StatusCode};

use super::answer::{Failure, json};
use super::golang::{self, Error, Value, fields, number, text};
use super::pick::Window;

/// Items of one page at most, and when none are asked for.
const LIMIT: u64 = u16::MAX as u64;

/// The parts of a list specification that both lists have. `P` is the type of an anchor.
#[derive(Debug)]
pub(super) struct Spec {
    /// Word in lower case; empty = by id.
    pub(super) item: String,
    /// How to cut.
    pub(super) window: Window,
    /// As sent: number or text.
    pub(super) anchor: Anchor,
}

/// The item that the page is next to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Anchor {
    /// Of a list of requests; 0 = none.
    pub(super) number: u64,
    /// Of a list of workers; empty = none.
    pub(super) text: String,
}

/// Reads `{"Filter":…,"Sorter":…,"Paginator":…}`; `filter` is given what its field holds.
pub(super) fn read<'a>(
    value: &Value<'a>,
    numbers: bool,
    mut filter: impl FnMut(&Value<'a>) -> Result<(), Error>,
) -> Result<Spec, Error> {
    let mut spec = Spec {
        item: String::new(),
        window: Window { forward: true, descending: false, limit: 0 },
        anchor: Anchor::default(),
    };
    fields(value, "list specification", &["Filter", "Sorter", "Paginator"], |field, value| match field {
        0 => filter(value),
        1 => sorter(value, &mut spec),
        _ => paginator(value, numbers, &mut spec),
    })?;
    if spec.window.limit == 0 {
        spec.window.limit = usize::from(u16::MAX);
    }
    Ok(spec)
}

fn sorter(value: &Value<'_>, spec: &mut Spec) -> Result<(), Error> {
    if *value == Value::Null {
        (spec.item, spec.window.descending) = (String::new(), false);
    }
    fields(value, "Sorter", &["Item", "Order"], |field, value| {
        if field == 0 {
            text(value, "Item", &mut spec.item)?;
            spec.item = spec.item.to_lowercase();
            return Ok(());
        }
        let mut order = if spec.window.descending { "descending" } else { "" }.to_owned();
        text(value, "Order", &mut order)?;
        spec.window.descending = match order.to_lowercase().as_str() {
            "" | "ascending" => false,
            "descending" => true,
            _ => return Err("unknown sort order (valid: ascending or descending)".into()),
        };
        Ok(())
    })
}

fn paginator(value: &Value<'_>, numbers: bool, spec: &mut Spec) -> Result<(), Error> {
    if *value == Value::Null {
        (spec.anchor, spec.window.forward, spec.window.limit) = (Anchor::default(), true, 0);
    }
    fields(value, "Paginator", &["ID", "Direction", "Limit"], |field, value| match field {
        0 if numbers => number(value, "ID", u64::MAX, &mut spec.anchor.number),
        0 => text(value, "ID", &mut spec.anchor.text),
        1 => {
            let mut direction = if spec.window.forward { "" } else { "backward" }.to_owned();
            text(value, "Direction", &mut direction)?;
            spec.window.forward = match direction.to_lowercase().as_str() {
                "" | "forward" => true,
                "backward" => false,
                _ => return Err("unknown direction (valid: forward or backward)".into()),
            };
            Ok(())
        }
        _ => {
            let mut limit = spec.window.limit as u64;
            number(value, "Limit", LIMIT, &mut limit)?;
            spec.window.limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Ok(())
        }
    })
}

pub(super) fn unknown_item() -> Failure {
    Failure::Invalid("unknown name of item by which list should be sorted".into())
}

/// The list that was asked for; none when nothing was.
pub(super) fn optional(body: &[u8]) -> Result<Value<'_>, Failure> {
    Ok(golang::parse(body)?.unwrap_or(Value::Null))
}

/// An array of `batch` items as written in `items`.
pub(super) fn answer(items: Vec<u8>, batch: usize, total: usize, remaining: usize) -> Response {
    let mut response = json(StatusCode::OK, items);
    let headers = response.headers_mut();
    for (name, number) in [
        ("boruta-list-total", total),
        ("boruta-list-remaining", remaining),
        ("boruta-list-batch-size", batch),
    ] {
        headers.insert(HeaderName::from_static(name), number.into());
    }
    response
}

/// Writes an array.
pub(super) fn array<T>(
    items: impl ExactSizeIterator<Item = T>,
    each: usize,
    mut write: impl FnMut(&mut Vec<u8>, T),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + items.len() * each);
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(&mut out, item);
    }
    out.push(b']');
    out
}

/// Passes over more items than this are left to a thread that may take its time.
const LONG: usize = 4096;

/// Runs `work`, which passes over `items` items, without keeping others from being served.
pub(super) async fn aside<T: Send + 'static>(
    items: usize,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    if items <= LONG {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Failure::Invalid("the server is shutting down".into())),
        },
    }
}
