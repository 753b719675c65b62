//! Settings of `sightline cloud`: one TOML file, every key also from the environment.

use confique::Config as _;
use serde::Deserialize;
use sightline_listen::Proxies;
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A setting is out of its range.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("setting {key}: {reason}")]
pub struct SettingError {
    /// The key as the TOML file has it.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// Leases of on-demand cameras, in seconds: at least two of the reports that say that someone watches.
const LEASE_SEC: std::ops::RangeInclusive<u32> = 4..=3600;

/// How long a session lasts, in seconds: from long enough to try it out, to a quarter for a wall of pictures.
const SESSION_SEC: std::ops::RangeInclusive<u32> = 60..=7_776_000;

/// Settings of the cloud.
#[derive(Clone, Debug, confique::Config)]
pub struct Config {
    /// Where certificates, keys and the database lie. Made if it is not there. Relative paths, here and elsewhere, begin where this file lies.
    #[config(default = "sightline-data", env = "SIGHTLINE_CLOUD_DATA_DIR")]
    pub data_dir: PathBuf,

    /// Names and addresses that the server's certificate holds besides localhost, 127.0.0.1, ::1 and the machine's own name.
    #[config(default = [], env = "SIGHTLINE_CLOUD_HOST_NAMES", parse_env = confique::env::parse::list_by_comma)]
    pub host_names: Vec<String>,

    /// The HTTP port: API, console, metrics.
    #[config(nested)]
    pub http: HttpConfig,

    /// The built-in MQTT broker.
    #[config(nested)]
    pub mqtt: MqttConfig,

    /// Who may use the API.
    #[config(nested)]
    pub api: ApiConfig,

    /// The tokens that streams are published with.
    #[config(nested)]
    pub token: TokenConfig,

    /// Endpoints that are told of events.
    #[config(nested)]
    pub hooks: HooksConfig,

    /// Cameras with the trigger `on_demand`, which stream because someone watches.
    #[config(nested)]
    pub on_demand: OnDemandConfig,

    /// RTMP servers of others, entered by hand: tables `[[servers]]` with id, name, region, rtmp_url and capacity_kbps (0: no limit).
    #[config(default = [])]
    pub servers: Vec<StaticServer>,
}

/// `[http]`
#[derive(Clone, Debug, confique::Config)]
pub struct HttpConfig {
    /// Address and port. One port takes plain HTTP and HTTPS; port 0 takes any free one.
    #[config(default = "0.0.0.0:8080", env = "SIGHTLINE_CLOUD_HTTP_LISTEN")]
    pub listen: SocketAddr,

    /// Reverse proxies in front of the port: addresses or networks such as 10.0.0.0/8. Their X-Forwarded-For is believed about the client's
    /// address, for limits by address. From anyone else it is ignored.
    #[config(default = [], env = "SIGHTLINE_CLOUD_HTTP_TRUSTED_PROXIES", parse_env = confique::env::parse::list_by_comma)]
    pub trusted_proxies: Vec<String>,
}

/// `[mqtt]`
#[derive(Clone, Debug, confique::Config)]
pub struct MqttConfig {
    /// Whether the built-in broker runs. Without it devices use POST /stream/request.
    #[config(default = true, env = "SIGHTLINE_CLOUD_MQTT_ENABLED")]
    pub enabled: bool,

    /// Address and port of MQTT over TLS. Client certificates are required; port 0 takes any free one.
    #[config(default = "0.0.0.0:8883", env = "SIGHTLINE_CLOUD_MQTT_LISTEN")]
    pub listen: SocketAddr,
}

/// `[api]`
#[derive(Clone, Debug, confique::Config)]
pub struct ApiConfig {
    /// A file with the bearer token that /api asks for, made if it is not there. Unset: operator.token in data_dir. Where it is unset and
    /// http.listen is a loopback address, requests that plainly come from this machine, and not through a proxy, need no token.
    #[config(env = "SIGHTLINE_CLOUD_API_OPERATOR_TOKEN_FILE")]
    pub operator_token_file: Option<PathBuf>,

