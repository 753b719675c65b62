//! An RTSP camera that departs from what it announces, as real ones do: each quirk is a switch. RTP goes over TCP, in RTSP's own connection, or over UDP.

mod composed;
mod packets;
mod ways;

use packets::{base64, framed, packets_of, rtp};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use ways::Ways;

/// Between two pictures.
const PICTURE_INTERVAL: Duration = Duration::from_millis(20);
/// The same, in ticks of RTP's clock for video.
const PICTURE_TICKS: u32 = 1_800;
/// The camera's SSRC, where it keeps one.
const SSRC: u32 = 0x1122_3344;

/// What the camera sends round and round.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Access units, each as its NAL units; the first is a key frame with its parameter sets.
    pub units: Vec<Vec<Vec<u8>>>,
}

impl Clip {
    /// The first NAL unit of a kind.
    fn set(&self, kind: u8) -> &[u8] {
        self.units.iter().flatten().find(|nal| nal.first().is_some_and(|header| header & 0x1f == kind)).map_or(&[], Vec::as_slice)
    }
}

/// The sound that is announced, and what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Sound {
    #[default]
    None,
    Pcmu,
    Pcma,
    /// In 16 kHz, as newer cameras.
    Pcma16,
    /// With an announced clock of 0 Hz.
    PcmaWithoutClock,
    G726,
    G722,
    Opus,
    /// 16 bits a sample, two channels.
    L16,
    /// AAC in LATM, as RFC 3016 has it.
    Latm,
    Speex,
    Aac,
    /// Without a map from its number to a codec.
    WithoutMap,
    AacWithoutFmtp,
    AacWithoutConfig,
    AacWithBrokenConfig,
    /// Well announced; each packet is nonsense.
    AacWithBrokenPackets,
    /// Well announced; each fourth packet is nonsense, and none has a mark.
    AacWithSomeBrokenPackets,
    /// Packets without a byte in them.
    PcmaWithEmptyPackets,
}

/// How RTSP's answers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Answers {
    #[default]
    Right,
    BareLineFeeds,
    WithoutCseq,
    WithWrongCseq,
    WithoutReason,
    WithEmptyHeaders,
}

/// What becomes of an OPTIONS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum OptionsAnswer {
    #[default]
    Right,
    HangsUp,
    /// It answers, and then hangs up.
    HangsUpBehind,
    Silence,
    /// With this status.
    Refused(u16),
    /// With this status, and then hangs up.
    RefusedForGood(u16),
}

/// How the camera answers a SETUP of its sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum SoundSetup {
    #[default]
    Taken,
    /// With this status.
    Refused(u16),
    HangsUp,
    /// On the channel of the pictures.
    SameChannel,
}

/// The SSRC of the pictures' packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Ssrc {
    #[default]
    Constant,
    UnlikeSetup,
    NewEachKeyFrame,
    /// With sequence numbers and times that begin anew.
    NewEachKeyFrameFromAnywhere,
    /// With sequence numbers that begin anew, in the middle of groups of pictures.
    NewNowAndThen,
    NewEachPacket,
}

/// The sequence numbers of the pictures' packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Sequence {
    #[default]
    Right,
    RestartsEachKeyFrame,
    AlwaysTheSame,
    /// Each packet comes twice.
    Twice,
    /// The last packet before each key frame comes once more after it.
    LatePacket,
}

/// The times of the pictures' packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Times {
    #[default]
    Right,
    /// By two seconds, each half second.
    StepBack,
    /// By an hour, each half second.
    StepAhead,
    TenTimesTooFast,
    HalfAsFast,
    StandStill,
}

/// The marker bit, which ends a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Marks {
    #[default]
    Right,
    Never,
    Always,
}

/// The header `RTP-Info` of PLAY's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum RtpInfo {
    #[default]
    Right,
    None,
    WrongSeq,
    WrongTime,
    Nonsense,
}

