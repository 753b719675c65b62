//! What an operator's own endpoint decides and hears, in nginx-rtmp's form: fields of a form, and the status of the answer.
//!
//! `on_publish` and `on_play` decide, the one exception to "nobody is asked when a publisher comes": only where they are set, within a deadline,
//! and with a chosen answer for when the endpoint fails. All others are told from an outbox, in order, and again until they were taken: a stream
//! never waits for one.

mod config;
mod outbox;

pub use config::{Callbacks as Settings, Method, WhenFailing};

use crate::auth::wish::Way;
use crate::clock::Clock;
use form_urlencoded::Serializer;
use outbox::Outbox;
use sightline_endpoint::{Client, EndpointUrl, Reply};
use sightline_listen::{Rarely, shortened};
use sightline_media::Instant;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a player that asks again and again (HLS, snapshots) has the verdict that it got: a playlist's length.
const VERDICT_KEPT: Duration = Duration::from_secs(30);
/// Verdicts that are kept. Beyond it the endpoint is asked again.
const VERDICTS_MAX: usize = 10_000;

/// An endpoint that fails, fails for each viewer.
static FAILED: Rarely = Rarely::new();

/// When a name, its query and an address were asked for, and whether they may play.
type Verdicts = HashMap<(String, String, IpAddr), (Instant, bool)>;

/// What an endpoint says of a publisher or a viewer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Allow,
    Deny,
    /// The client shall ask for another name, or go elsewhere.
    Redirect(String),
}

/// Whom it is about. The query is the client's own, which may hold a key of the endpoint's: it is passed on and shown nowhere.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) app: String,
    /// The publishing name; of a viewer the playback id.
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) address: IpAddr,
}

/// The callbacks of an origin.
pub(crate) struct Callbacks {
    settings: Settings,
    clock: Clock,
    client: Client,
    outbox: Arc<Outbox>,
    verdicts: Mutex<Verdicts>,
    next_client: AtomicU64,
}

/// A publish or a play that was told of: dropping it tells of its end.
pub(crate) struct Told {
    callbacks: Arc<Callbacks>,
    subject: Subject,
    client: u64,
    is_publish: bool,
    updates: CancellationToken,
}

impl Callbacks {
    pub(crate) fn new(settings: &Settings, data_dir: &Path, clock: Clock, tasks: &TaskTracker, shutdown: &CancellationToken) -> Arc<Self> {
        let client = Client::new(settings.allow_private_addresses, "callbacks.allow_private_addresses");
        let outbox = Outbox::open(data_dir.join("callbacks.outbox"), client.clone(), settings.method);
        if settings.tells() {
            tasks.spawn(outbox.clone().run(shutdown.clone()));
        }
        Arc::new(Self { settings: settings.clone(), clock, client, outbox, verdicts: Mutex::default(), next_client: AtomicU64::new(1) })
    }

    /// Whether publishers are let in by `on_publish`, and need no token.
    pub(crate) fn decides_publish(&self) -> bool {
        self.settings.on_publish.is_some()
    }

    /// Whether viewers have to be asked for.
    pub(crate) fn decides_play(&self) -> bool {
        self.settings.on_play.is_some()
    }

    /// What `on_publish` says.
    pub(crate) async fn may_publish(&self, subject: &Subject) -> Verdict {
        match &self.settings.on_publish {
            Some(url) => self.ask(url, "publish", subject, &[("type", "live")]).await,
            None => Verdict::Allow,
        }
    }

    /// What `on_play` says of a viewer with a connection of its own.
    pub(crate) async fn may_play(&self, subject: &Subject, way: Way) -> Verdict {
        match &self.settings.on_play {
            Some(url) => self.ask(url, "play", subject, &[("start", "-2000"), ("protocol", way.name())]).await,
            None => Verdict::Allow,
        }
    }

