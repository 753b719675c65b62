//! What the header names: codes, settings, figures.

use core::ffi::{CStr, c_char};
use sightline_signal::{ErrorCode, RunningMetrics, Settings, StreamState};

/// The longest decoder configuration: what the pusher keeps of one, too.
pub const SIGHTLINE_RECORD_BYTES_MAX: usize = 512;
const _: () = assert!(SIGHTLINE_RECORD_BYTES_MAX == sightline_media::avc::DECODER_CONFIG_BYTES_MAX, "the header needs the number itself");

/// What a call has to say.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineError {
    /// Done.
    Ok = 0,
    /// A pointer is null that must not be.
    NullPointer = 1,
    /// The memory is smaller than `sightline_pusher_size`, or a structure's `struct_size` is not that of this version.
    WrongSize = 2,
    /// The memory does not begin at a multiple of `sightline_pusher_align`.
    WrongAlignment = 3,
    /// The handle was never given to `sightline_pusher_init`, or was given to `sightline_pusher_deinit`.
    NotInitialised = 4,
    /// The pusher is at work: another thread is in it, or a function of the table calls back that must not. Try again later.
    Busy = 5,
    /// `sightline_pusher_start` was not called, or `sightline_pusher_stop` was.
    NotRunning = 6,
    /// A string has no end within its limit, or is not UTF-8.
    BadText = 7,
    /// The device's id is not 1 to 64 of A-Z a-z 0-9 _ -.
    BadDeviceId = 8,
    /// The server's address is not rtmp(s)://host[:port]/app.
    BadServerUrl = 9,
    /// A number is out of its range: a quality, a trigger, a format, a time, a yes-or-no that is neither 0 nor 1.
    OutOfRange = 10,
    /// INVALID_QUALITY: odd or zero sides, no frame rate or more than the source gives, under 50 kbit/s or over 100 Mbit/s.
    InvalidQuality = 11,
    /// FRAME_FORMAT_UNSUPPORTED: no H.264 access unit of the form that the settings name; or no parameter sets came yet; or start codes of three bytes without
    /// room for their lengths (see `sightline_pusher_push_frame`).
    FrameFormatUnsupported = 12,
    /// The message's topic is none that this device listens to.
    UnknownTopic = 13,
    /// The message is not what its topic carries.
    BadMessage = 14,
    /// Motion is reported to a pusher whose trigger is not motion, or a window to one that is not scheduled.
    WrongTrigger = 15,
}

impl SightlineError {
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Ok => c"OK",
            Self::NullPointer => c"NULL_POINTER",
            Self::WrongSize => c"WRONG_SIZE",
            Self::WrongAlignment => c"WRONG_ALIGNMENT",
            Self::NotInitialised => c"NOT_INITIALISED",
            Self::Busy => c"BUSY",
            Self::NotRunning => c"NOT_RUNNING",
            Self::BadText => c"BAD_TEXT",
            Self::BadDeviceId => c"BAD_DEVICE_ID",
            Self::BadServerUrl => c"BAD_SERVER_URL",
            Self::OutOfRange => c"OUT_OF_RANGE",
            Self::InvalidQuality => c"INVALID_QUALITY",
            Self::FrameFormatUnsupported => c"FRAME_FORMAT_UNSUPPORTED",
            Self::UnknownTopic => c"UNKNOWN_TOPIC",
            Self::BadMessage => c"BAD_MESSAGE",
            Self::WrongTrigger => c"WRONG_TRIGGER",
        }
    }

    pub(crate) const ALL: [Self; 16] = [
        Self::Ok,
        Self::NullPointer,
        Self::WrongSize,
        Self::WrongAlignment,
        Self::NotInitialised,
        Self::Busy,
        Self::NotRunning,
        Self::BadText,
        Self::BadDeviceId,
        Self::BadServerUrl,
        Self::OutOfRange,
        Self::InvalidQuality,
        Self::FrameFormatUnsupported,
        Self::UnknownTopic,
        Self::BadMessage,
        Self::WrongTrigger,
    ];
}

