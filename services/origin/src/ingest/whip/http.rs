//! `POST /live/{name}/whip` and what follows.

use super::{Publishing, QUEUE, Whip};
use crate::auth::duels::Claimant;
use crate::auth::grant::{Grant, Refusal};
use crate::callbacks::{Subject, Told, Verdict};
use crate::ingest::budget::Budget;
use crate::live::hub::{Begun, Hold};
use crate::play::answers::{error, not_allowed};
use crate::play::asker::APP;
use crate::play::whep::http::{SDP, asked_address, created, is_kind};
use crate::play::whep::{Guest, new_ice, random_text};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use sightline_listen::http::ClientAddress;
use sightline_listen::shortened;
use sightline_media::annexb::Intake;
use sightline_webrtc::{IceText, OFFER_BYTES_MAX, Offer};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use str0m::change::SdpOffer;
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Random bytes of a session's address: who knows it may end the session.
const ID_BYTES: usize = 24;

/// The routes.
pub(crate) fn router(whip: Arc<Whip>) -> Router {
    let route = Router::new().route("/live/{name}/whip", post(publish).fallback(posted_only));
    route.route("/live/{name}/whip/{session}", delete(end).fallback(ended_only)).with_state(whip)
}

async fn posted_only() -> Response {
    not_allowed("a WHIP publisher sends its offer here: POST", "POST, OPTIONS")
}

async fn ended_only() -> Response {
    not_allowed("a WHIP session is ended: DELETE", "DELETE, OPTIONS")
}

/// `DELETE`: the publisher leaves.
async fn end(State(whip): State<Arc<Whip>>, Path((_, id)): Path<(String, String)>) -> Response {
    match whip.sessions().get(&id) {
        Some(session) => {
            session.cancel();
            StatusCode::OK.into_response()
        }
        None => error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such WHIP session; it may have ended"),
    }
}

/// `POST`: an offer is answered, and the publisher has its stream.
async fn publish(State(whip): State<Arc<Whip>>, Path(name): Path<String>, request: Request) -> Response {
    if !is_kind(request.headers(), SDP) {
        return error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "the body is an SDP offer, Content-Type: application/sdp",
        );
    }
    let (base, asked, token) = (request.uri().path().to_owned(), asked_address(request.headers()), token(request.headers()));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let client = request.extensions().get::<ClientAddress>().map(|address| address.0.to_canonical());
    let Ok(body) = axum::body::to_bytes(request.into_body(), OFFER_BYTES_MAX).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "the offer is longer than 64 KiB, or did not come whole");
    };
    let text = String::from_utf8_lossy(&body);
    let offer = match Offer::parse(&text) {
        Ok(offer) => offer,
        Err(problem) => return error(StatusCode::BAD_REQUEST, "BAD_OFFER", &problem.to_string()),
    };
    if !offer.media.iter().any(|medium| medium.codecs.iter().any(|codec| codec.name == "H264")) {
        let message = "the offer has no H.264, which is what is taken: choose it in the publisher";
        return error(StatusCode::NOT_ACCEPTABLE, "CODEC_NOT_SUPPORTED", message);
    }
    let (peer, ingest) = (SocketAddr::new(client.unwrap_or(IpAddr::from([0; 4])), 0), &whip.rtmp.ingest);
    // A stranger costs us no keys.
    if let Err(refusal) = ingest.grant(APP, &name, token.as_deref(), peer.ip()) {
        return refused(refuse(&whip, &name, peer, refusal));
    }
    let Some(prepared) = Prepared::new(&whip, &text, &offer, asked, client) else {
        return error(StatusCode::BAD_REQUEST, "BAD_OFFER", "the offer can't be answered: WebRTC with H.264, sendonly, on one connection");
    };
    let mut subject = Subject { app: APP.to_owned(), name, query, address: peer.ip() };
    match ingest.callbacks.may_publish(&subject).await {
        Verdict::Allow => {}
        // As nginx-rtmp has it: what is no address is another name.
        Verdict::Redirect(other) if !other.contains("://") => subject.name = other,
        Verdict::Deny | Verdict::Redirect(_) => return refused(refuse(&whip, &subject.name, peer, Refusal::Callback)),
    }
    // The last thing that can fail: who has a stream has it from one that may be sending.
    match begin(&whip, &subject.name, token.as_deref(), peer).await {
        Ok((grant, hold)) => {
            tracing::info!(%peer, stream = subject.name, device = grant.device, epoch = grant.epoch, playback = hold.stream.playback, "a WHIP publisher began");
            let (id, etag, answer) = prepared.start(&whip, &grant, hold, (peer, ingest.callbacks.published(subject)));
            created(&format!("{base}/{id}"), &etag, answer)
        }
        Err(refusal) => refused(refusal),
    }
}

/// The right to publish, as an RTMP publisher has it: it may have to be asked for again.
async fn begin(whip: &Whip, name: &str, token: Option<&str>, peer: SocketAddr) -> Result<(Grant, Hold), Refusal> {
    let ingest = &whip.rtmp.ingest;
    let claimant = Claimant { peer, asked_at: ingest.clock.now() };
    loop {
        match ingest.begin(APP, name, token, claimant) {
            Ok((grant, Begun::Hold(hold))) => return Ok((grant, hold)),
            Ok((_, Begun::Later(at))) => tokio::time::sleep_until(ingest.clock.at(at)).await,
            Err(refusal) => return Err(refuse(whip, name, peer, refusal)),
        }
    }
}

