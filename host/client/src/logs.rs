//! What tasks say.

use std::collections::VecDeque;
use std::time::Duration;

use grove_wire::Uuid;
use grove_wire::log::LogLine;
use reqwest::header::HeaderValue;
use reqwest::{Method, Response};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::sse::{Frame, Parser};
use crate::{Client, Error};

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 256 << 10;
/// A stream that is silent this long is dead: farms send a sign of life much more often.
const SILENCE: Duration = Duration::from_secs(60);
/// Attempts to connect again before the log is given up.
const MAX_ATTEMPTS: u32 = 30;
/// Pause before an attempt to connect again.
const PAUSE: Duration = Duration::from_millis(500);

impl Client {
    /// What a task said, line by line, after that line (0 = from the beginning). With `follow` it goes on until the
    /// task ends, also over lost connections.
    ///
    /// # Errors
    /// When there is no such task, or the farm cannot be reached.
    pub async fn task_log(&self, task: Uuid, after: u64, follow: bool) -> Result<TaskLog, Error> {
        let mut log = TaskLog {
            client: self.clone(),
            task,
            after,
            follow,
            connection: None,
            ready: VecDeque::new(),
            ended: false,
        };
        log.connection = Some(log.connect().await?);
        Ok(log)
    }
}

/// What a task says.
#[derive(Debug)]
pub struct TaskLog {
    client: Client,
    task: Uuid,
    after: u64,
    follow: bool,
    connection: Option<Connection>,
    ready: VecDeque<LogLine>,
    ended: bool,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    /// Of a stream of events.
    parser: Parser,
    /// A line of JSON that has not ended.
    open: Vec<u8>,
}

/// What is asked for.
#[derive(Serialize)]
struct Query {
    after: u64,
}

impl TaskLog {
    /// The next line; none when that was the last.
    ///
    /// # Errors
    /// When the farm stays away, or does not speak our protocol.
    pub async fn next(&mut self) -> Result<Option<LogLine>, Error> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                // What was told before a connection was lost is not told again.
                if line.n <= self.after {
                    continue;
                }
                self.after = line.n;
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) if !self.follow => self.ended = true,
                Ok(false) => self.reconnect(None).await?,
                Err(error) if self.follow && error.is_transient() => self.reconnect(Some(error)).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what came over the connection; false when that is over.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        let transport = &self.client.transport;
        let chunk = match timeout(SILENCE, connection.response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Err(error)) => return Err(transport.failed(error)),
            Ok(Ok(None)) | Err(_) => return Ok(false),
        };
        let broken = |error: serde_json::Error| transport.protocol(format!("a broken line: {error}"));
        let too_long = || transport.protocol(format!("a line of more than {MAX_LINE} bytes"));
        if self.follow {
            let mut frames: VecDeque<Frame> = VecDeque::new();
            connection.parser.feed(&chunk, &mut frames).map_err(|_| too_long())?;
            for frame in frames {
                if frame.event == "end" {
                    self.ended = true;
                } else {
                    self.ready.push_back(serde_json::from_str(&frame.data).map_err(broken)?);
                }
            }
            return Ok(true);
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if connection.open.len() + piece.len() > MAX_LINE {
                return Err(too_long());
            }
            connection.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut connection.open);
                self.ready.push_back(serde_json::from_slice(&line).map_err(broken)?);
            }
        }
        Ok(true)
    }

    async fn reconnect(&mut self, mut last: Option<Error>) -> Result<(), Error> {
        self.connection = None;
        for _ in 0..MAX_ATTEMPTS {
            sleep(PAUSE).await;
            match self.connect().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(error) if error.is_transient() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| self.client.transport.protocol("a log that does not go on")))
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let task = self.task.hyphenated().to_string();
        let call = self.client.v2(Method::GET, &["tasks", &task, "log"]).query(&Query { after: self.after });
        let accept = if self.follow { "text/event-stream" } else { "application/x-ndjson" };
        let response = call.stream(HeaderValue::from_static(accept)).await?;
        Ok(Connection { response, parser: Parser::new(MAX_LINE), open: Vec::new() })
    }
}