/// Where a stream is: frozen numbers, the same as in MQTT messages.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineState {
    /// At rest.
    Idle = 0,
    /// Asks the cloud where to stream.
    Requesting = 1,
    /// Makes the connection.
    Connecting = 2,
    /// Frames are taken.
    Streaming = 3,
    /// Waits before the next try.
    Reconnecting = 4,
    /// Says goodbye.
    Stopping = 5,
    /// Gave up; a start tries again.
    Error = 6,
    /// Waits for its trigger.
    Standby = 7,
}

impl From<StreamState> for SightlineState {
    fn from(state: StreamState) -> Self {
        match state {
            StreamState::Idle => Self::Idle,
            StreamState::Requesting => Self::Requesting,
            StreamState::Connecting => Self::Connecting,
            StreamState::Streaming => Self::Streaming,
            StreamState::Reconnecting => Self::Reconnecting,
            StreamState::Stopping => Self::Stopping,
            StreamState::Error => Self::Error,
            StreamState::Standby => Self::Standby,
        }
    }
}

/// The presets.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineQuality {
    /// 640x480, 15 frames a second, 500 kbit/s.
    Low = 0,
    /// 1280x720, 20 frames a second, 1 Mbit/s.
    Medium = 1,
    /// 1920x1080, 25 frames a second, 2 Mbit/s.
    High = 2,
    /// 1920x1080, 30 frames a second, 4 Mbit/s.
    Ultra = 3,
    /// The numbers of `custom`.
    Custom = 4,
}

/// What starts a stream.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineTrigger {
    /// By `sightline_pusher_start_stream`, or by command.
    Manual = 0,
    /// By `sightline_pusher_on_motion`: until 15 s after the last motion, ten minutes at most.
    MotionBased = 1,
    /// By `sightline_pusher_on_schedule`, of an application that has a calendar.
    Scheduled = 2,
    /// Always, without end.
    AlwaysOn = 3,
    /// By command, on a lease that viewers renew.
    OnDemand = 4,
}

/// What an access unit looks like.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineFormat {
    /// NAL units behind start codes, with the parameter sets before each IDR: what hardware encoders write.
    AnnexB = 0,
    /// NAL units behind their lengths in four bytes, big-endian. Parameter sets as in Annex B, or by `sightline_pusher_set_parameter_sets`.
    Avcc = 1,
}

/// What the platform's connection is doing.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineSocketState {
    /// There is none, or it ended.
    Closed = 0,
    /// It is being made: name, TCP, TLS.
    Opening = 1,
    /// Bytes can be sent.
    Open = 2,
    /// The server's name has no address.
    DnsFailed = 3,
    /// The server can't be reached.
    ConnectFailed = 4,
    /// TLS failed: unknown authority, wrong host, expired, or the platform has none.
    TlsFailed = 5,
}

/// What the encoder shall do. It takes effect within one key-frame interval.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineOrder {
    /// Begin with a key frame, with these settings.
    Start = 0,
    /// Other settings while it runs.
    Change = 1,
    /// A key frame as soon as possible.
    Keyframe = 2,
    /// Encode nothing for the stream until `RESUME`: it would only wait. No key frame is needed afterwards.
    Pause = 3,
    /// Go on.
    Resume = 4,
    /// Nothing is sent: it may stop.
    Stop = 5,
}

/// How important a line of the log is.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightlineLogLevel {
    /// Something to fix.
    Warning = 0,
    /// What happens.
    Info = 1,
}

/// Size, frame rate and bit rate.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SightlineSettings {
    /// Width in pixels; even, 2 to 8192.
    pub width: u32,
    /// Height in pixels; even, 2 to 8192.
    pub height: u32,
    /// Frames a second; 1 to `source_fps_max`.
    pub fps: u32,
    /// Bits a second; 50,000 to 100,000,000.
    pub bitrate_bps: u32,
}

