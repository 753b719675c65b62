//! Who may do what: one table of all routes that people and their programs use, and the one place that keeps it.

use super::{
    access::{self, Asked, Known},
    error::{ApiError, ApiResult, NoRight},
    person::Person,
};
use crate::{
    audit::refusals::Refusals,
    identity::operators::Operators,
    people::{names::Role, sessions::Sessions},
    store::{Store, actor::Action},
};
use axum::{
    RequestExt as _,
    extract::{MatchedPath, RawPathParams, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use sightline_signal::DeviceId;
use std::sync::Arc;
use utoipa::openapi::OpenApi;

/// What a route needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Nothing: it is the way in.
    Nothing,
    /// Someone: what they get is about themselves, or a list of what they may see.
    Someone,
    /// This role on the device that the path names.
    Device(Role),
    /// This role on what the handler finds named: in the body, or behind an id. It asks [`Person::check`].
    Named(Role),
    /// This role on the root: it is about the whole installation.
    Root(Role),
}

impl Needs {
    fn in_words(self) -> String {
        match self {
            Self::Nothing => "Open to everyone.".to_owned(),
            Self::Someone => "Needs no role: it holds what one may see.".to_owned(),
            Self::Device(role) => format!("Needs the role `{role}` on the device."),
            Self::Named(role) => format!("Needs the role `{role}` on what it names."),
            Self::Root(role) => format!("Needs the role `{role}` on the root."),
        }
    }
}

/// Each route with what it needs. One that is not here answers nobody.
pub(super) const TABLE: [(Method, &str, Needs); 54] = {
    use Needs::{Device, Named, Nothing, Root, Someone};
    use Role::{Admin, Operator, Viewer};
    const GET: Method = Method::GET;
    const PATCH: Method = Method::PATCH;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const DELETE: Method = Method::DELETE;
    [
        (POST, "/api/v1/session", Nothing),
        (GET, "/api/v1/session", Someone),
        (DELETE, "/api/v1/session", Someone),
        (PUT, "/api/v1/session/password", Someone),
        (GET, "/api/v1/devices", Someone),
        (POST, "/api/v1/devices", Root(Admin)),
        (GET, "/api/v1/devices/{id}", Device(Viewer)),
        (PATCH, "/api/v1/devices/{id}", Device(Admin)),
        (DELETE, "/api/v1/devices/{id}", Device(Admin)),
        (POST, "/api/v1/devices/{id}/remove", Device(Admin)),
        (POST, "/api/v1/devices/{id}/command", Device(Operator)),
        (POST, "/api/v1/devices/{id}/rotate", Device(Operator)),
        (GET, "/api/v1/devices/{id}/config", Device(Viewer)),
        (PUT, "/api/v1/devices/{id}/config", Device(Admin)),
        (GET, "/api/v1/streams", Someone),
        (GET, "/api/v1/streams/{id}/relays", Device(Viewer)),
        (POST, "/api/v1/streams/{id}/relays", Device(Admin)),
        (DELETE, "/api/v1/streams/{id}/relays/{name}", Device(Admin)),
        (GET, "/api/v1/streams/{id}/marks", Device(Viewer)),
        (POST, "/api/v1/streams/{id}/marks", Device(Operator)),
        (POST, "/api/v1/streams/{id}/playback", Device(Viewer)),
        (GET, "/api/v1/playback-keys", Someone),
        (POST, "/api/v1/playback-keys", Named(Operator)),
        (DELETE, "/api/v1/playback-keys/{id}", Named(Operator)),
        (GET, "/api/v1/events", Someone),
        (GET, "/api/v1/events/stream", Someone),
        (GET, "/api/v1/recordings", Someone),
        (GET, "/api/v1/coverage", Someone),
        (GET, "/api/v1/holds", Someone),
        (POST, "/api/v1/holds", Named(Operator)),
        (DELETE, "/api/v1/holds/{id}", Named(Admin)),
        (GET, "/api/v1/groups", Someone),
        (POST, "/api/v1/groups", Named(Admin)),
        (DELETE, "/api/v1/groups/{*path}", Named(Admin)),
        (GET, "/api/v1/tokens", Someone),
        (POST, "/api/v1/tokens", Someone),
        (DELETE, "/api/v1/tokens/{id}", Someone),
        (GET, "/api/v1/users", Root(Admin)),
        (POST, "/api/v1/users", Root(Admin)),
        (GET, "/api/v1/users/{name}", Root(Admin)),
        (PATCH, "/api/v1/users/{name}", Root(Admin)),
        (DELETE, "/api/v1/users/{name}", Root(Admin)),
        (GET, "/api/v1/relays", Root(Admin)),
        (POST, "/api/v1/relays", Root(Admin)),
        (DELETE, "/api/v1/relays/{name}", Root(Admin)),
        (GET, "/api/v1/hooks", Root(Admin)),
        (POST, "/api/v1/hooks", Root(Admin)),
        (POST, "/api/v1/hooks/{id}/replay", Root(Admin)),
        (DELETE, "/api/v1/hooks/{id}", Root(Admin)),
        (GET, "/api/v1/servers", Root(Admin)),
        (POST, "/api/v1/servers", Root(Admin)),
        (DELETE, "/api/v1/servers/{id}", Root(Admin)),
        (POST, "/api/v1/servers/{id}/drain", Root(Admin)),
        (GET, "/api/v1/audit", Root(Admin)),
    ]
};

/// Writes into the API's description what each operation needs.
pub(super) fn describe(api: &mut OpenApi) {
    for (method, path, needs) in &TABLE {
        let Some(item) = api.paths.paths.get_mut(*path) else { continue };
        let operation = match method.as_str() {
            "GET" => &mut item.get,
            "PUT" => &mut item.put,
            "POST" => &mut item.post,
            "PATCH" => &mut item.patch,
            _ => &mut item.delete,
        };
        if let Some(operation) = operation {
            let before = operation.description.take().map(|text| format!("{text}\n\n")).unwrap_or_default();
            operation.description = Some(format!("{before}{}", needs.in_words()));
        }
    }
}

/// What a route needs; `None`: it is not in the table.
fn needs(method: &Method, path: &str) -> Option<Needs> {
    // Who may get it may ask what it would get.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|(of, at, _)| of == method && *at == path).map(|(_, _, needs)| *needs)
}

/// Lets through who may, with the [`Person`] in the request. Whom it refuses, or a handler does, is in the audit log.
pub(super) async fn keep(
    State(operators): State<Operators>,
    State(sessions): State<Arc<Sessions>>,
    State(store): State<Store>,
    State(refusals): State<Arc<Refusals>>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = Known { operators: &operators, sessions: &sessions, store: &store };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (asked, needs) = (Asked::of(&request), needs(&method, &route));
    if needs == Some(Needs::Nothing) {
        return match access::refuse_other_sites(&asked) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        };
    }
    let person = match known.person(&asked).await {
        Ok(Some(person)) => person,
        Ok(None) => return known.refusal(&asked).await,
        Err(error) => return error.into_response(),
    };
    let Some(needs) = needs else { return ApiError::method_not_allowed(&method).into_response() };
    // Read as handlers read it: percent signs stand for other characters.
    let params = request.extract_parts::<RawPathParams>().await.ok();
    let id = params.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "id")).map(|(_, id)| id);
    let device = id.and_then(|id| DeviceId::new(id).ok());
    let response = match may(&person, needs, &store, device).await {
        Ok(()) => {
            request.extensions_mut().insert(person.clone());
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    if let Some(NoRight(why)) = response.extensions().get() {
        let reason = format!("{method} {route}: {why}");
        refusals.record(&person.actor(), Action::AccessRefuse, &path, &reason, json!({ "from": person.from() })).await;
    }
    response
}

async fn may(person: &Person, needs: Needs, store: &Store, device: Option<DeviceId>) -> ApiResult<()> {
    match needs {
        Needs::Nothing | Needs::Someone | Needs::Named(_) => Ok(()),
        Needs::Root(role) => person.check_root(role),
        Needs::Device(role) => {
            // What is no id is no device: the handler says what is wrong with it.
            let Some(device) = device else { return Ok(()) };
            person.check_device(store, role, &device).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A route that is not in the table answers nobody; a line of the table without a route is a mistake in one of them.
    #[test]
    fn the_table_has_each_route_of_the_router_and_no_other() {
        let api = crate::http::people_routes().into_openapi();
        let of = |path: &String, item: &utoipa::openapi::PathItem| {
            let methods = [("GET", &item.get), ("PUT", &item.put), ("POST", &item.post), ("PATCH", &item.patch), ("DELETE", &item.delete)];
            let methods = methods.into_iter().filter(|(_, operation)| operation.is_some());
            methods.map(|(method, _)| format!("{method} {path}")).collect::<Vec<_>>()
        };
        let routes: BTreeSet<String> = api.paths.paths.iter().flat_map(|(path, item)| of(path, item)).collect();
        let table = TABLE.iter().map(|(method, path, _)| format!("{method} {path}")).collect::<BTreeSet<_>>();
        assert_eq!(routes, table);
    }
}