/// All that is odd about a camera. The default is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// Its sound.
    pub sound: Sound,
    /// Its answer to being asked for it.
    pub sound_setup: SoundSetup,
    /// Its sound comes first in its description, and is announced again behind the pictures, as G.726.
    pub has_sounds_around: bool,
    /// Its answers.
    pub answers: Answers,
    /// These bytes come between its packets.
    pub stray: &'static [u8],
    /// Its SSRC.
    pub ssrc: Ssrc,
    /// Its sequence numbers.
    pub sequence: Sequence,
    /// Its times.
    pub times: Times,
    /// Its marker bits.
    pub marks: Marks,
    /// What it says of the first packet.
    pub rtp_info: RtpInfo,
    /// It hangs up on a DESCRIBE before an OPTIONS.
    pub needs_options: bool,
    /// Its answer to an OPTIONS before PLAY.
    pub options: OptionsAnswer,
    /// Its RTP goes over UDP, whatever is asked for.
    pub is_udp: bool,
    /// Over UDP it does not say which ports it sends from.
    pub hides_ports: bool,
    /// Over UDP it names this as the address that it sends from.
    pub source: Option<&'static str>,
    /// Over UDP others send to the same ports: one from this address, ahead of the camera, and one from the camera's own, behind it.
    pub stranger: Option<&'static str>,
    /// It wants Digest authentication, with a new nonce after each request.
    pub renews_nonce: bool,
    /// It asks for a keepalive each second, and does not answer it.
    pub ignores_keepalive: bool,
    /// Its answers to the keepalive have the CSeq of another request.
    pub misnumbers_keepalive: bool,
    /// A `Session` and a `Transport` with what no specification has.
    pub odd_headers: bool,
    /// RTCP that is nonsense, RTCP of others, and data on channels that nobody set up.
    pub noise: bool,
    /// The pictures' packets have padding, an extension and contributing sources.
    pub long_headers: bool,
    /// The pictures' packets claim padding that they have not.
    pub lies_of_padding: bool,
    /// Its packets are of another payload type than announced.
    pub other_payload_type: bool,
    /// Each fifteenth packet of the pictures is nonsense, beside the good ones.
    pub broken_packets: bool,
    /// From this seed, one of eight packets of pictures, sound and reports has other bytes, and one is cut short. Zero: none.
    pub garbled: u64,
}

/// A running camera. Dropped, it hangs up.
#[derive(Debug)]
pub struct QuirkCamera {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
    is_udp: bool,
}

impl QuirkCamera {
    /// Starts one.
    ///
    /// # Panics
    /// If loopback has no port.
    #[must_use]
    pub fn start(clip: Clip, quirks: Quirks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, seen, clip) = (stop.clone(), requests.clone(), Arc::new(clip));
        spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (stopped, seen, clip) = (stopped.clone(), seen.clone(), clip.clone());
                spawn(move || Connection { clip, quirks, stopped, seen, ways: Arc::default() }.serve(stream));
            }
        });
        Self { address, stop, requests, is_udp: quirks.is_udp }
    }

    /// Whether its RTP goes over UDP.
    #[must_use]
    pub const fn is_udp(&self) -> bool {
        self.is_udp
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("rtsp://{}/live", self.address)
    }

    /// The methods of its requests so far.
    ///
    /// # Panics
    /// If a thread of the camera has panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread panics").clone()
    }
}

impl Drop for QuirkCamera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // So that the thread that accepts looks.
        let _ = TcpStream::connect(self.address);
    }
}

struct Request {
    method: String,
    /// The first of the ports that UDP is asked for at.
    client_port: Option<u16>,
    url: String,
    cseq: String,
    authorization: String,
}

struct Connection {
    clip: Arc<Clip>,
    quirks: Quirks,
    stopped: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
    /// Written by the answers and by the packets.
    ways: Arc<Mutex<Ways>>,
}

