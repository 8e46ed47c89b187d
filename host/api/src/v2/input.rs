//! What clients send: bodies, queries and ids, each refused with the name of what is wrong.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path};
use bytes::Bytes;
use grove_domain::id::{IntrospectionId, RequestId, RuleId, TaskId, WorkerId};
use grove_wire::{Code, Problem, Span, limits};
use http::Request;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::refuse::Refuse;
use crate::app::App;
use crate::body;
use crate::front::Front;

/// The farm. A handler that needs it is not called without it.
pub(crate) struct Served(pub(crate) App);

impl FromRequestParts<Front> for Served {
    type Rejection = Refuse;

    async fn from_request_parts(_: &mut Parts, front: &Front) -> Result<Self, Refuse> {
        front.app().map(Self).ok_or_else(|| front.refuse())
    }
}

/// The whole body.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Front> for Whole {
    type Rejection = Refuse;

    async fn from_request(request: Request<Body>, front: &Front) -> Result<Self, Refuse> {
        let (head, body) = request.into_parts();
        Ok(Self(body::read(&head.headers, body, front.limits.body, limits::BODY).await?))
    }
}

impl Whole {
    /// The JSON in it.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refuse> {
        if self.0.trim_ascii().is_empty() {
            let problem = Problem::new(Code::BadJson, "the body is empty");
            return Err(problem.hint("send a JSON object").into());
        }
        // serde would take an array for an object, field by field.
        if self.0.trim_ascii_start().starts_with(b"[") {
            let problem = Problem::new(Code::InvalidField, "the body is an array");
            return Err(problem.hint("send a JSON object").into());
        }
        let mut reader = serde_json::Deserializer::from_slice(&self.0);
        let read = serde_path_to_error::deserialize(&mut reader);
        let value = read.map_err(|error| {
            let path = error.path().to_string();
            no_json(&path, error.inner())
        })?;
        reader.end().map_err(|error| no_json("", &error))?;
        Ok(value)
    }

    /// The JSON in it, if there is any.
    pub(crate) fn optional_json<T: DeserializeOwned + Default>(&self) -> Result<T, Refuse> {
        if self.0.trim_ascii().is_empty() { Ok(T::default()) } else { self.json() }
    }
}

fn no_json(path: &str, error: &serde_json::Error) -> Refuse {
    let text = error.to_string();
    if !error.is_data() {
        return Problem::new(Code::BadJson, text).hint("send one JSON object and nothing after it").into();
    }
    // serde names fields between backticks, the place at the end, and expectations in the words of the language.
    let text = text.split(" at line ").next().unwrap_or_default();
    let detail = match text.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => text.replace("expected u8", "expected a whole number"),
    };
    let named = text.split('`').nth(1).unwrap_or_default();
    let about = |kind: &str| text.starts_with(kind);
    let parent = if path == "." { "" } else { path };
    let field = if about("unknown field") || about("missing field") || about("duplicate field") {
        let above = parent.strip_suffix(named).unwrap_or(parent).trim_end_matches('.');
        if above.is_empty() { named.to_owned() } else { format!("{above}.{named}") }
    } else {
        parent.to_owned()
    };
    let field = short(&field);
    if about("unknown field") {
        let problem = Problem::new(Code::UnknownField, short(&detail));
        return problem.hint(format!("remove {field}, or correct its name")).field(field).into();
    }
    if field.is_empty() {
        return Problem::new(Code::InvalidField, short(&detail)).hint("send a JSON object").into();
    }
    let problem = Problem::new(Code::InvalidField, format!("{field}: {}", short(&detail)));
    let problem = match field.as_str() {
        "deadline" | "valid_after" => problem.hint("write a time like 2026-01-31T12:00:00Z"),
        _ => problem,
    };
    problem.field(field).into()
}

/// As much of a client's text as is shown back.
fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The variable part of the path.
pub(crate) struct Named(pub(crate) String);

impl FromRequestParts<Front> for Named {
    type Rejection = Refuse;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Refuse> {
        match Path::from_request_parts(parts, front).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(Problem::new(Code::InvalidId, "the path holds bytes that are no text").into()),
        }
    }
}

/// A field whose value cannot be.
pub(crate) fn invalid(field: impl Into<String>, what: impl Display) -> Refuse {
    let field = field.into();
    Problem::new(Code::InvalidField, format!("{field}: {what}")).field(field).into()
}

