//! Devices that renew their certificate: each makes a key, asks here to have it signed, and comes with the new certificate from then on.
//!
//! The old one stays good until its end, or until the device was seen with the new one. Who has copied the old key must not gain a new
//! certificate by it in the hour in which `rotate` still takes the old one: only the newest certificate renews, and only near its end.

use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    events::{kind::EventKind, log::EventLog},
    identity::{
        authority::{Authority, SignError},
        certificates::{device_certificate_from, device_certificate_until},
    },
    rate_limit::RateLimit,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde_json::json;
use sightline_signal::{CertificateRequest, CertificateResponse, DeviceId, ErrorCode, PEM_BYTES_MAX, Text, renewal_begins_at};
use std::{sync::Arc, time::Duration};

/// Requests of one device at once, and then one in so long: an answer may be lost a few times, and each one signs and writes.
const REQUESTS_BURST: u32 = 4;
const REQUEST_REFILL: Duration = Duration::from_secs(60);
/// The longest request: one that fits into its type, and the JSON around it.
const REQUEST_BYTES_MAX: usize = PEM_BYTES_MAX + 512;
/// The longest wait that is told: a device asks again after a day anyway.
const RETRY_AFTER_MAX_SEC: i64 = 86_400;

/// Answers them.
#[derive(Debug)]
pub(crate) struct Renewals {
    authority: Authority,
    store: Store,
    events: Arc<EventLog>,
    refusals: Arc<Refusals>,
    clock: Clock,
    limit: RateLimit<DeviceId>,
}

/// Why a device gets no new certificate.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("the device is revoked or unknown")]
    Unknown,
    #[error("a newer certificate of this device exists: it renews itself")]
    Outdone,
    #[error("the device is denied; an operator allows it again")]
    Denied,
    #[error("the certificate is good for longer; ask again near its end")]
    Early { wait_sec: i64 },
    #[error("too many requests")]
    TooOften(Duration),
    #[error("it can't be written down now")]
    Store(#[from] StoreError),
}

impl From<SignError> for Refusal {
    fn from(error: SignError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl Refusal {
    fn answer(&self, request_id: Text<64>) -> CertificateResponse {
        let (code, wait_sec) = match self {
            Self::BadRequest(_) => (ErrorCode::BadRequest, None),
            Self::Unknown | Self::Outdone => (ErrorCode::Unauthorized, None),
            Self::Denied => (ErrorCode::PermissionDenied, None),
            Self::Early { wait_sec } => (ErrorCode::PermissionDenied, Some(*wait_sec)),
            Self::TooOften(wait) => (ErrorCode::ServerOverloaded, Some(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX) + 1)),
            Self::Store(_) => (ErrorCode::ServerOverloaded, Some(60)),
        };
        let retry_after = wait_sec.and_then(|seconds| u32::try_from(seconds.clamp(1, RETRY_AFTER_MAX_SEC)).ok());
        CertificateResponse::refused(request_id, code, &self.to_string(), retry_after)
    }
}

impl Renewals {
    pub(crate) fn new(authority: Authority, store: Store, events: Arc<EventLog>, refusals: Arc<Refusals>, clock: Clock) -> Self {
        let limit = RateLimit::new(REQUESTS_BURST, REQUEST_REFILL);
        Self { authority, store, events, refusals, clock, limit }
    }

    /// Answers a request. `issued_at_ms`: when the certificate was issued by which the device has proved itself; `None` for its token.
    pub(crate) async fn handle_message(&self, device: &DeviceId, issued_at_ms: Option<i64>, payload: &[u8]) -> CertificateResponse {
        if let Err(wait) = self.limit.take(device.clone(), self.clock.now()) {
            return Refusal::TooOften(wait).answer(Text::new());
        }
        let parsed = if payload.len() > REQUEST_BYTES_MAX {
            Err(format!("the request has more than {REQUEST_BYTES_MAX} bytes"))
        } else {
            serde_json::from_slice::<CertificateRequest>(payload).map_err(|error| error.to_string())
        };
        let (request_id, issued) = match parsed {
            Ok(request) => (request.request_id.clone(), self.issue(device, issued_at_ms, &request).await),
            Err(problem) => (Text::new(), Err(Refusal::BadRequest(problem))),
        };
        match issued {
            Ok((certificate, valid_until)) => CertificateResponse::issued(request_id, certificate, valid_until),
            Err(refusal) => {
                tracing::info!(%device, %refusal, "a device gets no new certificate");
                let action = Action::DeviceRenewCertificateRefuse;
                self.refusals.record(&Actor::Device(device.clone()), action, device.as_str(), kind(&refusal), json!({})).await;
                refusal.answer(request_id)
            }
        }
    }

