//! Commands (§7.1.1, §7.2): what client and server ask and answer.

use super::type_id;
use crate::amf0::{Decoder, Encoder};
use crate::error::Cause;

/// The code of E-RTMP's reconnect request.
pub(crate) const RECONNECT_REQUEST: &str = "NetConnection.Connect.ReconnectRequest";

/// `capsEx` (E-RTMP v2, "Enhancing NetConnection connect Command"): the peer follows a reconnect request.
pub(crate) const RECONNECT: u32 = 1;
/// `capsEx`: all that this crate's sessions with feature `server` do: reconnect, multitrack, `ModEx`, nanosecond offsets.
pub(crate) const ALL: u32 = 15;

/// `FourCcInfoMask`, of the same section.
pub(crate) const CAN_DECODE: u8 = 1;
pub(crate) const CAN_FORWARD: u8 = 4;

/// The longest command body that is written here, in bytes: `connect` with a `tcUrl` of 256 bytes twice over, `publish` with a name of 512.
pub(crate) const BODY_BYTES_MAX: usize = 1024;

/// A command as it came. `arguments` follow the transaction id: for most, the command object (null) comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command<'a> {
    pub(crate) name: &'a str,
    pub(crate) transaction: f64,
    pub(crate) arguments: Decoder<'a>,
}

impl<'a> Command<'a> {
    /// Reads a command of type 20, or of type 17 with its leading zero byte.
    pub(crate) fn decode(type_id: u8, body: &'a [u8]) -> Result<Self, Cause> {
        let body = if type_id == type_id::COMMAND_AMF3 { body.strip_prefix(&[0]).unwrap_or(body) } else { body };
        let mut arguments = Decoder::new(body);
        let name = arguments.text()?;
        let transaction = arguments.value()?.and_then(|value| value.as_number()).unwrap_or(0.0);
        Ok(Self { name, transaction, arguments })
    }
}

/// A command as it is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Outgoing<'a> {
    Connect {
        app: &'a str,
        tc_url: &'a str,
        is_player: bool,
    },
    /// `releaseStream`, `FCPublish`, `FCUnpublish`: the historical ones with a name.
    Named {
        command: &'static str,
        transaction: f64,
        name: &'a str,
    },
    CreateStream {
        transaction: f64,
    },
    Publish {
        transaction: f64,
        name: &'a str,
    },
    #[cfg(any(feature = "server", test))]
    Play {
        transaction: f64,
        name: &'a str,
    },
    DeleteStream {
        stream_id: f64,
    },
    /// The answer to `connect`.
    #[cfg(any(feature = "server", test))]
    ConnectResult {
        transaction: f64,
        is_accepted: bool,
        /// The client said something of Enhanced RTMP: it gets an answer to that, which a legacy client never sees.
        is_enhanced: bool,
        code: &'a str,
        description: &'a str,
    },
    /// E-RTMP's reconnect request, an `onStatus` of the connection.
    #[cfg(any(feature = "server", test))]
    Reconnect {
        /// Where to; empty: the same server again.
        tc_url: &'a str,
        description: &'a str,
    },
    /// `_result` with null and a number, or with null alone.
    #[cfg(any(feature = "server", test))]
    Result {
        transaction: f64,
        number: Option<f64>,
    },
    /// `_error` to a command that is not known.
    #[cfg(any(feature = "server", test))]
    Error {
        transaction: f64,
        code: &'a str,
        description: &'a str,
    },
    /// `onStatus`, or `onFCPublish` and its kin with the same information.
    #[cfg(any(feature = "server", test))]
    Status {
        command: &'static str,
        level: &'static str,
        code: &'a str,
        description: &'a str,
    },
}

impl Outgoing<'_> {
    /// Writes the command and returns its length; `None` when it does not fit.
    pub(crate) fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut amf = Encoder::new(out);
        match *self {
            Self::Connect { app, tc_url, is_player } => {
                amf.text("connect").number(1.0).object().key("app").text(app);
                if is_player {
                    amf.key("fpad").boolean(false).key("audioCodecs").number(4071.0).key("videoCodecs").number(252.0);
                    let flags = f64::from(CAN_DECODE | CAN_FORWARD);
                    for map in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
                        amf.key(map).object().key("*").number(flags).end();
                    }
                    amf.key("capsEx").number(f64::from(ALL & !RECONNECT));
                } else {
                    amf.key("type").text("nonprivate").key("capsEx").number(f64::from(RECONNECT));
                }
                amf.key("flashVer").text("FMLE/3.0 (compatible; Sightline)").key("tcUrl").text(tc_url).end();
            }
            Self::Named { command, transaction, name } => {
                amf.text(command).number(transaction).null().text(name);
            }
            Self::CreateStream { transaction } => {
                amf.text("createStream").number(transaction).null();
            }
            Self::Publish { transaction, name } => {
                amf.text("publish").number(transaction).null().text(name).text("live");
            }
            #[cfg(any(feature = "server", test))]
            Self::Play { transaction, name } => {
                // -2000: live if there is such a stream (§7.2.2.1).
                amf.text("play").number(transaction).null().text(name).number(-2000.0);
            }
            Self::DeleteStream { stream_id } => {
                amf.text("deleteStream").number(0.0).null().number(stream_id);
            }
            #[cfg(any(feature = "server", test))]
            Self::ConnectResult { transaction, is_accepted, is_enhanced, code, description } => {
                let (name, level) = if is_accepted { ("_result", "status") } else { ("_error", "error") };
                amf.text(name).number(transaction).object().key("fmsVer").text("FMS/3,0,1,123").key("capabilities").number(31.0);
                if is_enhanced {
                    put_capabilities(&mut amf);
                }
                amf.end();
                amf.object().key("level").text(level).key("code").text(code);
                amf.key("description").text(description).key("objectEncoding").number(0.0).end();
            }
            #[cfg(any(feature = "server", test))]
            Self::Reconnect { tc_url, description } => {
                amf.text("onStatus").number(0.0).null();
                amf.object().key("level").text("status").key("code").text(RECONNECT_REQUEST).key("description").text(description);
                if !tc_url.is_empty() {
                    amf.key("tcUrl").text(tc_url);
                }
                amf.end();
            }
            #[cfg(any(feature = "server", test))]
            Self::Result { transaction, number } => {
                amf.text("_result").number(transaction).null();
                if let Some(number) = number {
                    amf.number(number);
                }
            }
            #[cfg(any(feature = "server", test))]
            Self::Error { transaction, code, description } => {
                amf.text("_error").number(transaction).null();
                amf.object().key("level").text("error").key("code").text(code).key("description").text(description).end();
            }
            #[cfg(any(feature = "server", test))]
            Self::Status { command, level, code, description } => {
                amf.text(command).number(0.0).null();
                amf.object().key("level").text(level).key("code").text(code).key("description").text(description).end();
            }
        }
        amf.finish()
    }
}

