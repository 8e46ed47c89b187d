//! `/api/v2/limits`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::response::Response;
use grove_control::farm::Farm;
use grove_domain::limit::{Limit, Scope};
use grove_domain::task::Phase;
use grove_wire::limit::SetLimit;
use grove_wire::{Page, limits};
use http::{HeaderMap, StatusCode, Uri};

use super::input::{Named, Query, Served, Whole, at_most, invalid};
use super::refuse::Refuse;
use super::{revision, show};
use crate::app::App;

/// All that were ever set: there are few.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let farm = app.controller.farm();
    let running = count(&farm);
    let show = |limit: &Arc<Limit>| show::limit(limit, running.get(&limit.scope).copied().unwrap_or(0));
    let items: Vec<_> = farm.limits().values().map(show).collect();
    Ok(revision::json(StatusCode::OK, &Page { items, next: None }))
}

pub(crate) async fn get_farm(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    get(&app, &uri, Scope::Farm)
}

pub(crate) async fn get_driver(
    Served(app): Served,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Refuse> {
    get(&app, &uri, driver(name)?)
}

pub(crate) async fn get_host(Served(app): Served, Named(name): Named, uri: Uri) -> Result<Response, Refuse> {
    get(&app, &uri, host(name)?)
}

pub(crate) async fn put_farm(
    Served(app): Served,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    put(&app, &headers, &body, Scope::Farm).await
}

pub(crate) async fn put_driver(
    Served(app): Served,
    Named(name): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    put(&app, &headers, &body, driver(name)?).await
}

pub(crate) async fn put_host(
    Served(app): Served,
    Named(name): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    put(&app, &headers, &body, host(name)?).await
}

/// Neither a driver nor a host must be there yet.
fn driver(name: String) -> Result<Scope, Refuse> {
    at_most("name", name.len(), limits::DRIVER, "bytes")?;
    named(&name)?;
    Ok(Scope::Driver(name))
}

fn host(name: String) -> Result<Scope, Refuse> {
    at_most("name", name.len(), limits::HOST, "bytes")?;
    named(&name)?;
    Ok(Scope::Host(name))
}

fn named(name: &str) -> Result<(), Refuse> {
    if name.is_empty() || name.contains(char::is_control) {
        return Err(invalid("name", "it must be a name, without control characters"));
    }
    Ok(())
}

fn get(app: &App, uri: &Uri, scope: Scope) -> Result<Response, Refuse> {
    Query::new(uri).done()?;
    let limit = app.controller.farm().limit(&scope).cloned();
    let never = || Arc::new(Limit { scope, value: None, revision: 0 });
    Ok(answer(app, &limit.unwrap_or_else(never)))
}

async fn put(app: &App, headers: &HeaderMap, body: &Whole, scope: Scope) -> Result<Response, Refuse> {
    let expected = revision::expected(headers)?;
    let SetLimit { value } = body.json()?;
    let limit = app.controller.set_limit(&app.actor, scope, value, expected).await?;
    Ok(answer(app, &limit))
}

fn answer(app: &App, limit: &Limit) -> Response {
    let running = app.controller.farm().running_in(&limit.scope) as u64;
    revision::with_etag(StatusCode::OK, limit.revision, &show::limit(limit, running))
}

/// How many tasks run in every scope where some do, in one look at them all.
fn count(farm: &Farm) -> HashMap<Scope, u64> {
    let mut running = HashMap::new();
    for task in farm.tasks().values().filter(|task| task.status.phase == Phase::Running) {
        let host = task.spec.host.clone().map(Scope::Host);
        for scope in [Scope::Farm, Scope::Driver(task.spec.driver.clone())].into_iter().chain(host) {
            *running.entry(scope).or_default() += 1;
        }
    }
    running
}