impl Connection {
    fn serve(self, stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
        let Ok(write) = stream.try_clone() else { return };
        let peer = stream.peer_addr().map(|peer| peer.ip()).ok();
        self.ways.lock().expect("no thread panics").tcp = Some(write);
        let mut reader = BufReader::new(stream);
        let (mut methods, mut has_sound, mut nonce) = (Vec::new(), false, 0);
        while let Some(Request { method, client_port, url, cseq, authorization }) = self.read_request(&mut reader) {
            self.seen.lock().expect("no thread panics").push(method.clone());
            let quirks = self.quirks;
            if method == "DESCRIBE" && quirks.needs_options && !methods.contains(&"OPTIONS".to_owned()) {
                break;
            }
            if method == "OPTIONS" && !methods.contains(&"PLAY".to_owned()) {
                match quirks.options {
                    OptionsAnswer::Right => {}
                    OptionsAnswer::HangsUp => break,
                    OptionsAnswer::Silence => continue,
                    OptionsAnswer::HangsUpBehind => {
                        self.write(self.answer(&method, false, &cseq).as_bytes());
                        break;
                    }
                    OptionsAnswer::Refused(status) | OptionsAnswer::RefusedForGood(status) => {
                        self.write(format!("RTSP/1.0 {status} No\r\nCSeq: {cseq}\r\n\r\n").as_bytes());
                        if matches!(quirks.options, OptionsAnswer::RefusedForGood(_)) {
                            break;
                        }
                        continue;
                    }
                }
            }
            if quirks.renews_nonce && method != "OPTIONS" {
                if !authorization.contains(&format!("nonce=\"n{nonce}\"")) {
                    let digest =
                        format!("Digest realm=\"quirks\", nonce=\"n{nonce}\", stale=\"{}\"", if nonce == 0 { "FALSE" } else { "TRUE" });
                    self.write(format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\nWWW-Authenticate: {digest}\r\n\r\n").as_bytes());
                    continue;
                }
                nonce += 1;
            }
            let is_sound = method == "SETUP" && (url.ends_with("track2") || url.ends_with("track3"));
            if is_sound && quirks.sound_setup == SoundSetup::HangsUp {
                break;
            }
            has_sound |= is_sound && quirks.sound_setup == SoundSetup::Taken;
            let is_keepalive = methods.contains(&"PLAY".to_owned()) && method != "TEARDOWN";
            if is_keepalive && quirks.ignores_keepalive {
                continue;
            }
            let cseq = if is_keepalive && quirks.misnumbers_keepalive { "1".to_owned() } else { cseq };
            if method == "SETUP"
                && quirks.is_udp
                && let (Some(peer), Some(port)) = (peer, client_port)
            {
                let stranger = quirks.stranger;
                self.ways.lock().expect("no thread panics").open_udp(SocketAddr::new(peer, port), is_sound, stranger);
            }
            let answer = self.answer(&method, is_sound, &cseq);
            let answer = match quirks.answers {
                Answers::Right => answer,
                Answers::BareLineFeeds => {
                    answer.split_once("\r\n\r\n").map_or(answer.clone(), |(head, body)| format!("{}\n\n{body}", head.replace("\r\n", "\n")))
                }
                Answers::WithEmptyHeaders => answer.replacen("\r\n", "\r\nContent-Base:\r\nNo header\r\nX-\u{e9}: \u{e9}\r\n", 1),
                Answers::WithoutCseq => answer.replacen("CSeq: ", "Server: ", 1),
                Answers::WithWrongCseq => answer.replacen("CSeq: ", "CSeq: 7", 1),
                Answers::WithoutReason => answer.replacen("200 OK", "200", 1),
            };
            self.write(answer.as_bytes());
            if method == "PLAY" {
                let sender = Sender::new(self.clip.clone(), quirks, self.ways.clone(), has_sound);
                let stopped = self.stopped.clone();
                spawn(move || sender.run(&stopped));
            }
            methods.push(method);
        }
        // Both halves: the sender ends with its next packet.
        if let Some(stream) = self.ways.lock().expect("no thread panics").tcp.take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn read_request(&self, reader: &mut BufReader<TcpStream>) -> Option<Request> {
        let mut lines: Vec<String> = Vec::new();
        let mut line = Vec::new();
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) if line.ends_with(b"\n") => {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    line.clear();
                    if !text.is_empty() {
                        lines.push(text);
                    } else if !lines.is_empty() {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
        let header = |name: &str| {
            lines
                .iter()
                .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)))
                .map(|(_, value)| value.trim())
        };
        let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reader.by_ref().take(length).read_to_end(&mut Vec::new()).ok()?;
        let mut words = lines.first()?.split(' ');
        let (method, url) = (words.next()?.to_owned(), words.next()?.to_owned());
        let client_port = header("transport").and_then(|transport| {
            let (_, ports) = transport.split_once("client_port=")?;
            ports.split(['-', ';']).next()?.parse().ok()
        });
        Some(Request {
            method,
            client_port,
            url,
            cseq: header("cseq")?.to_owned(),
            authorization: header("authorization").unwrap_or_default().to_owned(),
        })
    }

