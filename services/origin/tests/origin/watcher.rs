//! A WHEP player and a WHIP publisher that are not ours: str0m, over UDP, or over TCP as a browser whose network lets no UDP out.

use bytes::{Bytes, BytesMut};
use reqwest::{Client, StatusCode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaData, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// A picture, or a frame of sound.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) ticks: u64,
    pub(crate) is_keyframe: bool,
    /// Nothing is missing before it.
    pub(crate) is_contiguous: bool,
    pub(crate) annex_b: Vec<u8>,
}

pub(crate) enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream, BytesMut),
}

impl Wire {
    pub(crate) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr().unwrap(),
            Self::Tcp(socket, _) => socket.local_addr().unwrap(),
        }
    }

    /// False when the connection has ended.
    pub(crate) async fn send(&mut self, bytes: &[u8], to: SocketAddr) -> bool {
        match self {
            Self::Udp(socket) => socket.send_to(bytes, to).await.is_ok(),
            Self::Tcp(socket, _) => {
                let framed = [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
                socket.write_all(&framed).await.is_ok()
            }
        }
    }

    /// The next datagram; `None` when the connection has ended.
    pub(crate) async fn receive(&mut self) -> Option<(Bytes, SocketAddr)> {
        match self {
            Self::Udp(socket) => {
                let mut space = [0; 2000];
                let (length, from) = socket.recv_from(&mut space).await.unwrap();
                Some((Bytes::copy_from_slice(&space[..length]), from))
            }
            Self::Tcp(socket, waiting) => loop {
                if let Some((length, rest)) = waiting.split_first_chunk::<2>()
                    && rest.len() >= usize::from(u16::from_be_bytes(*length))
                {
                    let length = usize::from(u16::from_be_bytes(*length));
                    let datagram = waiting.split_to(length + 2).split_off(2).freeze();
                    return Some((datagram, socket.peer_addr().ok()?));
                }
                if socket.read_buf(waiting).await.ok()? == 0 {
                    return None;
                }
            },
        }
    }
}

/// One player.
pub(crate) struct Watcher {
    rtc: Rtc,
    wire: Wire,
    video: Mid,
    pub(crate) session: String,
    pub(crate) answer: String,
    is_alive: bool,
    /// Of the packets that come, how many get lost: one in so many.
    pub(crate) loses_one_in: Option<usize>,
    pub(crate) lost: usize,
    received: usize,
}

impl Watcher {
    fn offer(rtc: &mut Rtc) -> (String, SdpPendingOffer, Mid) {
        let mut change = rtc.sdp_api();
        let video = change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        (offer.to_sdp_string(), pending, video)
    }

    /// An offer as a browser would send it.
    pub(crate) fn new_offer() -> String {
        Self::offer(&mut Rtc::new(Instant::now())).0
    }

    /// Plays a stream (behind `?` may be a token), or says how it was refused.
    pub(crate) async fn connect(http: SocketAddr, playback: &str, by_tcp: bool) -> Result<Self, (StatusCode, serde_json::Value)> {
        Self::connect_with(http, playback, by_tcp, |offer| offer).await
    }

