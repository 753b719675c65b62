//! The HTTP port: one address for plain HTTP and HTTPS, with or without a client certificate.

mod access;
mod audit;
mod commands;
mod console;
mod coverage;
mod description;
mod devices;
mod error;
mod events;
mod extract;
mod groups;
mod health;
mod holds;
mod hooks;
mod keys;
mod listener;
mod live;
mod marks;
mod page;
mod person;
mod playback;
mod recordings;
mod relays;
mod reports;
mod requests;
mod rights;
mod server_hooks;
mod servers;
mod session;
mod settings;
pub(crate) mod state;
mod streams;
mod tokens;
mod users;
mod watching;

pub(crate) use listener::serve;

use crate::monitoring;
use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, MatchedPath},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
};
use description::{Caller, Description};
use error::ApiError;
use state::Http;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tower_http::compression::CompressionLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The longest body of any request but a report.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The longest report: a thousand streams at some 300 bytes each, and room.
const REPORT_BYTES_MAX: usize = 1 << 20;
/// How long a handler may take until its answer begins. It ends a slow peer that sends its body byte by byte.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(15);

/// All routes.
pub(crate) fn router(http: Http, extra: Router) -> Router {
    let (routes, mut api) = described(&http).split_for_parts();
    description::name_paths(&mut api);
    let ours = routes
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(Extension(Description(Arc::new(api))))
        .layer(middleware::from_fn(deadline))
        .merge(
            Router::new()
                .fallback(console::serve)
                .layer(middleware::from_fn_with_state(http.clone(), watching::keep_redirects))
                .layer(CompressionLayer::new()),
        )
        .layer(middleware::from_fn(count))
        .with_state(http.clone());
    // What an origin in this process serves is watched by whoever may see it; elsewhere origins ask for a right themselves.
    let extra = extra.layer(middleware::from_fn_with_state(http, watching::keep));
    extra.merge(ours).layer(middleware::from_fn(sightline_listen::cors::live))
}

/// The routes of people and their programs. What each needs is in `rights::TABLE`.
fn people_routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(session::sign_in, session::show, session::sign_out))
        .routes(routes!(session::change_password))
        .routes(routes!(devices::list, devices::add))
        .routes(routes!(devices::show, devices::change, devices::revoke))
        .routes(routes!(commands::command))
        .routes(routes!(settings::show, settings::set))
        .routes(routes!(devices::remove))
        .routes(routes!(commands::rotate))
        .routes(routes!(streams::list))
        .routes(routes!(relays::of_stream, relays::add_to_stream))
        .routes(routes!(relays::remove_from_stream))
        .routes(routes!(relays::list, relays::add))
        .routes(routes!(hooks::list, hooks::add))
        .routes(routes!(hooks::replay))
        .routes(routes!(hooks::remove))
        .routes(routes!(relays::remove))
        .routes(routes!(marks::list, marks::add))
        .routes(routes!(playback::token))
        .routes(routes!(playback::list, playback::add))
        .routes(routes!(playback::remove))
        .routes(routes!(servers::list, servers::add))
        .routes(routes!(servers::remove))
        .routes(routes!(servers::drain))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(recordings::list))
        .routes(routes!(groups::list, groups::add))
        .routes(routes!(groups::remove))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::show, users::change, users::remove))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::remove))
        .routes(routes!(coverage::coverage))
        .routes(routes!(holds::list, holds::add))
        .routes(routes!(holds::remove))
        .routes(routes!(audit::list))
}

/// The routes that are in the API's description, by who may use them.
fn described(http: &Http) -> OpenApiRouter<Http> {
    let mut people = people_routes().layer(middleware::from_fn_with_state(http.clone(), rights::keep));
    let mut devices = OpenApiRouter::new().routes(routes!(requests::request)).routes(routes!(requests::certificate));
    let mut origins = OpenApiRouter::new()
        .routes(routes!(reports::report))
        .routes(routes!(reports::wanted))
        .layer(DefaultBodyLimit::max(REPORT_BYTES_MAX));
    let mut machines = OpenApiRouter::new()
        .routes(routes!(server_hooks::nginx))
        .routes(routes!(server_hooks::srs))
        .routes(routes!(server_hooks::mediamtx))
        .routes(routes!(keys::jwks))
        .routes(routes!(description::openapi))
        .routes(routes!(health::metrics))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready));
    let is_open_here = http.operators.is_open_here();
    let parts = [
        (&mut people, Caller::Operator { is_open_here }),
        (&mut devices, Caller::Device),
        (&mut origins, Caller::Origin),
        (&mut machines, Caller::Anyone),
    ];
    for (part, caller) in parts {
        description::complete(part.get_openapi_mut(), caller);
    }
    rights::describe(people.get_openapi_mut());
    OpenApiRouter::with_openapi(description::begin()).merge(people).merge(devices).merge(origins).merge(machines)
}

async fn method_not_allowed(method: axum::http::Method) -> ApiError {
    ApiError::method_not_allowed(&method)
}

/// Counts requests, by the pattern of their path. What has none is the console, or is not here.
async fn count(request: axum::extract::Request, next: middleware::Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    monitoring::answered(route.as_ref().map_or("other", MatchedPath::as_str), response.status().as_u16(), began.elapsed());
    response
}

async fn deadline(request: axum::extract::Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(HANDLER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", "the request took too long").into_response(),
    }
}