    fn write(&self, bytes: &[u8]) {
        self.ways.lock().expect("no thread panics").write(bytes);
    }

    fn answer(&self, method: &str, is_sound: bool, cseq: &str) -> String {
        let quirks = self.quirks;
        let session = match (quirks.odd_headers, quirks.ignores_keepalive || quirks.misnumbers_keepalive) {
            (true, _) => "77;timeout=0;x=y",
            (false, true) => "77;timeout=2",
            (false, false) => "77",
        };
        let mut status = 200;
        let (headers, body) = match method {
            "OPTIONS" => ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n".to_owned(), String::new()),
            "DESCRIBE" => {
                let kind = if quirks.odd_headers { "application/sdp; charset=utf-8" } else { "application/sdp" };
                (format!("Content-Type: {kind}\r\n"), self.sdp())
            }
            "SETUP" => {
                if let (true, SoundSetup::Refused(refused)) = (is_sound, quirks.sound_setup) {
                    status = refused;
                }
                let channels = match (is_sound, quirks.sound_setup, quirks.odd_headers) {
                    (true, SoundSetup::SameChannel, _) | (false, _, false) => "interleaved=0-1;",
                    (true, _, false) => "interleaved=2-3;",
                    (_, _, true) => "",
                };
                let odd = if quirks.odd_headers { " source=camera.local; server_port=x;" } else { "" };
                let source = quirks.source.map_or_else(String::new, |source| format!("source={source};"));
                let way = match quirks.is_udp {
                    true if quirks.hides_ports => format!("RTP/AVP;unicast;{source}"),
                    true => format!(
                        "RTP/AVP;unicast;{source}server_port={};",
                        self.ways.lock().expect("no thread panics").server_ports(is_sound)
                    ),
                    false => format!("RTP/AVP/TCP;unicast;{channels}"),
                };
                (format!("Transport: {way}{odd}ssrc={SSRC:08X}\r\nSession: {session}\r\n"), String::new())
            }
            "PLAY" => {
                let info = match quirks.rtp_info {
                    RtpInfo::Right => "RTP-Info: url=track1;seq=100;rtptime=5000,url=track2;seq=7;rtptime=9000\r\n",
                    RtpInfo::None => "",
                    RtpInfo::WrongSeq => "RTP-Info: url=track1;seq=31000;rtptime=5000,url=track2;seq=60000;rtptime=9000\r\n",
                    RtpInfo::WrongTime => "RTP-Info: url=track1;seq=100;rtptime=3000000000,url=track2;seq=7;rtptime=77777777\r\n",
                    RtpInfo::Nonsense => "RTP-Info: seq=x;;rtptime,,url=\r\n",
                };
                (format!("Session: {session}\r\n{info}"), String::new())
            }
            _ => (format!("Session: {session}\r\n"), String::new()),
        };
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!("RTSP/1.0 {status} {}\r\nCSeq: {cseq}\r\n{headers}{length}\r\n{body}", if status == 200 { "OK" } else { "No" })
    }