/// What this crate's servers take and pass on.
#[cfg(any(feature = "server", test))]
fn put_capabilities(amf: &mut Encoder<'_>) {
    use sightline_media::Codec;
    let flags = f64::from(CAN_FORWARD);
    let maps: [(_, &[Codec]); 2] = [
        ("videoFourCcInfoMap", &[Codec::H264, Codec::Hevc, Codec::Av1, Codec::Vp9]),
        ("audioFourCcInfoMap", &[Codec::Aac, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Eac3, Codec::Mp3]),
    ];
    for (name, codecs) in maps {
        amf.key(name).object();
        for &codec in codecs {
            amf.key_bytes(super::enhanced::four_cc(codec)).number(flags);
        }
        amf.end();
    }
    amf.key("capsEx").number(f64::from(ALL));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf0::Value;

    fn round_trip(command: Outgoing<'_>, expected: &[u8]) {
        let mut out = [0; BODY_BYTES_MAX];
        let length = command.encode(&mut out).unwrap();
        assert_eq!(&out[..length], expected, "{command:?}");
        let read = Command::decode(20, &out[..length]).unwrap();
        assert_eq!(read.name.as_bytes(), &expected[3..3 + read.name.len()]);
        let amf3 = [&[0], expected].concat();
        assert_eq!(Command::decode(17, &amf3).unwrap().name, read.name);
        assert_eq!(Command::decode(17, expected).unwrap().name, read.name);
    }

    #[test]
    fn the_table_reads_and_writes() {
        round_trip(Outgoing::CreateStream { transaction: 4.0 }, b"\x02\x00\x0ccreateStream\x00\x40\x10\0\0\0\0\0\0\x05");
        round_trip(
            Outgoing::Publish { transaction: 5.0, name: "k" },
            b"\x02\x00\x07publish\x00\x40\x14\0\0\0\0\0\0\x05\x02\x00\x01k\x02\x00\x04live",
        );
        round_trip(Outgoing::DeleteStream { stream_id: 1.0 }, b"\x02\x00\x0cdeleteStream\x00\0\0\0\0\0\0\0\0\x05\x00\x3f\xf0\0\0\0\0\0\0");
        round_trip(
            Outgoing::Named { command: "FCPublish", transaction: 3.0, name: "k" },
            b"\x02\x00\x09FCPublish\x00\x40\x08\0\0\0\0\0\0\x05\x02\x00\x01k",
        );
        round_trip(
            Outgoing::Result { transaction: 4.0, number: Some(1.0) },
            b"\x02\x00\x07_result\x00\x40\x10\0\0\0\0\0\0\x05\x00\x3f\xf0\0\0\0\0\0\0",
        );
        round_trip(
            Outgoing::Play { transaction: 4.0, name: "k" },
            b"\x02\x00\x04play\x00\x40\x10\0\0\0\0\0\0\x05\x02\x00\x01k\x00\xc0\x9f\x40\0\0\0\0\0",
        );
    }

    #[test]
    fn the_answers_say_their_code() {
        for command in [
            Outgoing::ConnectResult { transaction: 1.0, is_accepted: false, is_enhanced: true, code: "C", description: "d" },
            Outgoing::Error { transaction: 1.0, code: "C", description: "d" },
            Outgoing::Status { command: "onStatus", level: "error", code: "C", description: "d" },
        ] {
            let mut out = [0; BODY_BYTES_MAX];
            let length = command.encode(&mut out).unwrap();
            let mut read = Command::decode(20, &out[..length]).unwrap();
            read.arguments.value().unwrap();
            let Some(Value::Object(information)) = read.arguments.value().unwrap() else { panic!("no information") };
            assert_eq!((information.text("code"), information.text("level")), (Some("C"), Some("error")));
        }
    }

    #[test]
    fn a_connect_of_the_longest_url_fits() {
        let long = "x".repeat(256);
        let mut out = [0; BODY_BYTES_MAX];
        assert!(Outgoing::Connect { app: &long, tc_url: &long, is_player: true }.encode(&mut out).is_some());
        assert!(Outgoing::Publish { transaction: 5.0, name: &"x".repeat(512) }.encode(&mut out).is_some());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: std::vec::Vec<u8>) {
            let _ = Command::decode(20, &bytes);
            let _ = Command::decode(17, &bytes);
            let _ = crate::message::data::Metadata::decode(&bytes);
            let _ = crate::message::video::Video::decode(&bytes);
            let _ = crate::message::audio::Audio::decode(&bytes);
        }
    }
}
