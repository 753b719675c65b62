//! `POST /live/{playback}/whep` and what follows (draft-ietf-wish-whep; as WHIP, RFC 9725).

use super::places::Full;
use super::pump::Pump;
use super::viewer::{Outlet, Slot, Viewer, ViewerParts};
use super::{SECRET_BYTES, Whep, new_ice, random_number, random_text};
use crate::auth::viewing::Admitted;
use crate::auth::wish::{PlayRefusal, Way};
use crate::callbacks::Verdict;
use crate::live::stream::Stream;
use crate::live::traffic::Protocol;
use crate::play::Play;
use crate::play::answers::{error, missing, not_yet, refused};
use crate::play::asker::Viewer as Asker;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use sightline_listen::http::ClientAddress;
use sightline_media::{Codec, StreamConfig, TrackConfig, TrackId};
use sightline_webrtc::{Answer, Chosen, MediumKind, Mismatch, OFFER_BYTES_MAX, Offer, Session, choose_opus, choose_video, transport};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What offers and answers are.
pub(crate) const SDP: &str = "application/sdp";
/// What a player sends of its own addresses (RFC 8840).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Of an answer: the RTP time of pictures whose media time is 0, by which a player knows the media time of the picture that it shows.
const ZERO: &str = "sightline-rtp-zero";
/// How long a stream that has just begun may take to its first key frame: an encoder's start.
const FIRST_PICTURE_WAIT: Duration = Duration::from_secs(5);

/// `POST`: an offer is answered.
pub(crate) async fn post(State(play): State<Arc<Play>>, Path(playback): Path<String>, asker: Asker, request: Request) -> Response {
    let Some(whep) = &play.whep else {
        return error(StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", "WHEP is switched off here: set whep.enabled");
    };
    let subject = asker.subject(&playback);
    if play.callbacks.may_play(&subject, Way::Whep).await != Verdict::Allow {
        return refused(PlayRefusal::Callback);
    }
    let (stream, mut admitted) = match play.begin_or_wait(asker.wish(&playback, Way::Whep)).await {
        Ok(playing) => playing,
        Err(why) => return missing(why, &asker.asked),
    };
    if !is_kind(request.headers(), SDP) {
        return error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "the body is an SDP offer, Content-Type: application/sdp",
        );
    }
    let base = request.uri().path().to_owned();
    let asked = asked_address(request.headers());
    let viewer = request.extensions().get::<ClientAddress>().map(|address| address.0.to_canonical());
    let Ok(body) = axum::body::to_bytes(request.into_body(), OFFER_BYTES_MAX).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "the offer is longer than 64 KiB, or did not come whole");
    };
    let offer = match std::str::from_utf8(&body).map_err(|_| sightline_webrtc::OfferError::NoSdp).and_then(Offer::parse) {
        Ok(offer) => offer,
        Err(problem) => return error(StatusCode::BAD_REQUEST, "BAD_OFFER", &problem.to_string()),
    };
    let Some(config) = opening(&stream).await else {
        return not_yet("the stream has no picture yet: try again in a few seconds");
    };
    let asking = Asking { whep, stream: &stream, offer: &offer, config: &config.0, reorders: config.1, asked, viewer };
    admitted.told = Some(play.callbacks.played(subject));
    match asking.answer(admitted) {
        Ok(Answered { id, etag, text, zero }) => {
            let mut response = created(&format!("{base}/{id}"), &etag, text);
            response.headers_mut().insert(ZERO, HeaderValue::from(zero));
            response
        }
        Err(refusal) => refusal.response(),
    }
}

/// `DELETE`: the player leaves.
pub(crate) async fn delete(State(play): State<Arc<Play>>, Path((playback, id)): Path<(String, String)>) -> Response {
    let found = play.whep.as_ref().and_then(|whep| Some((whep, whep.table.find(&playback, &id)?)));
    let Some((whep, viewer)) = found else { return no_session() };
    viewer.session().close(whep.clock.now());
    viewer.outlet.hurry(&viewer);
    StatusCode::OK.into_response()
}

