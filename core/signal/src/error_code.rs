//! The error codes of specification §1.8.

use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A stable code: in `connection_error`, in logs, in the API.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The server's name did not resolve.
    DnsFailed = "DNS_FAILED",
    /// No TCP connection, or no answer, within the time for it.
    RtmpConnectTimeout = "RTMP_CONNECT_TIMEOUT",
    /// The TLS handshake failed: unknown authority, wrong host, expired.
    TlsFailed = "TLS_FAILED",
    /// The peer does not speak RTMP.
    RtmpHandshakeFailed = "RTMP_HANDSHAKE_FAILED",
    /// Nothing was acknowledged within the time for it.
    SendTimeout = "SEND_TIMEOUT",
    /// The uplink carries less than the floor of the bit rate.
    BandwidthInsufficient = "BANDWIDTH_INSUFFICIENT",
    /// An established connection ended.
    ConnectionLost = "CONNECTION_LOST",
    /// The camera behind the agent (RTSP, MJPEG) is gone, or can't be reached; the connection to the server stays.
    SourceLost = "SOURCE_LOST",
    /// The encoder failed, three times in a row.
    EncoderFailed = "ENCODER_FAILED",
    /// The source gives frames that nothing here can encode.
    FrameFormatUnsupported = "FRAME_FORMAT_UNSUPPORTED",
    /// The encoder can't get the memory or the device that it needs.
    EncoderOutOfResources = "ENCODER_OUT_OF_RESOURCES",
    /// The server refused the application.
    RtmpConnectRejected = "RTMP_CONNECT_REJECTED",
    /// The server refused the stream's name or token.
    StreamKeyInvalid = "STREAM_KEY_INVALID",
    /// The server or the cloud has no room.
    ServerOverloaded = "SERVER_OVERLOADED",
    /// A size, frame rate or bit rate is out of range.
    InvalidQuality = "INVALID_QUALITY",
    /// The broker's address or certificates can't be used.
    MqttConfigInvalid = "MQTT_CONFIG_INVALID",
    /// The device is known but may not do this.
    PermissionDenied = "PERMISSION_DENIED",
    /// The device is not who it says, or not known.
    Unauthorized = "UNAUTHORIZED",
    /// No server fits the request.
    NoServerAvailable = "NO_SERVER_AVAILABLE",
    /// The cloud did not answer in time.
    DiscoveryTimeout = "DISCOVERY_TIMEOUT",
    /// The device's clock is so wrong that certificates can't be checked.
    ClockSkew = "CLOCK_SKEW",
    /// The id belongs to the system: no device may have it.
    DeviceReserved = "DEVICE_RESERVED",
    /// A message did not parse.
    BadRequest = "BAD_REQUEST",
}

/// A string that is no [`ErrorCode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownErrorCode;

impl fmt::Display for UnknownErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an error code of this version")
    }
}

impl core::error::Error for UnknownErrorCode {}

impl core::str::FromStr for ErrorCode {
    type Err = UnknownErrorCode;
    fn from_str(text: &str) -> Result<Self, UnknownErrorCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownErrorCode)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: crate::Text<64> = crate::Text::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
