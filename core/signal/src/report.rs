//! An origin's report to the cloud every two seconds, and the answer. `POST /api/v1/servers/{server_id}/report`,
//! authorised by the cluster key. Between servers only, so it allocates.

use alloc::{string::String, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};

/// How often an origin reports, in seconds; three misses and it counts as dead.
pub const REPORT_INTERVAL_SEC: u64 = 2;
/// Reports that may be missed.
pub const REPORTS_MISSED_MAX: u64 = 3;

/// An origin's report. The first one of a process registers it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct OriginReport {
    /// The origin's id, `[A-Za-z0-9_-]{1,64}`; tokens name it in their origin set.
    pub server_id: String,
    /// Its name for people.
    pub name: String,
    /// Where it stands.
    pub region: String,
    /// Another one after each start: the cloud calls back the cameras that were on it.
    pub boot_id: String,
    /// Where cameras publish: `rtmp://host:port/app`; empty: not offered.
    #[serde(default)]
    pub rtmp_url: String,
    /// The same over TLS: `rtmps://host:port/app`; empty: not offered.
    #[serde(default)]
    pub rtmps_url: String,
    /// Where viewers come: `http://host:port`.
    #[serde(default)]
    pub http_url: String,
    /// What it will take in, in kbit/s.
    pub capacity_kbps: u64,
    /// What it takes in now, in kbit/s.
    pub ingest_kbps: f64,
    /// Viewers of all its streams.
    pub viewers: u64,
    /// Its live streams: those that cameras publish here.
    pub streams: Vec<OriginStream>,
    /// It takes streams from other origins for its viewers, and wants no cameras.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_edge: bool,
    /// The streams that it takes from other origins now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pulls: Vec<OriginPull>,
    /// The last `revoked_up_to` whose revocations it keeps; 0: none. The answer then has the later ones only. Absent: an origin that
    /// keeps no count, and gets all of them each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_after: Option<u64>,
    /// Tokens that two have used, since the last report that was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duels: Vec<OriginDuel>,
    /// What became of streams since the last report that was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<OriginIncident>,
    /// Publishers that were refused since the last report that was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<OriginRefusal>,
    /// The checkpoint that it keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_checkpoint: Option<AuditCheckpoint>,
    /// The `version` of the playback keys that it has; 0: none. Absent: an origin that knows no playback keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playback_keys_version: Option<u64>,
    /// The `version` of the relays by the API that it has; 0: none. Absent: an origin that takes them from its settings alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relays_version: Option<u64>,
    /// The `version` of the holds that it has; 0: none. Absent: an origin that records nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_version: Option<u64>,
    /// What it has recorded. Absent: nothing, or it has not looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recordings: Option<OriginRecordings>,
    /// Playback keys that were used since the last report that was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub played: Vec<PlaybackKeyUse>,
}

/// What an origin has recorded, as it was looked at within the last minute.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OriginRecordings {
    /// All files together.
    pub bytes: u64,
    /// Of these, what is held.
    pub held_bytes: u64,
    /// When the oldest began, seconds since 1970.
    pub oldest: i64,
    /// So many hours back recordings will reach for their room, if it goes on as in the last day. Absent: too little was recorded to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_hours: Option<u64>,
    /// So many hours they shall reach back; 0: there is no such rule.
    pub keep_hours: u32,
}

/// The recordings that are to stay, whole. An origin goes by the newest list that it has, also while the cloud is away.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecordingHolds {
    /// Another one after each change.
    pub version: u64,
    /// One that is not here any more has ended.
    pub holds: Vec<RecordingHold>,
}

/// Recordings of a device that nothing removes.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecordingHold {
    /// Whose.
    pub device: String,
    /// From when on, milliseconds since 1970.
    pub from: i64,
    /// Up to when, milliseconds since 1970.
    pub to: i64,
}

/// The last use of a playback key.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlaybackKeyUse {
    /// The key's id.
    pub id: String,
    /// When, seconds since 1970.
    pub time: i64,
    /// From where.
    pub address: String,
}

/// The playback keys of the installation, whole. An origin checks keys against the newest list that it has, also while the cloud is away.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlaybackKeys {
    /// Rises with each change.
    pub version: u64,
    /// All that are good; one that is not here was revoked.
    pub keys: Vec<PlaybackKey>,
}

/// A key that plays one stream for as long as it is not revoked: what needs one fixed address, and links that are shared.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlaybackKey {
    /// Its id: not the secret.
    pub id: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub sha256: String,
    /// The stream's playback id.
    pub playback: String,
    /// When it ends, and whoever watches with it is cut off, seconds since 1970. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<i64>,
    /// The only address, or network such as `10.0.0.0/8`, that it is good from; empty: any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The ways that it is good for, by comma, as in a playback token; empty: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ways: String,
    /// How many may watch with it at a time; 0: any number.
    #[serde(default)]
    pub viewers_max: u32,
}

