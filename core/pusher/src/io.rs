//! What goes into the pusher and what comes out.

use core::time::Duration;
use sightline_media::{Frame, Instant, Track, WallTime};
use sightline_signal::{Command, CommandResult, ErrorCode, Request, Response, Settings, StateReport, StatusEvent, StreamState, Text};

/// From the cloud.
#[derive(Clone, Copy, Debug)]
pub enum ToDevice<'a> {
    /// The answer to a [`FromDevice::Request`]: 2 KB, and never kept.
    Response(&'a Response),
    /// A command.
    Command(&'a Command),
}

/// To the cloud.
#[derive(Clone, Debug)]
pub enum FromDevice {
    /// On `stream/request`.
    Request(Request),
    /// On `stream/status`.
    Status(StatusEvent),
    /// On `stream/result`.
    Result(CommandResult),
    /// On `stream/state`, retained.
    State(StateReport),
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a, P> {
    /// A message from the cloud.
    Signal(ToDevice<'a>),
    /// The way to the cloud is open (again): a discovery that waits is asked at once.
    SignalUp,
    /// The way to the cloud can't be opened, and this is why: reported instead of a discovery's timeout.
    SignalDown(ErrorCode),
    /// The link that [`Action::Dial`] asked for is there, TLS included.
    LinkUp,
    /// The link could not be made, or ended. `None`: the peer closed it.
    LinkClosed(Option<ErrorCode>),
    /// Bytes from the link.
    LinkBytes(&'a [u8]),
    /// The system's network is back: what waits is tried at once.
    NetworkUp,
    /// What the far end's kernel acknowledged so far on this link, and what it has not yet.
    Acknowledged {
        /// Bytes acknowledged since the link came up.
        bytes: u64,
        /// Bytes handed to the link and not acknowledged.
        outstanding: u64,
    },
    /// What the next frames of a track need first.
    Track(Track),
    /// The source turned out to give so many frames a second: more is not asked of it, and a custom quality with more is refused.
    SourceRate(u32),
    /// An encoded frame and when it was captured. Pictures carry that time where it is known: see [`crate::Config::marks_pictures`].
    Frame(Frame<P>, Instant),
    /// What the shell's clock shows; whatever it is, it may be handed in. The cloud's word goes before it.
    Clock(WallTime),
    /// The frames that come now are, or are no longer, of the past: they are sent as if they were captured now, and not marked.
    Past(bool),
    /// The encoder or the source failed for good: reported as a `connection_error`; the stream ends in error, until it is started again.
    Failed(ErrorCode),
    /// The shell's source is gone, and the shell tries to get it back: reported as a `connection_error`; the stream stays.
    SourceLost {
        /// Why: [`ErrorCode::SourceLost`], or what is wrong with what it gives.
        code: ErrorCode,
        /// Tries in a row that failed.
        attempts: u32,
        /// The delay before the next one.
        next_retry: Duration,
    },
    /// The trigger opened (motion began, a scheduled window is open) or closed. The stream goes on while someone else wants it.
    Trigger(bool),
    /// Start, or renew the lease.
    Start,
    /// The same, on a lease of this length.
    StartFor(Duration),
    /// Stop.
    Stop,
    /// Other numbers from the next key frame on; those of a preset are called by its name.
    Quality(Settings),
    /// Another bit rate to aim at, in bits a second.
    Bitrate(u32),
    /// Whether the bit rate follows the link.
    AdaptiveBitrate(bool),
    /// The name to publish under on a server that was given by hand, from the next connection on. It may hold a key.
    StreamKey(Text<512>),
}

/// What the encoder shall do. It takes effect within one key-frame interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncoderAction {
    /// Begin with a key frame.
    Start(Settings),
    /// Other numbers while it runs.
    Change(Settings),
    /// A key frame as soon as possible.
    Keyframe,
    /// Encode nothing for the stream until [`Self::Resume`]: it would only wait. What comes then refers to the last frame that was encoded,
    /// so that no key frame is needed. A source that is H.264 already can't be paused, and is thinned out by the queue instead.
    Pause,
    /// Go on.
    Resume,
    /// Nothing is sent: it may stop.
    Stop,
}

/// A change of state, for logs and callbacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Where the stream is.
    pub state: StreamState,
    /// Why, where it is an error.
    pub error: Option<ErrorCode>,
    /// The delay that is really scheduled.
    pub next_retry: Option<Duration>,
}

/// What the shell shall do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message to the cloud.
    Signal(FromDevice),
    /// Open a link to this server; any other is to be dropped.
    Dial {
        /// `rtmp://host[:port]/app` or `rtmps://…`.
        url: Text<192>,
    },
    /// Close the link. Nothing more is expected from it.
    HangUp,
    /// Tell the encoder.
    Encoder(EncoderAction),
    /// The state changed.
    Status(Status),
}
