//! A store of S3's in process, which can refuse, be silent and be away.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use sightline_origin::Config;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

/// What the store does with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    Well,
    /// Every third request is refused: 503.
    Busy,
    /// Every request is refused.
    Full,
    /// The time of requests is wrong.
    OtherTime,
    /// No second part is ever answered.
    StuckInParts,
}

/// The moods, and the requests that came.
struct Door {
    service: S3Service,
    mood: Mutex<Mood>,
    asked: Mutex<Vec<String>>,
}

pub(crate) struct Store {
    scheme: &'static str,
    address: SocketAddr,
    dir: TempDir,
    door: Arc<Door>,
    _tasks: JoinSet<()>,
}

impl Store {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// By HTTPS, with a certificate of its own, which is in this file.
    pub(crate) async fn start_with_tls(certificate: &Path) -> Self {
        let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(certificate, own.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("video")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let door = Arc::new(Door { service: builder.build(), mood: Mutex::new(Mood::Well), asked: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, mut tasks) = (listener.local_addr().unwrap(), JoinSet::new());
        let (at, scheme, acceptor) = (door.clone(), if tls.is_some() { "https" } else { "http" }, tls);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (door, tls) = (at.clone(), acceptor.clone());
                let service = hyper::service::service_fn(move |request| door.clone().answer(request));
                let server = hyper::server::conn::http1::Builder::new();
                connections.spawn(async move {
                    let _ = match tls {
                        None => server.serve_connection(TokioIo::new(socket), service).await,
                        // Whoever does not trust it hangs up.
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => server.serve_connection(TokioIo::new(socket), service).await,
                            Err(_) => return,
                        },
                    };
                });
            }
        });
        Self { scheme, address, dir, door, _tasks: tasks }
    }

    pub(crate) fn set(&self, config: &mut Config) {
        config.store.url = Some("s3://video/site-1".to_owned());
        config.store.endpoint = Some(format!("{}://{}", self.scheme, self.address));
        config.store.access_key = Some(ACCESS_KEY.to_owned());
        config.store.secret_key = Some(SECRET_KEY.into());
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.door.mood.lock().unwrap() = mood;
    }

    /// The requests since the last time, `METHOD /path?query`.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.door.asked.lock().unwrap())
    }

    /// Where an object is.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.dir.path().join("video/site-1").join(key)
    }

    /// All objects, and what uploads have left.
    pub(crate) fn objects(&self) -> Vec<String> {
        fn walk(dir: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
                if path.is_dir() {
                    walk(&path, found);
                } else if !name.ends_with(".metadata.json") && !name.ends_with(".internal.json") {
                    found.push(name);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.dir.path(), &mut found);
        found.sort();
        found
    }
}

impl Door {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<s3s::Body>, Infallible> {
        let refused = |status: StatusCode, code: &str| {
            let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
            Ok(Response::builder().status(status).body(s3s::Body::from(Bytes::from(xml))).unwrap())
        };
        let (mood, count) = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(format!("{} {}", request.method(), request.uri()));
            (*self.mood.lock().unwrap(), asked.len())
        };
        // As Amazon's answers; this one would make a directory.
        if !request.uri().path().starts_with("/video") {
            return refused(StatusCode::NOT_FOUND, "NoSuchBucket");
        }
        match mood {
            Mood::Busy if count % 3 == 0 => return refused(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            Mood::Full => return refused(StatusCode::INSUFFICIENT_STORAGE, "QuotaExceeded"),
            Mood::OtherTime => return refused(StatusCode::FORBIDDEN, "RequestTimeTooSkewed"),
            Mood::StuckInParts if request.uri().query().is_some_and(|query| query.contains("partNumber=2")) => std::future::pending().await,
            Mood::Well | Mood::Busy | Mood::StuckInParts => {}
        }
        let answered = self.service.call(request.map(s3s::Body::from)).await;
        Ok(answered.unwrap_or_else(|error| panic!("{error:?}")))
    }
}
