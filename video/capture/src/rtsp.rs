//! RTSP cameras (RFC 2326, RFC 7826): H.264, H.265 and AAC as the camera sent them, G.711 as AAC. The protocol is `retina`'s, a copy of which is in
//! vendor/retina: cameras depart from it in more ways than its options allow.

use bytes::Bytes;
use futures_util::StreamExt as _;
use h264_reader::{
    nal::sps::SeqParameterSet,
    rbsp::{BitReader, decode_nal},
};
use retina::{
    client::{
        self, Credentials, Demuxed, InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, SessionGroup, SessionIdPolicy,
        SessionOptions, SetupOptions, Stream, UnassignedChannelDataPolicy, UnknownRtcpSsrcPolicy,
    },
    codec::{AudioFrame, CodecItem, FrameFormat, ParametersRef, VideoFrame, VideoParameters, VideoParametersCodec},
};
use sightline_media::{
    Codec, Frame, MediaTime, Track, TrackConfig, TrackId, avc, coded,
    intake::{Assembly, Family},
};
use std::{convert::Infallible, str::FromStr, sync::Arc, time::Instant};
use tokio::{
    task::JoinSet,
    time::{Instant as Deadline, timeout, timeout_at},
};

use crate::{
    address::CameraUrl,
    first_pictures::FirstPictures,
    outlet::{CONNECT_TIMEOUT, FIRST_FRAME_TIMEOUT, Outlet, SILENCE_TIMEOUT, Trouble},
    secure,
    sound::{Carrier, Sound},
    timeline::Timeline,
};

/// The longest access unit that is passed on, in bytes.
const ACCESS_UNIT_BYTES_MAX: usize = 8 << 20;

/// How a camera's RTP travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Interleaved in RTSP's own connection: nothing is lost, and every router lets it through.
    Tcp,
    /// UDP: for the few cameras whose TCP is broken. A lost packet costs the pictures up to the next key frame.
    Udp,
}

/// A name that is no transport.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither tcp nor udp")]
pub struct UnknownTransport(String);

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, UnknownTransport> {
        match name {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            other => Err(UnknownTransport(other.to_owned())),
        }
    }
}

/// What a camera is read with, over all its connections.
pub(crate) struct Session<'a> {
    pub(crate) group: Arc<SessionGroup>,
    /// The size that a preset wants. Of a camera that offers several streams, the one that comes nearest is read.
    pub(crate) wanted: Option<(u32, u32)>,
    pub(crate) outlet: &'a mut Outlet,
    pub(crate) timeline: &'a mut Timeline,
    pub(crate) sound: &'a mut Sound,
}

