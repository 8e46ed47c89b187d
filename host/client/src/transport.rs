//! One exchange: request out, answer in, refusals told apart. Everything here has a limit.

use std::net::IpAddr;
use std::time::Duration;

use grove_wire::{Code, Problem};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use reqwest::multipart::Form;
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Longest answer that is read, in bytes.
pub(crate) const MAX_ANSWER: usize = 64 << 20;
/// A farm that does not take the connection within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a whole exchange, without the time the farm was asked to wait.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A farm's address and the connections to it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    base: Url,
    /// The proxy that the environment puts between us and the farm.
    proxy: Option<String>,
}

/// One call, before it is made.
pub(crate) struct Call<'a> {
    transport: &'a Transport,
    builder: reqwest::RequestBuilder,
    timeout: Duration,
}

impl Transport {
    pub(crate) fn new(base_url: &str) -> Result<Self, Error> {
        let refuse = |what: String| {
            let message = format!("{base_url:?} is no address of a farm: {what}");
            let hint = "an address is written like http://farm.example:8487; see --server and GROVE_SERVER";
            Error::new(Code::InvalidAddress, message).with_hint(hint)
        };
        let base = Url::parse(base_url).map_err(|error| refuse(error.to_string()))?;
        if base.scheme() != "http" {
            return Err(refuse("only http:// is spoken".to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refuse("it has a query or a fragment".to_owned()));
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("grove/", env!("CARGO_PKG_VERSION")));
        let proxy = if is_loopback(&base) {
            http = http.no_proxy();
            None
        } else {
            proxy_to(&base)
        };
        let http = http.build().map_err(|error| refuse(error.to_string()))?;
        Ok(Self { http, base, proxy })
    }

    /// The base address, as shown to the user.
    pub(crate) fn base(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// A call of `method` on the path made of `segments`, each escaped as needed.
    pub(crate) fn call(&self, method: Method, segments: &[&str]) -> Call<'_> {
        let mut url = self.base.clone();
        // Fails only for addresses without a path, which `http` ones are not.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let builder = self.http.request(method, url).header(ACCEPT, "application/json");
        Call { transport: self, builder, timeout: EXCHANGE_TIMEOUT }
    }

    /// The exchange came to nothing.
    pub(crate) fn failed(&self, error: reqwest::Error) -> Error {
        let url = self.base();
        let code = if error.is_connect() { Code::Unreachable } else { Code::Interrupted };
        let error = error.without_url();
        let message = format!("no answer from {url}{}: {}", self.through(), root_cause(&error));
        let hint = match self.proxy {
            Some(_) => "the proxy comes from http_proxy; set NO_PROXY for a farm that is reached without it"
                .to_owned(),
            None => format!("is `grove serve` running at {url}? set --server or GROVE_SERVER"),
        };
        Error::new(code, message).with_hint(hint).because(error)
    }

    /// Names the proxy, where there is one.
    fn through(&self) -> String {
        self.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"))
    }

    /// What came is nothing that a farm answers.
    pub(crate) fn protocol(&self, what: impl Into<String>) -> Error {
        let message =
            format!("{}{} does not answer as a farm does: {}", self.base(), self.through(), what.into());
        let hint = "is that address a farm of this version? see --server and GROVE_SERVER";
        Error::new(Code::NotAFarm, message).with_hint(hint)
    }
}

/// This machine itself is never reached through a proxy.
fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The proxy that the environment names for this address, as it is shown: without its password.
fn proxy_to(base: &Url) -> Option<String> {
    let proxy = Matcher::from_env().intercept(&base.as_str().parse().ok()?)?;
    let uri = proxy.uri();
    Some(format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority()?))
}

