//! Who asks for a stream over HTTP, and what they show for it.

use super::waiting::{EdgeWish, SILENCE_MAX};
use crate::auth::wish::{Way, Wish};
use crate::callbacks::Subject;
use crate::via::Via;
use axum::extract::{FromRequestParts, Query};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use sightline_listen::http::ClientAddress;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The application whose rules hold: the first part of the path.
pub(crate) const APP: &str = "live";

/// Who asks, and what they show: `?token=`, or `Authorization: Bearer`.
pub(crate) struct Viewer {
    pub(crate) address: IpAddr,
    pub(crate) token: Option<String>,
    query: String,
    /// The path and the query, as they were asked for.
    pub(crate) asked: String,
    /// The origins that the request came by: not empty where an edge asks.
    pub(crate) via: Via,
    /// It wants nothing that is older: `Cache-Control: max-age`.
    pub(crate) max_age: Option<Duration>,
}

#[derive(Default, serde::Deserialize)]
struct Shown {
    token: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Mounted without our door, nobody says who asks: an address that no right is bound to.
        let address = parts.extensions.get().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ClientAddress(address)| *address);
        let shown = Query::<Shown>::try_from_uri(&parts.uri).map(|Query(shown)| shown.token).unwrap_or_default();
        let bearer = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = shown.or_else(|| bearer.map(|token| token.trim().to_owned())).filter(|token| !token.is_empty());
        let asked = parts.uri.path_and_query().map_or("", |asked| asked.as_str()).to_owned();
        Ok(Self {
            address,
            token,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            asked,
            via: Via::of(&parts.headers),
            max_age: max_age(&parts.headers),
        })
    }
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    let seconds = directives.filter_map(|directive| directive.trim().strip_prefix("max-age=")).next()?;
    seconds.parse().ok().map(Duration::from_secs)
}

impl Viewer {
    /// What an edge wants; `None`: it is none.
    pub(crate) fn edge(&self) -> Option<EdgeWish<'_>> {
        (!self.via.is_empty()).then(|| EdgeWish { via: &self.via, silence_max: self.max_age.unwrap_or(SILENCE_MAX) })
    }

    pub(crate) fn wish<'a>(&'a self, playback: &'a str, way: Way) -> Wish<'a> {
        Wish { app: APP, playback, token: self.token.as_deref(), address: self.address, way }
    }

    /// For an operator's endpoint; without what only players of HLS add.
    pub(crate) fn subject(&self, playback: &str) -> Subject {
        let own = self.query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("_HLS_"));
        let query = own.collect::<Vec<_>>().join("&");
        Subject { app: APP.to_owned(), name: playback.to_owned(), query, address: self.address }
    }
}