/// Reads until the camera is lost, and says why.
pub(crate) async fn read(url: &CameraUrl, transport: Transport, mut session: Session<'_>) -> Trouble {
    // The tunnel ends with it.
    let mut tasks = JoinSet::new();
    let connected = match timeout(CONNECT_TIMEOUT, connect(url, transport, &mut session, &mut tasks)).await {
        Ok(connected) => connected,
        Err(_) => Err(Trouble::passing(format!("it does not answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    let played = match connected {
        Ok((demuxed, tracks)) => play(url, demuxed, tracks, &mut session).await,
        Err(trouble) => Err(trouble),
    };
    session.sound.end(session.outlet.has_given());
    match played {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    }
}

/// The streams that are set up.
#[derive(Debug)]
struct Tracks {
    video: usize,
    sound: Option<(usize, Carrier)>,
}

/// OPTIONS, DESCRIBE, SETUP of what can be passed on, PLAY.
async fn connect(
    url: &CameraUrl,
    transport: Transport,
    session: &mut Session<'_>,
    tasks: &mut JoinSet<()>,
) -> Result<(Demuxed, Tracks), Trouble> {
    let mut camera = describe(url, transport, session.group.clone(), tasks).await?;
    let mut video = choose_video(camera.streams(), session.wanted)?;
    let mut url = url;
    if let Some((sub, other, its_video)) = nearer(url, transport, session, (&camera, video), tasks).await {
        (url, camera, video) = (sub, other, its_video);
    }
    let failed = |error| trouble_of(url, &error);
    camera.setup(video, setup_options(transport)).await.map_err(failed)?;
    let sound = match session.sound.begin() {
        true => set_up_sound(url, transport, &mut camera, session.sound).await?,
        false => None,
    };
    let options = PlayOptions::default()
        // `rtptime` brings sound and picture together, where the camera tells it; many do not, or not for both.
        .initial_timestamp(InitialTimestampPolicy::Permissive)
        // The first packet tells where it counts from; cameras' word for it is often wrong (scottlamb/retina#79).
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
    let demuxed = camera.play(options).await.and_then(client::Session::demuxed).map_err(failed)?;
    Ok((demuxed, Tracks { video, sound }))
}

/// The camera's other stream, where it has one at an address of its own that comes nearer to the preset.
async fn nearer<'u>(
    url: &'u CameraUrl,
    transport: Transport,
    session: &Session<'_>,
    (camera, video): (&client::Session<client::Described>, usize),
    tasks: &mut JoinSet<()>,
) -> Option<(&'u CameraUrl, client::Session<client::Described>, usize)> {
    let (wanted, sub) = (session.wanted?, url.sub()?);
    let described = match describe(sub, transport, session.group.clone(), tasks).await {
        Ok(other) => choose_video(other.streams(), session.wanted).map(|video| (other, video)),
        Err(trouble) => Err(trouble),
    };
    let (other, its_video) = match described {
        Ok(described) => described,
        Err(problem) => {
            tracing::warn!(camera = %sub, %problem, "the camera's second stream is not there: the first is read");
            return None;
        }
    };
    let size = |camera: &client::Session<client::Described>, video: usize| camera.streams().get(video).and_then(size_of);
    let sizes = [(0, size(camera, video)), (1, size(&other, its_video))];
    let is_nearer = choose_size(&sizes, Some(wanted)) == Some(1);
    let offered: Vec<String> = sizes.iter().map(|(_, size)| size.map_or("?".to_owned(), |(w, h)| format!("{w}x{h}"))).collect();
    tracing::info!(offered = offered.join(", "), read = if is_nearer { 2 } else { 1 }, "the camera has a stream at each of two addresses");
    is_nearer.then_some((sub, other, its_video))
}

/// OPTIONS and DESCRIBE.
pub(crate) async fn describe(
    url: &CameraUrl,
    transport: Transport,
    group: Arc<SessionGroup>,
    tasks: &mut JoinSet<()>,
) -> Result<client::Session<client::Described>, Trouble> {
    match describe_by(url, transport, group.clone(), tasks, false).await {
        // It may be one that does not bear an OPTIONS, or hangs up behind it.
        Err(DescribeError::Camera(error)) if error.status_code().is_none() => {
            tracing::debug!(camera = %url, problem = first_line(url, &error), "no description after OPTIONS: tried without");
            describe_by(url, transport, group, tasks, true).await
        }
        described => described,
    }
    .map_err(|error| match error {
        DescribeError::Camera(error) => trouble_of(url, &error),
        DescribeError::Way(trouble) => trouble,
    })
}

/// Why there is no description.
enum DescribeError {
    /// By RTSP.
    Camera(retina::Error),
    /// Before it.
    Way(Trouble),
}

/// On a connection of its own.
async fn describe_by(
    url: &CameraUrl,
    transport: Transport,
    group: Arc<SessionGroup>,
    tasks: &mut JoinSet<()>,
    skips_options: bool,
) -> Result<client::Session<client::Described>, DescribeError> {
    let address = match (url.is_secure(), transport) {
        (false, _) => url.for_request(),
        (true, Transport::Tcp) => secure::tunnel(url, tasks).await.map_err(DescribeError::Way)?,
        (true, Transport::Udp) => {
            let problem = "with rtsps the media is in the encrypted connection, not in UDP: set rtsp_transport to tcp";
            return Err(DescribeError::Way(Trouble::refusal(problem)));
        }
    };
    let creds = url.credentials().map(|(username, password)| Credentials { username, password });
    let options = SessionOptions::default()
        .creds(creds)
        .user_agent("Sightline".into())
        .session_group(group)
        .skip_options(skips_options)
        // Some cameras send what nobody set up, some change the session's id with each SETUP.
        .unassigned_channel_data(UnassignedChannelDataPolicy::Ignore)
        .session_id(SessionIdPolicy::UseFirst);
    tracing::trace!(camera = %url, "connecting");
    client::Session::describe(address, options).await.map_err(DescribeError::Camera)
}

fn setup_options(transport: Transport) -> SetupOptions {
    let transport = match transport {
        Transport::Tcp => client::Transport::Tcp(Default::default()),
        Transport::Udp => client::Transport::Udp(Default::default()),
    };
    // MP4's form is that of our frames: lengths of four bytes, parameter sets apart, AAC without headers.
    SetupOptions::default().transport(transport).frame_format(FrameFormat::MP4)
}

/// An H.264 stream, which every server and player takes; else one of H.265. Of several, the smallest that is not below the size that is
/// wanted, or else the largest: what is made smaller here costs the processor, and what was never sent can't be made larger.
fn choose_video(streams: &[Stream], wanted: Option<(u32, u32)>) -> Result<usize, Trouble> {
    let is_video = |stream: &&Stream| stream.media() == "video";
    let named: Vec<String> = streams.iter().filter(is_video).map(|stream| stream.encoding_name().to_uppercase()).collect();
    let of_codec = |codec: &str| {
        let sized = streams.iter().enumerate().filter(|(_, stream)| is_video(stream) && stream.encoding_name() == codec);
        let sized: Vec<(usize, Option<(u32, u32)>)> = sized.map(|(index, stream)| (index, size_of(stream))).collect();
        let chosen = choose_size(&sized, wanted)?;
        if sized.len() > 1 {
            let offered: Vec<String> = sized.iter().map(|(_, size)| size.map_or("?".to_owned(), |(w, h)| format!("{w}x{h}"))).collect();
            let read = sized.iter().position(|(index, _)| *index == chosen).map_or(0, |place| place + 1);
            tracing::info!(codec, offered = offered.join(", "), read, "the camera offers several streams");
        }
        Some(chosen)
    };
    of_codec("h264").or_else(|| of_codec("h265")).ok_or_else(|| match named.join(", ") {
        none if none.is_empty() => Trouble::refusal("it offers no video; name the path of its H.264 stream, which its manual gives"),
        codecs => Trouble::format(format!(
            "its video is {codecs}, and only H.264 and H.265 are read by RTSP: set the camera, or its second stream, to H.264"
        )),
    })
}

/// As its description has it; many cameras tell it in the stream alone.
pub(crate) fn size_of(stream: &Stream) -> Option<(u32, u32)> {
    match stream.parameters() {
        Some(ParametersRef::Video(parameters)) => Some(parameters.pixel_dimensions()),
        Some(ParametersRef::Audio(_) | ParametersRef::Message(_)) | None => None,
    }
}

/// The first where nothing is wanted, or where a size is not told: cameras list their best stream first.
fn choose_size(streams: &[(usize, Option<(u32, u32)>)], wanted: Option<(u32, u32)>) -> Option<usize> {
    let first = streams.first()?.0;
    let Some((width, height)) = wanted else { return Some(first) };
    let Some(sized) = streams.iter().map(|(index, size)| Some((*index, (*size)?))).collect::<Option<Vec<_>>>() else { return Some(first) };
    let pixels = |(_, (width, height)): &(usize, (u32, u32))| u64::from(*width) * u64::from(*height);
    let enough = sized.iter().filter(|(_, (w, h))| *w >= width && *h >= height).min_by_key(|stream| pixels(stream));
    enough.or_else(|| sized.iter().max_by_key(|stream| pixels(stream))).map(|(index, _)| *index)
}

/// Whatever is wrong with the sound, the pictures go on; unless the camera hangs up on being asked for it.
async fn set_up_sound(
    url: &CameraUrl,
    transport: Transport,
    camera: &mut client::Session<client::Described>,
    sound: &mut Sound,
) -> Result<Option<(usize, Carrier)>, Trouble> {
    let (index, carrier) = match Carrier::choose(camera.streams()) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => return Ok(None),
        Err(problem) => {
            sound.warn(problem);
            return Ok(None);
        }
    };
    sound.ask();
    match camera.setup(index, setup_options(transport)).await {
        Ok(()) => Ok(Some((index, carrier))),
        Err(error) if error.status_code().is_some() => {
            sound.warn(format!("the camera refuses it: {}", first_line(url, &error)));
            Ok(None)
        }
        Err(error) => Err(trouble_of(url, &error)),
    }
}

async fn play(url: &CameraUrl, mut demuxed: Demuxed, tracks: Tracks, session: &mut Session<'_>) -> Result<Infallible, Trouble> {
    tracing::info!(camera = %url, tool = demuxed.tool().map(|tool| tool.to_string()), "the camera answers");
    let mut player = Player::new(tracks, session.sound.has_come());
    player.announce(url, &demuxed, session);
    let mut deadline = Deadline::now() + FIRST_FRAME_TIMEOUT;
    loop {
        let item = timeout_at(deadline, demuxed.next()).await;
        let item = item.map_err(|_| player.silence(session.outlet.has_given(), demuxed.streams()))?;
        match item.ok_or_else(|| Trouble::passing("it ended the stream"))? {
            Ok(CodecItem::VideoFrame(frame)) => {
                let is_continued = player.is_continued(&frame);
                if !is_continued {
                    player.complete(session)?;
                }
                if frame.has_new_parameters()
                    && let Some(stream) = demuxed.streams().get(frame.stream_id())
                {
                    player.announce_video(url, stream, session);
                }
                player.take_video(frame, is_continued, session)?;
                if session.outlet.has_given() {
                    session.sound.pictures_come();
                    deadline = Deadline::now() + SILENCE_TIMEOUT;
                }
            }
            Ok(CodecItem::AudioFrame(frame)) => player.take_sound(&frame, session)?,
            // ONVIF's metadata, sender reports, and what a later retina may bring: nothing here needs them.
            Ok(CodecItem::MessageFrame(_) | CodecItem::Rtcp(_) | _) => {}
            // Of one track: the other goes on, and so does this one with its next good packet.
            Err(error) if error.stream_id() == Some(player.video) => player.pass_over(&first_line(url, &error), error.costs_frame()),
            Err(error) if error.stream_id().is_some() => session.sound.note(&first_line(url, &error)),
            Err(error) => return Err(trouble_of(url, &error)),
        }
    }
}

/// One connection that plays.
#[derive(Debug)]
struct Player {
    video: usize,
    sound: Option<(usize, Carrier)>,
    /// The time of each track's zero, pictures first, where the camera's word for it is wrong.
    zeros: [Option<i64>; 2],
    /// Packets of the pictures, and parameter sets, that can't be read.
    faults: u64,
    /// What decoding needs first has come.
    has_parameters: bool,
    /// The next picture lacks others before it.
    is_damaged: bool,
    /// How its pictures are coded.
    family: Family,
    /// Cameras that mark the end of each slice as that of a picture.
    assembly: Assembly<Bytes>,
    /// Of the picture that waits for its slices: when it came, and whether others before it are lost.
    waiting: Option<(Instant, bool)>,
    first: FirstPictures,
}

impl Player {
    fn new(tracks: Tracks, has_sound_come: bool) -> Self {
        let first = FirstPictures::new(tracks.sound.is_some() && !has_sound_come);
        Self {
            video: tracks.video,
            sound: tracks.sound,
            zeros: [None; 2],
            faults: 0,
            has_parameters: false,
            is_damaged: false,
            family: Family::H264,
            assembly: Assembly::that_waits(),
            waiting: None,
            first,
        }
    }

    /// Most cameras give the parameters in their SDP: all of them go out before the first frame.
    fn announce(&mut self, url: &CameraUrl, demuxed: &Demuxed, session: &mut Session<'_>) {
        if let Some(stream) = demuxed.streams().get(self.video) {
            self.announce_video(url, stream, session);
        }
        if session.sound.has_come() {
            self.announce_sound(session);
        }
    }

    fn announce_sound(&self, session: &mut Session<'_>) {
        if let Some((_, carrier)) = &self.sound {
            session.outlet.track(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(carrier.config().clone()) });
        }
    }

    fn announce_video(&mut self, url: &CameraUrl, stream: &Stream, session: &mut Session<'_>) {
        let Some(ParametersRef::Video(parameters)) = stream.parameters() else { return };
        match config_of(parameters) {
            Ok(config) => {
                self.family = Family::of(config.codec()).unwrap_or(Family::H264);
                session.outlet.track(Track { id: TrackId::VIDEO, config });
                expect_reordering(parameters, session.timeline);
                self.has_parameters = true;
            }
            // Others may come with the next key frame.
            Err(problem) => {
                self.has_parameters = false;
                self.pass_over(&url.scrub(&format!("its parameter sets: {problem}")), true);
            }
        }
    }

    fn silence(&self, has_given: bool, streams: &[Stream]) -> Trouble {
        let (what, limit) = if has_given { ("no picture", SILENCE_TIMEOUT) } else { ("no key frame after PLAY", FIRST_FRAME_TIMEOUT) };
        let faults =
            if self.faults > 0 { format!("; {} of its packets or parameter sets can't be read", self.faults) } else { String::new() };
        let strangers = streams.get(self.video).and_then(Stream::strangers);
        let strangers = strangers.map_or_else(String::new, |(packets, from)| {
            format!("; {packets} packets that came from {from} are not taken, which is not where the camera sends from")
        });
        Trouble::passing(format!("{what} within {} s{faults}{strangers}", limit.as_secs()))
    }

    /// Whether it is another slice of the picture before.
    fn is_continued(&mut self, frame: &VideoFrame) -> bool {
        let time = self.media_time(0, frame.timestamp());
        self.assembly.is_continued(self.family.begins_with_picture(frame.data()), time)
    }

    /// Another picture begins: the one before is complete.
    fn complete(&mut self, session: &mut Session<'_>) -> Result<(), Trouble> {
        match self.assembly.complete() {
            Some(frame) => self.pass(frame, session),
            None => Ok(()),
        }
    }

    fn take_video(&mut self, frame: VideoFrame, is_continued: bool, session: &mut Session<'_>) -> Result<(), Trouble> {
        if !self.has_parameters {
            return Ok(());
        }
        let now = Instant::now();
        let time = self.media_time(0, frame.timestamp());
        let (is_keyframe, is_disposable, loss) = (frame.is_random_access_point(), frame.is_disposable(), frame.loss());
        if loss > 0 {
            tracing::warn!(packets = loss, "packets of the camera are lost: no picture before its next key frame");
        }
        let follows_loss = loss > 0 || std::mem::take(&mut self.is_damaged);
        let payload = Bytes::from(frame.into_data());
        if payload.len() > ACCESS_UNIT_BYTES_MAX {
            return Err(Trouble::refusal(format!(
                "a picture of it has {} bytes, and at most {ACCESS_UNIT_BYTES_MAX} are passed on: lower its bit rate",
                payload.len()
            )));
        }
        let frame = Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable, payload };
        let passed = if is_continued {
            if let Some((_, follows)) = &mut self.waiting {
                *follows |= follows_loss;
            }
            self.assembly.go_on(frame, |held, more| [&held[..], more].concat().into())
        } else {
            self.waiting = Some((now, follows_loss));
            let is_first = self.family.begins_with_picture(&frame.payload);
            self.assembly.begin(frame, is_first)
        };
        match passed {
            Some(frame) => self.pass(frame, session),
            None => Ok(()),
        }
    }

    /// Hands a picture on, at its time.
    fn pass(&mut self, mut frame: Frame<Bytes>, session: &mut Session<'_>) -> Result<(), Trouble> {
        let (at, follows_loss) = self.waiting.take().unwrap_or((Instant::now(), false));
        (frame.dts, frame.pts) = session.timeline.map(TrackId::VIDEO, frame.dts, at);
        let was_over = self.first.is_over();
        for (frame, at, follows_loss) in self.first.take((frame, at, follows_loss)) {
            session.outlet.frame(frame, at, follows_loss)?;
        }
        if self.first.is_over() && !was_over {
            session.sound.is_missed();
        }
        Ok(())
    }

    fn take_sound(&mut self, frame: &AudioFrame, session: &mut Session<'_>) -> Result<(), Trouble> {
        let at = self.ticks(1, frame.timestamp());
        let Some((_, carrier)) = &mut self.sound else { return Ok(()) };
        let rate = carrier.rate_hz(frame.timestamp().clock_rate().get());
        let frames = match carrier.take(at, &Bytes::copy_from_slice(frame.data())) {
            Ok(frames) => frames,
            Err(error) => {
                session.sound.warn(error.to_string());
                self.sound = None;
                return Ok(());
            }
        };
        if !frames.is_empty() && session.sound.comes() {
            self.announce_sound(session);
            for (frame, at, follows_loss) in self.first.end() {
                session.outlet.frame(frame, at, follows_loss)?;
            }
        }
        for (at, payload) in frames {
            let now = Instant::now();
            let (dts, pts) = session.timeline.map(TrackId::AUDIO, MediaTime::from_timescale(at, rate), now);
            let frame = Frame { track: TrackId::AUDIO, dts, pts, is_keyframe: true, is_disposable: false, payload };
            session.outlet.frame(frame, now, false)?;
        }
        Ok(())
    }

    fn media_time(&mut self, track: usize, time: retina::Timestamp) -> MediaTime {
        MediaTime::from_timescale(self.ticks(track, time), time.clock_rate().get())
    }

    /// Ticks of a track's clock since its zero.
    fn ticks(&mut self, track: usize, time: retina::Timestamp) -> i64 {
        let elapsed = time.elapsed();
        // RTP-Info's `rtptime` is that of about the first packet, or it is wrong: then the first packet is at zero.
        let is_wrong = elapsed.unsigned_abs() > u64::from(time.clock_rate().get());
        let zero = *self.zeros[track].get_or_insert(if is_wrong { elapsed } else { 0 });
        elapsed.saturating_sub(zero)
    }

    /// Something of the pictures that can't be read; `costs_frame`: a picture is lost with it.
    fn pass_over(&mut self, problem: &str, costs_frame: bool) {
        self.faults += 1;
        self.is_damaged |= costs_frame;
        if self.faults == 1 {
            tracing::warn!("packets of the camera's pictures can't be read and are passed over, the first because: {problem}");
        }
        tracing::debug!(problem, "a packet of the pictures is passed over");
    }
}