/// The innermost cause: the outer ones only repeat that a request was sent.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl Call<'_> {
    /// Adds the fields of `query` that are set.
    pub(crate) fn query(mut self, query: &impl Serialize) -> Self {
        self.builder = self.builder.query(query);
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// A body that is no JSON.
    pub(crate) fn bytes(mut self, body: reqwest::Body) -> Self {
        self.builder = self.builder.body(body);
        self
    }

    /// A form with files.
    pub(crate) fn form(mut self, form: Form) -> Self {
        self.builder = self.builder.multipart(form);
        self
    }

    /// Only when the resource is still what has this tag.
    pub(crate) fn expecting(self, tag: Option<impl std::fmt::Display>) -> Self {
        match tag {
            Some(tag) => self.header(IF_MATCH, &format!("\"{tag}\"")),
            None => self,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Gives the farm this much time before it answers.
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.timeout += wait;
        self
    }

    /// The answer's JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.json_or_created().await.map(|(value, _)| value)
    }

    /// The answer's JSON, and whether it was made by this call.
    pub(crate) async fn json_or_created<T: DeserializeOwned>(self) -> Result<(T, bool), Error> {
        let transport = self.transport;
        let response = self.answer().await?;
        let created = response.status() == StatusCode::CREATED;
        let bytes = body(transport, response).await?;
        let value = serde_json::from_slice(&bytes).map_err(|error| transport.protocol(error.to_string()))?;
        Ok((value, created))
    }

    /// The answer's text.
    pub(crate) async fn text(self) -> Result<String, Error> {
        let transport = self.transport;
        let response = self.answer().await?;
        let bytes = body(transport, response).await?;
        String::from_utf8(bytes).map_err(|_| transport.protocol("an answer that is no text"))
    }

    /// Nothing but that it went well.
    pub(crate) async fn done(self) -> Result<(), Error> {
        self.answer().await.map(drop)
    }

    /// An answer without end: no limit on its time, and its body is the caller's to read.
    pub(crate) async fn stream(self, accept: HeaderValue) -> Result<Response, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept);
        let response = self.builder.headers(headers).send();
        let response = response.await.map_err(|error| self.transport.failed(error))?;
        accepted(self.transport, response).await
    }

    /// The answer's JSON to a body without end: no limit on its time.
    pub(crate) async fn upload<T: DeserializeOwned>(self, sent: reqwest::Body) -> Result<T, Error> {
        let transport = self.transport;
        let response = self.builder.body(sent).send().await.map_err(|error| transport.failed(error))?;
        let bytes = body(transport, accepted(transport, response).await?).await?;
        serde_json::from_slice(&bytes).map_err(|error| transport.protocol(error.to_string()))
    }

    /// The JSON of an answer that may take as long as its request is large.
    pub(crate) async fn stream_json<T: DeserializeOwned>(self, accept: HeaderValue) -> Result<T, Error> {
        let transport = self.transport;
        let response = self.stream(accept).await?;
        let bytes = body(transport, response).await?;
        serde_json::from_slice(&bytes).map_err(|error| transport.protocol(error.to_string()))
    }

    async fn answer(self) -> Result<Response, Error> {
        let response = self.builder.timeout(self.timeout).send();
        let response = response.await.map_err(|error| self.transport.failed(error))?;
        accepted(self.transport, response).await
    }
}

/// The response when it is a success; else the refusal it carries.
async fn accepted(transport: &Transport, response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let bytes = body(transport, response).await?;
    if is_problem {
        return match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(error) => Err(transport.protocol(format!("status {status} with a broken problem: {error}"))),
        };
    }
    // Readiness, or whoever stands before a farm that is away.
    if matches!(status.as_u16(), 502..=504) {
        let message = format!("{}{}", unexpected(status, &bytes), transport.through());
        return Err(Error::new(Code::Unavailable, message));
    }
    Err(transport.protocol(unexpected(status, &bytes)))
}

fn unexpected(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("status {status}: {}", line.chars().take(200).collect::<String>()),
        None => format!("status {status}"),
    }
}

/// Reads the body, but never more than [`MAX_ANSWER`].
async fn body(transport: &Transport, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport.failed(error))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(transport.protocol(format!("an answer of more than {MAX_ANSWER} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
