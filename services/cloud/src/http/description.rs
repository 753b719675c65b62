//! The API's description (OpenAPI 3.1), made from the routes, their handlers' attributes and the types that they answer with.

use super::{access::COOKIE, error::ApiError};
use axum::{
    Extension, Json,
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use utoipa::{
    ToSchema as _,
    openapi::{
        Content, Info, OpenApi, OpenApiBuilder, Ref, RefOr, Response as Answer, ResponseBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

/// Whose routes they are, as the description names them: how a request shows that it comes from one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caller {
    /// People and their tools. `is_open_here`: from this machine without a token, too.
    Operator {
        is_open_here: bool,
    },
    Device,
    Origin,
    Anyone,
}

impl Caller {
    const OPERATOR: &str = "operator";
    const SESSION: &str = "session";
    const DEVICE: &str = "device";
    const ORIGIN: &str = "cluster";

    fn requirements(self) -> Option<Vec<SecurityRequirement>> {
        let named = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
        match self {
            Self::Operator { is_open_here: true } => {
                Some(vec![named(Self::OPERATOR), named(Self::SESSION), SecurityRequirement::default()])
            }
            Self::Operator { is_open_here: false } => Some(vec![named(Self::OPERATOR), named(Self::SESSION)]),
            Self::Device => Some(vec![named(Self::DEVICE)]),
            Self::Origin => Some(vec![named(Self::ORIGIN)]),
            Self::Anyone => None,
        }
    }

    /// What any of its routes may answer, whatever it does.
    const fn refusals(self) -> &'static [(u16, &'static str)] {
        match self {
            Self::Operator { .. } => &[
                (400, "`BAD_REQUEST`: what is wrong with the request"),
                (401, "`UNAUTHORIZED`: nobody that is known here; `WWW-Authenticate` names `Session` where there are users"),
                (403, "`FORBIDDEN`: it needs a higher role; `CROSS_ORIGIN` or `HOST_NOT_LOCAL`: from a page of another site"),
                (408, "`TIMEOUT`: the request took too long"),
                (500, "`INTERNAL`: it failed here; the log says why"),
                (503, "`STORAGE_FAILED`: the database can't do that now"),
            ],
            Self::Origin => &[
                (400, "`BAD_REQUEST`: what is wrong with the report"),
                (401, "`UNAUTHORIZED`: not the cluster's key"),
                (408, "`TIMEOUT`: the request took too long"),
                (413, "`BAD_REQUEST`: longer than 1 MiB"),
                (415, "`BAD_REQUEST`: no `Content-Type: application/json`"),
                (422, "`BAD_REQUEST`: JSON of another shape"),
            ],
            // `/stream/request` answers as the specification says, with a body of its own.
            Self::Device | Self::Anyone => &[],
        }
    }

    const fn tag(self) -> &'static str {
        match self {
            Self::Operator { .. } => "operators",
            Self::Device => "devices",
            Self::Origin => "origins",
            Self::Anyone => "machines",
        }
    }
}

/// An empty description.
pub(super) fn begin() -> OpenApi {
    let about = "Live video from fleets of cameras. Lists are `{items, next}`; `next` is the `cursor` of the next page. \
                 Times are seconds since 1970, UTC.";
    let mut info = Info::new("Sightline", env!("CARGO_PKG_VERSION"));
    info.description = Some(about.to_owned());
    let scheme = |text: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(text.to_owned());
        SecurityScheme::Http(http)
    };
    let components = utoipa::openapi::ComponentsBuilder::new()
        .schema_from::<ApiError>()
        .security_scheme(Caller::OPERATOR, scheme("An API token of a user, the operator's token, or an operator's client certificate"))
        .security_scheme(
            Caller::SESSION,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(COOKIE, "The cookie of `POST /api/v1/session`"))),
        )
        .security_scheme(Caller::DEVICE, scheme("A device's token, or its client certificate"))
        .security_scheme(Caller::ORIGIN, scheme("`cluster.key` of the cloud's data directory"))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// A path that ends in a path is `{*path}` to the router; a description knows no such thing.
pub(super) fn name_paths(api: &mut OpenApi) {
    let paths = std::mem::take(&mut api.paths.paths);
    api.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
}

/// Says of all operations whose they are, and what they may answer beside what each says itself.
pub(super) fn complete(api: &mut OpenApi, caller: Caller) {
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        operation.security = caller.requirements();
        operation.tags = Some(vec![caller.tag().to_owned()]);
        let has_body = operation.request_body.is_some();
        let of_bodies: &[(u16, &str)] = &[
            (413, "`BAD_REQUEST`: longer than 16 KiB"),
            (415, "`BAD_REQUEST`: no `Content-Type: application/json`"),
            (422, "`BAD_REQUEST`: JSON of another shape"),
        ];
        let of_bodies = if has_body && matches!(caller, Caller::Operator { .. }) { of_bodies } else { &[] };
        for (status, text) in caller.refusals().iter().chain(of_bodies) {
            operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(refusal(text)));
        }
        // What a handler names by its status alone is an error, too.
        for (status, answer) in &mut operation.responses.responses {
            if let RefOr::T(answer) = answer
                && status.as_str() >= "400"
                && answer.content.is_empty()
                && caller != Caller::Anyone
            {
                *answer = refusal(&answer.description);
            }
        }
    }
}

fn operations(item: &mut utoipa::openapi::PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn refusal(text: &str) -> Answer {
    let content = Content::builder().schema(Some(Ref::from_schema_name(ApiError::name()))).build();
    ResponseBuilder::new().description(text).content("application/json", content).build()
}

/// As it is served.
#[derive(Clone)]
pub(super) struct Description(pub(super) Arc<OpenApi>);

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", operation_id = "openapi", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn openapi(Extension(Description(api)): Extension<Description>) -> Response {
    Json(&*api).into_response()
}
