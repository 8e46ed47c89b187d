//! The farm as a whole.

use grove_wire::farm::FarmImport;
use reqwest::header::HeaderValue;
use reqwest::{Body, Method, Response};
use serde::Serialize;

use crate::transport::Transport;
use crate::{Client, Error};

/// How to import.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ImportQuery {
    /// Only say what would change.
    pub dry_run: bool,
}

/// What may be exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ExportQuery {
    /// Also when the farm has lost components of plugins.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// An export on its way here. It is whole only when [`Self::chunk`] has given none.
#[derive(Debug)]
pub struct Export {
    transport: Transport,
    response: Response,
}

impl Export {
    /// The next bytes of it; none = it has ended well.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let chunk = self.response.chunk().await.map_err(|error| self.transport.failed(error))?;
        Ok(chunk.map(Vec::from))
    }
}

impl Client {
    /// Everything of the farm as it is at this moment, as lines of JSON. It holds keys.
    pub async fn export_farm(&self, query: ExportQuery) -> Result<Export, Error> {
        let call = self.v2(Method::GET, &["farm", "export"]).query(&query);
        let response = call.stream(HeaderValue::from_static("application/jsonl")).await?;
        Ok(Export { transport: self.transport.clone(), response })
    }

    /// Replaces the farm by an export, whole or not at all. No limit on its time: a large farm takes minutes.
    pub async fn import_farm(&self, file: tokio::fs::File, query: ImportQuery) -> Result<FarmImport, Error> {
        let call = self.v2(Method::POST, &["farm", "import"]).query(&query);
        call.upload(Body::from(file)).await
    }
}