/// Why parameter sets are of no use.
#[derive(Debug, thiserror::Error)]
enum ConfigError {
    #[error("{0}")]
    H264(avc::ConfigError),
    #[error("{0}")]
    Hevc(coded::RecordError),
    #[error("they are of no codec that is asked for")]
    Other,
}

/// What a decoder needs first: the record that retina has made of the parameter sets.
fn config_of(parameters: &VideoParameters) -> Result<TrackConfig, ConfigError> {
    let record = parameters.extra_data();
    match parameters.codec_params() {
        VideoParametersCodec::H264 { .. } => avc::DecoderConfig::parse(record).map(TrackConfig::H264).map_err(ConfigError::H264),
        VideoParametersCodec::H265 { .. } => coded::Config::parse(Codec::Hevc, record).map(TrackConfig::Coded).map_err(ConfigError::Hevc),
        VideoParametersCodec::Jpeg | _ => Err(ConfigError::Other),
    }
}

/// Tells the timeline what the SPS says of B-frames (H.264 §E.2.1, `max_num_reorder_frames`); an SPS that says nothing leaves it to find out.
fn expect_reordering(parameters: &VideoParameters, timeline: &mut Timeline) {
    let VideoParametersCodec::H264 { sps, .. } = parameters.codec_params() else { return };
    let sps = decode_nal(sps).ok().and_then(|sps| SeqParameterSet::from_bits(BitReader::new(&*sps)).ok());
    if let Some(restrictions) = sps.and_then(|sps| sps.vui_parameters?.bitstream_restrictions) {
        timeline.expect_reordering(restrictions.max_num_reorder_frames as usize);
    }
}