    fn sdp(&self) -> String {
        let sound = match self.quirks.sound {
            Sound::None => "",
            Sound::Pcmu => "m=audio 0 RTP/AVP 0\r\n",
            Sound::Pcma | Sound::PcmaWithEmptyPackets => "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n",
            Sound::Pcma16 => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 PCMA/16000/1\r\n",
            Sound::PcmaWithoutClock => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 PCMA/0\r\n",
            Sound::G726 => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 G726-32/8000\r\n",
            Sound::G722 => "m=audio 0 RTP/AVP 9\r\n",
            Sound::L16 => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 L16/16000/2\r\n",
            Sound::Speex => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 speex/16000\r\n",
            Sound::Latm => {
                "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MP4A-LATM/16000/1\r\na=fmtp:98 profile-level-id=15;object=2;cpresent=0;config=400028103FC0\r\n"
            }
            Sound::Opus => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 opus/48000/2\r\n",
            Sound::WithoutMap => "m=audio 0 RTP/AVP 98\r\n",
            Sound::AacWithoutFmtp => "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MPEG4-GENERIC/16000/1\r\n",
            Sound::AacWithoutConfig => {
                "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MPEG4-GENERIC/16000/1\r\na=fmtp:98 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3\r\n"
            }
            Sound::AacWithBrokenConfig => {
                "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MPEG4-GENERIC/16000/1\r\na=fmtp:98 mode=AAC-hbr;config=XY;sizelength=13;indexlength=3;indexdeltalength=3\r\n"
            }
            Sound::Aac | Sound::AacWithBrokenPackets | Sound::AacWithSomeBrokenPackets => {
                "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MPEG4-GENERIC/16000/1\r\na=fmtp:98 streamtype=5;mode=AAC-hbr;config=1408;sizelength=13;indexlength=3;indexdeltalength=3\r\n"
            }
        };
        let sound = if sound.is_empty() { String::new() } else { format!("{sound}a=control:track2\r\n") };
        let sets = format!("{},{}", base64(self.clip.set(7)), base64(self.clip.set(8)));
        let again =
            if self.quirks.has_sounds_around { "m=audio 0 RTP/AVP 99\r\na=rtpmap:99 G726-32/8000\r\na=control:track3\r\n" } else { "" };
        let (before, after) = if self.quirks.has_sounds_around { (sound.as_str(), again) } else { ("", sound.as_str()) };
        let odd = if self.quirks.odd_headers { "this is no line of SDP\r\n" } else { "" };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=quirks\r\n{odd}t=0 0\r\n{before}m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track1\r\n{after}"
        )
    }
}

/// Sends packets until the connection ends.
struct Sender {
    clip: Arc<Clip>,
    quirks: Quirks,
    ways: Arc<Mutex<Ways>>,
    has_sound: bool,
    ssrc: u32,
    seq: u16,
    ticks: u32,
    packets: u32,
    last: Vec<u8>,
    dice: u64,
}

impl Sender {
    fn new(clip: Arc<Clip>, quirks: Quirks, ways: Arc<Mutex<Ways>>, has_sound: bool) -> Self {
        let ssrc = if quirks.ssrc == Ssrc::UnlikeSetup { 0x5566_7788 } else { SSRC };
        Self { clip, quirks, ways, has_sound, ssrc, seq: 100, ticks: 5_000, packets: 0, last: Vec::new(), dice: quirks.garbled }
    }