/// `PATCH`: addresses of the player. They show by its checks: there is nothing to be done with them. An ICE restart is not had.
pub(crate) async fn patch(
    State(play): State<Arc<Play>>,
    Path((playback, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(viewer) = play.whep.as_ref().and_then(|whep| whep.table.find(&playback, &id)) else { return no_session() };
    if !is_kind(&headers, FRAGMENT) {
        let message = "the body is a fragment of SDP, Content-Type: application/trickle-ice-sdpfrag";
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message);
    }
    let meant = headers.get("if-match").and_then(|value| value.to_str().ok());
    let ufrag = String::from_utf8_lossy(&body);
    let ufrag = ufrag.lines().find_map(|line| line.trim().strip_prefix("a=ice-ufrag:"));
    if meant == Some("*") || ufrag.is_some_and(|ufrag| ufrag != viewer.player) {
        let message = "ICE can't be restarted: end this session and send a new offer";
        return error(StatusCode::UNPROCESSABLE_ENTITY, "NO_ICE_RESTART", message);
    }
    if meant.is_some_and(|meant| meant != viewer.etag) {
        return error(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", "the session's ETag is another one");
    }
    StatusCode::NO_CONTENT.into_response()
}

/// The stream's configuration, and whether its pictures come in another order than they are shown, as soon as that is known.
async fn opening(stream: &Arc<Stream>) -> Option<(Arc<StreamConfig>, bool)> {
    let wait = async {
        let mut head = stream.watch();
        loop {
            head.borrow_and_update();
            if let Some((config, Some(reorders))) = stream.last_group() {
                return Some((config, reorders));
            }
            tokio::select! {
                () = stream.ended.cancelled() => return None,
                changed = head.changed() => changed.ok()?,
            }
        }
    };
    // What is still unknown then is taken for what nearly all are.
    let waited = tokio::time::timeout(FIRST_PICTURE_WAIT, wait).await;
    waited.unwrap_or_else(|_| stream.last_group().map(|(config, reorders)| (config, reorders.unwrap_or(false))))
}

/// An offer, and what it is answered by.
struct Asking<'a> {
    whep: &'a Arc<Whep>,
    stream: &'a Arc<Stream>,
    offer: &'a Offer,
    config: &'a StreamConfig,
    reorders: bool,
    asked: Option<IpAddr>,
    viewer: Option<IpAddr>,
}

/// A session that has begun.
struct Answered {
    id: String,
    etag: String,
    text: String,
    /// The time that packets of pictures bear when the stream's own is 0.
    zero: u32,
}

/// Why there is no answer.
enum Refusal {
    Codec(String),
    Full(Full),
    /// The system gave no random numbers.
    Random,
}

impl Asking<'_> {
    fn answer(&self, admitted: Admitted) -> Result<Answered, Refusal> {
        let tracks = self.tracks()?;
        let address = self.viewer.unwrap_or(IpAddr::from([0; 4]));
        let place = self.whep.places.enter(address).map_err(Refusal::Full)?;
        let (Some(ice), Some(id)) = (new_ice(), random_text(SECRET_BYTES)) else { return Err(Refusal::Random) };
        let candidates = self.whep.candidates(self.asked, self.viewer);
        let chosen: Vec<Chosen> = tracks.iter().flatten().cloned().collect();
        let Some(player) = transport(self.offer, &chosen) else { return Err(Refusal::Codec(Mismatch::NoMedium.to_string())) };
        let answer = Answer {
            session_id: random_number() >> 2,
            ice: &ice,
            fingerprint: self.whep.identity.fingerprint(),
            udp: &candidates,
            tcp: &candidates,
            tracks: &chosen,
        };
        let text = answer.text(self.offer);
        let etag = format!("\"{}\"", ice.ufrag);
        let parts = |outlet| ViewerParts {
            id: id.clone(),
            playback: self.stream.playback.clone(),
            ufrag: ice.ufrag.clone(),
            player: player.ice.ufrag.clone(),
            etag: etag.clone(),
            outlet,
            place,
            admitted,
            count: self.stream.count_viewer(Protocol::Whep),
        };
        let [video, audio] = [tracks[0].as_ref(), tracks[1].as_ref()];
        let session = Session::new(&self.whep.identity, player, ice.clone(), [video, audio], random_number(), self.whep.clock.now());
        let zero = session.picture_timestamp(0);
        self.join(audio.is_some(), |outlet| Viewer::new(parts(outlet), session));
        Ok(Answered { id, etag, text, zero })
    }

    /// The tracks that the player can be sent: pictures, sound.
    fn tracks(&self) -> Result<[Option<Chosen>; 2], Refusal> {
        let ssrc = || (random_number() >> 33) as u32 | 1;
        let has = |id: TrackId| self.config.tracks.iter().find(|track| track.id == id).map(|track| &track.config);
        let is_heard = |config: &&TrackConfig| matches!(config.codec(), Codec::Opus | Codec::Aac);
        let audio = has(TrackId::AUDIO).filter(is_heard).and_then(|_| choose_opus(self.offer, ssrc()));
        let video = match has(TrackId::VIDEO) {
            // A player with a place for sound alone gets that.
            Some(_) if audio.is_some() && !self.offer.media.iter().any(|medium| medium.kind == MediumKind::Video) => None,
            Some(config) => Some(self.pictures(config, ssrc())?),
            None if audio.is_none() => {
                return Err(Refusal::Codec(
                    "the stream has no pictures, and no sound that WebRTC carries: play it by HLS or FLV".to_owned(),
                ));
            }
            None => None,
        };
        Ok([video, audio])
    }

    fn pictures(&self, config: &TrackConfig, ssrc: u32) -> Result<Chosen, Refusal> {
        if self.reorders {
            let message = "the stream has B-frames, which WebRTC's players can't show: play it by HLS or FLV, or set the encoder to none (tune zerolatency)";
            return Err(Refusal::Codec(message.to_owned()));
        }
        choose_video(self.offer, config, ssrc).map_err(|mismatch| Refusal::Codec(mismatch.to_string()))
    }

    fn join(&self, has_sound: bool, make: impl FnOnce(Arc<Outlet>) -> Viewer) {
        let slot = self.stream.extensions.get_or_make(Slot::default);
        let codec = self.config.tracks.iter().find(|track| track.id == TrackId::VIDEO).map(|track| track.config.codec());
        let joined = slot.join(|outlet| {
            let viewer = Arc::new(make(outlet));
            self.whep.table.add(&viewer);
            viewer
        });
        let (viewer, is_new) = joined;
        if has_sound {
            viewer.outlet.want_sound();
        }
        if is_new {
            let pump = Pump {
                clock: self.whep.clock,
                stream: self.stream.clone(),
                slot,
                port: self.whep.port.clone(),
                table: self.whep.table.clone(),
                codec,
                history_bytes: self.whep.history_bytes,
                tasks: self.whep.tasks.clone(),
                shutdown: self.whep.shutdown.clone(),
            };
            self.whep.tasks.spawn(pump.run(viewer.outlet.clone()));
        }
    }
}

