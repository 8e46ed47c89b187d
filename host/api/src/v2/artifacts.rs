//! `/api/v2/artifacts`.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use grove_domain::group::OwnerGroups;
use grove_objects::{Artifact, Error, Expected, Name, Put};
use grove_wire::artifact::Artifact as Shown;
use grove_wire::{Code, Page, Problem, limits};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use tokio::time::{Instant, Sleep};

use super::input::{Query, Served, bad_query, invalid, shown};
use super::refuse::Refuse;
use super::revision;
use crate::app::App;
use crate::body::BodyError;
use crate::front::Front;

/// What was sent, as the sender digested it (RFC 9530).
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Group and key in the path, of a group that the owner may use.
pub(crate) struct Place {
    app: App,
    name: Name,
}

impl FromRequestParts<Front> for Place {
    type Rejection = Refuse;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Refuse> {
        let Served(app) = Served::from_request_parts(parts, front).await?;
        let Ok(Path((group, key))) = Path::<(String, String)>::from_request_parts(parts, front).await else {
            return Err(Problem::new(Code::InvalidId, "the path holds bytes that are no text").into());
        };
        let name = Name::new(&group, &key).map_err(|(field, bad)| invalid(field, bad))?;
        if !may_use(&app, &group) {
            return Err(denied(&group));
        }
        Ok(Self { app, name })
    }
}

fn may_use(app: &App, group: &str) -> bool {
    match &app.options.owner.groups {
        OwnerGroups::All => true,
        OwnerGroups::Some(own) => own.iter().any(|own| own == group),
    }
}

fn denied(group: &str) -> Refuse {
    let problem = Problem::new(Code::GroupDenied, format!("{:?} is none of your groups", shown(group)));
    problem.field("group").into()
}

/// Sorted by group and key. Query: `group`, `cursor`, `limit`.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let group = query.text("group")?;
    let after = query.text("cursor")?.map(|cursor| read_cursor(&cursor)).transpose()?;
    let limit = query.limit()?;
    query.done()?;
    if let Some(group) = group.as_deref().filter(|group| !may_use(&app, group)) {
        return Err(denied(group));
    }
    let may = |group: &str| may_use(&app, group);
    let found = app.storage.artifacts.list(group.as_deref(), may, after.as_ref(), limit + 1);
    let mut found = found.map_err(|error| refuse(&error))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| cursor(&last.name));
    let items: Vec<_> = found.into_iter().map(show).collect();
    Ok(revision::json(StatusCode::OK, &Page { items, next }))
}

/// Names hold no control characters.
fn cursor(name: &Name) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{}\n{}", name.group(), name.key()))
}

fn read_cursor(cursor: &str) -> Result<Name, Refuse> {
    let read = || {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (group, key) = text.split_once('\n')?;
        Name::new(group, key).ok()
    };
    read().ok_or_else(|| bad_query("cursor", "it is not one of ours"))
}

/// The body is what it holds. 201: it is new; 200: it took the place of another, or was there already, whole or damaged.
pub(crate) async fn put(
    State(front): State<Front>,
    Place { app, name }: Place,
    request: Request,
) -> Result<Response, Refuse> {
    let (head, body) = request.into_parts();
    Query::new(&head.uri).done()?;
    let _place = front.bringing.try_acquire().map_err(|_| {
        let problem =
            Problem::new(Code::Overloaded, "as many artifacts are being brought as the server takes");
        problem.hint("try again when one of them is here")
    })?;
    let (expected, digest) = (expected(&head.headers)?, digest(&head.headers)?);
    let size = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let body = Paced::new(body, front.limits.body);
    let now = app.controller.clock().now();
    let put = app.storage.artifacts.put(&name, &expected, size, digest.as_deref(), body, now).await;
    let (artifact, put) = put.map_err(|error| refuse(&error))?;
    let status = if put == Put::Created { StatusCode::CREATED } else { StatusCode::OK };
    let location = head.uri.path().to_owned();
    let mut response = revision::json(status, &show(artifact.clone()));
    describe(&mut response, &artifact);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Its bytes; with `Range`, some of them.
pub(crate) async fn get(
    Place { app, name }: Place,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let now = app.controller.clock().now();
    let artifact = app.storage.artifacts.stat(&name, now).map_err(|error| refuse(&error))?;
    if artifact.damage.is_none() && is_known(&headers, &artifact) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(&mut response, &artifact);
        return Ok(response);
    }
    let range = match range(&headers, artifact.size) {
        Asked::Whole => None,
        Asked::Part(range) => Some(range),
        Asked::Nothing => return Ok(nothing_there(&artifact)),
    };
    let wanted = range.clone().unwrap_or(0..artifact.size);
    let read = app.storage.artifacts.read(&name, wanted.clone(), now).await;
    let (read, body) = read.map_err(|error| refuse(&error))?;
    if read.sha256 != artifact.sha256 {
        return Err(refuse(&Error::Busy));
    }
    let mut response = Response::new(Body::from_stream(body));
    describe(&mut response, &artifact);
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), artifact.size);
        insert(&mut response, CONTENT_RANGE, &text);
    }
    say_bytes(&mut response, wanted.end - wanted.start);
    Ok(response)
}

