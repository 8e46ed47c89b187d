//! `/api/v2/plugins`.

use axum::extract::State;
use axum::response::Response;
use grove_wire::{Code, Page, Problem};
use http::{StatusCode, Uri};

use super::input::{Named, Query};
use super::refuse::Refuse;
use super::revision;
use crate::app::App;

/// All of them: there are few.
pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    Ok(revision::json(StatusCode::OK, &Page { items: app.plugins.plugins(), next: None }))
}

pub(crate) async fn get(State(app): State<App>, Named(name): Named, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let plugin = app.plugins.plugins().into_iter().find(|plugin| plugin.name == name);
    let plugin = plugin.ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        let problem = Problem::new(Code::PluginNotFound, format!("no plugin is named {shown:?}"));
        problem.hint("list the plugins there are: GET /api/v2/plugins")
    })?;
    Ok(revision::json(StatusCode::OK, &plugin))
}
