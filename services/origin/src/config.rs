//! The origin's settings: one TOML file, every key also as an environment variable.

use crate::auth::rules::{App, Rules};
use crate::error::StartError;
use crate::relay::Relay;
use confique::Config as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The most that frames may be held back to be written together, in milliseconds: beyond a second it is no live picture any more.
const MERGE_MS_MAX: u64 = 1000;

/// How long viewers may wait for a camera, in seconds: browsers and proxies give up after a minute.
const START_WAIT_SEC: std::ops::RangeInclusive<u64> = 1..=60;

/// The least that `limits.message_bytes` may be: a key frame of a small picture.
const MESSAGE_BYTES_LEAST: u32 = 64 * 1024;
/// The most: the length field has 24 bits.
const MESSAGE_BYTES_MOST: u32 = 0x00ff_ffff;

/// Settings of `sightline origin`.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Config {
    /// The origin's id, `[A-Za-z0-9_-]{1,64}`. Tokens name it in their origin set.
    #[config(env = "SIGHTLINE_ORIGIN_SERVER_ID", default = "origin-1")]
    pub server_id: String,
    /// Its name for people.
    #[config(env = "SIGHTLINE_ORIGIN_NAME", default = "Origin")]
    pub name: String,
    /// Where it stands; streams prefer an origin of their region.
    #[config(env = "SIGHTLINE_ORIGIN_REGION", default = "local")]
    pub region: String,
    /// Where recordings and the cached keys lie. Relative paths, here and elsewhere, begin where this file lies.
    #[config(env = "SIGHTLINE_ORIGIN_DATA_DIR", default = "sightline-origin")]
    pub data_dir: PathBuf,
    /// RTMP in and out.
    #[config(nested)]
    pub rtmp: Rtmp,
    /// The same over TLS.
    #[config(nested)]
    pub rtmps: Rtmps,
    /// HLS, HTTP-FLV and snapshots.
    #[config(nested)]
    pub http: Http,
    /// WHEP: WebRTC to browsers.
    #[config(nested)]
    pub whep: Whep,
    /// Who may publish and play.
    #[config(nested)]
    pub auth: Auth,
    /// The cloud that this origin reports to.
    #[config(nested)]
    pub cloud: Cloud,
    /// Recording.
    #[config(nested)]
    pub record: Record,
    /// A store that recordings are copied to, by S3's protocol.
    #[config(nested)]
    pub store: crate::copy::Store,
    /// An operator's own endpoints, in nginx-rtmp's form.
    #[config(nested)]
    pub callbacks: crate::callbacks::Settings,
    /// An edge: streams that are taken from other origins at the first viewer, and dropped after the last.
    #[config(nested)]
    pub edge: crate::pull::Edge,
    /// Limits.
    #[config(nested)]
    pub limits: Limits,
    /// Applications with rules of their own, besides those of rtmp.apps: `[[apps]]` with `name` and `rules`. A rule is allow or deny, then publish or
    /// play (both without it), then an address, a network or all, as in "deny publish 10.0.0.0/8"; the first that fits decides, and where none
    /// does it is allowed. HTTP plays by the rules of the application live.
    #[config(default = [])]
    pub apps: Vec<App>,
    /// Streams that go on to other servers: `[[relays]]` with `name`, `streams` (a publishing name or a device's id, or a pattern with *; all
    /// without it) and `url`, rtmp(s)://HOST/APPLICATION/KEY; without KEY each goes on under its own name. `ca` is
    /// the authority that an rtmps:// target's certificate must come from (PEM); without it, those that the system trusts.
    #[config(default = [])]
    pub relays: Vec<Relay>,
}