    /// Whether such requests need no token and no sign-in even where there are users. As long as there is none they need none.
    #[config(default = false, env = "SIGHTLINE_CLOUD_API_OPEN_HERE")]
    pub open_here: bool,

    /// How long someone stays signed in, in seconds: 60 to 7776000. A session ends then, whether it is used or not.
    #[config(default = 604_800, env = "SIGHTLINE_CLOUD_API_SESSION_SEC")]
    pub session_sec: u32,
}

/// `[token]`
#[derive(Clone, Debug, confique::Config)]
pub struct TokenConfig {
    /// How long a token starts streams, in seconds: 60 to 86400.
    #[config(default = 3600, env = "SIGHTLINE_CLOUD_TOKEN_TTL_SEC")]
    pub ttl_sec: u32,
}

/// `[hooks]`
#[derive(Clone, Debug, confique::Config)]
pub struct HooksConfig {
    /// Whether a hook may have a private address (10.0.0.0/8, 127.0.0.1 and their like). Whoever may make hooks then reaches into this network.
    #[config(default = false, env = "SIGHTLINE_CLOUD_HOOKS_ALLOW_PRIVATE_ADDRESSES")]
    pub allow_private_addresses: bool,
}

/// `[on_demand]`
#[derive(Clone, Debug, confique::Config)]
pub struct OnDemandConfig {
    /// How long such a camera goes on after the last word that someone watches, in seconds: 4 to 3600. While someone does it is told again in
    /// time.
    #[config(default = 20, env = "SIGHTLINE_CLOUD_ON_DEMAND_LEASE_SEC")]
    pub lease_sec: u32,
}

/// `[[servers]]`: an RTMP server of others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticServer {
    /// Its id, `[A-Za-z0-9_-]{1,64}`.
    pub id: String,
    /// Its name, for people.
    #[serde(default)]
    pub name: String,
    /// Where it is.
    #[serde(default)]
    pub region: String,
    /// `rtmp://host[:port]/app` or `rtmps://…`.
    pub rtmp_url: ServerUrl,
    /// What it takes in at most, in kbit/s; 0: no limit.
    #[serde(default)]
    pub capacity_kbps: u64,
}

/// Where a server of others takes streams. `Debug` leaves out user, password and query.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl From<&str> for ServerUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl ServerUrl {
    pub(crate) const fn new(url: String) -> Self {
        Self(url)
    }

    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let has_scheme = self.0.starts_with("rtmp://") || self.0.starts_with("rtmps://");
        if has_scheme && self.0.len() <= SERVER_URL_BYTES_MAX && !self.0.chars().any(char::is_control) {
            return Ok(());
        }
        Err(format!("an rtmp:// or rtmps:// URL of at most {SERVER_URL_BYTES_MAX} characters is needed"))
    }

    /// The URL itself, for the answers to devices.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.0.starts_with("rtmps://")
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("***", ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}/{}", path.split(['?', '#']).next().unwrap_or_default())
    }
}

/// The longest URL of a server: what fits into an answer, with the slash at its end.
const SERVER_URL_BYTES_MAX: usize = 190;
/// Shortest life of a token: less, and a slow uplink's first try finds it expired.
pub(crate) const TOKEN_TTL_SEC_MIN: u32 = 60;
/// Longest life of a token: revocation lists and previous keys are kept for that long.
pub(crate) const TOKEN_TTL_SEC_MAX: u32 = 86_400;

