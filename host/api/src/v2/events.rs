//! `/api/v2/events`: a page of history, or a stream that goes on from it without gap or double.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use grove_control::ports::EventQuery;
use grove_domain::event::{Event, Subject};
use grove_wire::{Code, Page, Problem};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::input::{Query, Served, bad_query};
use super::refuse::Refuse;
use super::{revision, show};
use crate::app::App;
use crate::front::Front;

/// Events read from the store at a time.
const BATCH: usize = 256;
/// Bytes of a piece of the stream from which on it is sent, though more events may be there already.
const PIECE: usize = 64 << 10;
/// A stream that has nothing to say says so this often, so that both ends know that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Query: `after` (or `cursor`), `subject`, `kind`, and `order` (asc, desc) and `limit` for pages.
pub(crate) async fn events(
    State(front): State<Front>,
    Served(app): Served,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let (after, cursor) = (query.number("after")?, query.number("cursor")?);
    let newest_first = query.descending()?;
    if after.is_some() && cursor.is_some() && !newest_first {
        return Err(bad_query("cursor", "after says the same: give one of them"));
    }
    let subject = query.parse::<Subject>("subject")?;
    let kind = query.text("kind")?;
    let limit = query.limit()?;
    query.done()?;
    let wants_stream = headers.get_all(ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| {
            accept.split(',').any(|kind| kind.trim().to_ascii_lowercase().starts_with("text/event-stream"))
        })
    });
    if !wants_stream {
        // A cursor is where the page before ended.
        let (after, before) = if newest_first { (after, cursor) } else { (after.or(cursor), None) };
        let after = after.unwrap_or(0);
        return page(&app, EventQuery { after, before, newest_first, subject, kind, limit }).await;
    }
    if newest_first {
        return Err(bad_query("order", "a stream goes on with what happens: leave it out"));
    }
    let after = after.or(cursor);
    let resumed = last_event_id(&headers)?;
    open(&front, app, resumed.or(after), subject, kind)
}

/// Where a stream that broke was.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refuse> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.trim().parse().ok()) {
        Some(seq) => Ok(Some(seq)),
        None => {
            let problem = Problem::new(Code::InvalidHeader, "Last-Event-ID must be the number of an event");
            Err(problem.hint("send the id of the last event, or leave it out").field("Last-Event-ID").into())
        }
    }
}

async fn page(app: &App, query: EventQuery) -> Result<Response, Refuse> {
    let limit = query.limit;
    let mut events = app.controller.events(EventQuery { limit: limit + 1, ..query }).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let items: Vec<_> = events.iter().map(show::event).collect();
    let next = items.last().filter(|_| more).map(|last| last.seq.to_string());
    Ok(revision::json(StatusCode::OK, &Page { items, next }))
}

/// Without `after` the stream begins now.
fn open(
    front: &Front,
    app: App,
    after: Option<u64>,
    subject: Option<Subject>,
    kind: Option<String>,
) -> Result<Response, Refuse> {
    let permit = front.streams.clone().try_acquire_owned().map_err(|_| {
        let problem = Problem::new(Code::Overloaded, "as many event streams are open as the server keeps");
        problem.hint("try again in a moment, or read pages: Accept: application/json")
    })?;
    // Listening begins before the first look into the store: what is committed in between comes by both ways, and
    // is told once.
    let live = app.controller.feed().subscribe();
    let last = after.unwrap_or_else(|| app.controller.farm().last_event());
    let stream = Stream {
        app,
        live,
        catching_up: true,
        last,
        subject,
        kind,
        ready: String::new(),
        greeted: false,
        _permit: permit,
    };
    let stream = stream::unfold(stream, async |mut stream| {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Stream {
    app: App,
    live: Receiver<Arc<Event>>,
    /// Whether the store may hold events that were not told and will not come live.
    catching_up: bool,
    /// The last event that was told, or passed over.
    last: u64,
    subject: Option<Subject>,
    kind: Option<String>,
    /// To be sent.
    ready: String,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// The next piece of the stream; none = it ends.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            // Lets the client see that the stream is open before anything happens.
            self.greeted = true;
            return Some(Bytes::from_static(b"retry: 2000\n\n"));
        }
        loop {
            if !self.ready.is_empty() {
                return Some(std::mem::take(&mut self.ready).into());
            }
            if self.catching_up {
                self.catch_up().await?;
                continue;
            }
            let stopping = self.app.stopping.token();
            let event = tokio::select! {
                event = self.live.recv() => event,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": still here\n\n")),
                () = stopping.cancelled() => return None,
            };
            match event {
                Ok(event) => {
                    self.tell(&event);
                    self.tell_what_is_there();
                }
                Err(RecvError::Lagged(_)) => self.catching_up = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// What came at once is sent at once: a turn for each event would put its listener behind everybody else's work.
    fn tell_what_is_there(&mut self) {
        while self.ready.len() < PIECE {
            match self.live.try_recv() {
                Ok(event) => self.tell(&event),
                Err(TryRecvError::Lagged(_)) => {
                    self.catching_up = true;
                    return;
                }
                // Also when nobody tells any more: the next turn meets that.
                Err(_) => return,
            }
        }
    }

    /// One batch from the store. None when the store fails: the client comes again, and goes on where it was.
    async fn catch_up(&mut self) -> Option<()> {
        let query = EventQuery {
            after: self.last,
            before: None,
            newest_first: false,
            subject: self.subject.clone(),
            kind: self.kind.clone(),
            limit: BATCH,
        };
        let events = self.app.controller.events(query).await.ok()?;
        self.catching_up = events.len() >= BATCH;
        for event in &events {
            self.tell(event);
        }
        Some(())
    }

    fn tell(&mut self, event: &Event) {
        if event.seq <= self.last {
            return;
        }
        self.last = event.seq;
        let wanted = self.subject.as_ref().is_none_or(|subject| event.subject == *subject)
            && self.kind.as_ref().is_none_or(|kind| event.kind == *kind);
        if !wanted {
            return;
        }
        let Ok(data) = serde_json::to_string(&show::event(event)) else { return };
        // Writing to a string cannot fail.
        let _ = write!(self.ready, "id: {}\nevent: {}\ndata: {data}\n\n", event.seq, event.kind);
    }
}