/// What it is, without its bytes.
pub(crate) async fn head(Place { app, name }: Place, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let artifact = app.storage.artifacts.stat(&name, app.controller.clock().now());
    let artifact = artifact.map_err(|error| refuse(&error))?;
    if let Some(damage) = artifact.damage {
        return Err(refuse(&Error::Damaged { damage }));
    }
    let mut response = Response::new(Body::empty());
    describe(&mut response, &artifact);
    say_bytes(&mut response, artifact.size);
    Ok(response)
}

/// Reads all of it, and holds it against its digest; what is wrong with it is told in `damage`.
pub(crate) async fn verify(Place { app, name }: Place, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    app.storage.artifacts.verify(&name).await.map_err(|error| refuse(&error))?;
    let artifact = app.storage.artifacts.stat(&name, app.controller.clock().now());
    let artifact = artifact.map_err(|error| refuse(&error))?;
    Ok(revision::json(StatusCode::OK, &show(artifact)))
}

pub(crate) async fn remove(
    Place { app, name }: Place,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let expected = expected(&headers)?;
    // To its end, also when the client goes away.
    let work = tokio::spawn(async move { app.storage.artifacts.remove(&name, &expected).await });
    match work.await {
        Ok(done) => done.map_err(|error| refuse(&error))?,
        Err(_) => return Err(Problem::new(Code::Stopping, "the server is shutting down").into()),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn show(artifact: Artifact) -> Shown {
    Shown {
        group: artifact.name.group().to_owned(),
        key: artifact.name.key().to_owned(),
        size: artifact.size,
        sha256: artifact.sha256,
        created: artifact.created,
        used: artifact.used,
        damage: artifact.damage.map(|damage| damage.to_string()),
    }
}

fn describe(response: &mut Response, artifact: &Artifact) {
    insert(response, ETAG, &format!("\"{}\"", artifact.sha256));
    insert(response, ACCEPT_RANGES, "bytes");
    let created = artifact.created.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    insert(response, LAST_MODIFIED, &created);
}

/// Its body is bytes, which no browser takes for anything else.
fn say_bytes(response: &mut Response, size: u64) {
    insert(response, CONTENT_LENGTH, &size.to_string());
    insert(response, CONTENT_TYPE, "application/octet-stream");
    insert(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn is_known(headers: &HeaderMap, artifact: &Artifact) -> bool {
    let known = |text: &str| {
        let tag = text.trim().trim_start_matches("W/").trim_matches('"');
        tag == "*" || tag == artifact.sha256
    };
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.split(',').any(known)))
}

/// What must be there: `If-Match` with one ETag or `*`, or `If-None-Match: *`.
fn expected(headers: &HeaderMap) -> Result<Expected, Refuse> {
    let wrong = |field: &str, detail: &str, hint: &str| {
        Problem::new(Code::InvalidHeader, detail).hint(hint).field(field)
    };
    let expected = match revision::one(headers, &IF_MATCH) {
        None => Expected::Any,
        Some("*") => Expected::Some,
        Some(text) => match revision::tag(text) {
            Some(sha256) => Expected::Sha256(sha256.to_owned()),
            None => return Err(revision::bad_if_match()),
        },
    };
    match (revision::one(headers, &IF_NONE_MATCH), expected) {
        (None, expected) => Ok(expected),
        (Some("*"), Expected::Any) => Ok(Expected::None),
        (Some("*"), _) => {
            let detail = "If-Match and If-None-Match cannot both hold";
            Err(wrong("If-None-Match", detail, "send one of the two").into())
        }
        (Some(_), _) => {
            let detail = "If-None-Match of a change must be *: only when nothing is there";
            Err(wrong("If-None-Match", detail, "send If-None-Match: *, or leave the header out").into())
        }
    }
}

/// What of it is asked for.
#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// One range; what is none, or more than one, asks for all of it, as the standard allows.
fn range(headers: &HeaderMap, size: u64) -> Asked {
    let text = headers.get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return Asked::Whole,
    };
    if range.is_empty() { Asked::Nothing } else { Asked::Part(range) }
}

fn nothing_there(artifact: &Artifact) -> Response {
    let problem = Problem::new(Code::RangeNotSatisfiable, format!("it holds {} bytes", artifact.size));
    let mut response = Refuse::from(problem.field("Range")).into_response();
    insert(&mut response, CONTENT_RANGE, &format!("bytes */{}", artifact.size));
    response
}

/// The SHA-256 that the sender says, in hex.
fn digest(headers: &HeaderMap) -> Result<Option<String>, Refuse> {
    let Some(value) = headers.get(CONTENT_DIGEST) else { return Ok(None) };
    let read = || {
        let text = value.to_str().ok()?;
        let mut digests = text.split(',').map(str::trim);
        let bytes = digests.find_map(|digest| digest.strip_prefix("sha-256=:")?.strip_suffix(':'))?;
        let bytes = BASE64_STANDARD.decode(bytes).ok().filter(|bytes| bytes.len() == 32)?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    read().map(Some).ok_or_else(|| {
        let problem = Problem::new(Code::InvalidHeader, "Content-Digest holds no SHA-256");
        problem.hint("write it like sha-256=:BASE64:").field("Content-Digest").into()
    })
}

fn refuse(error: &Error) -> Refuse {
    let detail = error.to_string();
    match error {
        Error::NotFound => Problem::new(Code::ArtifactNotFound, "the group has no artifact of this key"),
        Error::TooLarge { .. } => Problem::new(Code::ArtifactTooLarge, detail),
        Error::Quota { .. } => Problem::new(Code::QuotaReached, detail).field("group"),
        Error::Full { .. } => Problem::new(Code::FarmFull, format!("artifacts: {detail}")),
        Error::Unexpected { current } => {
            let hint = match current {
                Some(sha256) => format!("look at it again, then send If-Match: \"{sha256}\""),
                None => "leave If-Match out to bring it anew".to_owned(),
            };
            Problem::new(Code::RevisionMismatch, detail).hint(hint)
        }
        Error::Busy => Problem::new(Code::ArtifactBusy, detail),
        Error::Damaged { .. } => Problem::new(Code::ArtifactDamaged, detail),
        Error::Digest { .. } => Problem::new(Code::ArtifactDigest, detail).field("Content-Digest"),
        Error::Body(cause) => match cause.downcast_ref::<Interrupted>() {
            Some(Interrupted(BodyError::TooSlow)) => return BodyError::TooSlow.into(),
            _ => Problem::new(Code::BadUpload, detail).hint("send the whole file as the body"),
        },
        Error::NotReady => {
            return Refuse::from(Problem::new(Code::Unavailable, detail).hint("try again in a moment"))
                .retry_after("1");
        }
        Error::Store(_) => {
            let away = grove_wire::Error::new(Code::Unavailable, "the place for files does not answer");
            return away.with_hint("try again later; the admin sees why in the log").because(detail).into();
        }
    }
    .into()
}

/// A body of any size, as long as every [`limits::BODY`] bytes of it come within `patience`.
struct Paced {
    body: BodyDataStream,
    patience: Duration,
    clock: Pin<Box<Sleep>>,
    /// Bytes since the clock was started.
    read: usize,
}

/// Why it was not read to its end.
#[derive(Debug)]
struct Interrupted(BodyError);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text())
    }
}