/// The relays that operators have set by the API, whole.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RelayRules {
    /// Another one after each change.
    pub version: u64,
    /// One that is not here any more ends.
    pub rules: Vec<RelayRule>,
}

/// Streams that go on to another server.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RelayRule {
    /// Its name, for people.
    pub name: String,
    /// The only device whose stream it takes; empty: those of `streams`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// A publishing name or a device's id, or a pattern with `*`, where `device` is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub streams: String,
    /// Where to: `rtmp(s)://host[:port]/application/key`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub url: RelayTarget,
}

/// The address of a relay's target, which holds its key: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelayTarget(String);

impl RelayTarget {
    /// Of this address.
    #[must_use]
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// The address with its key, for who connects to it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RelayTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The head of the cloud's audit log at a time, signed: what a later log must still hold. Origins keep the newest one.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AuditCheckpoint {
    /// Entries of the log.
    pub rows: u64,
    /// The last entry's hash, in hexadecimal.
    pub hash: String,
    /// When it was signed, seconds since 1970.
    pub time: i64,
    /// The public key (Ed25519), base64url without padding.
    pub key: String,
    /// Of [`Self::signed_text`], likewise.
    pub signature: String,
}

impl AuditCheckpoint {
    /// What is signed.
    #[must_use]
    pub fn signed_text(&self) -> String {
        alloc::format!("sightline audit checkpoint\n{}\n{}\n{}\n", self.rows, self.hash, self.time)
    }
}

/// Publishers that were refused, from one address and for one reason.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OriginRefusal {
    /// Their address, of IPv6 the /64 network's; empty: addresses beyond those that are told apart.
    pub address: String,
    /// Why, as metrics name it.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Something that happened to a stream, and that people should see.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OriginIncident {
    /// `recording_failed`, `recording_resumed`, `stream_limited`, `relay_failed`, `relay_resumed`, `pull_failed`, `pull_resumed`; of no stream:
    /// `store_failed`, `store_resumed`. Others are from a newer origin, and passed over.
    pub kind: String,
    /// The publishing name.
    pub stream: String,
    /// Whose it is, from the token.
    pub device: String,
    /// The playback id, where an edge knows nothing else of the stream.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub playback: String,
    /// Why, for people.
    pub reason: String,
}

/// Two that publish with one token: one of them has stolen it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OriginDuel {
    /// The publishing name.
    pub stream: String,
    /// Whose it is, from the token.
    pub device: String,
    /// The token's epoch.
    pub epoch: u64,
    /// The address of the one that had the stream.
    pub holder: String,
    /// The address of the other one.
    pub rival: String,
    /// How often it was tried, in all.
    pub attempts: u64,
}

/// One live stream of an origin.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct OriginStream {
    /// The publishing name.
    pub stream: String,
    /// Whose it is, from the token.
    pub device: String,
    /// The publisher's epoch.
    pub epoch: u64,
    /// The playback id.
    pub playback: String,
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// Frames a second over the last report's interval.
    pub fps: f64,
    /// Bits a second in thousands, over the last report's interval.
    pub bitrate_kbps: f64,
    /// Its viewers.
    pub viewers: u64,
    /// Someone watches, or has asked for a playlist, a segment or a snapshot a moment ago: an on-demand camera goes on.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_watched: bool,
    /// When the present publisher began, seconds since 1970.
    pub since: i64,
    /// `on`, `failing`: the recording of it. Absent: it is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// Its relays to other servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<OriginRelay>,
    /// Whose word it is when its pictures were captured: `camera`, or `arrival`, the origin's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_by: Option<String>,
    /// How far the camera's clock may be from the cloud's, in milliseconds, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_ms: Option<u16>,
    /// How old its pictures were in the last minute, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ages: Vec<PathAge>,
}

/// What an origin says it has recorded of a device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecordedList {
    /// Oldest first.
    pub files: Vec<RecordedFile>,
    /// Where time is missing between them.
    pub gaps: Vec<RecordedGap>,
    /// Files that can't be read, or not wholly: what else there is does not suffer for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableFile>,
}

/// What the cloud asks an origin about many devices at once: `POST /vod/coverage`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CoverageQuestion {
    /// From when on, milliseconds since 1970.
    pub from: i64,
    /// Up to when.
    pub to: i64,
    /// Whose, each with the right to see it: a playback token.
    pub devices: Vec<(String, String)>,
}

/// Without the tokens.
impl core::fmt::Debug for CoverageQuestion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { from, to, devices } = self;
        f.debug_struct("CoverageQuestion").field("from", from).field("to", to).field("devices", &devices.len()).finish()
    }
}

