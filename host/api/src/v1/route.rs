//! Which path and method mean what.

use http::{Method, Uri};

/// What a client can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Version,
    CreateRequest,
    GetRequest,
    UpdateRequest,
    CloseRequest,
    AcquireWorker,
    ProlongAccess,
    ListRequests,
    ListWorkers,
    ListWorkersByPost,
    GetWorker,
    SetState,
    SetGroups,
    Deregister,
    /// None of these.
    Unknown,
}

impl Action {
    /// Every action with its path, in the order of their numbers.
    pub(crate) const ALL: [(Self, &'static str); 15] = [
        (Self::Version, "/api/v1/version"),
        (Self::CreateRequest, "/api/v1/reqs/"),
        (Self::GetRequest, "/api/v1/reqs/{id}"),
        (Self::UpdateRequest, "/api/v1/reqs/{id}"),
        (Self::CloseRequest, "/api/v1/reqs/{id}/close"),
        (Self::AcquireWorker, "/api/v1/reqs/{id}/acquire_worker"),
        (Self::ProlongAccess, "/api/v1/reqs/{id}/prolong"),
        (Self::ListRequests, "/api/v1/reqs/list"),
        (Self::ListWorkers, "/api/v1/workers/"),
        (Self::ListWorkersByPost, "/api/v1/workers/list"),
        (Self::GetWorker, "/api/v1/workers/{uuid}"),
        (Self::SetState, "/api/v1/workers/{uuid}/setstate"),
        (Self::SetGroups, "/api/v1/workers/{uuid}/setgroups"),
        (Self::Deregister, "/api/v1/workers/{uuid}/deregister"),
        (Self::Unknown, "/api/v1"),
    ];

    /// Whether this changes something.
    pub(crate) fn is_get(self) -> bool {
        matches!(self, Self::Version | Self::GetRequest | Self::ListWorkers | Self::GetWorker)
    }
}

/// What a path and method lead to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Found<'p> {
    /// An action, with the id in the path.
    Action(Action, &'p str),
    /// The same under another path.
    Moved(String),
    /// Nothing.
    Nothing,
}

const BASE: &str = "/api/v1";

pub(super) fn find<'p>(method: &Method, uri: &'p Uri) -> Found<'p> {
    let path = uri.path();
    if path.contains("//") || *method == Method::OPTIONS {
        return Found::Nothing;
    }
    let rest = match path.strip_prefix(BASE) {
        Some("") => return Found::Nothing,
        Some(rest) if rest.starts_with('/') => rest.get(1..).unwrap_or_default(),
        _ => {
            let unversioned = path.strip_prefix("/api").unwrap_or(path);
            return Found::Moved(with_query(format!("{BASE}{unversioned}"), uri));
        }
    };
    let (trimmed, slash) = rest.strip_suffix('/').map_or((rest, false), |trimmed| (trimmed, true));
    let Some((action, id)) = action(method, trimmed) else { return Found::Nothing };
    // These two are registered with a slash at the end, all others without.
    let registered = matches!(action, Action::CreateRequest | Action::ListWorkers);
    if slash == registered {
        return Found::Action(action, id);
    }
    let end = if registered { "/" } else { "" };
    Found::Moved(with_query(format!("{BASE}/{trimmed}{end}"), uri))
}

fn action<'p>(method: &Method, path: &'p str) -> Option<(Action, &'p str)> {
    let get = matches!(*method, Method::GET | Method::HEAD);
    if !get && *method != Method::POST {
        return None;
    }
    let mut parts = path.split('/');
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let found = match (first, second, third) {
        ("version", None, None) if get => Action::Version,
        ("reqs", None, None) if !get => Action::CreateRequest,
        ("reqs", Some("list"), None) if !get => Action::ListRequests,
        ("reqs", Some(_), None) if get => Action::GetRequest,
        ("reqs", Some(_), None) => Action::UpdateRequest,
        ("reqs", Some(_), Some("close")) if !get => Action::CloseRequest,
        ("reqs", Some(_), Some("acquire_worker")) if !get => Action::AcquireWorker,
        ("reqs", Some(_), Some("prolong")) if !get => Action::ProlongAccess,
        ("workers", None, None) if get => Action::ListWorkers,
        ("workers", Some("list"), None) if !get => Action::ListWorkersByPost,
        ("workers", Some(_), None) if get => Action::GetWorker,
        ("workers", Some(_), Some("setstate")) if !get => Action::SetState,
        ("workers", Some(_), Some("setgroups")) if !get => Action::SetGroups,
        ("workers", Some(_), Some("deregister")) if !get => Action::Deregister,
        _ => return None,
    };
    Some((found, second.unwrap_or_default()))
}

fn with_query(mut location: String, uri: &Uri) -> String {
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_in_the_order_of_their_numbers() {
        for (number, (action, _)) in Action::ALL.iter().enumerate() {
            assert_eq!(*action as usize, number);
        }
    }
}
