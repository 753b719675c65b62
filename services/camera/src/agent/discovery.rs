//! A question to the cloud that MQTT does not carry now goes by HTTPS; commands and status wait for the broker.

use sightline_media::Instant;
use sightline_pusher::{Input, ToDevice};
use sightline_signal::{ErrorCode, Response};
use std::time::Duration;
use tokio::task::JoinSet;

use super::Running;
use crate::cloud::{
    https::{self, AskError, Endpoint},
    renewal::DeviceFiles,
};

/// How long MQTT has to connect before the question goes the other way. Mostly it takes a tenth of a second.
const MQTT_WAIT: Duration = Duration::from_secs(2);

/// The way by HTTPS.
pub(super) struct Discovery {
    endpoint: Endpoint,
    files: DeviceFiles,
    /// The newest question, and when it goes by HTTPS.
    waiting: Option<(Vec<u8>, tokio::time::Instant)>,
    asking: JoinSet<Result<Response, AskError>>,
    /// Why the broker can't be reached, kept back while HTTPS is tried.
    broker_error: Option<ErrorCode>,
    /// A failure is logged once, and again after a success.
    is_told: bool,
}

/// What came of it.
pub(super) enum Discovered {
    /// It is time to ask.
    Due,
    Answered(Box<Result<Response, AskError>>),
}

impl Discovery {
    pub(super) fn new(endpoint: Endpoint, files: DeviceFiles) -> Self {
        Self { endpoint, files, waiting: None, asking: JoinSet::new(), broker_error: None, is_told: false }
    }

    /// A question has been handed to MQTT.
    pub(super) fn asked(&mut self, request: Vec<u8>) {
        self.waiting = Some((request, tokio::time::Instant::now() + MQTT_WAIT));
        self.broker_error = None;
    }

    /// The broker has an answer, or it will ask itself.
    pub(super) fn settled(&mut self) {
        self.waiting = None;
        self.broker_error = None;
    }

    /// The broker refuses or can't be found: there is nothing to wait for. True: HTTPS is tried first, before anyone is told.
    pub(super) fn broker_failed(&mut self, code: ErrorCode) -> bool {
        if let Some((_, at)) = &mut self.waiting {
            *at = tokio::time::Instant::now();
        }
        let is_tried = self.waiting.is_some() || !self.asking.is_empty();
        if is_tried {
            self.broker_error = Some(code);
        }
        is_tried
    }

    pub(super) async fn next(&mut self) -> Discovered {
        let due = self.waiting.as_ref().map(|(_, at)| *at);
        tokio::select! {
            Some(done) = self.asking.join_next() => Discovered::Answered(Box::new(done.unwrap_or_else(|error| Err(error.into())))),
            () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => Discovered::Due,
            else => std::future::pending().await,
        }
    }

    fn ask(&mut self) {
        let Some((request, _)) = self.waiting.take() else { return };
        self.asking.abort_all();
        self.asking.spawn(https::ask(self.endpoint.clone(), self.files.clone(), request));
    }
}

impl Running {
    pub(super) fn hear_discovery(&mut self, now: Instant, discovered: Discovered) {
        let is_up = self.mqtt.as_ref().is_some_and(|mqtt| mqtt.is_up());
        let Some(discovery) = &mut self.discovery else { return };
        match discovered {
            // The broker has the question; whoever is behind it answers, or is silent by HTTPS as well.
            Discovered::Due if is_up => discovery.waiting = None,
            Discovered::Due => discovery.ask(),
            Discovered::Answered(answer) => match *answer {
                Ok(response) => {
                    tracing::info!("the broker is away: the cloud has answered by HTTPS");
                    (discovery.is_told, discovery.broker_error) = (false, None);
                    self.pusher.handle(now, Input::Signal(ToDevice::Response(&response)));
                }
                // One that a newer question has taken the place of.
                Err(AskError::Panicked(error)) if error.is_cancelled() => {}
                Err(error) => {
                    if !std::mem::replace(&mut discovery.is_told, true) {
                        tracing::warn!(%error, "the broker is away, and the cloud does not answer by HTTPS either");
                    }
                    if let Some(code) = discovery.broker_error.take() {
                        self.pusher.handle(now, Input::SignalDown(code));
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Agent, Outcome, Rounds, fault_tests::serve};
    use crate::config::Config;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    use std::{path::Path, sync::Arc};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use tokio_util::sync::CancellationToken;

    /// An authority, a server and a device, as files.
    fn certificates(dir: &Path) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        for name in ["localhost", "cam"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            std::fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
            std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }

    /// Answers one `POST /stream/request` of a client that shows a certificate of the authority; gives what was asked. `None`: the camera
    /// has hung up, as it does where a newer question takes the place of one.
    async fn cloud(dir: &Path, socket: TcpStream, rtmp_url: &str) -> Option<String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let chain = vec![CertificateDer::from_pem_file(dir.join("localhost.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(dir.join("localhost.key")).unwrap();
        let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await.ok()?;
        let (mut asked, mut buffer) = (String::new(), vec![0; 4096]);
        while !asked.ends_with('}') {
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            asked += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        let body: serde_json::Value = serde_json::from_str(asked.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        let answer = serde_json::json!({ "success": true, "request_id": body["request_id"], "rtmp_url": rtmp_url, "stream_key": "name" });
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes()).await.ok()?;
        Some(asked)
    }

    #[tokio::test]
    async fn a_camera_whose_broker_is_away_asks_by_https_with_its_certificate_and_streams() {
        let home = tempfile::tempdir().unwrap();
        certificates(home.path());
        let listen = || TcpListener::bind("localhost:0");
        let (https, rtmp) = (listen().await.unwrap(), listen().await.unwrap());
        // Nobody listens there any more.
        let broker = listen().await.unwrap().local_addr().unwrap();
        let file = |name: &str| home.path().join(name);
        let mut config = Config::new("cam", "test");
        (config.stream.trigger, config.stream.quality) = ("always_on".to_owned(), "low".to_owned());
        config.mqtt.url = format!("mqtts://{broker}");
        config.mqtt.https_url = format!("https://localhost:{}", https.local_addr().unwrap().port());
        (config.mqtt.ca, config.mqtt.cert, config.mqtt.key) = (file("ca.pem"), file("cam.pem"), file("cam.key"));
        let agent = Agent::start(&config, Rounds::Looped).unwrap();
        let stop = CancellationToken::new();
        let rtmp_url = format!("rtmp://{}/live/", rtmp.local_addr().unwrap());
        let outside = async {
            let asked = loop {
                if let Some(asked) = cloud(home.path(), https.accept().await.unwrap().0, &rtmp_url).await {
                    break asked;
                }
            };
            assert!(asked.starts_with("POST /stream/request HTTP/1.1\r\n") && asked.contains(r#""device_id":"cam""#), "{asked}");
            let mut published = false;
            let socket = rtmp.accept().await.unwrap().0;
            // The camera ends it as it likes.
            let _ = serve(socket, || {
                published = true;
                stop.cancel();
            })
            .await;
            published
        };
        let (outcome, published) = tokio::join!(agent.run(stop.clone(), None), outside);
        assert_eq!((outcome, published), (Outcome::Stopped, true));
    }
}
