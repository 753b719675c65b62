//! RTSP cameras (RFC 2326, RFC 7826): H.264 and AAC as the camera sent them. The protocol is `retina`'s.

use bytes::Bytes;
use futures_util::StreamExt as _;
use h264_reader::{
    nal::sps::SeqParameterSet,
    rbsp::{BitReader, decode_nal},
};
use retina::{
    client::{Credentials, Demuxed, InitialTimestampPolicy, PlayOptions, Session, SessionGroup, SessionOptions, SetupOptions, Stream},
    codec::{AudioFrame, CodecItem, FrameFormat, ParametersRef, VideoFrame, VideoParametersCodec},
};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, aac, avc};
use std::{convert::Infallible, str::FromStr, sync::Arc, time::Instant};
use tokio::{
    task::JoinSet,
    time::{Instant as Deadline, timeout, timeout_at},
};

use crate::{
    address::CameraUrl,
    outlet::{CONNECT_TIMEOUT, FIRST_FRAME_TIMEOUT, Outlet, SILENCE_TIMEOUT, Trouble},
    secure,
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

/// Reads until the camera is lost, and says why.
pub(crate) async fn read(
    url: &CameraUrl,
    transport: Transport,
    group: Arc<SessionGroup>,
    outlet: &mut Outlet,
    timeline: &mut Timeline,
) -> Trouble {
    // The tunnel ends with it.
    let mut tasks = JoinSet::new();
    let connected = match timeout(CONNECT_TIMEOUT, connect(url, transport, group, &mut tasks)).await {
        Ok(connected) => connected,
        Err(_) => Err(Trouble::passing(format!("it does not answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    let played = match connected {
        Ok(demuxed) => play(url, demuxed, outlet, timeline).await,
        Err(trouble) => Err(trouble),
    };
    match played {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    }
}

/// DESCRIBE, SETUP of what can be passed on, PLAY.
async fn connect(url: &CameraUrl, transport: Transport, group: Arc<SessionGroup>, tasks: &mut JoinSet<()>) -> Result<Demuxed, Trouble> {
    let address = match (url.is_secure(), transport) {
        (false, _) => url.for_request(),
        (true, Transport::Tcp) => secure::tunnel(url, tasks).await?,
        (true, Transport::Udp) => {
            return Err(Trouble::refusal("with rtsps the media is in the encrypted connection, not in UDP: set rtsp_transport to tcp"));
        }
    };
    let failed = |error| trouble_of(url, &error);
    let creds = url.credentials().map(|(username, password)| Credentials { username, password });
    let options = SessionOptions::default().creds(creds).user_agent("Sightline".into()).session_group(group);
    let mut session = Session::describe(address, options).await.map_err(failed)?;
    for index in choose(session.streams())? {
        let transport = match transport {
            Transport::Tcp => retina::client::Transport::Tcp(Default::default()),
            Transport::Udp => retina::client::Transport::Udp(Default::default()),
        };
        // MP4's form is that of our frames: lengths of four bytes, parameter sets apart, AAC without headers.
        let options = SetupOptions::default().transport(transport).frame_format(FrameFormat::MP4);
        session.setup(index, options).await.map_err(failed)?;
    }
    // `rtptime` brings sound and picture together, where the camera tells it; many do not, or not for both.
    let options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
    session.play(options).await.and_then(Session::demuxed).map_err(failed)
}

/// The first H.264 stream, and the first AAC stream if there is one.
fn choose(streams: &[Stream]) -> Result<Vec<usize>, Trouble> {
    let first = |media: &str, codec: &str| {
        streams.iter().position(|stream| stream.media() == media && stream.encoding_name().eq_ignore_ascii_case(codec))
    };
    let named = |media: &str| {
        let names = streams.iter().filter(|stream| stream.media() == media).map(|stream| stream.encoding_name().to_uppercase());
        names.collect::<Vec<_>>().join(", ")
    };
    let Some(video) = first("video", "h264") else {
        return Err(match named("video") {
            none if none.is_empty() => Trouble::refusal("it offers no video; name the path of its H.264 stream, which its manual gives"),
            codecs => Trouble::format(format!(
                "its video is {codecs}, and only H.264 is read by RTSP in this version: set the camera, or its second stream, to H.264"
            )),
        });
    };
    // RFC 3640 calls AAC mpeg4-generic.
    let audio = first("audio", "mpeg4-generic");
    if audio.is_none() && !named("audio").is_empty() {
        tracing::warn!(codec = named("audio"), "the camera's sound is left out: only AAC is passed on; set the camera to AAC");
    }
    Ok([Some(video), audio].into_iter().flatten().collect())
}

async fn play(url: &CameraUrl, mut demuxed: Demuxed, outlet: &mut Outlet, timeline: &mut Timeline) -> Result<Infallible, Trouble> {
    tracing::info!(camera = %url, tool = demuxed.tool().map(|tool| tool.to_string()), "the camera answers");
    // Most cameras give the parameters in their SDP: all of them go out before the first frame.
    for track in demuxed.streams().iter().filter_map(track_of) {
        outlet.track(track?);
    }
    demuxed.streams().iter().for_each(|stream| expect_reordering(stream, timeline));
    let mut deadline = Deadline::now() + FIRST_FRAME_TIMEOUT;
    loop {
        let item = timeout_at(deadline, demuxed.next()).await.map_err(|_| {
            let (what, limit) =
                if outlet.has_given() { ("no picture", SILENCE_TIMEOUT) } else { ("no key frame after PLAY", FIRST_FRAME_TIMEOUT) };
            Trouble::passing(format!("{what} within {} s", limit.as_secs()))
        })?;
        let item = item.ok_or_else(|| Trouble::passing("it ended the stream"))?.map_err(|error| trouble_of(url, &error))?;
        match item {
            CodecItem::VideoFrame(frame) => {
                if frame.has_new_parameters()
                    && let Some(stream) = demuxed.streams().get(frame.stream_id())
                {
                    track_of(stream).transpose()?.into_iter().for_each(|track| outlet.track(track));
                    expect_reordering(stream, timeline);
                }
                take_video(frame, outlet, timeline)?;
                if outlet.has_given() {
                    deadline = Deadline::now() + SILENCE_TIMEOUT;
                }
            }
            CodecItem::AudioFrame(frame) => take_audio(&frame, outlet, timeline)?,
            // ONVIF's metadata, sender reports, and what a later retina may bring: nothing here needs them.
            CodecItem::MessageFrame(_) | CodecItem::Rtcp(_) | _ => {}
        }
    }
}

fn take_video(frame: VideoFrame, outlet: &mut Outlet, timeline: &mut Timeline) -> Result<(), Trouble> {
    let now = Instant::now();
    let (dts, pts) = timeline.map(TrackId::VIDEO, media_time(frame.timestamp()), now);
    let (is_keyframe, is_disposable, loss) = (frame.is_random_access_point(), frame.is_disposable(), frame.loss());
    if loss > 0 {
        tracing::warn!(packets = loss, "packets of the camera are lost: no picture before its next key frame");
    }
    let payload = Bytes::from(frame.into_data());
    if payload.len() > ACCESS_UNIT_BYTES_MAX {
        return Err(Trouble::refusal(format!(
            "a picture of it has {} bytes, and at most {ACCESS_UNIT_BYTES_MAX} are passed on: lower its bit rate",
            payload.len()
        )));
    }
    outlet.frame(Frame { track: TrackId::VIDEO, dts, pts, is_keyframe, is_disposable, payload }, now, loss > 0)
}

fn take_audio(frame: &AudioFrame, outlet: &mut Outlet, timeline: &mut Timeline) -> Result<(), Trouble> {
    let now = Instant::now();
    let (dts, pts) = timeline.map(TrackId::AUDIO, media_time(frame.timestamp()), now);
    let payload = Bytes::copy_from_slice(frame.data());
    outlet.frame(Frame { track: TrackId::AUDIO, dts, pts, is_keyframe: true, is_disposable: false, payload }, now, false)
}

fn media_time(time: retina::Timestamp) -> MediaTime {
    MediaTime::from_timescale(time.elapsed(), time.clock_rate().get())
}

/// What a stream's decoder needs, once it is known.
fn track_of(stream: &Stream) -> Option<Result<Track, Trouble>> {
    match stream.parameters()? {
        ParametersRef::Video(parameters) => Some(match avc::DecoderConfig::parse(parameters.extra_data()) {
            Ok(config) => Ok(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) }),
            Err(error) => Err(Trouble::passing(format!("its parameter sets can't be read: {error}"))),
        }),
        ParametersRef::Audio(parameters) => Some(match aac::AudioConfig::parse(parameters.extra_data()) {
            Ok(config) => Ok(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) }),
            Err(error) => Err(Trouble::passing(format!("its AAC can't be read: {error}"))),
        }),
        ParametersRef::Message(_) => None,
    }
}

