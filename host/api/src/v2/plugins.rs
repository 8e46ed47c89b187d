//! `/api/v2/plugins`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use grove_control::Created;
use grove_wire::plugin::{Plugin, SwapPlugin, VersionChoice};
use grove_wire::{Code, Page, Problem};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::input::{Named, Query, Served, Whole, shown};
use super::refuse::{self, Refuse};
use super::{revision, upload};
use crate::app::App;
use crate::front::Front;
use crate::plugins::PluginRefused;

/// All of them: there are few.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    Ok(revision::json(StatusCode::OK, &Page { items: app.plugins.list(), next: None }))
}

pub(crate) async fn get(Served(app): Served, Named(name): Named, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let plugin = app.plugins.list().into_iter().find(|plugin| plugin.name == name);
    let plugin = plugin.ok_or_else(|| Asked::about(&app, &name).refuse(PluginRefused::NotFound))?;
    Ok(answer(StatusCode::OK, &plugin))
}

/// The body is a form with files: `manifest`, `component`, and perhaps `activate`.
pub(crate) async fn install(
    State(front): State<Front>,
    Served(app): Served,
    request: Request,
) -> Result<Response, Refuse> {
    let (head, body) = request.into_parts();
    Query::new(&head.uri).done()?;
    let expected = revision::expected(&head.headers)?;
    let Ok(_place) = front.uploads.try_acquire() else {
        // A client that cannot send does not look for an answer.
        upload::discard(body, front.limits.body).await;
        let problem =
            Problem::new(Code::Overloaded, "as many plugins are being taken in as the server takes");
        return Err(problem.hint("try again when they are in").into());
    };
    let sent = upload::read(&head.headers, body, front.limits.body).await?;
    let work = app.plugins.install(&app.actor, sent.manifest, sent.component, sent.activate, expected);
    // A client that goes away while its plugin is being tried out takes that along.
    let (plugin, created) = work.await.map_err(|refused| Asked::about(&app, "").refuse(refused))?;
    let status = if created == Created::Yes { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer(status, &plugin);
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v2/plugins/{}", plugin.name)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn enable(
    Served(app): Served,
    Named(name): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    body.optional_json::<Nothing>()?;
    let work = app.plugins.enable(&app.actor, &name, expected);
    Ok(answer(StatusCode::OK, &Asked::about(&app, &name).carry_out(work).await?))
}

pub(crate) async fn disable(
    Served(app): Served,
    Named(name): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    body.optional_json::<Nothing>()?;
    let work = app.plugins.disable(&app.actor, &name, expected);
    Ok(answer(StatusCode::OK, &Asked::about(&app, &name).carry_out(work).await?))
}

pub(crate) async fn swap(
    Served(app): Served,
    Named(name): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    let SwapPlugin { to } = body.json()?;
    let work = app.plugins.swap(&app.actor, &name, to.clone(), expected);
    Ok(answer(StatusCode::OK, &Asked::about(&app, &name).version("to", Some(&to)).carry_out(work).await?))
}

/// Query: `version`; without it all of them go.
pub(crate) async fn remove(
    Served(app): Served,
    Named(name): Named,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    let mut query = Query::new(&uri);
    let version = query.parse::<VersionChoice>("version")?;
    query.done()?;
    let work = app.plugins.remove(&app.actor, &name, version.clone(), expected);
    Asked::about(&app, &name).version("version", version.as_ref()).carry_out(work).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn answer(status: StatusCode, plugin: &Plugin) -> Response {
    revision::with_etag(status, plugin.revision, plugin)
}

/// A body that says nothing.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What a refusal is about.
struct Asked<'a> {
    app: &'a App,
    name: &'a str,
    /// Where the version was given, and how it was written.
    version: (&'static str, &'a str),
}

impl<'a> Asked<'a> {
    fn about(app: &'a App, name: &'a str) -> Self {
        Self { app, name, version: ("version", "") }
    }

    fn version(self, field: &'static str, version: Option<&'a VersionChoice>) -> Self {
        Self { version: (field, version.map(VersionChoice::as_str).unwrap_or_default()), ..self }
    }

    /// Does it, to its end also when the client goes away.
    async fn carry_out<T: Send + 'static>(
        &self,
        work: BoxFuture<'static, Result<T, PluginRefused>>,
    ) -> Result<T, Refuse> {
        match tokio::spawn(work).await {
            Ok(done) => done.map_err(|refused| self.refuse(refused)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Problem::new(Code::Stopping, "the server is shutting down").into()),
            },
        }
    }

    fn refuse(&self, refused: PluginRefused) -> Refuse {
        let (name, (field, version)) = (shown(self.name), self.version);
        let problem = match refused {
            PluginRefused::NotFound if name.is_empty() => {
                Problem::new(Code::PluginNotFound, "this plugin is not here, so it has no revision")
                    .hint("leave If-Match out to install it")
                    .field("If-Match")
            }
            PluginRefused::NotFound => {
                Problem::new(Code::PluginNotFound, format!("no plugin is named {name:?}"))
                    .hint("list the plugins there are: GET /api/v2/plugins")
            }
            PluginRefused::VersionNotFound => {
                let detail = format!("{name} has no version {version:?}");
                let problem = Problem::new(Code::PluginVersionNotFound, detail).field(field);
                match self.versions() {
                    Some(versions) => problem.hint(format!("it has {versions}")),
                    None => problem,
                }
            }
            PluginRefused::Ambiguous => {
                let detail = format!("{version:?} names more than one version of {name}");
                let problem = Problem::new(Code::PluginVersionAmbiguous, detail).field(field);
                match self.versions() {
                    Some(versions) => problem.hint(format!("say more of the digest: it has {versions}")),
                    None => problem,
                }
            }
            PluginRefused::CheckFailed(text) => Problem::new(Code::PluginCheckFailed, text),
            PluginRefused::Conflict(text) => Problem::new(Code::PluginInUse, text),
            PluginRefused::BadManifest(text) => Problem::new(Code::BadManifest, text).field("manifest"),
            PluginRefused::Full(text) => {
                Problem::new(Code::FarmFull, text).hint("remove versions that nothing uses")
            }
            PluginRefused::RevisionMismatch { current } => {
                Problem::new(Code::RevisionMismatch, format!("the revision is {current} now"))
                    .hint(format!("read it again, then send If-Match: \"{current}\""))
                    .field("If-Match")
            }
            PluginRefused::Maintenance(text) => return refuse::maintenance(text),
            PluginRefused::Unavailable(text) => Problem::new(Code::Unavailable, text)
                .hint("try again later; the admin sees the reason at /readyz"),
        };
        problem.into()
    }

    /// The versions that there are, for people.
    fn versions(&self) -> Option<String> {
        let plugin = self.app.plugins.list().into_iter().find(|plugin| plugin.name == self.name)?;
        let label = |version: &grove_wire::plugin::PluginVersion| {
            format!("{} ({})", version.version, version.digest.get(..12).unwrap_or(&version.digest))
        };
        let labels: Vec<String> = plugin.versions.iter().take(10).map(label).collect();
        (!labels.is_empty()).then(|| labels.join(", "))
    }
}