impl std::error::Error for Interrupted {}

impl Paced {
    fn new(body: Body, patience: Duration) -> Self {
        let clock = Box::pin(tokio::time::sleep(patience));
        Self { body: body.into_data_stream(), patience, clock, read: 0 }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, Interrupted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.read += chunk.len();
                if self.read >= limits::BODY {
                    self.read = 0;
                    let until = Instant::now() + self.patience;
                    self.clock.as_mut().reset(until);
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(Interrupted(BodyError::Broken)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                self.clock.as_mut().poll(cx).map(|()| Some(Err(Interrupted(BodyError::TooSlow))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
            range(&headers, 10)
        };
        assert_eq!(range(&HeaderMap::new(), 10), Asked::Whole);
        assert_eq!(of("bytes=0-3"), Asked::Part(0..4));
        assert_eq!(of("bytes=8-99"), Asked::Part(8..10));
        assert_eq!(of("bytes=4-"), Asked::Part(4..10));
        assert_eq!(of("bytes=-3"), Asked::Part(7..10));
        assert_eq!(of("bytes=-99"), Asked::Part(0..10));
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(of(nothing), Asked::Nothing, "{nothing}");
        }
        for whole in ["bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=x-y", "bytes=-"] {
            assert_eq!(of(whole), Asked::Whole, "{whole}");
        }
    }
}
