//! Listening to what happens on a farm, with the times at which it was heard.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

/// Longest wait for an event that must come.
const HANG: Duration = Duration::from_secs(60);

/// An event, and when it was heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// When it was heard.
    pub(crate) heard: Instant,
    /// From its decision to hearing of it.
    pub(crate) late: Duration,
    /// The new state.
    pub(crate) after: String,
    /// When it was decided, in seconds since the epoch.
    pub(crate) at: f64,
}

/// A stream of events of one kind.
pub(crate) struct Events {
    events: Receiver<Heard>,
}

impl Events {
    /// Listens from now on.
    pub(crate) fn of(to: SocketAddr, kind: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(to)?;
        let path = format!("/api/v2/events?kind={kind}");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: farm\r\naccept: text/event-stream\r\n\r\n")?;
        let mut lines = BufReader::with_capacity(1 << 20, stream);
        let mut line = String::new();
        // The stream greets: from then on nothing is missed.
        while !line.starts_with("retry:") {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                bail!("the server tells no events");
            }
        }
        let (tell, events) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A chunk holds whole events: the lines between are sizes of chunks.
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                if let Some(heard) = line.strip_prefix("data: ").and_then(read)
                    && tell.send(heard).is_err()
                {
                    return;
                }
                line.clear();
            }
        });
        Ok(Self { events })
    }

    /// The next one.
    pub(crate) fn next(&self) -> Result<Heard> {
        self.events.recv_timeout(HANG).context("an event did not come")
    }

    /// The first one that fits.
    pub(crate) fn until(&self, fits: impl Fn(&Heard) -> bool) -> Result<Heard> {
        loop {
            let heard = self.next()?;
            if fits(&heard) {
                return Ok(heard);
            }
        }
    }

    /// Waits until so many have fitted; the last one of these.
    pub(crate) fn count(&self, count: usize, fits: impl Fn(&Heard) -> bool) -> Result<Option<Heard>> {
        let mut last = None;
        for _ in 0..count {
            last = Some(self.until(&fits)?);
        }
        Ok(last)
    }
}

fn read(data: &str) -> Option<Heard> {
    let heard = Instant::now();
    let event: serde_json::Value = serde_json::from_str(data).ok()?;
    let text = |name: &str| event.get(name).and_then(serde_json::Value::as_str);
    let at = seconds(text("at")?)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    Some(Heard {
        heard,
        late: Duration::try_from_secs_f64(now - at).unwrap_or_default(),
        after: text("after").unwrap_or_default().to_owned(),
        at,
    })
}

/// Of an RFC 3339 instant in UTC: seconds since the epoch.
fn seconds(text: &str) -> Option<f64> {
    let at: grove_domain::moment::Timestamp = text.parse().ok()?;
    Some(at.as_nanosecond() as f64 / 1e9)
}
