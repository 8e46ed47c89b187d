//! `/api/v2/tasks/{id}/log`: what a task said, and goes on to say.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use grove_domain::id::TaskId;
use grove_objects::{Error, Kind, Line};
use grove_wire::log::{LineKind, LogLine};
use grove_wire::{Code, Problem};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::events::last_event_id;
use super::input::{Named, Query, Served, task_id};
use super::refuse::Refuse;
use crate::app::App;
use crate::front::Front;

/// A stream of events that has nothing to say says so this often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The last thing that a stream of events says.
const END: &[u8] = b"event: end\ndata:\n\n";
/// Between looks at a task that has not begun.
const LOOK: Duration = Duration::from_millis(250);

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Text,
    Json,
    Events,
}

/// Query: `after`, `follow`. `Accept`: `text/plain`, `application/x-ndjson`, or `text/event-stream`, which follows.
pub(crate) async fn get(
    State(front): State<Front>,
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refuse> {
    let id = task_id(&id)?;
    let mut query = Query::new(&uri);
    let after = query.number("after")?;
    let follow = query.flag("follow")?;
    query.done()?;
    let form = form(&headers);
    app.controller.task(id).await?;
    let after = last_event_id(&headers)?.or(after).unwrap_or(0);
    let permit = front.streams.clone().try_acquire_owned().map_err(|_| {
        let problem = Problem::new(Code::Overloaded, "as many streams are open as the server keeps");
        problem.hint("try again in a moment")
    })?;
    let mut log = Log {
        app,
        id,
        after,
        form,
        follow: follow || form == Form::Events,
        over: false,
        end_told: false,
        sent: Instant::now(),
        _permit: permit,
    };
    // Who cannot be told anything hears why.
    let first = log.read().await.map_err(|error| {
        tracing::warn!(%error, task = %id, "a log cannot be read");
        Problem::new(Code::Unavailable, "the place for files does not answer")
            .hint("try again later; the admin sees why in the log")
    })?;
    let stream = stream::unfold((Some(first), log), async |(first, mut log)| {
        let piece = match first {
            Some(piece) => piece,
            None => log.next().await?,
        };
        log.sent = Instant::now();
        Some((Ok::<_, Infallible>(piece), (None, log)))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let kind = match form {
        Form::Text => "text/plain; charset=utf-8",
        Form::Json => "application/x-ndjson",
        Form::Events => "text/event-stream",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn form(headers: &HeaderMap) -> Form {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepts.flat_map(|accept| accept.split(',')).map(|kind| kind.trim().to_ascii_lowercase());
    kinds
        .find_map(|kind| match kind.split(';').next().unwrap_or_default() {
            "text/event-stream" => Some(Form::Events),
            "application/x-ndjson" | "application/jsonl" | "application/json" => Some(Form::Json),
            "text/plain" => Some(Form::Text),
            _ => None,
        })
        .unwrap_or(Form::Text)
}

struct Log {
    app: App,
    id: TaskId,
    after: u64,
    form: Form,
    follow: bool,
    /// Nothing more will come.
    over: bool,
    /// Whether a stream of events was told so.
    end_told: bool,
    /// When the last piece was sent.
    sent: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Log {
    /// What is there, perhaps nothing; and whether that was all.
    async fn read(&mut self) -> Result<Bytes, Error> {
        let read = self.app.storage.logs.read(self.id.0, self.after).await?;
        self.after = read.lines.last().map_or(self.after, |line| line.n);
        self.over = !(read.more || self.follow && read.open);
        let mut text = String::new();
        for line in &read.lines {
            self.write(&mut text, line);
        }
        Ok(text.into())
    }

    /// The next piece; none = it ends. Also when the place for files fails: whoever follows comes again.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let news = self.app.storage.logs.follow(self.id.0);
            if self.over && !(self.follow && self.is_to_come().await) {
                let is_new = !std::mem::replace(&mut self.end_told, true);
                return (is_new && self.form == Form::Events).then_some(Bytes::from_static(END));
            }
            let piece = self.read().await.ok()?;
            if !piece.is_empty() {
                return Some(piece);
            }
            let stopping = self.app.stopping.token();
            let changed = async {
                match news {
                    Some(mut news) if !self.over => drop(news.changed().await),
                    _ => tokio::time::sleep(LOOK).await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.sent + KEEP_ALIVE), if self.form == Form::Events => {
                    return Some(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
    }

    /// Whether the task has not ended: of one that waits there is no log yet.
    async fn is_to_come(&self) -> bool {
        let task = self.app.controller.task(self.id).await;
        let running = task.is_ok_and(|task| !task.status.phase.is_terminal());
        // One that has ended may have closed its log a moment before that is known.
        running && (self.after == 0 || self.app.storage.logs.follow(self.id.0).is_some())
    }

    fn write(&self, text: &mut String, line: &Line) {
        let line = shown(line);
        // Writing to a string cannot fail.
        let _ = match self.form {
            Form::Text => writeln!(text, "{line}"),
            Form::Json => writeln!(text, "{}", json(&line)),
            Form::Events => write!(text, "id: {}\ndata: {}\n\n", line.n, json(&line)),
        };
    }
}

fn json(line: &LogLine) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

fn shown(line: &Line) -> LogLine {
    let kind = match line.kind {
        Kind::Log => LineKind::Log,
        Kind::Step => LineKind::Step,
        Kind::Progress => LineKind::Progress,
        Kind::End => LineKind::End,
        Kind::Lost => LineKind::Lost,
    };
    LogLine { n: line.n, at: line.at, kind, level: line.level.to_string(), text: line.text.to_string() }
}
