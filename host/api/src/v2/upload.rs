//! A plugin as it is sent: a form with files, bounded in size and in time.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use grove_wire::{Code, Problem, limits};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::time::{Instant, Sleep};

use super::input::{at_most, invalid, shown};
use super::refuse::Refuse;
use crate::body::BodyError;

/// Bytes that may come before the clock starts again.
const PACE: usize = limits::BODY;
/// Bytes of a whole upload: its parts, and what is around them.
const WHOLE: u64 = (limits::COMPONENT + limits::MANIFEST + (64 << 10)) as u64;
/// Bytes that the reader of the form gets at a time.
const PIECE: usize = 64 << 10;
/// Bytes in which the next part must be found.
const HEAD: usize = 4 * PIECE;
/// Bytes of a word.
const WORD: usize = 16;

/// What was sent.
pub(super) struct Upload {
    pub(super) manifest: String,
    pub(super) component: Bytes,
    pub(super) activate: bool,
}

/// Takes what is sent, and keeps nothing of it: not more than an upload has, and not for longer than that.
pub(super) async fn discard(body: Body, longest: Duration) {
    let mut pieces = body.into_data_stream();
    let mut left = WHOLE;
    let all = async {
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len() as u64);
            if left == 0 {
                return;
            }
        }
    };
    // Whoever is slower gets the answer in the middle.
    let _ = tokio::time::timeout(longest, all).await;
}

/// Reads `manifest`, `component` and `activate` (true without it). A form that is only wrong in what it says is read to
/// its end, so that its sender hears what is wrong.
pub(super) async fn read(headers: &HeaderMap, body: Body, patience: Duration) -> Result<Upload, Refuse> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|error| match error {
        multer::Error::NoBoundary => bad_upload("Content-Type names no boundary"),
        _ => bad_upload("Content-Type is not multipart/form-data"),
    })?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > WHOLE) {
        return Err(too_large());
    }
    let bounds = Constraints::new().size_limit(SizeLimit::new().whole_stream(WHOLE));
    let seeking = Arc::new(AtomicBool::new(true));
    let body = Paced::new(body, patience, seeking.clone());
    let mut form = Multipart::with_constraints(body, boundary, bounds);
    let room = announced.map_or(0, |length| usize::try_from(length).unwrap_or(0).min(limits::COMPONENT));
    let mut parts = Parts { room, ..Parts::default() };
    let mut wrong = None;
    while let Some(mut part) = form.next_field().await.map_err(broken)? {
        seeking.store(false, Ordering::Relaxed);
        if wrong.is_none()
            && let Err(refuse) = parts.take(&mut part).await?
        {
            wrong = Some(refuse);
        }
        while part.chunk().await.map_err(broken)?.is_some() {}
        seeking.store(true, Ordering::Relaxed);
    }
    match wrong {
        Some(refuse) => Err(refuse),
        None => parts.done(),
    }
}

#[derive(Default)]
struct Parts {
    /// Bytes that the component has at most, as far as they were announced: it is held once, and never moved to grow.
    room: usize,
    manifest: Option<Vec<u8>>,
    component: Option<Vec<u8>>,
    activate: Option<Vec<u8>>,
}