/// RTMP.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Rtmp {
    /// The address to listen on. Tokens and pictures go through it in the clear: 0.0.0.0:1935 opens it to other machines.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_LISTEN", default = "127.0.0.1:1935")]
    pub listen: SocketAddr,
    /// The largest chunk that is sent, in bytes: 128 to 1048576.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_CHUNK_SIZE", default = 4096)]
    pub chunk_size: u32,
    /// How long frames to RTMP viewers may be held back to be written together, in milliseconds: 0 to 1000. 0 sends each at once. With
    /// 350 many viewers cost a fraction of the processor time and are that much later. Viewers over TLS and HTTP are not held back.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_MERGE_MS", default = 0)]
    pub merge_ms: u64,
    /// The applications that may be published to and played from.
    #[config(default = ["live"])]
    pub apps: Vec<String>,
    /// How long a connection may take for its handshakes, TLS's and RTMP's together, in seconds.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_HANDSHAKE_TIMEOUT_SEC", default = 10)]
    pub handshake_timeout_sec: u64,
    /// How long it may take from there to publish or play, and from a stream's end to the next, in seconds.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_COMMAND_TIMEOUT_SEC", default = 10)]
    pub command_timeout_sec: u64,
    /// How long a publisher may take to send `idle_bytes_min`, in seconds.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_IDLE_TIMEOUT_SEC", default = 30)]
    pub idle_timeout_sec: u64,
    /// What a publisher must send within each `idle_timeout_sec`, in bytes; one that trickles is disconnected. AAC that carries
    /// silence makes 20 KiB in that time.
    #[config(env = "SIGHTLINE_ORIGIN_RTMP_IDLE_BYTES_MIN", default = 1024)]
    pub idle_bytes_min: u32,
}

/// RTMP over TLS; off without a certificate.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Rtmps {
    /// The address to listen on.
    #[config(env = "SIGHTLINE_ORIGIN_RTMPS_LISTEN", default = "0.0.0.0:1936")]
    pub listen: SocketAddr,
    /// The certificate chain, PEM. No RTMPS without it.
    #[config(env = "SIGHTLINE_ORIGIN_RTMPS_CERT")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[config(env = "SIGHTLINE_ORIGIN_RTMPS_KEY")]
    pub key: Option<PathBuf>,
}

/// HTTP.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Http {
    /// Whether to listen at all: a program that mounts the routes elsewhere does not.
    #[config(env = "SIGHTLINE_ORIGIN_HTTP_ENABLED", default = true)]
    pub enabled: bool,
    /// The address to listen on.
    #[config(env = "SIGHTLINE_ORIGIN_HTTP_LISTEN", default = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The shortest HLS segment, in seconds: it is cut at the first key frame after this. Segments are made and kept while a playlist is
    /// asked for, up to a minute after the last request.
    #[config(env = "SIGHTLINE_ORIGIN_HTTP_HLS_SEGMENT_SEC", default = 3)]
    pub hls_segment_sec: u64,
    /// Segments in an HLS playlist; fewer, but three at least, where they take more than 32 MiB.
    #[config(env = "SIGHTLINE_ORIGIN_HTTP_HLS_SEGMENTS", default = 20)]
    pub hls_segments: usize,
    /// What a part of an HLS segment holds, in milliseconds: what players of low-latency HLS fetch before the segment is whole.
    #[config(env = "SIGHTLINE_ORIGIN_HTTP_HLS_PART_MS", default = 200)]
    pub hls_part_ms: u64,
    /// HTTP connections at a time, at most; fewer where the limit of open files is low: a fifth of it.
    #[config(env = "SIGHTLINE_ORIGIN_HTTP_CONNECTIONS", default = 20_000)]
    pub connections: usize,
    /// Reverse proxies in front of the port: addresses or networks such as 10.0.0.0/8. Their X-Forwarded-For is believed about the client's
    /// address, for limits by address. From anyone else it is ignored.
    #[config(default = [], env = "SIGHTLINE_ORIGIN_HTTP_TRUSTED_PROXIES", parse_env = confique::env::parse::list_by_comma)]
    pub trusted_proxies: Vec<String>,
}