/// Counts a refusal, and logs it.
fn refuse(whip: &Whip, name: &str, peer: SocketAddr, refusal: Refusal) -> Refusal {
    let ingest = &whip.rtmp.ingest;
    ingest.hub.refusals.count(peer.ip(), refusal.name(), ingest.clock.now());
    whip.rtmp.fates.refuse(refusal, |others| {
        tracing::info!(%peer, stream = shortened(name), %refusal, others, "a WHIP publisher was refused");
    });
    if refusal == Refusal::UnknownKey {
        // The cloud may have a new key: the next report brings it, and this publisher comes back.
        ingest.hub.changed.notify_one();
    }
    refusal
}

fn refused(refusal: Refusal) -> Response {
    let (status, message) = match refusal {
        Refusal::NoName => (StatusCode::BAD_REQUEST, "no stream name: POST /live/NAME/whip".to_owned()),
        Refusal::NoToken => (StatusCode::UNAUTHORIZED, "no token: the stream's token goes into Authorization: Bearer".to_owned()),
        Refusal::UnknownKey | Refusal::Invalid | Refusal::Expired => (StatusCode::UNAUTHORIZED, refusal.to_string()),
        Refusal::OtherStream | Refusal::OtherServer | Refusal::Revoked | Refusal::Denied | Refusal::Callback => {
            (StatusCode::FORBIDDEN, refusal.to_string())
        }
        Refusal::OldEpoch | Refusal::Duel => (StatusCode::CONFLICT, refusal.to_string()),
    };
    let mut response = error(status, "PUBLISH_REFUSED", &message);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// A peer that has answered an offer, and no stream yet.
struct Prepared {
    rtc: Rtc,
    ours: IceText,
    theirs: IceText,
    local: SocketAddr,
    answer: String,
    id: String,
}

impl Prepared {
    fn new(whip: &Whip, text: &str, offer: &Offer, asked: Option<IpAddr>, client: Option<IpAddr>) -> Option<Self> {
        let (ours, id) = (new_ice()?, random_text(ID_BYTES)?);
        let theirs = offer.media.iter().find_map(|medium| medium.transport.as_ref())?.ice.clone();
        let candidates = whip.whep.candidates(asked, client);
        let creds = IceCreds { ufrag: ours.ufrag.clone(), pass: ours.password.clone() };
        let config = RtcConfig::new().clear_codecs().enable_h264(true).enable_opus(true, false);
        let mut rtc = config.set_ice_lite(true).set_local_ice_credentials(creds).build(std::time::Instant::now());
        for address in &candidates {
            rtc.add_local_candidate(Candidate::host(*address, "udp").ok()?);
        }
        let answer = rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(text).ok()?).ok()?;
        let answer = with_tcp(&answer.to_sdp_string());
        Some(Self { rtc, ours, theirs, local: *candidates.first()?, answer, id })
    }

    /// Spawns the publisher's task: the session's address, its tag and the answer.
    fn start(self, whip: &Arc<Whip>, grant: &Grant, hold: Hold, (peer, told): (SocketAddr, Told)) -> (String, String, String) {
        let Self { rtc, ours, theirs, local, answer, id } = self;
        let (to, datagrams) = mpsc::channel(QUEUE);
        let (ended, etag, ufrag) = (CancellationToken::new(), format!("\"{}\"", ours.ufrag), ours.ufrag.clone());
        whip.sessions().insert(id.clone(), ended.clone());
        whip.whep.expect(Guest { ours, theirs, to });
        let ingest = &whip.rtmp.ingest;
        let now = ingest.clock.now();
        let publishing = Publishing {
            whip: whip.clone(),
            id: id.clone(),
            ufrag,
            peer,
            rtc,
            hold,
            datagrams,
            ended,
            local,
            ways: HashMap::new(),
            budget: Budget::new(grant.bitrate_kbps, ingest.publisher_kbps, now),
            over: None,
            began: now,
            video: None,
            intake: Intake::default(),
            has_sound: false,
            is_broken: false,
            asked_at: None,
            key_at: now,
            _told: told,
        };
        whip.rtmp.play.tasks.spawn(publishing.run());
        (id, etag, answer)
    }
}

/// Each address by TCP, too: the port is the same, and the library knows of UDP alone.
fn with_tcp(answer: &str) -> String {
    let mut out = String::with_capacity(answer.len() * 2);
    for line in answer.lines() {
        out.push_str(line);
        out.push_str("\r\n");
        let words: Vec<&str> = line.split(' ').collect();
        if let [foundation, component, "udp", _, address, port, "typ", "host", ..] = words[..] {
            // Host candidates of TCP (RFC 6544 §4.2): less preferred than any of UDP.
            let priority = (90_u32 << 24) | 0x00ff_ff00 | 255;
            out.push_str(&format!("{foundation}t {component} tcp {priority} {address} {port} typ host tcptype passive\r\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_an_answer_is_one_by_tcp_as_well() {
        let answer = with_tcp("v=0\r\na=candidate:1 1 udp 2130706175 192.0.2.1 8189 typ host\r\na=x\r\n");
        let right = "v=0\r\na=candidate:1 1 udp 2130706175 192.0.2.1 8189 typ host\r\n\
                     a=candidate:1t 1 tcp 1526726655 192.0.2.1 8189 typ host tcptype passive\r\na=x\r\n";
        assert_eq!(answer, right);
    }
}