/// Refuses more than `most` of `unit` in `field`.
pub(crate) fn at_most(field: &str, len: usize, most: usize, unit: &str) -> Result<(), Refuse> {
    if len <= most {
        return Ok(());
    }
    let problem =
        Problem::new(Code::TooLong, format!("{field} holds {len} {unit}: at most {most} are accepted"));
    Err(problem.field(field).into())
}

/// Parameters of a query, each of which must be known.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn new(uri: &http::Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Takes a parameter, which may be there once.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Refuse> {
        let Some(place) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(place);
        if self.0.iter().any(|(key, _)| key == name) {
            return Err(bad_query(name, "it is given twice"));
        }
        Ok(Some(value))
    }

    /// Takes and reads a parameter.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Refuse> {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(|error| bad_query(name, error))).transpose()
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Refuse> {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(|_| bad_query(name, "it must be a whole number"))).transpose()
    }

    /// Takes a parameter that is one of several words.
    pub(crate) fn one_of<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        words: &[&str],
    ) -> Result<Option<T>, Refuse> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let none = || bad_query(name, format!("{:?} is none of {}", short(&text), words.join(", ")));
        read(&text).map(Some).ok_or_else(none)
    }

    /// Takes a parameter that says yes or no; alone it says yes.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Refuse> {
        let read = |text: &str| match text {
            "" | "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        Ok(self.one_of(name, read, &["true", "false"])?.unwrap_or(false))
    }

    /// Takes `order`: whether it is the descending one.
    pub(crate) fn descending(&mut self) -> Result<bool, Refuse> {
        let read = |text: &str| match text {
            "asc" => Some(false),
            "desc" => Some(true),
            _ => None,
        };
        Ok(self.one_of("order", read, &["asc", "desc"])?.unwrap_or(false))
    }

    /// Takes `limit`.
    pub(crate) fn limit(&mut self) -> Result<usize, Refuse> {
        let Some(limit) = self.number("limit")? else { return Ok(limits::PAGE_DEFAULT) };
        match usize::try_from(limit) {
            Ok(limit) if (1..=limits::PAGE).contains(&limit) => Ok(limit),
            _ => Err(bad_query("limit", format!("a page holds 1 to {} items", limits::PAGE))),
        }
    }

    /// Takes `wait`.
    pub(crate) fn wait(&mut self) -> Result<Option<Duration>, Refuse> {
        let longest = Duration::from_secs(limits::WAIT_SECONDS);
        match self.parse::<Span>("wait")?.map(Span::duration) {
            Some(wait) if wait > longest => {
                Err(bad_query("wait", format!("wait at most {}s, then ask again", limits::WAIT_SECONDS)))
            }
            wait => Ok(wait),
        }
    }

    /// Refuses what was not taken.
    pub(crate) fn done(self) -> Result<(), Refuse> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name = short(name);
                let problem = Problem::new(Code::InvalidQuery, format!("unknown query parameter {name:?}"));
                Err(problem.hint(format!("remove {name:?}, or correct its name")).field(name).into())
            }
        }
    }
}

/// A query parameter whose value cannot be.
pub(crate) fn bad_query(name: &str, what: impl Display) -> Refuse {
    Problem::new(Code::InvalidQuery, format!("{name}: {what}")).field(name).into()
}

pub(crate) fn worker_id(text: &str) -> Result<WorkerId, Refuse> {
    text.parse().map_err(|_| invalid_id(text, "a uuid", "workers"))
}

pub(crate) fn task_id(text: &str) -> Result<TaskId, Refuse> {
    text.parse().map_err(|_| invalid_id(text, "a uuid", "tasks"))
}

pub(crate) fn introspection_id(text: &str) -> Result<IntrospectionId, Refuse> {
    text.parse().map_err(|_| invalid_id(text, "a uuid", "introspections"))
}

pub(crate) fn rule_id(text: &str) -> Result<RuleId, Refuse> {
    text.parse().map_err(|_| invalid_id(text, "a uuid", "rules"))
}

pub(crate) fn request_id(text: &str) -> Result<RequestId, Refuse> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok()).flatten();
    id.map(RequestId).ok_or_else(|| invalid_id(text, "a number", "requests"))
}

/// What a service or plugin is called, as much of it as is shown back.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn invalid_id(text: &str, what: &str, list: &str) -> Refuse {
    Problem::new(Code::InvalidId, format!("{:?} is not {what}", short(text)))
        .hint(format!("list what there is: GET /api/v2/{list}"))
        .into()
}