/// WHEP.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Whep {
    /// Whether browsers may play over WebRTC: `POST /live/{playback}/whep`.
    #[config(env = "SIGHTLINE_ORIGIN_WHEP_ENABLED", default = true)]
    pub enabled: bool,
    /// The address for the media, UDP and TCP. Default: port 8189 of `http.listen`'s address, or another port where that one is taken.
    #[config(env = "SIGHTLINE_ORIGIN_WHEP_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Where viewers reach that port, if not at the address of the URL they use: public addresses of a machine behind address translation,
    /// 203.0.113.7, or 203.0.113.7:8189 where the port differs.
    #[config(default = [], env = "SIGHTLINE_ORIGIN_WHEP_CANDIDATES", parse_env = confique::env::parse::list_by_comma)]
    pub candidates: Vec<String>,
}

/// Who may publish and play.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Auth {
    /// The keys that tokens are checked with, cached so that a restart works while the cloud is down. Default: `jwks.json` in `data_dir`.
    #[config(env = "SIGHTLINE_ORIGIN_AUTH_JWKS_FILE")]
    pub jwks_file: Option<PathBuf>,
    /// Takes publishers of this machine without a token. For trials on one machine only; others need a token all the same.
    #[config(env = "SIGHTLINE_ORIGIN_AUTH_ALLOW_UNSIGNED_PUBLISH", default = false)]
    pub allow_unsigned_publish: bool,
    /// Who may play: `open`, whoever knows a playback id; `signed`, whoever shows a playback token or a playback key for it as ?token=...;
    /// `closed`, no one. Default: `open` where everything listens on this machine alone, else `signed`.
    #[config(env = "SIGHTLINE_ORIGIN_AUTH_PLAY")]
    pub play: Option<Play>,
}

/// Who may play.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Play {
    /// Whoever knows a playback id.
    Open,
    /// Whoever shows a right to it.
    Signed,
    /// No one: an origin that only records.
    Closed,
}

/// The cloud.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Cloud {
    /// Its address, `http://host:port`. Without it nothing is reported, and the keys come from the cached file alone.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_URL")]
    pub url: Option<String>,
    /// The authority that an `https://` cloud's certificate must come from (PEM): the installation's `ca.pem`. Unset: those that the system trusts.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_CA")]
    pub ca: Option<PathBuf>,
    /// The file that holds the cluster key.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_CLUSTER_KEY_FILE")]
    pub cluster_key_file: Option<PathBuf>,
    /// Where cameras publish, `rtmp://host:port/app`. Default: made from the listening address.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_RTMP_URL")]
    pub rtmp_url: Option<String>,
    /// The same over TLS, `rtmps://host:port/app`. Default: made from the listening address.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_RTMPS_URL")]
    pub rtmps_url: Option<String>,
    /// Where viewers come, `http://host:port`. Default: made from the listening address.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_HTTP_URL")]
    pub http_url: Option<String>,
    /// What the origin will take in, in kbit/s; the allocator keeps to it.
    #[config(env = "SIGHTLINE_ORIGIN_CLOUD_CAPACITY_KBPS", default = 500_000)]
    pub capacity_kbps: u64,
}

/// Recording.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Record {
    /// Whether streams are recorded.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_ENABLED", default = true)]
    pub enabled: bool,
    /// Where. Default: `recordings` in `data_dir`.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_DIR")]
    pub dir: Option<PathBuf>,
    /// As FLV.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_FLV", default = true)]
    pub flv: bool,
    /// As fragmented MP4.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_FMP4", default = true)]
    pub fmp4: bool,
    /// Whether what is recorded is on the disk within half a second after it was written: a power cut costs no more than that, and the fragment
    /// that grows (two seconds at the most). false: the system writes when it likes, and a power cut may cost half a minute.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_SYNC", default = true)]
    pub sync: bool,
    /// Recordings that began more hours ago are removed; 0: none is for its age. By a clock that jumps nothing is removed.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_KEEP_HOURS", default = 0)]
    pub keep_hours: u32,
    /// All recordings together, in GiB: above it the oldest are removed, whosever they are; 0: any number.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_KEEP_GB", default = 0)]
    pub keep_gb: u32,
    /// So many hundredths of the disk stay free, 0 to 90: below it the oldest recordings are removed, but none of the last hour.
    #[config(env = "SIGHTLINE_ORIGIN_RECORD_FREE_PERCENT", default = 10)]
    pub free_percent: u8,
    /// Devices that are kept otherwise: `[[record.rules]]` with `devices` (an id, or a pattern with *), `keep_hours` (in place of the one above; 0: nothing goes
    /// for its age) and `keep_gb` (of each of them; 0: any number). The first that fits holds. keep_gb and free_percent above hold for all together, too.
    #[config(default = [])]
    pub rules: Vec<KeepRule>,
}