/// Of a library's error, without secrets.
fn first_line(url: &CameraUrl, error: &retina::Error) -> String {
    url.scrub(error.to_string().lines().next().unwrap_or_default())
}

/// In one line, without secrets, with the fix where the camera's answer gives it.
fn trouble_of(url: &CameraUrl, error: &retina::Error) -> Trouble {
    match error.status_code() {
        Some(401 | 403) => Trouble::refusal(match url.credentials() {
            Some(_) => "it refuses the user or the password (401): check both; percent-encode what is none of A-Z a-z 0-9 . _ ~ -",
            None => "it asks for a user and a password (401): take rtsp://USER:PASSWORD@HOST/PATH",
        }),
        Some(404) => Trouble::refusal("there is no stream at this path (404): its manual names the path"),
        Some(461) => Trouble::refusal("it refuses this transport (461): set rtsp_transport to the other one of tcp and udp"),
        Some(_) | None => Trouble::passing(first_line(url, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_streams_the_nearest_to_the_preset_is_read() {
        let (main, sub, tiny) = ((0, Some((1920, 1080))), (2, Some((640, 480))), (3, Some((320, 240))));
        let choose = |streams: &[_], wanted| choose_size(streams, wanted);
        assert_eq!(choose(&[main, sub, tiny], None), Some(0));
        assert_eq!(choose(&[main, sub, tiny], Some((640, 480))), Some(2));
        assert_eq!(choose(&[main, sub, tiny], Some((1280, 720))), Some(0));
        assert_eq!(choose(&[sub, tiny], Some((1280, 720))), Some(2));
        assert_eq!(choose(&[main, (2, None)], Some((640, 480))), Some(0), "its size is not told");
        assert_eq!(choose(&[], Some((640, 480))), None);
    }
}