    fn run(mut self, stopped: &AtomicBool) {
        let begin = Instant::now();
        let mut due = Duration::ZERO;
        for (index, at) in (0..self.clip.units.len()).cycle().zip(0_u32..) {
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            due += PICTURE_INTERVAL;
            if stopped.load(Ordering::Relaxed) || !self.send_picture(index) || !self.send_sound(at) || !self.send_noise(at) {
                return;
            }
        }
    }

    fn send_picture(&mut self, index: usize) -> bool {
        let clip = self.clip.clone();
        let unit = &clip.units[index];
        let is_key = unit.iter().any(|nal| nal.first().is_some_and(|header| header & 0x1f == 5));
        let late = self.last.clone();
        if is_key && self.packets > 0 {
            self.begin_group();
        }
        if self.quirks.ssrc == Ssrc::NewNowAndThen && index % 7 == 3 {
            (self.ssrc, self.seq) = (self.ssrc.wrapping_add(77), self.seq.wrapping_mul(31).wrapping_add(7));
        }
        self.ticks = self.ticks.wrapping_add(PICTURE_TICKS);
        let payloads: Vec<Vec<u8>> = unit.iter().flat_map(|nal| packets_of(nal)).collect();
        for (at, payload) in payloads.iter().enumerate() {
            if !self.send_packet(payload, at + 1 == payloads.len()) {
                return false;
            }
            if is_key && at == 0 && self.quirks.sequence == Sequence::LatePacket && !late.is_empty() && !self.write(&framed(0, &late)) {
                return false;
            }
        }
        true
    }

    fn begin_group(&mut self) {
        if matches!(self.quirks.ssrc, Ssrc::NewEachKeyFrame | Ssrc::NewEachKeyFrameFromAnywhere) {
            self.ssrc = self.ssrc.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        }
        if self.quirks.ssrc == Ssrc::NewEachKeyFrameFromAnywhere {
            (self.seq, self.ticks) = (self.seq.wrapping_mul(31).wrapping_add(7), self.ticks.wrapping_mul(0x9e37_79b1));
        }
        if self.quirks.sequence == Sequence::RestartsEachKeyFrame {
            self.seq = 0;
        }
    }

    fn send_packet(&mut self, payload: &[u8], is_last: bool) -> bool {
        let quirks = self.quirks;
        self.packets += 1;
        if quirks.ssrc == Ssrc::NewEachPacket {
            self.ssrc = self.ssrc.wrapping_add(1);
        }
        if quirks.broken_packets && self.packets.is_multiple_of(15) {
            // Too short for a header, and of no version: neither has a number that would count.
            if !self.write(&framed(0, &[0x80, 96])) || !self.write(&framed(0, &[0x40; 40])) {
                return false;
            }
        }
        let mark = match quirks.marks {
            Marks::Right => is_last,
            Marks::Never => false,
            Marks::Always => true,
        };
        let kind = if quirks.other_payload_type { 105 } else { 96 };
        // In ticks; where they step, each 25 pictures.
        let (ticks, steps) = (self.ticks, self.ticks / PICTURE_TICKS / 25);
        let ticks = match quirks.times {
            Times::Right => ticks,
            Times::StepBack => ticks.wrapping_sub(steps.wrapping_mul(180_000)),
            Times::StepAhead => ticks.wrapping_add(steps.wrapping_mul(324_000_000)),
            Times::TenTimesTooFast => ticks.wrapping_mul(21) / 2,
            Times::HalfAsFast => ticks / 2,
            Times::StandStill => 5_000,
        };
        let mut packet = rtp(kind, mark, self.seq, ticks, self.ssrc, payload, quirks.long_headers);
        // What can be told from padding: a last byte that is zero, or longer than the packet.
        if quirks.lies_of_padding && packet.last().is_some_and(|&last| last == 0 || usize::from(last) > packet.len() - 12) {
            packet[0] |= 0x20;
        }
        if quirks.sequence != Sequence::AlwaysTheSame {
            self.seq = self.seq.wrapping_add(1);
        }
        let times = if quirks.sequence == Sequence::Twice { 2 } else { 1 };
        let is_sent = (0..times).all(|_| {
            let sent = self.garble(packet.clone());
            self.write(&framed(0, &sent))
        });
        self.last = packet;
        is_sent
    }