/// How long recordings of some devices are kept.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepRule {
    /// An id, or a pattern with `*`.
    pub devices: String,
    /// See [`Record::keep_hours`].
    #[serde(default)]
    pub keep_hours: u32,
    /// Of each device, in GiB; 0: any number.
    #[serde(default)]
    pub keep_gb: u32,
}

/// Limits, each with its reason.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Limits {
    /// RTMP and RTMPS connections at a time. Each costs a few kilobytes; file descriptors end first: at most two fifths of the limit of open
    /// files, which is raised to the hard limit at the start.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_CONNECTIONS", default = 20_000)]
    pub connections: usize,
    /// The same from one address (IPv6: from one /64), publishers with a token left out. Every viewer behind one router or proxy comes from
    /// one address, so it is generous, but never more than two fifths of `connections`. Lower it where viewers come one by one.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_CONNECTIONS_PER_ADDRESS", default = 8_000)]
    pub connections_per_address: usize,
    /// Of these, how many that neither publish nor play yet: each is that for a few round trips, and for the timeouts at most. Further ones
    /// wait for a place, up to ten seconds. Never more than an eighth of those of all addresses.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_PENDING_PER_ADDRESS", default = 64)]
    pub pending_per_address: usize,
    /// The longest RTMP message, in bytes: 65536 to 16777215. Twice a 4K key frame at the highest quality in use.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_MESSAGE_BYTES", default = 8_388_608)]
    pub message_bytes: u32,
    /// What a publisher may leave in unfinished messages, all its chunk streams together, in bytes; at least `message_bytes`. A
    /// connection that was not let in yet may leave 64 KiB.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_PARTIAL_BYTES", default = 12_582_912)]
    pub partial_bytes: usize,
    /// The most that the frames since a stream's last key frame may take, in bytes. Beyond it new viewers wait for the next one.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_GOP_CACHE_BYTES", default = 33_554_432)]
    pub gop_cache_bytes: usize,
    /// How far a viewer may be behind before it skips to the last key frame, in bytes. The last group of pictures is always kept, what is
    /// older only while a viewer is behind.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_VIEWER_QUEUE_BYTES", default = 4_194_304)]
    pub viewer_queue_bytes: usize,
    /// The same in frames.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_VIEWER_QUEUE_FRAMES", default = 512)]
    pub viewer_queue_frames: usize,
    /// What a publisher may send for long, in kbit/s, whatever its token says; above it counts twice the token's rate. A camera whose pictures are
    /// passed through sends what it makes. A burst of 90 s at that rate is free; who goes on is ended (`stream_limited`).
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_PUBLISHER_KBPS", default = 20_000)]
    pub publisher_kbps: u32,
    /// WHEP viewers at a time, all streams together. One address has at most two fifths of them.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_WHEP_VIEWERS", default = 4_000)]
    pub whep_viewers: usize,
    /// Streams that are decoded at a time for readers of `/live/{playback}/frames`. Each decodes all pictures of its stream, however few are
    /// read.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_FRAME_DECODERS", default = 4)]
    pub frame_decoders: usize,
    /// Readers of one stream's `/live/{playback}/frames` at a time. The stream is decoded once for all of them.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_FRAME_READERS_PER_STREAM", default = 16)]
    pub frame_readers_per_stream: usize,
    /// Streams that have a playlist of MPEG-TS (`/live/{playback}/ts.m3u8`) at a time: each takes the memory and the work of one in MP4, while
    /// someone asks for it.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_HLS_TS_STREAMS", default = 50)]
    pub hls_ts_streams: usize,
    /// How long a viewer waits for the first picture of a camera with the trigger `on_demand` that starts for it, in seconds: 1 to 60. By RTMP a
    /// second less than `rtmp.command_timeout_sec` at most.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_START_WAIT_SEC", default = 10)]
    pub start_wait_sec: u64,
    /// A viewer whose connection takes nothing for this long is disconnected, in seconds.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_VIEWER_STUCK_SEC", default = 10)]
    pub viewer_stuck_sec: u64,
    /// Viewers that one stream may have at a time, those by HLS left out; 0: any number.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_VIEWERS_PER_STREAM", default = 0)]
    pub viewers_per_stream: u32,
    /// Viewers that one address may be at a time, those by HLS left out; 0: any number.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_VIEWERS_PER_ADDRESS", default = 0)]
    pub viewers_per_address: u32,
    /// How long a stream stays for its viewers after its publisher has gone, in seconds.
    #[config(env = "SIGHTLINE_ORIGIN_LIMITS_PUBLISHER_GRACE_SEC", default = 30)]
    pub publisher_grace_sec: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self::builder().load().expect("every key has a default")
    }
}

