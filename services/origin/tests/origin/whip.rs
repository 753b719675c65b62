//! WHIP with a publisher of others.

use crate::clip::clip;
use crate::peers::Player;
use crate::tokens::Signer;
use crate::watcher::{Watcher, Wire, candidate};
use crate::{origin_with, until};
use reqwest::{Client, StatusCode};
use sightline_media::TrackId;
use sightline_signal::playback_id;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;

/// Longer than any picture takes.
const LIMIT: Duration = Duration::from_secs(10);

/// A publisher of the clip.
struct Sender {
    rtc: Rtc,
    wire: Wire,
    video: Mid,
    session: String,
    /// Key frames that it was asked for.
    asked: usize,
    sent: usize,
    is_alive: bool,
}

impl Sender {
    fn offer(rtc: &mut Rtc) -> (String, SdpPendingOffer, Mid) {
        let mut change = rtc.sdp_api();
        let video = change.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        (offer.to_sdp_string(), pending, video)
    }

    async fn connect(http: SocketAddr, name: &str, token: &str) -> Result<Self, (StatusCode, serde_json::Value)> {
        let mut rtc = Rtc::new(Instant::now());
        let (offer, pending, video) = Self::offer(&mut rtc);
        let request = Client::new().post(format!("http://{http}/live/{name}/whip")).header("content-type", "application/sdp");
        let response = request.bearer_auth(token).body(offer).send().await.unwrap();
        if response.status() != StatusCode::CREATED {
            return Err((response.status(), response.json().await.unwrap()));
        }
        let session = format!("http://{http}{}", response.headers()["location"].to_str().unwrap());
        let answer = response.text().await.unwrap();
        assert_eq!(candidate(&answer, "udp"), candidate(&answer, "tcp"));
        let wire = Wire::Udp(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        rtc.add_local_candidate(Candidate::host(wire.local(), "udp").unwrap());
        let known: String = answer.lines().filter(|line| !line.contains(" tcp ")).map(|line| format!("{line}\r\n")).collect();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&known).unwrap()).unwrap();
        Ok(Self { rtc, wire, video, session, asked: 0, sent: 0, is_alive: true })
    }

    /// Sends the clip's pictures in real time, over and over, for so long; begins anew at a key frame that it is asked for.
    async fn stream_for(&mut self, length: Duration) {
        let (began, pictures): (_, Vec<_>) = (Instant::now(), clip().frames.iter().filter(|frame| frame.track == TrackId::VIDEO).collect());
        let sets = clip().tracks.iter().find_map(|track| track.config.avc()).unwrap();
        let mut next = Instant::now();
        while began.elapsed() < length && self.is_alive {
            self.turn(next.min(began + length)).await;
            if Instant::now() < next || !self.rtc.is_connected() {
                continue;
            }
            next += Duration::from_millis(40);
            let frame = pictures[self.sent % pictures.len()];
            let nals = sets.parameter_sets().filter(|_| frame.is_keyframe).chain(sightline_media::avc::NalUnits::new(&frame.payload, 4));
            let annex_b: Vec<u8> = nals.flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect();
            let Some(writer) = self.rtc.writer(self.video) else {
                self.is_alive = false;
                return;
            };
            let mode_1 = |codec: &str0m::format::FormatParams| codec.packetization_mode == Some(1);
            let params = writer.payload_params().find(|params| params.spec().codec == Codec::H264 && mode_1(&params.spec().format));
            let pt = params.unwrap().pt();
            writer.write(pt, Instant::now(), MediaTime::from_90khz(self.sent as u64 * 3600 + 1000), annex_b).unwrap();
            self.sent += 1;
        }
    }

    async fn turn(&mut self, until: Instant) {
        let at = match self.rtc.poll_output().unwrap() {
            Output::Transmit(transmit) => {
                self.wire.send(&transmit.contents, transmit.destination).await;
                return;
            }
            Output::Event(Event::KeyframeRequest(_)) => {
                self.asked += 1;
                return;
            }
            Output::Event(_) => return,
            Output::Timeout(at) => at.min(until),
        };
        self.is_alive &= self.rtc.is_alive();
        let local = self.wire.local();
        let received = tokio::time::timeout(at.saturating_duration_since(Instant::now()), self.wire.receive()).await;
        let input = match &received {
            Ok(Some((bytes, source))) => {
                let contents = bytes[..].try_into().unwrap();
                Input::Receive(Instant::now(), Receive { proto: Protocol::Udp, source: *source, destination: local, contents })
            }
            Ok(None) | Err(_) => Input::Timeout(Instant::now()),
        };
        self.rtc.handle_input(input).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_by_whip_has_the_rights_and_the_fate_of_one_by_rtmp() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let (origin, _dir) = origin_with(&signer, |config| config.whep.listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let (http, playback) = (origin.http_addr().unwrap(), playback_id("s1"));
    let token = |signer: &Signer, name: &str, epoch: u64| signer.name(name, epoch).split_once("token=").unwrap().1.to_owned();
    for (token, status) in [(token(&other, "s1", 5), 401), ("x.y.z".to_owned(), 401), (token(&signer, "s2", 5), 403)] {
        let (refused, body) = Sender::connect(http, "s1", &token).await.err().unwrap();
        assert_eq!((refused.as_u16(), body["error_code"].as_str()), (status, Some("PUBLISH_REFUSED")), "{body}");
    }
    let nameless = Client::new().post(format!("http://{http}/live/s1/whip")).header("content-type", "application/sdp");
    let nameless = nameless.body(Sender::offer(&mut Rtc::new(Instant::now())).0).send().await.unwrap();
    assert_eq!((nameless.status().as_u16(), nameless.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"));

    let mut sender = Sender::connect(http, "s1", &token(&signer, "s1", 5)).await.unwrap();
    let watching = async {
        let mut player = None;
        until("the stream", async || {
            let is_there = Client::new().get(format!("http://{http}/live/{playback}/snapshot.jpg")).send().await.unwrap().status() == 200;
            if is_there {
                player = Some(Player::connect(origin.rtmp_addr(), &playback).await);
            }
            is_there
        })
        .await;
        let mut player = player.unwrap();
        let first = player.frame().await;
        assert!(first.is_keyframe && first.track == TrackId::VIDEO);
        let mut watcher = Watcher::connect(http, &playback, false).await.unwrap();
        assert!(watcher.picture(LIMIT).await.expect("a picture").is_keyframe);
        watcher.request_key_frame();
        for _ in 0..10 {
            assert!(player.frame().await.dts >= first.dts);
            watcher.picture(LIMIT).await.expect("pictures go on");
        }
    };
    let publishing = sender.stream_for(Duration::from_millis(1800));
    tokio::join!(watching, publishing);
    assert!(sender.asked > 0, "what a viewer needs the publisher hears of");
    assert_eq!((origin.streams()[0].epoch, origin.streams()[0].width), (5, 320));

    // A newer epoch has the stream, an older one has not.
    assert_eq!(Sender::connect(http, "s1", &token(&signer, "s1", 4)).await.err().unwrap().0, 409);
    let mut second = Sender::connect(http, "s1", &token(&signer, "s1", 6)).await.unwrap();
    tokio::join!(second.stream_for(Duration::from_millis(800)), sender.stream_for(LIMIT));
    assert!(!sender.is_alive && second.is_alive);
    assert_eq!(origin.streams()[0].epoch, 6);
    assert_eq!(Client::new().delete(&sender.session).send().await.unwrap().status(), 404);
    assert_eq!(Client::new().delete(&second.session).send().await.unwrap().status(), 200);
    until("nobody publishes", async || origin.streams().is_empty()).await;
    origin.shutdown().await;
}