/// Tells the timeline what the SPS says of B-frames (H.264 §E.2.1, `max_num_reorder_frames`); an SPS that says nothing leaves it to find out.
fn expect_reordering(stream: &Stream, timeline: &mut Timeline) {
    let Some(ParametersRef::Video(parameters)) = stream.parameters() else { return };
    let VideoParametersCodec::H264 { sps, .. } = parameters.codec_params() else { return };
    let sps = decode_nal(sps).ok().and_then(|sps| SeqParameterSet::from_bits(BitReader::new(&*sps)).ok());
    if let Some(restrictions) = sps.and_then(|sps| sps.vui_parameters?.bitstream_restrictions) {
        timeline.expect_reordering(restrictions.max_num_reorder_frames as usize);
    }
}

/// In one line, without secrets, with the fix where the camera's answer gives it.
fn trouble_of(url: &CameraUrl, error: &retina::Error) -> Trouble {
    let text = error.to_string();
    let text = url.scrub(text.lines().next().unwrap_or_default());
    match error.status_code() {
        Some(401 | 403) => Trouble::refusal(match url.credentials() {
            Some(_) => "it refuses the user or the password (401): check both; percent-encode what is none of A-Z a-z 0-9 . _ ~ -",
            None => "it asks for a user and a password (401): take rtsp://USER:PASSWORD@HOST/PATH",
        }),
        Some(404) => Trouble::refusal("there is no stream at this path (404): its manual names the path"),
        Some(461) => Trouble::refusal("it refuses this transport (461): set rtsp_transport to the other one of tcp and udp"),
        Some(_) | None => Trouble::passing(text),
    }
}