impl Config {
    /// Settings whose values are never shown.
    pub const SECRETS: [&str; 1] = ["store.secret_key"];

    /// Whether the origin can start with these values.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let id = &self.server_id;
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            return Err(StartError::Setting { key: "server_id", reason: "is made of 1 to 64 characters A-Z a-z 0-9 _ -" });
        }
        if !(128..=sightline_rtmp::CHUNK_SIZE_MAX).contains(&self.rtmp.chunk_size) {
            return Err(StartError::Setting { key: "rtmp.chunk_size", reason: "is 128 to 1048576" });
        }
        if self.rtmp.merge_ms > MERGE_MS_MAX {
            return Err(StartError::Setting { key: "rtmp.merge_ms", reason: "is 0 to 1000; 0 sends each frame at once" });
        }
        if !(MESSAGE_BYTES_LEAST..=MESSAGE_BYTES_MOST).contains(&self.limits.message_bytes) {
            return Err(StartError::Setting { key: "limits.message_bytes", reason: "is 65536 to 16777215" });
        }
        if !START_WAIT_SEC.contains(&self.limits.start_wait_sec) {
            return Err(StartError::Setting { key: "limits.start_wait_sec", reason: "is 1 to 60" });
        }
        if self.record.free_percent > 90 {
            return Err(StartError::Setting { key: "record.free_percent", reason: "is 0 to 90, in hundredths of the disk" });
        }
        if self.record.rules.iter().any(|rule| rule.devices.is_empty()) {
            return Err(StartError::Setting { key: "record.rules", reason: "has a rule without devices: an id, or a pattern with *" });
        }
        if self.limits.partial_bytes < self.limits.message_bytes as usize {
            return Err(StartError::Setting { key: "limits.partial_bytes", reason: "is at least limits.message_bytes" });
        }
        if sightline_listen::Proxies::parse(&self.http.trusted_proxies).is_err() {
            let reason = "has an entry that is neither an address nor a network like 10.0.0.0/8 or fd00::/8";
            return Err(StartError::Setting { key: "http.trusted_proxies", reason });
        }
        crate::play::whep::check_candidates(&self.whep.candidates)?;
        if Rules::parse(&self.apps).is_err() {
            let reason = "has a rule that is not: allow or deny, then publish or play or neither, then an address, a network or all";
            return Err(StartError::Setting { key: "apps", reason });
        }
        crate::relay::Relays::check(&self.relays)?;
        let records_mp4 = self.record.enabled && self.record.fmp4;
        self.store.check(records_mp4).map_err(|(key, reason)| StartError::Setting { key, reason })?;
        self.edge.check().map_err(|(key, reason)| StartError::Setting { key, reason })?;
        self.callbacks.check().map_err(|reason| StartError::Setting { key: "callbacks", reason })?;
        if self.rtmp.apps.is_empty() && self.apps.is_empty() {
            return Err(StartError::Setting { key: "rtmp.apps", reason: "names no application; the default is [\"live\"]" });
        }
        if self.cloud.url.is_some() && self.cloud.cluster_key_file.is_none() {
            return Err(StartError::Setting {
                key: "cloud.cluster_key_file",
                reason: "is missing; the cloud takes no report without the cluster's key",
            });
        }
        Ok(())
    }

    /// Takes relative paths from `base`: the directory of the settings' file, wherever the program was started.
    pub fn resolve(&mut self, base: &Path) {
        self.data_dir = base.join(&self.data_dir);
        let others = [
            &mut self.rtmps.cert,
            &mut self.rtmps.key,
            &mut self.auth.jwks_file,
            &mut self.cloud.ca,
            &mut self.edge.ca,
            &mut self.cloud.cluster_key_file,
            &mut self.record.dir,
            &mut self.store.secret_key_file,
            &mut self.store.ca,
        ];
        for path in others.into_iter().flatten().chain(self.relays.iter_mut().filter_map(|relay| relay.ca.as_mut())) {
            *path = base.join(&path);
        }
    }

    /// Nobody but this machine can connect.
    fn is_all_local(&self) -> bool {
        let is_local = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        let rtmps = self.rtmps.cert.as_ref().map(|_| &self.rtmps.listen);
        let http = self.http.enabled.then_some(&self.http.listen);
        [Some(&self.rtmp.listen), rtmps, http].into_iter().flatten().all(is_local)
    }

    /// Who may play.
    #[must_use]
    pub fn play(&self) -> Play {
        self.auth.play.unwrap_or(if self.is_all_local() { Play::Open } else { Play::Signed })
    }

    /// Who may watch what was recorded. A device's name is no secret, as a playback id is: where others than this machine can ask, a right is needed, even if
    /// live streams are open to whoever knows their ids.
    #[must_use]
    pub fn vod(&self) -> Play {
        match self.play() {
            Play::Open if !self.is_all_local() => Play::Signed,
            rule @ (Play::Open | Play::Signed | Play::Closed) => rule,
        }
    }

    /// Where recordings are.
    #[must_use]
    pub fn recordings_dir(&self) -> PathBuf {
        self.record.dir.clone().unwrap_or_else(|| self.data_dir.join("recordings"))
    }

    /// Where the keys are cached.
    #[must_use]
    pub fn jwks_file(&self) -> PathBuf {
        self.auth.jwks_file.clone().unwrap_or_else(|| self.data_dir.join("jwks.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_documented_default() {
        let config = Config::default();
        assert_eq!(config.rtmp.listen.port(), 1935);
        assert_eq!(config.rtmps.listen.port(), 1936);
        assert_eq!((config.rtmp.chunk_size, &config.rtmp.apps[..]), (4096, &["live".to_owned()][..]));
        assert_eq!(config.rtmp.merge_ms, 0);
        assert!(!config.auth.allow_unsigned_publish && config.play() == Play::Signed);
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut local = Config::default();
        (local.rtmp.listen, local.http.listen) = (here, here);
        assert_eq!(local.play(), Play::Open);
        local.rtmps.cert = Some("cert.pem".into());
        assert_eq!(local.play(), Play::Signed, "RTMPS listens everywhere");
        local.auth.play = Some(Play::Open);
        assert_eq!((local.play(), local.vod()), (Play::Open, Play::Signed), "a device's name is no secret");
        assert_eq!(config.jwks_file(), PathBuf::from("sightline-origin/jwks.json"));
    }
}
