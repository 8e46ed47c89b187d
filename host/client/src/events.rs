//! The farm's history: what is kept, and what happens now.

use std::collections::VecDeque;
use std::time::Duration;

use grove_wire::event::Event;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::sse::{Frame, Parser};
use crate::{Client, Error, Order, Pages};

/// Longest event that is read, in bytes.
const MAX_EVENT: usize = 1 << 20;
/// A stream that is silent this long is dead: farms send a sign of life much more often.
const SILENCE: Duration = Duration::from_secs(60);
/// Attempts to connect again before the stream is given up.
const MAX_ATTEMPTS: u32 = 30;
/// Pause before the first attempt to connect again; doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Which events.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct EventsQuery {
    /// Only those after this place in the sequence; 0 = all that are kept.
    pub after: Option<u64>,
    /// Only those about this: `worker/UUID`, `request/42`, `task/UUID`, `plugin/NAME`, `farm`.
    pub subject: Option<String>,
    /// Only those of this kind: `worker.state`, `request.created` …
    pub kind: Option<String>,
    /// In which order past ones are listed [default: oldest first].
    pub order: Option<Order>,
}

impl Client {
    /// The events that are kept.
    pub fn past_events(&self, query: &EventsQuery) -> Pages<Event> {
        if query.order == Some(Order::Descending) {
            return Pages::new(self, "events", query);
        }
        let after = query.after;
        let rest = EventsQuery { after: None, ..query.clone() };
        // A place in the sequence is a cursor.
        Pages::new(self, "events", &rest).beginning_at(after.map(|after| after.to_string()))
    }

    /// The events as they happen, beginning after `query.after` (none = now). Fails when the farm cannot be
    /// reached now; later the stream connects again by itself and goes on after the last event that it told.
    pub async fn events(&self, query: EventsQuery) -> Result<Events, Error> {
        let mut events =
            Events { client: self.clone(), query, connection: None, ready: VecDeque::new(), connected: 0 };
        events.connection = Some(events.connect().await?);
        events.connected = 1;
        Ok(events)
    }
}

/// Events as they happen.
#[derive(Debug)]
pub struct Events {
    client: Client,
    query: EventsQuery,
    connection: Option<Connection>,
    ready: VecDeque<Frame>,
    connected: u64,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    parser: Parser,
}

impl Events {
    /// The next event, however long that takes. An error ends the stream: the farm stayed away, or does not speak
    /// our protocol.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                match self.event(&frame)? {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => self.reconnect(None).await?,
                Err(error) if error.is_transient() => self.reconnect(Some(error)).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// How often the farm was connected to: more than 1 after the connection was lost.
    pub fn connections(&self) -> u64 {
        self.connected
    }

    /// Takes what came over the connection; false when that is over.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        let transport = &self.client.transport;
        match timeout(SILENCE, connection.response.chunk()).await {
            Ok(Ok(Some(bytes))) => match connection.parser.feed(&bytes, &mut self.ready) {
                Ok(()) => Ok(true),
                Err(_) => Err(transport.protocol(format!("an event of more than {MAX_EVENT} bytes"))),
            },
            Ok(Err(error)) => Err(transport.failed(error)),
            Ok(Ok(None)) | Err(_) => Ok(false),
        }
    }

    async fn reconnect(&mut self, mut last: Option<Error>) -> Result<(), Error> {
        self.connection = None;
        let mut pause = FIRST_PAUSE;
        for _ in 0..MAX_ATTEMPTS {
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
            match self.connect().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.connected += 1;
                    return Ok(());
                }
                Err(error) if error.is_transient() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| self.client.transport.protocol("a stream of events that does not go on")))
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let mut call = self.client.v2(Method::GET, &["events"]).query(&self.query);
        if let Some(after) = self.query.after {
            call = call.header(HeaderName::from_static("last-event-id"), &after.to_string());
        }
        let response = call.stream(HeaderValue::from_static("text/event-stream")).await?;
        Ok(Connection { response, parser: Parser::new(MAX_EVENT) })
    }

    /// The event of a frame that is one, once: what was seen before a new connection is not told again.
    fn event(&mut self, frame: &Frame) -> Result<Option<Event>, Error> {
        // Frames without an id are about the stream, not of the history.
        if frame.id.is_none() {
            return Ok(None);
        }
        let event: Event = serde_json::from_str(&frame.data)
            .map_err(|error| self.client.transport.protocol(format!("a broken event: {error}")))?;
        if self.query.after.is_some_and(|after| event.seq <= after) {
            return Ok(None);
        }
        self.query.after = Some(event.seq);
        Ok(Some(event))
    }
}