    /// The same of one that asks again and again: it has the verdict that it got a moment ago.
    pub(crate) async fn may_ask(&self, subject: &Subject, way: Way) -> Verdict {
        if self.settings.on_play.is_none() {
            return Verdict::Allow;
        }
        let (key, now) = ((subject.name.clone(), subject.query.clone(), subject.address), self.clock.now());
        let known = self.verdicts().get(&key).copied();
        if let Some((_, is_allowed)) = known.filter(|(at, _)| now.since(*at) < VERDICT_KEPT) {
            return if is_allowed { Verdict::Allow } else { Verdict::Deny };
        }
        let verdict = self.may_play(subject, way).await;
        let mut verdicts = self.verdicts();
        if verdicts.len() >= VERDICTS_MAX {
            verdicts.retain(|_, (at, _)| now.since(*at) < VERDICT_KEPT);
        }
        if verdicts.len() < VERDICTS_MAX {
            verdicts.insert(key, (now, verdict == Verdict::Allow));
        }
        verdict
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, url: &EndpointUrl, call: &str, subject: &Subject, more: &[(&str, &str)]) -> Verdict {
        let client = self.next_client.load(Ordering::Relaxed);
        let form = form(call, subject, client, more);
        let deadline = Duration::from_millis(self.settings.timeout_ms);
        let problem = match timeout(deadline, self.client.send(url, self.settings.method.ask(form))).await {
            Ok(Ok(Reply { status: 200..=299, .. })) => return Verdict::Allow,
            Ok(Ok(Reply { status: 300..=399, location: Some(location) })) => return Verdict::Redirect(location),
            // nginx-rtmp takes every other answer for a refusal; one of the server's own failures is none.
            Ok(Ok(Reply { status: 500..=599, .. })) => "the endpoint failed".to_owned(),
            Ok(Ok(_)) => return Verdict::Deny,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", self.settings.timeout_ms),
        };
        FAILED.write(|others| {
            let name = shortened(&subject.name);
            tracing::warn!(call, name, %url, problem, others, when_failing = ?self.settings.when_failing, "a callback that decides has failed");
        });
        match self.settings.when_failing {
            WhenFailing::Allow => Verdict::Allow,
            WhenFailing::Deny => Verdict::Deny,
        }
    }

    /// A publisher has begun; its end, and where that is set its going on, are told.
    pub(crate) fn published(self: &Arc<Self>, subject: Subject) -> Told {
        self.begun(subject, true)
    }

    /// A viewer has begun.
    pub(crate) fn played(self: &Arc<Self>, subject: Subject) -> Told {
        self.begun(subject, false)
    }

    fn begun(self: &Arc<Self>, subject: Subject, is_publish: bool) -> Told {
        let client = self.next_client.fetch_add(1, Ordering::Relaxed);
        let updates = CancellationToken::new();
        if let Some(url) = &self.settings.on_update {
            let (callbacks, subject, stop, url) = (self.clone(), subject.clone(), updates.clone(), url.clone());
            let call = if is_publish { "update_publish" } else { "update_play" };
            self.outbox.spawn(async move {
                let (began, every) = (callbacks.clock.now(), Duration::from_secs(callbacks.settings.update_sec.max(1)));
                while timeout(every, stop.cancelled()).await.is_err() {
                    let ms = callbacks.clock.now().since(began).as_millis().to_string();
                    let secs = callbacks.clock.now().since(began).as_secs().to_string();
                    callbacks.outbox.tell(&url, form(call, &subject, client, &[("time", &secs), ("timestamp", &ms)]));
                }
            });
        }
        Told { callbacks: self.clone(), subject, client, is_publish, updates }
    }

    /// A recording is done.
    pub(crate) fn recorded(&self, name: &str, path: &Path) {
        if let Some(url) = &self.settings.on_record_done {
            let subject =
                Subject { app: String::new(), name: name.to_owned(), query: String::new(), address: IpAddr::from([127, 0, 0, 1]) };
            self.outbox.tell(url, form("record_done", &subject, 0, &[("recorder", ""), ("path", &path.display().to_string())]));
        }
    }

    /// In the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        self.outbox.metrics()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.updates.cancel();
        let settings = &self.callbacks.settings;
        let (url, call) = match self.is_publish {
            true => (&settings.on_publish_done, "publish_done"),
            false => (&settings.on_play_done, "play_done"),
        };
        if let Some(url) = url {
            self.callbacks.outbox.tell(url, form(call, &self.subject, self.client, &[]));
        }
    }
}

/// The fields of nginx-rtmp-module's `ngx_rtmp_notify_module.c`, and the client's own arguments behind them.
fn form(call: &str, subject: &Subject, client: u64, more: &[(&str, &str)]) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("app", &subject.app).append_pair("flashver", "").append_pair("swfurl", "").append_pair("tcurl", "");
    form.append_pair("pageurl", "").append_pair("addr", &subject.address.to_canonical().to_string());
    form.append_pair("clientid", &client.to_string()).append_pair("call", call).append_pair("name", &subject.name);
    for (key, value) in more {
        form.append_pair(key, value);
    }
    let form = form.finish();
    if subject.query.is_empty() { form } else { format!("{form}&{}", subject.query) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_the_fields_of_nginx_rtmp_and_the_client_s_own() {
        let subject =
            Subject { app: "live".into(), name: "cam 1&x".into(), query: "key=a%20b".into(), address: IpAddr::from([192, 0, 2, 1]) };
        assert_eq!(
            form("publish", &subject, 7, &[("type", "live")]),
            "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=192.0.2.1&clientid=7&call=publish&name=cam+1%26x&type=live&key=a%20b"
        );
    }
}