    /// The same with an offer that is changed.
    pub(crate) async fn connect_with(
        http: SocketAddr,
        playback: &str,
        by_tcp: bool,
        change: impl FnOnce(String) -> String,
    ) -> Result<Self, (StatusCode, serde_json::Value)> {
        let mut rtc = Rtc::new(Instant::now());
        let (offer, pending, video) = Self::offer(&mut rtc);
        let (playback, query) = playback.split_once('?').unwrap_or((playback, ""));
        let url = format!("http://{http}/live/{playback}/whep?{query}");
        let response = Client::new().post(&url).header("content-type", "application/sdp").body(change(offer)).send().await.unwrap();
        if response.status() != StatusCode::CREATED {
            return Err((response.status(), response.json().await.unwrap()));
        }
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/sdp");
        assert_eq!(header("access-control-allow-origin"), "*");
        let session = format!("http://{http}{}", header("location"));
        assert!(header("etag").starts_with('"'));
        let answer = response.text().await.unwrap();
        let server = candidate(&answer, if by_tcp { "tcp" } else { "udp" });
        let wire = if by_tcp {
            Wire::Tcp(TcpStream::connect(server).await.unwrap(), BytesMut::new())
        } else {
            Wire::Udp(UdpSocket::bind("127.0.0.1:0").await.unwrap())
        };
        rtc.add_local_candidate(Candidate::host(wire.local(), "udp").unwrap());
        // To the player its one way is a datagram's, whatever carries it.
        let known: String = answer.lines().filter(|line| !line.contains(" tcp ")).map(|line| format!("{line}\r\n")).collect();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&known).unwrap()).unwrap();
        // str0m asks again for what is lost only where there is a stream for it (RFC 4588), unless it is told to.
        let ssrc: u32 = answer.split_once("a=ssrc:").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
        if let Some(stream) = rtc.direct_api().stream_rx(&ssrc.into()) {
            stream.suppress_nack(false);
        }
        Ok(Self { rtc, wire, video, session, answer, is_alive: true, loses_one_in: None, lost: 0, received: 0 })
    }

    /// Whether the connection is still up.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_alive && self.rtc.is_alive()
    }

    pub(crate) fn request_key_frame(&mut self) {
        self.rtc.writer(self.video).unwrap().request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
    }

    /// The next picture; `None` when nothing more comes within so long.
    pub(crate) async fn picture(&mut self, limit: Duration) -> Option<Picture> {
        self.media(MediaKind::Video, limit).await
    }

    /// The next of a kind.
    pub(crate) async fn media(&mut self, kind: MediaKind, limit: Duration) -> Option<Picture> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline && self.is_alive() {
            if let Some(data) = self.turn(deadline).await
                && (data.mid == self.video) == (kind == MediaKind::Video)
            {
                return Some(Picture {
                    ticks: data.time.numer(),
                    is_keyframe: data.is_keyframe(),
                    is_contiguous: data.contiguous,
                    annex_b: data.data.to_vec(),
                });
            }
        }
        None
    }

    /// Whether this packet of media gets lost.
    fn loses(&mut self, bytes: &[u8]) -> bool {
        let is_media = bytes[0] >= 128 && !(192..=223).contains(&bytes[1]);
        self.received += usize::from(is_media);
        let is_lost = is_media && self.loses_one_in.is_some_and(|number| self.received.is_multiple_of(number));
        self.lost += usize::from(is_lost);
        is_lost
    }

    async fn turn(&mut self, deadline: Instant) -> Option<MediaData> {
        let until = match self.rtc.poll_output().unwrap() {
            Output::Transmit(transmit) => {
                self.is_alive &= self.wire.send(&transmit.contents, transmit.destination).await;
                return None;
            }
            Output::Event(Event::MediaData(data)) => return Some(data),
            Output::Event(Event::Closed) => {
                self.is_alive = false;
                return None;
            }
            Output::Event(_) => return None,
            Output::Timeout(at) => at.min(deadline),
        };
        let local = self.wire.local();
        let received = tokio::time::timeout(until.saturating_duration_since(Instant::now()), self.wire.receive()).await;
        let input = match &received {
            Ok(Some((bytes, _))) if self.loses(bytes) => return None,
            Ok(Some((bytes, source))) => {
                let Ok(contents) = bytes[..].try_into() else { return None };
                Input::Receive(Instant::now(), Receive { proto: Protocol::Udp, source: *source, destination: local, contents })
            }
            Ok(None) => {
                self.is_alive = false;
                return None;
            }
            Err(_) => Input::Timeout(Instant::now()),
        };
        self.rtc.handle_input(input).unwrap();
        None
    }
}

/// The first address of an answer by this protocol.
pub(crate) fn candidate(answer: &str, protocol: &str) -> SocketAddr {
    let line = answer.lines().find(|line| line.starts_with("a=candidate:") && line.contains(&format!(" {protocol} "))).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    format!("{}:{}", words[4], words[5]).parse().unwrap()
}