impl Parts {
    /// Reads one part. The outer error ends the upload, the inner one is told at its end.
    async fn take(&mut self, part: &mut Field<'_>) -> Result<Result<(), Refuse>, Refuse> {
        let name = part.name().unwrap_or_default().to_owned();
        let (place, most) = match name.as_str() {
            "manifest" => (&mut self.manifest, limits::MANIFEST),
            "component" => (&mut self.component, limits::COMPONENT),
            "activate" => (&mut self.activate, WORD),
            other => {
                let other = shown(other);
                let problem = Problem::new(Code::UnknownField, format!("unknown part {other:?}"));
                let hint = "the parts are manifest, component and activate";
                return Ok(Err(problem.hint(hint).field(other).into()));
            }
        };
        if place.is_some() {
            return Ok(Err(invalid(&name, "it is given twice")));
        }
        let room = if name == "component" { self.room } else { 0 };
        let bytes = place.insert(Vec::with_capacity(room));
        while let Some(chunk) = part.chunk().await.map_err(broken)? {
            let length = bytes.len() + chunk.len();
            if length > most {
                // The rest of it is not worth waiting for.
                if name == "component" {
                    return Err(too_large());
                }
                return Ok(at_most(&name, length, most, "bytes or more"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Ok(()))
    }

    fn done(self) -> Result<Upload, Refuse> {
        let part = |name: &str, part: Option<Vec<u8>>| {
            part.filter(|bytes| !bytes.is_empty()).ok_or_else(|| missing(name))
        };
        let manifest = String::from_utf8(part("manifest", self.manifest)?)
            .map_err(|_| invalid("manifest", "it is not text in UTF-8"))?;
        let component = part("component", self.component)?.into();
        let activate = match self.activate.as_deref().map(<[u8]>::trim_ascii) {
            None | Some(b"true") => true,
            Some(b"false") => false,
            Some(_) => return Err(invalid("activate", "it must be true or false")),
        };
        Ok(Upload { manifest, component, activate })
    }
}

fn missing(name: &str) -> Refuse {
    let problem = Problem::new(Code::InvalidField, format!("{name}: the part is missing or empty"));
    let hint = "send both: curl -F manifest=@plugin.toml -F component=@plugin.wasm";
    problem.hint(hint).field(name).into()
}

fn bad_upload(what: &str) -> Refuse {
    let problem = Problem::new(Code::BadUpload, what);
    problem.hint("send a form: curl -F manifest=@plugin.toml -F component=@plugin.wasm").into()
}

fn too_large() -> Refuse {
    let most = limits::COMPONENT >> 20;
    let problem = Problem::new(Code::BodyTooLarge, format!("the component is larger than {most} MiB"));
    problem.hint("build it for release, and without debug information").field("component").into()
}

fn broken(error: multer::Error) -> Refuse {
    match error {
        multer::Error::StreamSizeExceeded { .. } => too_large(),
        multer::Error::StreamReadFailed(error) => match error.downcast_ref::<Interrupted>() {
            Some(Interrupted::Body(error)) => (*error).into(),
            Some(head @ Interrupted::LongHead) => bad_upload(&head.to_string()),
            None => BodyError::Broken.into(),
        },
        error => bad_upload(&shown(&error.to_string())),
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
enum Interrupted {
    Body(BodyError),
    /// What names a part has no end.
    LongHead,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => f.write_str(&error.text()),
            Self::LongHead => f.write_str("the head of a part is too long"),
        }
    }
}

impl std::error::Error for Interrupted {}

/// The body, as long as every [`PACE`] bytes of it come within `patience`. The reader searches what it has whenever it
/// is polled: it gets little at a time, and little while it looks for the next part.
struct Paced {
    body: BodyDataStream,
    patience: Duration,
    clock: Pin<Box<Sleep>>,
    /// What came and was not given yet.
    rest: Bytes,
    /// The reader has something to look at first.
    pause: bool,
    /// Bytes since the clock was started.
    read: usize,
    /// Whether the reader looks for the next part.
    seeking: Arc<AtomicBool>,
    /// Bytes since it does.
    sought: usize,
}

impl Paced {
    fn new(body: Body, patience: Duration, seeking: Arc<AtomicBool>) -> Self {
        Self {
            body: body.into_data_stream(),
            patience,
            clock: Box::pin(tokio::time::sleep(patience)),
            rest: Bytes::new(),
            pause: false,
            read: 0,
            seeking,
            sought: 0,
        }
    }

    fn give(&mut self) -> Result<Bytes, Interrupted> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.pause = true;
        self.read += piece.len();
        if self.read >= PACE {
            self.read = 0;
            self.clock.as_mut().reset(Instant::now() + self.patience);
        }
        self.sought = if self.seeking.load(Ordering::Relaxed) { self.sought + piece.len() } else { 0 };
        if self.sought > HEAD { Err(Interrupted::LongHead) } else { Ok(piece) }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, Interrupted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.rest.is_empty() {
            match self.body.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.rest = chunk,
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Some(Err(Interrupted::Body(BodyError::Broken))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let slow = || Some(Err(Interrupted::Body(BodyError::TooSlow)));
                    return self.clock.as_mut().poll(cx).map(|()| slow());
                }
            }
        }
        Poll::Ready(Some(self.give()))
    }
}