impl Refusal {
    fn response(self) -> Response {
        let busy = |message| error(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_VIEWERS", message);
        match self {
            Self::Codec(message) => error(StatusCode::NOT_ACCEPTABLE, "CODEC_NOT_SUPPORTED", &message),
            Self::Full(Full::All) => error(
                StatusCode::SERVICE_UNAVAILABLE,
                "TOO_MANY_VIEWERS",
                "this origin has as many WHEP viewers as limits.whep_viewers allows",
            ),
            Self::Full(Full::Address) => busy("your address has as many WHEP viewers as one address may have"),
            Self::Full(Full::Pending) => busy("too many WHEP sessions of your address have not connected yet: try again in a few seconds"),
            Self::Random => error(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", "the system gives no random numbers"),
        }
    }
}

fn no_session() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such WHEP session; it may have ended")
}

pub(crate) fn created(location: &str, etag: &str, answer: String) -> Response {
    let mut response = (StatusCode::CREATED, Body::from(answer)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [(LOCATION, location), (ETAG, etag)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

pub(crate) fn is_kind(headers: &HeaderMap, kind: &str) -> bool {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    found.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
}

/// The address in the URL that the viewer used: it leads to this machine from where the viewer is, also through a port that is mapped.
pub(crate) fn asked_address(headers: &HeaderMap) -> Option<IpAddr> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    if name.eq_ignore_ascii_case("localhost") { Some(IpAddr::from([127, 0, 0, 1])) } else { name.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_url_is_a_place_to_try() {
        let asked = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            asked_address(&headers).map(|ip| ip.to_string())
        };
        assert_eq!(asked("192.0.2.7:8080").as_deref(), Some("192.0.2.7"));
        assert_eq!(asked("[2001:db8::7]:8080").as_deref(), Some("2001:db8::7"));
        assert_eq!(asked("localhost:8080").as_deref(), Some("127.0.0.1"));
        assert_eq!(asked("cam.example").as_deref(), None);
    }
}