    /// A packet of 20 ms for each picture; of AAC, a frame.
    fn send_sound(&mut self, at: u32) -> bool {
        if !self.has_sound {
            return true;
        }
        let silent_frame = [0x01, 0x40, 0x22, 0x80, 0xa3, 0x5e];
        let aac = |frame: &[u8]| [&[0, 16][..], &(u16::try_from(frame.len() << 3).unwrap_or(0)).to_be_bytes(), frame].concat();
        let (samples, mark, payload) = match self.quirks.sound {
            Sound::Pcmu => (160, at == 0, vec![0xff; 160]),
            Sound::G726 => (160, at == 0, vec![0x77; 80]),
            Sound::G722 => (160, at == 0, vec![0x55; 160]),
            Sound::Opus => (960, at == 0, vec![0xf8, 0xff, 0xfe]),
            Sound::L16 => (320, at == 0, vec![0; 1_280]),
            Sound::Latm => (1_024, true, [&[silent_frame.len() as u8][..], &silent_frame].concat()),
            Sound::Pcma | Sound::PcmaWithoutClock => (160, at == 0, vec![0xd5; 160]),
            Sound::Pcma16 => (320, at == 0, vec![0xd5; 320]),
            Sound::PcmaWithEmptyPackets => (160, false, Vec::new()),
            Sound::AacWithBrokenPackets => (1_024, true, vec![0xff; 9]),
            Sound::AacWithSomeBrokenPackets if at % 4 == 1 => (1_024, true, vec![0, 48, 0xff, 0xff, 0xff, 0xff, 0, 0]),
            Sound::AacWithSomeBrokenPackets => (1_024, false, aac(&silent_frame)),
            Sound::None
            | Sound::Speex
            | Sound::Aac
            | Sound::WithoutMap
            | Sound::AacWithoutFmtp
            | Sound::AacWithoutConfig
            | Sound::AacWithBrokenConfig => (1_024, true, aac(&silent_frame)),
        };
        let (seq, ticks) = (7_u16.wrapping_add(at as u16), 9_000_u32.wrapping_add(at.wrapping_mul(samples)));
        let packet = self.garble(rtp(98, mark, seq, ticks, SSRC + 1, &payload, false));
        self.write(&framed(2, &packet))
    }

    fn send_noise(&mut self, at: u32) -> bool {
        if !self.quirks.noise || !at.is_multiple_of(5) {
            return true;
        }
        let report = [&[0x80, 200, 0, 6, 0xde, 0xad, 0xbe, 0xef][..], &[0x77; 20]].concat();
        let report = self.garble(report);
        self.write(&framed(1, &report)) && self.write(&framed(1, &[0xff; 5])) && self.write(&framed(9, b"nobody asked"))
    }

    fn garble(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        if self.quirks.garbled == 0 || packet.is_empty() {
            return packet;
        }
        let mut roll = |below: usize| {
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.dice >> 33) as usize % below.max(1)
        };
        match roll(8) {
            0 => {
                for _ in 0..=roll(3) {
                    // Headers more often than samples.
                    let at = roll(packet.len()).min(roll(packet.len() * 3));
                    let at = at.min(roll(40));
                    packet[at] = roll(256) as u8;
                }
            }
            1 => packet.truncate(roll(packet.len())),
            _ => {}
        }
        packet
    }

    fn write(&self, bytes: &[u8]) -> bool {
        let mut ways = self.ways.lock().expect("no thread panics");
        (self.quirks.stray.is_empty() || self.quirks.is_udp || ways.write(self.quirks.stray)) && ways.send(bytes)
    }
}

/// A thread that ends with its connection.
fn spawn(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("quirk camera".into()).spawn(run).expect("the system has a thread");
}
