//! Who watches by this port, where there are users: whoever may see the camera, or shows a right to play it.
//!
//! An origin of its own process asks for a right by itself (`auth.play`). What one in this process serves, and where this port leads to, is
//! out of sight like all else of a camera.

use super::{
    access::{Asked, Known, refuse_other_sites},
    error::ApiError,
    person::{OUT_OF_SIGHT, Person},
    state::Http,
};
use crate::{
    devices::on_demand::OnDemand,
    identity::operators::Operators,
    people::{names::GroupPath, sessions::Sessions},
    playback::Playback,
    servers::inventory::Inventory,
    store::{Store, error::StoreError},
};
use axum::{
    RequestExt as _,
    body::Body,
    extract::{FromRef, RawPathParams, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use sightline_signal::report::CoverageQuestion;
use std::sync::Arc;

/// What someone wants to watch.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    /// Live, by playback id.
    Live(String),
    /// What was recorded of a device.
    Recorded(String),
}

/// Where an origin in this process serves it.
pub(super) async fn keep(State(http): State<Http>, request: Request, next: Next) -> Response {
    watch(&Watching::from_ref(&http), request, next, true).await
}

/// Where this port only leads to an origin, which asks whoever is nobody here for a right.
pub(super) async fn keep_redirects(State(http): State<Http>, request: Request, next: Next) -> Response {
    watch(&Watching::from_ref(&http), request, next, false).await
}

struct Watching {
    operators: Operators,
    sessions: Arc<Sessions>,
    store: Store,
    playback: Arc<Playback>,
    inventory: Arc<Inventory>,
    on_demand: Arc<OnDemand>,
}

impl FromRef<Http> for Watching {
    fn from_ref(http: &Http) -> Self {
        Self {
            operators: http.operators.clone(),
            sessions: Arc::clone(&http.sessions),
            store: http.store.clone(),
            playback: Arc::clone(&http.playback),
            inventory: Arc::clone(&http.inventory),
            on_demand: Arc::clone(&http.on_demand),
        }
    }
}

/// Where an origin in this process says of many cameras when it has recorded: the rights are in the body.
const COVERAGE: &str = "/vod/coverage";
/// Rights for a thousand cameras.
const COVERAGE_BYTES_MAX: usize = 1 << 20;

async fn watch(watching: &Watching, mut request: Request, next: Next, is_served_here: bool) -> Response {
    if request.uri().path() == COVERAGE && is_served_here {
        return match watching.check_coverage(request).await {
            Ok(request) => next.run(request).await,
            Err(refusal) => refusal,
        };
    }
    let target = target(&mut request).await;
    let (asked, token) = (Asked::of(&request), shown(&request));
    if let Some(target) = target
        && watching.sessions.has_users().await
        && let Err(refusal) = watching.check(&asked, token, &target, is_served_here).await
    {
        return refusal;
    }
    next.run(request).await
}

impl Watching {
    async fn check(&self, asked: &Asked, token: Option<String>, target: &Target, is_served_here: bool) -> Result<(), Response> {
        let known = Known { operators: &self.operators, sessions: &self.sessions, store: &self.store };
        let failed = |error: StoreError| ApiError::from(error).into_response();
        // A player on another site's page shows a token; a cookie is not sent from there.
        let person = match refuse_other_sites(asked) {
            Ok(()) => known.person(asked).await.map_err(IntoResponse::into_response)?,
            Err(_) => None,
        };
        if person.as_ref().is_some_and(|person| person.rights().sees_all()) {
            return Ok(());
        }
        let (device, playback) = self.of(target).await.map_err(failed)?;
        if let (Some(token), Some(playback)) = (token, &playback)
            && self.playback.opens(playback, &token).await.map_err(failed)?
        {
            return Ok(());
        }
        match person {
            Some(person) if self.sees(&person, device.as_deref()).await.map_err(failed)? => Ok(()),
            Some(_) => {
                let missing = match target {
                    Target::Live(playback) => ApiError::not_found(format_args!("live stream {playback}")),
                    Target::Recorded(device) => ApiError::not_found(format_args!("recording of {device}")),
                };
                Err(missing.for_want_of_a_right(OUT_OF_SIGHT).into_response())
            }
            None if is_served_here => Err(known.refusal(asked).await),
            None => Ok(()),
        }
    }

    /// Lets a question of many cameras through whose rights play each of them.
    async fn check_coverage(&self, request: Request) -> Result<Request, Response> {
        if !self.sessions.has_users().await {
            return Ok(request);
        }
        let (head, body) = request.into_parts();
        let bad = || ApiError::bad_request("the body names devices, each with a right to play it").into_response();
        let body = axum::body::to_bytes(body, COVERAGE_BYTES_MAX).await.map_err(|_| bad())?;
        let question: CoverageQuestion = serde_json::from_slice(&body).map_err(|_| bad())?;
        for (device, token) in question.devices {
            let (_, playback) = self.of(&Target::Recorded(device)).await.map_err(|error| ApiError::from(error).into_response())?;
            let opened = match playback {
                Some(playback) => self.playback.opens(&playback, &token).await,
                None => Ok(false),
            };
            if !opened.map_err(|error| ApiError::from(error).into_response())? {
                let problem = "a right to play one of the devices is not there";
                return Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", problem).into_response());
            }
        }
        Ok(Request::from_parts(head, Body::from(body)))
    }

    /// The device of what is to be watched, and what its stream is called.
    async fn of(&self, target: &Target) -> Result<(Option<String>, Option<String>), StoreError> {
        match target {
            Target::Live(playback) => {
                let live = self.inventory.live_streams().into_iter().find(|(_, live)| live.stream.playback == *playback);
                let device = match live {
                    Some((device, _)) => Some(device),
                    None => self.on_demand.device_of(playback).await?.map(|device| device.to_string()),
                };
                Ok((device, Some(playback.clone())))
            }
            Target::Recorded(device) => {
                let row = match sightline_signal::DeviceId::new(device) {
                    Ok(id) => self.store.device(&id).await?,
                    Err(_) => None,
                };
                let playback = row.map(|row| self.store.playback_of(&row.stream));
                Ok((Some(device.clone()), playback))
            }
        }
    }

    async fn sees(&self, person: &Person, device: Option<&str>) -> Result<bool, StoreError> {
        let group: Option<GroupPath> = match device {
            Some(device) => self.store.group_of(device).await?,
            None => None,
        };
        Ok(group.is_some_and(|group| person.rights().sees(&group)))
    }
}

/// What a request wants to watch; `None`: nothing, or it is a publisher's, or of a session that has begun and whose name nobody guesses.
async fn target(request: &mut Request) -> Option<Target> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let kind = parts.next()?;
    let raw = parts.next()?.to_owned();
    let rest: Vec<&str> = parts.collect();
    let is_of_others = rest.first() == Some(&"whip") || rest.len() == 2 && rest.first() == Some(&"whep");
    if is_of_others || request.method() == axum::http::Method::OPTIONS {
        return None;
    }
    // As the route reads it: percent signs stand for other characters.
    let named = request.extract_parts::<RawPathParams>().await.ok();
    let name = named.and_then(|named| named.iter().next().map(|(_, value)| value.to_owned())).unwrap_or(raw);
    match kind {
        "live" => Some(Target::Live(name.split('.').next().unwrap_or_default().to_owned())),
        "vod" => Some(Target::Recorded(name)),
        _ => None,
    }
}

/// The right to play that a request shows: `?token=`, or `Authorization: Bearer`.
fn shown(request: &Request) -> Option<String> {
    let pairs = request.uri().query().into_iter().flat_map(|query| query.split('&'));
    let token = pairs.filter_map(|pair| pair.strip_prefix("token=")).next();
    token.map(str::to_owned).or_else(|| Asked::of(request).bearer().map(str::to_owned))
}
