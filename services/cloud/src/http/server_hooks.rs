//! `/hooks/nginx`, `/hooks/srs`, `/hooks/mediamtx`: servers of others ask whether someone may publish, each in its own words. The token that their client
//! shows is the proof; whoever asks without one learns nothing.

use super::error::ApiError;
use crate::servers::publishing::{Asked, Moment, PublishRefusal, Publishing};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, sync::Arc};

/// What nginx-rtmp posts (`on_publish`, `on_update`, …): a form of the call, the application, the name, and what followed the name behind its `?`.
///
/// 200 lets it go on, 403 ends it (nginx-rtmp-module, `ngx_rtmp_notify_module.c`).
#[utoipa::path(post, path = "/hooks/nginx", operation_id = "ask_from_nginx", request_body(content = String, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "It may go on", body = GoOn),
    (status = 400, description = "`BAD_REQUEST`: it is no call of nginx-rtmp's", body = ApiError),
    (status = 403, description = "`FORBIDDEN`: it may not, with the reason", body = ApiError),
))]
pub(super) async fn nginx(State(publishing): State<Arc<Publishing>>, body: Bytes) -> Response {
    let mut form = Form::default();
    for (key, value) in form_urlencoded::parse(&body) {
        let field = match key.as_ref() {
            "call" => &mut form.call,
            "name" => &mut form.name,
            "addr" => &mut form.addr,
            "token" => &mut form.token,
            _ => continue,
        };
        // The module's own fields come first: what a client appends does not replace them.
        if field.is_empty() {
            *field = value.into_owned();
        }
    }
    // Old versions leave the arguments on the name.
    let (name, behind) = form.name.split_once('?').unwrap_or((&form.name, ""));
    let token = if form.token.is_empty() { token_of(behind) } else { form.token.clone() };
    let asked = Asked { server: "nginx", stream: name, token: &token, address: form.addr.parse().ok() };
    let answer = match form.call.as_str() {
        "publish" => publishing.publish(asked, Moment::Begin).await,
        "update_publish" => publishing.publish(asked, Moment::GoesOn).await,
        "play" | "update_play" => publishing.play(asked),
        // What is over, or was recorded, is told and not asked.
        "done" | "publish_done" | "play_done" | "record_done" | "connect" | "disconnect" | "update" => Ok(()),
        other => return ApiError::bad_request(format!("call: {other:?} is none that nginx-rtmp makes")).into_response(),
    };
    match answer {
        Ok(()) => Json(GoOn { allowed: true }).into_response(),
        Err(refusal) => refused(&refusal).into_response(),
    }
}

/// It may go on. The servers read the status alone.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct GoOn {
    /// Always true.
    allowed: bool,
}

#[derive(Default)]
struct Form {
    call: String,
    name: String,
    addr: String,
    token: String,
}

/// What SRS posts (`http_hooks`: `on_publish`, `on_play`, …).
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub(super) struct SrsCall {
    /// `on_publish`, `on_play`, …
    action: String,
    /// The client's address.
    ip: String,
    /// The name.
    stream: String,
    /// What followed the name, as `?token=…`.
    param: String,
}

/// What SRS reads.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SrsAnswer {
    /// 0: it may go on.
    code: u16,
    /// For its log.
    msg: String,
}

/// SRS lets a client go on where the answer is 200 with the code 0 (SRS, `srs_app_http_hooks.cpp`).
#[utoipa::path(post, path = "/hooks/srs", operation_id = "ask_from_srs", request_body = SrsCall, responses(
    (status = 200, description = "It may go on: `{\"code\":0}`", body = SrsAnswer),
    (status = 400, description = "`BAD_REQUEST`: it is no call of SRS's", body = ApiError),
    (status = 403, description = "It may not: `{\"code\":403}`, with the reason", body = SrsAnswer),
))]
pub(super) async fn srs(State(publishing): State<Arc<Publishing>>, body: Bytes) -> Response {
    let Ok(call) = serde_json::from_slice::<SrsCall>(&body) else {
        return ApiError::bad_request("the body is no call of SRS's: {\"action\", \"ip\", \"stream\", \"param\"}").into_response();
    };
    let (name, behind) = call.stream.split_once('?').unwrap_or((&call.stream, ""));
    let token = Some(token_of(&call.param)).filter(|token| !token.is_empty()).unwrap_or_else(|| token_of(behind));
    let asked = Asked { server: "srs", stream: name, token: &token, address: call.ip.parse().ok() };
    let answer = match call.action.as_str() {
        "on_publish" => publishing.publish(asked, Moment::Begin).await,
        "on_play" => publishing.play(asked),
        action if action.starts_with("on_") => Ok(()),
        other => return ApiError::bad_request(format!("action: {other:?} is none of SRS's")).into_response(),
    };
    match answer {
        Ok(()) => Json(SrsAnswer { code: 0, msg: "OK".to_owned() }).into_response(),
        Err(refusal) => (StatusCode::FORBIDDEN, Json(SrsAnswer { code: 403, msg: refusal.to_string() })).into_response(),
    }
}

/// What MediaMTX posts (`authHTTPAddress`).
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub(super) struct MediamtxCall {
    /// `publish`, `read`, `playback`, `api`, `metrics`, `pprof`.
    action: String,
    /// The client's address.
    ip: String,
    /// The path: application and name.
    path: String,
    /// What followed it, as `token=…`.
    query: String,
    /// The password of those that can show no query: RTSP, WHIP.
    password: String,
    /// A bearer token.
    token: String,
}

/// MediaMTX lets a client go on where the answer is 2xx (MediaMTX, `internal/auth/manager.go`).
#[utoipa::path(post, path = "/hooks/mediamtx", operation_id = "ask_from_mediamtx", request_body = MediamtxCall, responses(
    (status = 200, description = "It may go on", body = GoOn),
    (status = 400, description = "`BAD_REQUEST`: it is no call of MediaMTX's", body = ApiError),
    (status = 401, description = "It may not, with the reason: whoever has shown nothing is asked for a password", body = ApiError),
))]
pub(super) async fn mediamtx(State(publishing): State<Arc<Publishing>>, body: Bytes) -> Response {
    let Ok(call) = serde_json::from_slice::<MediamtxCall>(&body) else {
        return ApiError::bad_request("the body is no call of MediaMTX's: {\"action\", \"ip\", \"path\", \"query\"}").into_response();
    };
    let shown = [token_of(&call.query), call.token, call.password];
    let token = shown.into_iter().find(|shown| !shown.is_empty()).unwrap_or_default();
    let stream = call.path.trim_matches('/').rsplit('/').next().unwrap_or_default();
    let address: Option<IpAddr> = call.ip.parse().ok();
    let asked = Asked { server: "mediamtx", stream, token: &token, address };
    let answer = match call.action.as_str() {
        "publish" => publishing.publish(asked, Moment::Begin).await,
        "read" | "playback" => publishing.play(asked),
        // Its own API is for its operator, by its own means.
        _ => Err(PublishRefusal::Invalid),
    };
    match answer {
        Ok(()) => Json(GoOn { allowed: true }).into_response(),
        Err(refusal) => ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", refusal.to_string()).into_response(),
    }
}

fn refused(refusal: &PublishRefusal) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", refusal.to_string())
}

/// The token of a query, with or without its `?`.
fn token_of(query: &str) -> String {
    let pairs = form_urlencoded::parse(query.trim_start_matches('?').as_bytes());
    pairs.filter(|(key, _)| key == "token").map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}
