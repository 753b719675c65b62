//! What is told: in order, again until it is taken, and over a restart. Whoever tells waits for nothing.

use super::config::Method;
use serde::{Deserialize, Serialize};
use sightline_endpoint::{Client, EndpointUrl, Reply};
use sightline_listen::Rarely;
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Messages that may wait for an endpoint: a night of a hundred cameras that come and go. Then the oldest go, counted.
const WAITING_MAX: usize = 10_000;
/// How long one try may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait after a failure, and the longest.
const WAIT_LEAST: Duration = Duration::from_millis(500);
const WAIT_MOST: Duration = Duration::from_secs(30);
/// The pause between two writes of what waits to the file: what a kill may lose.
const WRITE_PAUSE: Duration = Duration::from_millis(100);
/// The file holds what clients have shown to the operator's endpoint.
const MODE_SECRET: u32 = 0o600;

static FAILED: Rarely = Rarely::new();
static LOST: Rarely = Rarely::new();

/// One message, as the file has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    url: String,
    form: String,
    /// What is away together, of `url`: each server is told in the order in which things happened.
    #[serde(skip)]
    server: String,
}

impl Message {
    fn new(url: &EndpointUrl, form: String) -> Self {
        Self { url: url.reveal().to_owned(), form, server: url.server() }
    }
}

/// The messages that wait.
pub(super) struct Outbox {
    file: PathBuf,
    client: Client,
    method: Method,
    waiting: Mutex<VecDeque<Message>>,
    more: Notify,
    tasks: TaskTracker,
    taken: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

impl Outbox {
    /// With what an earlier process had left.
    pub(super) fn open(file: PathBuf, client: Client, method: Method) -> Arc<Self> {
        let left: Vec<Message> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "callbacks that were not told before can't be read, and are lost");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let waiting: VecDeque<_> = left.into_iter().map(|left| Message::new(&EndpointUrl::from(left.url.as_str()), left.form)).collect();
        let (taken, failed, lost) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (waiting, more, tasks) = (Mutex::new(waiting), Notify::new(), TaskTracker::new());
        Arc::new(Self { file, client, method, waiting, more, tasks, taken, failed, lost })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message behind the others.
    pub(super) fn tell(&self, url: &EndpointUrl, form: String) {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
            self.lost.fetch_add(1, Ordering::Relaxed);
            LOST.write(|others| tracing::warn!(%url, others, "a callback's endpoint has been away for too long: the oldest messages go"));
        }
        waiting.push_back(Message::new(url, form));
        drop(waiting);
        self.more.notify_waiters();
    }

    /// For messages that come by themselves.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Tells until the shutdown; what is left then stands in the file. Each server is told in order; one that is away holds up no other.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        // What an earlier process has left is not known to be this.
        let (mut servers, mut telling, mut written) = (BTreeSet::new(), JoinSet::new(), None);
        loop {
            let mut more = pin!(self.more.notified());
            // Before it is looked: what comes meanwhile is not missed.
            more.as_mut().enable();
            let waited_for: BTreeSet<String> = self.waiting().iter().map(|message| message.server.clone()).collect();
            for server in waited_for {
                if servers.insert(server.clone()) {
                    telling.spawn(self.clone().tell_server(server, shutdown.clone()));
                }
            }
            self.write(&mut written);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = more => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(WRITE_PAUSE) => {}
            }
        }
        while telling.join_next().await.is_some() {}
        self.write(&mut written);
    }

    /// Tells one server what is for it, until the shutdown.
    async fn tell_server(self: Arc<Self>, server: String, shutdown: CancellationToken) {
        let mut wait = WAIT_LEAST;
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            let next = self.waiting().iter().find(|message| message.server == server).cloned();
            let Some(message) = next else {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = more => continue,
                }
            };
            let sent = tokio::select! {
                () = shutdown.cancelled() => return,
                sent = self.send(&message) => sent,
            };
            if sent {
                wait = WAIT_LEAST;
                let mut waiting = self.waiting();
                // Unless it was the oldest of too many meanwhile.
                if let Some(at) = waiting.iter().position(|other| *other == message) {
                    waiting.remove(at);
                }
                drop(waiting);
                self.more.notify_waiters();
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAIT_MOST),
            }
        }
    }

    /// Whether the endpoint has taken it: any answer but a failure of its own. nginx-rtmp looks at no answer to these.
    async fn send(&self, message: &Message) -> bool {
        let url = EndpointUrl::from(message.url.as_str());
        let problem = match tokio::time::timeout(SEND_TIMEOUT, self.client.send(&url, self.method.ask(message.form.clone()))).await {
            Ok(Ok(Reply { status: 500..=599, .. })) => "the endpoint failed".to_owned(),
            Ok(Ok(_)) => {
                self.taken.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", SEND_TIMEOUT.as_secs()),
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        FAILED.write(
            |others| tracing::warn!(%url, problem, others, waiting = self.waiting().len(), "a callback was not taken; it is told again"),
        );
        false
    }

    /// Writes what waits, where that has changed. Blocks on the file.
    fn write(&self, written: &mut Option<VecDeque<Message>>) {
        let waiting = self.waiting().clone();
        if written.as_ref() == Some(&waiting) {
            return;
        }
        if let Err(error) = tokio::task::block_in_place(|| replace(&self.file, &waiting)) {
            FAILED.write(|others| {
                tracing::warn!(file = %self.file.display(), %error, others, "callbacks that wait can't be written down: a restart loses them");
            });
        }
        *written = Some(waiting);
    }

    /// In the text format of Prometheus.
    pub(super) fn metrics(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("sightline_origin_callbacks_waiting", "gauge", "Callbacks that wait to be told.", self.waiting().len() as u64),
            (
                "sightline_origin_callbacks_told_total",
                "counter",
                "Callbacks that an endpoint has taken.",
                self.taken.load(Ordering::Relaxed),
            ),
            (
                "sightline_origin_callbacks_failed_total",
                "counter",
                "Tries that an endpoint has not taken.",
                self.failed.load(Ordering::Relaxed),
            ),
            ("sightline_origin_callbacks_lost_total", "counter", "Callbacks that waited for too long.", self.lost.load(Ordering::Relaxed)),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        text
    }
}

fn replace(file: &Path, waiting: &VecDeque<Message>) -> io::Result<()> {
    if waiting.is_empty() {
        return match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let temporary = file.with_extension("outbox.new");
    let mut new = File::options().write(true).create(true).truncate(true).mode(MODE_SECRET).open(&temporary)?;
    new.write_all(&serde_json::to_vec(waiting).map_err(io::Error::other)?)?;
    new.sync_data()?;
    std::fs::rename(temporary, file)
}
