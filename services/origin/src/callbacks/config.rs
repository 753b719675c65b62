//! The callbacks' settings.

use serde::Deserialize;
use sightline_endpoint::{Ask, EndpointUrl};

/// An operator's own endpoints, in nginx-rtmp's form.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Callbacks {
    /// Decides who may publish, http(s)://…: a form by POST; 2xx lets in, 3xx with a Location gives another name, all else refuses. Whoever it lets
    /// in needs no token.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ON_PUBLISH")]
    pub on_publish: Option<EndpointUrl>,
    /// Decides who may play, besides auth.play. Players that ask again and again (HLS) have its answer for 30 s.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ON_PLAY")]
    pub on_play: Option<EndpointUrl>,
    /// Is told when a publisher has gone.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ON_PUBLISH_DONE")]
    pub on_publish_done: Option<EndpointUrl>,
    /// Is told when a viewer has gone, those by HLS left out.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ON_PLAY_DONE")]
    pub on_play_done: Option<EndpointUrl>,
    /// Is told when a recording is done, with its path.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ON_RECORD_DONE")]
    pub on_record_done: Option<EndpointUrl>,
    /// Is told again and again while someone publishes or plays.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ON_UPDATE")]
    pub on_update: Option<EndpointUrl>,
    /// How often that is, in seconds.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_UPDATE_SEC", default = 30)]
    pub update_sec: u64,
    /// `post`, or `get` with the fields in the query.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_METHOD", default = "post")]
    pub method: Method,
    /// How long an endpoint that decides may take, in milliseconds: 100 to 10000.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_TIMEOUT_MS", default = 3000)]
    pub timeout_ms: u64,
    /// What holds when it fails or takes longer: `deny` or `allow`.
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_WHEN_FAILING", default = "deny")]
    pub when_failing: WhenFailing,
    /// Whether an endpoint may have a private address (10.0.0.0/8, 127.0.0.1 and their like).
    #[config(env = "SIGHTLINE_ORIGIN_CALLBACKS_ALLOW_PRIVATE_ADDRESSES", default = false)]
    pub allow_private_addresses: bool,
}

impl Callbacks {
    /// What a start would fail on.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let all = [&self.on_publish, &self.on_play, &self.on_publish_done, &self.on_play_done, &self.on_record_done, &self.on_update];
        if !all.into_iter().flatten().all(|url| url.is_http()) {
            return Err("has an endpoint that is no http:// or https:// address");
        }
        if (100..=10_000).contains(&self.timeout_ms) { Ok(()) } else { Err("timeout_ms is 100 to 10000") }
    }

    /// Whether anything is told.
    pub(crate) fn tells(&self) -> bool {
        [&self.on_publish_done, &self.on_play_done, &self.on_record_done, &self.on_update].into_iter().any(Option::is_some)
    }
}

/// How an endpoint is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The fields are the body.
    Post,
    /// The fields are the query.
    Get,
}

impl Method {
    /// Asks for what the fields of a form say.
    pub(super) fn ask(self, form: String) -> Ask {
        match self {
            Self::Post => Ask::Post { headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())], body: form.into() },
            Self::Get => Ask::Get { query: form },
        }
    }
}

/// The answer when there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFailing {
    /// Nobody comes in.
    Deny,
    /// Everybody does, by our own rules.
    Allow,
}
