//! Artifacts: files that users bring for boards.

use grove_wire::artifact::Artifact;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderValue};
use reqwest::{Body, Method, Response};
use serde::Serialize;

use crate::{Client, Error, Pages};

/// Which artifacts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ArtifactsQuery {
    /// Only those of this group.
    pub group: Option<String>,
}

/// The bytes of an artifact, as they come.
#[derive(Debug)]
pub struct Download {
    client: Client,
    response: Response,
}

impl Client {
    /// The artifacts, by group and key.
    pub fn artifacts(&self, query: &ArtifactsQuery) -> Pages<Artifact> {
        Pages::new(self, "artifacts", query)
    }

    /// Brings an artifact of `size` bytes, however long that takes. One that is there already is replaced; `expected`:
    /// only if it holds what has this SHA-256, in hex.
    ///
    /// # Errors
    /// When the farm refuses it, or cannot be reached to the end.
    pub async fn put_artifact(
        &self,
        group: &str,
        key: &str,
        size: u64,
        body: impl Into<Body>,
        expected: Option<&str>,
    ) -> Result<Artifact, Error> {
        let call = self.v2(Method::PUT, &["artifacts", group, key]).expecting(expected);
        let call = call.header(CONTENT_LENGTH, &size.to_string()).bytes(body.into());
        call.stream_json(HeaderValue::from_static("application/json")).await
    }

    /// Reads an artifact.
    ///
    /// # Errors
    /// When there is none, or the farm cannot be reached.
    pub async fn get_artifact(&self, group: &str, key: &str) -> Result<Download, Error> {
        let call = self.v2(Method::GET, &["artifacts", group, key]);
        let response = call.stream(HeaderValue::from_static("*/*")).await?;
        Ok(Download { client: self.clone(), response })
    }

    /// Has an artifact read to its end and held against its digest, however long that takes; what is wrong with it is in the
    /// answer.
    ///
    /// # Errors
    /// When there is none, or the farm cannot be reached.
    pub async fn verify_artifact(&self, group: &str, key: &str) -> Result<Artifact, Error> {
        let call = self.v2(Method::POST, &["artifacts", group, key, "verify"]);
        call.stream_json(HeaderValue::from_static("application/json")).await
    }

    /// Removes an artifact; `expected`: only if it holds what has this SHA-256, in hex.
    ///
    /// # Errors
    /// When there is none, or the farm cannot be reached.
    pub async fn remove_artifact(&self, group: &str, key: &str, expected: Option<&str>) -> Result<(), Error> {
        self.v2(Method::DELETE, &["artifacts", group, key]).expecting(expected).done().await
    }
}

impl Download {
    /// What it holds, as the farm says: SHA-256 in hex.
    pub fn sha256(&self) -> Option<&str> {
        self.response.headers().get(ETAG)?.to_str().ok().map(|tag| tag.trim_matches('"'))
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Error> {
        self.response.chunk().await.map_err(|error| self.client.transport.failed(error))
    }
}
