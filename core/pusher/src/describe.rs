//! Errors in words, for people.

use sightline_rtmp::client::Stage;
use sightline_signal::ErrorCode;

/// The message of a `connection_error`, for people.
pub(crate) const fn describe(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DnsFailed => "The server's name did not resolve",
        ErrorCode::RtmpConnectTimeout => "RTMP connection failed",
        ErrorCode::TlsFailed => "The TLS handshake with the server failed",
        ErrorCode::RtmpHandshakeFailed => "The server does not answer as an RTMP server does",
        ErrorCode::SendTimeout => "The server acknowledged nothing for too long",
        ErrorCode::ConnectionLost => "The connection to the server ended",
        ErrorCode::SourceLost => "The camera gives no pictures",
        ErrorCode::RtmpConnectRejected => "The server refused the application",
        ErrorCode::StreamKeyInvalid => "The server refused the stream's name or token",
        ErrorCode::Unauthorized => "The cloud does not know this device",
        ErrorCode::PermissionDenied => "This device may not stream",
        ErrorCode::NoServerAvailable => "No server is available",
        ErrorCode::DiscoveryTimeout => "The cloud did not answer",
        ErrorCode::ServerOverloaded => "The server or the cloud has no room",
        ErrorCode::BandwidthInsufficient => "The uplink carries less than the lowest bit rate",
        ErrorCode::EncoderFailed => "The encoder failed three times within a minute",
        ErrorCode::FrameFormatUnsupported => "The camera's pictures are of a format that can't be read",
        ErrorCode::EncoderOutOfResources => "The encoder can't be opened: too large a picture, or too little memory",
        ErrorCode::InvalidQuality => "The size, frame rate or bit rate is out of range",
        ErrorCode::MqttConfigInvalid => "The broker's address or certificates can't be used",
        ErrorCode::ClockSkew => "The device's clock is wrong, and certificates can't be checked by it",
        ErrorCode::DeviceReserved => "This device id belongs to the system: choose another one",
        ErrorCode::BadRequest => "The cloud could not read the request",
    }
}

/// The message where a server is there and did not answer in time: what it was asked for.
pub(crate) const fn describe_timeout(stage: Stage) -> &'static str {
    match stage {
        Stage::Unanswered | Stage::Handshake => "The server did not finish the RTMP handshake in time",
        Stage::Connect => "The server did not answer the RTMP connect in time",
        Stage::Publish | Stage::Done => "The server did not answer the publish in time",
    }
}