    async fn issue(
        &self,
        device: &DeviceId,
        issued_at_ms: Option<i64>,
        request: &CertificateRequest,
    ) -> Result<(Text<PEM_BYTES_MAX>, i64), Refusal> {
        let row = self.store.device(device).await?.filter(|row| row.revoked_at.is_none()).ok_or(Refusal::Unknown)?;
        if issued_at_ms.is_some_and(|issued_at_ms| issued_at_ms < row.certificate_issued_at_ms()) {
            return Err(Refusal::Outdone);
        }
        if !row.may_push {
            return Err(Refusal::Denied);
        }
        let due_at = renewal_begins_at(device_certificate_from(&row), device_certificate_until(&row));
        let wait_sec = due_at - self.clock.unix_secs();
        if wait_sec > 0 {
            return Err(Refusal::Early { wait_sec });
        }
        // Above the one in use whatever the clock says: certificates of one device are ordered by it.
        let new_issued_at_ms = self.clock.unix_millis().max(row.certificate_issued_at_ms() + 1);
        let (pem, until) = self.authority.sign_device(device, &request.csr, new_issued_at_ms)?;
        let pem = Text::try_from(pem.as_str()).map_err(|_| Refusal::BadRequest("the key is too long".to_owned()))?;
        // No certificate without its row.
        let detail = json!({ "valid_until": until, "old_until": device_certificate_until(&row) });
        let actor = Actor::Device(device.clone());
        self.store.write(&actor).await?.commit(Action::DeviceRenewCertificate, device.as_str(), detail).await?;
        tracing::info!(%device, until, "a device has renewed its certificate");
        let detail = json!({ "certificate": "device", "until": until });
        self.events.push(device.as_str(), EventKind::CertificateRenewed, detail).await;
        Ok((pem, until))
    }
}

/// The kind of a refusal, without what the device chose: rows are counted by it.
fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::BadRequest(_) => "bad request",
        Refusal::Unknown => "unknown or revoked",
        Refusal::Outdone => "a newer certificate exists",
        Refusal::Denied => "the device is denied",
        Refusal::Early { .. } => "too early",
        Refusal::TooOften(_) => "too often",
        Refusal::Store(_) => "not stored",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data_dir::DataDir,
        devices::registry::Registry,
        identity::authority::{Subject, shown},
    };
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    const DAY: Duration = Duration::from_secs(86_400);

    struct Bench {
        _home: tempfile::TempDir,
        registry: Registry,
        renewals: Renewals,
        store: Store,
        clock: Clock,
        cam: DeviceId,
    }

    impl Bench {
        async fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
            let authority = || Authority::open(&dir, clock.clone()).unwrap();
            let store = Store::open(&dir, clock.clone()).await.unwrap();
            let registry = Registry::new(dir.clone(), authority(), store.clone(), clock.clone());
            let cam = DeviceId::new("cam").unwrap();
            registry.add(&Actor::Cli, &cam).await.unwrap();
            let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
            let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
            let renewals = Renewals::new(authority(), store.clone(), events, refusals, clock.clone());
            Self { _home: home, registry, renewals, store, clock, cam }
        }

        async fn issued_at_ms(&self) -> i64 {
            self.store.device(&self.cam).await.unwrap().unwrap().certificate_issued_at_ms()
        }

        /// A device with this certificate asks.
        async fn ask(&self, issued_at_ms: i64) -> CertificateResponse {
            let params = rcgen::CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
            let csr = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
            let request = json!({ "request_id": "r1", "csr": csr }).to_string();
            self.renewals.handle_message(&self.cam, Some(issued_at_ms), request.as_bytes()).await
        }

        async fn actions(&self) -> Vec<String> {
            self.store.audit_entries(None, 100).await.unwrap().into_iter().map(|entry| entry.action).collect()
        }
    }

    #[tokio::test]
    async fn a_device_s_key_is_signed_in_the_last_month_under_the_device_s_own_name_and_nothing_else_of_its_request_counts() {
        let bench = Bench::new().await;
        let first = bench.issued_at_ms().await;
        let early = bench.ask(first).await;
        assert_eq!((early.success, early.error_code, early.retry_after), (false, Some(ErrorCode::PermissionDenied), Some(86_400)));
        bench.clock.advance(701 * DAY);
        let answer = bench.ask(first).await;
        let certificate = CertificateDer::from_pem_slice(answer.certificate.as_ref().unwrap().as_bytes()).unwrap();
        let shown = shown(&certificate).unwrap();
        let Subject::Device { id, issued_at_ms } = shown.subject else { panic!("a device") };
        assert_eq!((id, answer.valid_until, answer.request_id.as_str()), (bench.cam.clone(), Some(shown.valid_until), "r1"));
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        assert!(parsed.subject_alternative_name().unwrap().is_none());
        assert_eq!(bench.actions().await[0], "device.renew_certificate");
        // Both are taken until the new one was seen.
        let row = bench.store.device(&bench.cam).await.unwrap().unwrap();
        let now_ms = bench.clock.unix_millis();
        assert!(row.takes_certificate(first, now_ms) && row.takes_certificate(issued_at_ms, now_ms));
    }

    #[tokio::test]
    async fn who_is_denied_revoked_or_outdone_gets_no_new_certificate_and_is_audited() {
        let bench = Bench::new().await;
        let first = bench.issued_at_ms().await;
        bench.clock.advance(701 * DAY);
        bench.registry.deny(&Actor::Cli, &bench.cam).await.unwrap();
        assert_eq!(bench.ask(first).await.error_code, Some(ErrorCode::PermissionDenied));
        bench.registry.allow(&Actor::Cli, &bench.cam).await.unwrap();
        // `rotate` leaves the old certificate an hour, in which a copied key must not gain a newer one.
        bench.registry.rotate(&Actor::Cli, &bench.cam).await.unwrap();
        assert_eq!(bench.ask(first).await.error_code, Some(ErrorCode::Unauthorized));
        bench.registry.revoke(&Actor::Cli, &bench.cam).await.unwrap();
        assert_eq!(bench.ask(bench.issued_at_ms().await).await.error_code, Some(ErrorCode::Unauthorized));
        let refusals = bench.actions().await.into_iter().filter(|action| action == "device.renew_certificate.refuse").count();
        assert_eq!(refusals, 3);
        let bad = bench.renewals.handle_message(&bench.cam, None, b"{}").await;
        assert_eq!(bad.error_code, Some(ErrorCode::BadRequest));
        assert_eq!(bench.ask(first).await.error_code, Some(ErrorCode::ServerOverloaded), "four at once, then one a minute");
    }
}