impl From<Settings> for SightlineSettings {
    fn from(Settings { width, height, fps, bitrate_bps }: Settings) -> Self {
        Self { width, height, fps, bitrate_bps }
    }
}

impl From<SightlineSettings> for Settings {
    fn from(SightlineSettings { width, height, fps, bitrate_bps }: SightlineSettings) -> Self {
        Self { width, height, fps, bitrate_bps }
    }
}

/// Settings of a pusher. Fill it with `sightline_config_default`, then change the fields you need. Strings end with a NUL, and are copied by
/// `sightline_pusher_init`; null is the empty string.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SightlineConfig {
    /// Bytes of this structure, as `sightline_config_default` sets it: another number is another version's.
    pub struct_size: u32,
    /// Who this is: 1 to 64 of A-Z a-z 0-9 _ -. No default.
    pub device_id: *const c_char,
    /// A `SightlineQuality`. Default high.
    pub quality: u32,
    /// The numbers of the quality `custom`.
    pub custom: SightlineSettings,
    /// A `SightlineTrigger`. Default motion, as in the specification.
    pub trigger: u32,
    /// A `SightlineFormat`: what `sightline_pusher_push_frame` is given. Default Annex B.
    pub format: u32,
    /// 1: it streams at all; 0: commands to start are refused. Default 1.
    pub enable_live_streaming: u8,
    /// 1: lower and raise the bit rate with the link. Default 1.
    pub enable_adaptive_bitrate: u8,
    /// 1: try again after a failure. Default 1.
    pub enable_auto_reconnect: u8,
    /// 1: leave frames out when the link is too slow; 0: the stream ends with SEND_TIMEOUT. Default 1.
    pub enable_frame_dropping: u8,
    /// 1: see what the uplink carries before a stream begins, and begin with the preset that fits. Default 1.
    pub enable_bandwidth_check: u8,
    /// 1: ask the cloud for RTMP over TLS; 0: for plain RTMP, where the platform has no TLS. Default 1.
    pub secure: u8,
    /// Failed rounds on one set of servers before the next discovery; 1 or more. Default 5.
    pub max_reconnect_attempts: u32,
    /// The first delay in seconds; doubles with each failure, up to 60 s. 1 or more, default 10.
    pub reconnect_interval_sec: u32,
    /// The queue is never older than this, in milliseconds; 100 or more. Default 3000.
    pub target_latency_ms: u32,
    /// The bit rate never goes below this, in bits a second; 50,000 or more. Default 150,000.
    pub min_bitrate_bps: u32,
    /// For DNS, TCP and TLS together, in seconds; 1 or more. Default 10.
    pub connect_timeout_sec: u32,
    /// Without acknowledged progress for this many seconds a connection counts as dead; 1 or more. Default 5.
    pub send_timeout_sec: u32,
    /// Between two `stream_metrics`, in seconds; 1 or more. Default 5.
    pub metrics_interval_sec: u32,
    /// Bytes of frames that may wait for the link; 1 or more. Default 4 MiB. Sixteen frames may wait at most.
    pub frame_queue_bytes_max: u32,
    /// The most frames a second that the camera gives; 1 or more. Default 60.
    pub source_fps_max: u32,
    /// A region to prefer, 32 bytes at most; empty: the cloud's choice.
    pub preferred_region: *const c_char,
    /// rtmp(s)://host[:port]/app, 192 bytes at most; empty: ask the cloud by MQTT.
    pub rtmp_server_url: *const c_char,
    /// Tried at once when the server dies; empty: none.
    pub backup_server_urls: [*const c_char; 2],
    /// The name to publish under at `rtmp_server_url`, with its query, 512 bytes at most; empty: the device's id. A secret: never logged.
    pub stream_key: *const c_char,
}