/// When something was recorded, by device: those with nothing are left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CoverageAnswer {
    /// Spans in milliseconds since 1970, in order, with a second and more between them.
    pub devices: alloc::collections::BTreeMap<String, Vec<(i64, i64)>>,
}

/// A recorded file with something that can't be read.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UnreadableFile {
    /// Its name.
    pub name: String,
    /// What is wrong with it, first.
    pub reason: String,
}

/// A recorded file. Times are milliseconds since 1970.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecordedFile {
    /// As `/vod/{device}/{name}` of its origin gives it.
    pub name: String,
    /// When its first picture was captured.
    pub from: i64,
    /// Where its last one ends.
    pub to: i64,
    /// Its length.
    pub bytes: u64,
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// What they are coded in: `h264`, `hevc`; `none`: there is sound alone.
    pub codec: String,
}

/// Where nothing was recorded. Times are milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecordedGap {
    /// The end of what came before it.
    pub from: i64,
    /// The beginning of what comes after it.
    pub to: i64,
}

/// How old a stream's pictures are on one path, in milliseconds since their capture.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PathAge {
    /// `arrival`: as they come to the origin, where the camera says when it captured them. `whep`, `flv`, `hls`: on the screen, as the players of our pages say.
    pub path: String,
    /// Half of them were not older.
    pub p50_ms: u32,
    /// 99 of 100 were not.
    pub p99_ms: u32,
}

/// A stream's relay to another server.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OriginRelay {
    /// Its name in the origin's settings, or in the API.
    pub name: String,
    /// Where it goes, without the key: `rtmp://host:port/app/***`.
    pub target: String,
    /// `connecting`, `publishing`, `waiting`.
    pub state: String,
    /// Since when, seconds since 1970.
    pub since: i64,
    /// Why the last try failed; absent while the target takes the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Connections so far.
    pub connects: u64,
    /// Bytes that the target took.
    pub sent_bytes: u64,
    /// Frames that were left out because the target was too slow.
    pub lost_frames: u64,
}

/// A stream that an edge takes from another origin.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct OriginPull {
    /// The playback id.
    pub playback: String,
    /// Where it comes from, or came from last: `http(s)://host:port`.
    pub upstream: String,
    /// `pulling`, or `waiting`: no upstream gives it now.
    pub state: String,
    /// Since when, seconds since 1970.
    pub since: i64,
    /// Why none gives it; absent while one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its viewers here.
    pub viewers: u64,
    /// Width of the pictures.
    pub width: u32,
    /// Height of the pictures.
    pub height: u32,
    /// Frames a second over the last report's interval.
    pub fps: f64,
    /// Bits a second in thousands, over the last report's interval.
    pub bitrate_kbps: f64,
}

/// An origin's question about a playback id that someone wants to watch and that it does not have. `POST /api/v1/servers/{server_id}/wanted`,
/// authorised by the cluster key. The right to watch was checked before.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WantedStream {
    /// The playback id.
    pub playback: String,
    /// Viewers have waited for so many seconds, and have gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up_after_sec: Option<u64>,
}

/// What the cloud has done about it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WantedAnswer {
    /// See there.
    pub state: WantedState,
    /// `elsewhere`: where that origin's viewers come, `http://host:port`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub http_url: String,
}

/// Where a wanted stream is.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedState {
    /// No one has this playback id.
    #[default]
    Unknown,
    /// Its camera does not start because someone watches.
    NotOnDemand,
    /// Its camera has no connection over MQTT: nobody can tell it.
    Offline,
    /// Its camera was told to stream.
    Starting,
    /// Another origin has it.
    Elsewhere,
}

/// What the origin hears back.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The keys that tokens are checked with.
    pub jwks: Jwks,
    /// Streams whose tokens below an epoch are no longer good: end them within this interval.
    pub revoked: Vec<RevokedStream>,
    /// What the next report sends as `revoked_after`, once `revoked` is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_up_to: Option<u64>,
    /// The newest checkpoint of the audit log, to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_checkpoint: Option<AuditCheckpoint>,
    /// The playback keys, where the origin's are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playback_keys: Option<PlaybackKeys>,
    /// The relays by the API, where the origin's are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relays: Option<RelayRules>,
    /// The recordings that are to stay, where the origin knows of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<RecordingHolds>,
}

/// A stream that lost its right.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RevokedStream {
    /// The publishing name.
    pub stream: String,
    /// Tokens with a lower epoch are refused and their publishers ended.
    pub epoch_min: u64,
}

/// A JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037).
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Jwks {
    /// Current, next and previous.
    pub keys: Vec<Jwk>,
}

/// One public key.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The public key, base64url without padding.
    pub x: String,
    /// The key's id, as the token's header names it.
    pub kid: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: String,
}