impl Config {
    /// All defaults, with this data directory.
    ///
    /// # Errors
    /// [`SettingError`] if a variable of the environment can't be read.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Result<Self, SettingError> {
        let mut config =
            Self::builder().env().load().map_err(|error| SettingError { key: "SIGHTLINE_CLOUD_…", reason: error.to_string() })?;
        config.data_dir = data_dir.into();
        Ok(config)
    }

    /// Takes relative paths from `base`: the directory of the settings' file, wherever the program was started.
    pub fn resolve(&mut self, base: &Path) {
        self.data_dir = base.join(&self.data_dir);
        if let Some(file) = &mut self.api.operator_token_file {
            *file = base.join(&file);
        }
    }

    /// Checks what types can't.
    ///
    /// # Errors
    /// [`SettingError`] names the key.
    pub fn validate(&self) -> Result<(), SettingError> {
        if let Err(error) = rcgen::CertificateParams::new(self.host_names.clone()) {
            return Err(SettingError {
                key: "host_names",
                reason: format!("{:?}: {error}; names and addresses are needed", self.host_names),
            });
        }
        let (http, mqtt) = (self.http.listen, self.mqtt.listen);
        if self.mqtt.enabled && http.port() != 0 && http == mqtt {
            return Err(SettingError { key: "mqtt.listen", reason: format!("{mqtt} is http.listen's, too; each needs a port of its own") });
        }
        if !(TOKEN_TTL_SEC_MIN..=TOKEN_TTL_SEC_MAX).contains(&self.token.ttl_sec) {
            let reason = format!("{} is outside {TOKEN_TTL_SEC_MIN}..={TOKEN_TTL_SEC_MAX} seconds", self.token.ttl_sec);
            return Err(SettingError { key: "token.ttl_sec", reason });
        }
        if !LEASE_SEC.contains(&self.on_demand.lease_sec) {
            let reason = format!("{} is outside {LEASE_SEC:?} seconds", self.on_demand.lease_sec);
            return Err(SettingError { key: "on_demand.lease_sec", reason });
        }
        if !SESSION_SEC.contains(&self.api.session_sec) {
            let reason = format!("{} is outside {SESSION_SEC:?} seconds", self.api.session_sec);
            return Err(SettingError { key: "api.session_sec", reason });
        }
        if let Err(error) = Proxies::parse(&self.http.trusted_proxies) {
            return Err(SettingError { key: "http.trusted_proxies", reason: error.to_string() });
        }
        for server in &self.servers {
            if sightline_signal::DeviceId::new(&server.id).is_err() {
                return Err(SettingError { key: "servers.id", reason: format!("{:?} is not made of A-Z a-z 0-9 _ -", server.id) });
            }
            if let Err(problem) = server.rtmp_url.check() {
                return Err(SettingError { key: "servers.rtmp_url", reason: format!("server {}: {problem}", server.id) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_toml(text: &str) -> Result<Config, String> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let config = Config::builder().file(file.path()).load().map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn every_key_has_a_default_and_the_template_reads_back() {
        let template = confique::toml::template::<Config>(confique::toml::FormatOptions::default());
        let config = from_toml(&template).unwrap();
        assert_eq!((config.http.listen.port(), config.mqtt.listen.port(), config.token.ttl_sec), (8080, 8883, 3600));
        assert!(config.mqtt.enabled && config.servers.is_empty() && config.api.operator_token_file.is_none());
    }

    #[test]
    fn a_server_of_others_is_entered_by_hand_and_a_wrong_one_is_named() {
        let server = |url: &str| format!("[[servers]]\nid = \"yt\"\nname = \"YouTube\"\nrtmp_url = \"{url}\"\n");
        assert_eq!(from_toml(&server("rtmps://a.rtmps.youtube.com/live2")).unwrap().servers[0].capacity_kbps, 0);
        assert!(from_toml(&server("http://example.com/")).unwrap_err().contains("servers.rtmp_url"));
        assert!(from_toml("[token]\nttl_sec = 5\n").unwrap_err().contains("token.ttl_sec"));
        assert!(from_toml("[[servers]]\nid = \"a\"\nrtmp_url = \"rtmp://a/b\"\nport = 1\n").is_err());
    }

    #[test]
    fn a_server_s_password_is_never_printed() {
        let url = "rtmps://user:secret@a.example/live?key=secret";
        let config = from_toml(&format!("[[servers]]\nid = \"yt\"\nrtmp_url = \"{url}\"\n")).unwrap();
        assert_eq!(format!("{:?}", config.servers[0].rtmp_url), "rtmps://a.example/live");
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.servers[0].rtmp_url.reveal(), url);
    }
}