/// How a stream fares; rates are over the time since the last figures.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct SightlineMetrics {
    /// Frames sent a second.
    pub fps: f32,
    /// Bits sent a second, in thousands.
    pub bitrate_kbps: f32,
    /// 0 to 1: how fresh the queue is, times the share of the frames that were delivered.
    pub network_quality: f32,
    /// In milliseconds: from capture to acknowledgement, or how old the oldest unsent frame is where nothing is acknowledged.
    pub latency_ms: u32,
    /// Frames sent in this session.
    pub total_frames: u64,
    /// Frames left out in this session.
    pub dropped_frames: u64,
    /// Milliseconds since the session's start.
    pub stream_duration_ms: u64,
}

impl From<RunningMetrics> for SightlineMetrics {
    fn from(metrics: RunningMetrics) -> Self {
        Self {
            fps: metrics.fps,
            bitrate_kbps: metrics.bitrate_kbps,
            network_quality: metrics.network_quality,
            latency_ms: metrics.latency_ms,
            total_frames: metrics.total_frames,
            dropped_frames: metrics.dropped_frames,
            stream_duration_ms: metrics.stream_duration_ms,
        }
    }
}

/// A change of state.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SightlineStateChange {
    /// Where the stream is.
    pub state: SightlineState,
    /// Its name: idle, requesting, … Lives for ever.
    pub state_name: *const c_char,
    /// Why, where it is an error: a code as in `connection_error`; empty where it is none. Lives for the call.
    pub error_code: *const c_char,
    /// The delay before the next try in milliseconds; 0: none is scheduled.
    pub next_retry_ms: u32,
}

/// A server. All strings live for the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SightlineServer {
    /// rtmp(s)://host/app without the stream's name; empty where none was found.
    pub rtmp_url: *const c_char,
    /// Its name, for people; empty where the cloud gave none.
    pub server_name: *const c_char,
    /// Its region; empty where the cloud gave none.
    pub server_region: *const c_char,
    /// Why it failed; empty where it did not.
    pub error_code: *const c_char,
}

/// How the pusher fares.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SightlineStatus {
    /// Where the stream is.
    pub state: SightlineState,
    /// What the encoder was last asked for.
    pub settings: SightlineSettings,
    /// The last figures; all zero before a session's first.
    pub metrics: SightlineMetrics,
    /// Lent frames that were not given back yet.
    pub lent_frames: u32,
}

/// One access unit as `sightline_unit_read` found it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SightlineUnit {
    /// Where its bytes begin, from the start of what was read.
    pub offset: u32,
    /// Its bytes: NAL units behind their lengths in four bytes, big-endian.
    pub length: u32,
    /// 1: decoding can begin here.
    pub is_keyframe: u8,
    /// 1: no other picture refers to it.
    pub is_disposable: u8,
    /// Bytes of `record`; 0: no parameter sets came with it.
    pub record_bytes: u32,
    /// Where the SPS is in `record`, without start code or length: for `sightline_pusher_set_parameter_sets`.
    pub sps_offset: u32,
    /// Bytes of the SPS.
    pub sps_length: u32,
    /// Where the PPS is in `record`.
    pub pps_offset: u32,
    /// Bytes of the PPS.
    pub pps_length: u32,
    /// The decoder configuration (`avcC`, ISO/IEC 14496-15, 5.3.3.1).
    pub record: [u8; SIGHTLINE_RECORD_BYTES_MAX],
}

impl Default for SightlineUnit {
    fn default() -> Self {
        Self {
            offset: 0,
            length: 0,
            is_keyframe: 0,
            is_disposable: 0,
            record_bytes: 0,
            sps_offset: 0,
            sps_length: 0,
            pps_offset: 0,
            pps_length: 0,
            record: [0; SIGHTLINE_RECORD_BYTES_MAX],
        }
    }
}

/// The longest code and its NUL.
pub(crate) const CODE_BYTES_MAX: usize = 48;

/// A code of the core with its NUL; empty for none.
pub(crate) fn code_text(code: Option<ErrorCode>) -> heapless::String<CODE_BYTES_MAX> {
    let mut text = heapless::String::new();
    // Codes are shorter: `every_code_fits` looks.
    let _ = text.push_str(code.map_or("", ErrorCode::as_str));
    let _ = text.push('\0');
    text
}
