//! The device's certificate over its life: which files it shows, and how it gets the next one before that ends.
//!
//! The key is made here and never leaves. Key and certificate go into one file beside the configured ones, written whole or not at all: a power cut
//! leaves a pair that fits. What a person brings later (`device rotate`) is newer and counts again.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sightline_capture::{
    clock,
    tls::{TlsFileError, client_config},
};
use sightline_signal::{CertificateRequest, CertificateResponse, DeviceId, Text, renewal_begins_at, topic::Topic};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

use super::outbox::Outgoing;
use crate::blocking;

/// Between two looks at the end: four a day, as the clock may be set between them.
const LOOK_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// After a request without an answer, or with a refusal that names no time.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// What the cloud's clock may be ahead of ours to be taken for right: a clock that begins in 1970 is behind by less, and centuries are nonsense.
const AHEAD_MAX_SEC: i64 = 100 * 366 * 86_400;
/// Only its owner may read a file with a key in it.
const MODE_SECRET: u32 = 0o600;

/// What a device's file names.
#[derive(Clone, Debug)]
pub(crate) struct DeviceFiles {
    pub(crate) device: DeviceId,
    pub(crate) ca: PathBuf,
    pub(crate) configured: Pair,
    pub(crate) state_dir: Option<PathBuf>,
}

/// Certificate and key that a device shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pair {
    /// The newest pair of a device: the configured one, or one that it has fetched since.
    pub(crate) fn newest(files: &DeviceFiles) -> Self {
        let configured = files.configured.clone();
        // The one that is good for longer: what was signed later. From when on they are good is the same for all.
        let until = validity(&configured.cert, None).map_or(i64::MIN, |(_, until)| until);
        let renewed = places(files).into_iter().filter_map(|path| {
            let (_, until) = validity(&path, Some(&files.device))?;
            // One whose key does not fit is as none.
            client_config(&files.ca, Some((&path, &path))).ok()?;
            Some((until, path))
        });
        match renewed.max() {
            Some((later, path)) if later > until => Self { cert: path.clone(), key: path },
            Some(_) | None => configured,
        }
    }
}

/// Where a fetched pair may be: beside the configured certificate, or, where that can't be written, with the rest that is kept.
fn places(files: &DeviceFiles) -> Vec<PathBuf> {
    let beside = files.configured.cert.with_extension("renewed.pem");
    let kept = files.state_dir.as_ref().map(|dir| dir.join(format!("{}.renewed.pem", files.device)));
    [Some(beside), kept].into_iter().flatten().collect()
}

/// From when until when a certificate is good, in seconds since 1970. `device`: only if it names this one.
fn validity(path: &Path, device: Option<&DeviceId>) -> Option<(i64, i64)> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let is_named = |id: &DeviceId| parsed.subject().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name == id.as_str()));
    if !device.is_none_or(is_named) {
        return None;
    }
    Some((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
}

/// Renews the certificate of one device.
pub(crate) struct Renewal {
    device: DeviceId,
    ca: PathBuf,
    places: Vec<PathBuf>,
    tls: Arc<rustls::ClientConfig>,
    validity: Option<(i64, i64)>,
    asked: Option<Asked>,
    look_at: Instant,
    /// What the cloud's clock is ahead of ours.
    ahead_sec: i64,
}

/// A request under way.
struct Asked {
    id: Text<64>,
    key: KeyPair,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("the cloud refuses it: {0}")]
    Refused(String),
    #[error("the cloud's answer does not parse: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("it does not fit the key that was made for it: {0}")]
    Certificate(#[from] TlsFileError),
    #[error("{}: {source}; let this user write there, or set state_dir", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("no key: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the work failed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Renewal {
    /// Reads the pair that is in use.
    pub(crate) fn open(files: &DeviceFiles) -> Result<Self, TlsFileError> {
        let pair = Pair::newest(files);
        Ok(Self {
            device: files.device.clone(),
            ca: files.ca.clone(),
            places: places(files),
            tls: client_config(&files.ca, Some((&pair.cert, &pair.key)))?,
            validity: validity(&pair.cert, None),
            asked: None,
            look_at: Instant::now(),
            ahead_sec: 0,
        })
    }

    /// What the next connection shows.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// Waits until it is time to look at the certificate's end.
    pub(crate) async fn due(&self) {
        tokio::time::sleep_until(self.look_at).await;
    }

    /// The cloud has said what time it is: a device without a battery for its clock goes by that.
    pub(crate) fn note_cloud_time(&mut self, server_time: i64) {
        let ahead_sec = server_time - clock::wall().unix_secs();
        if ahead_sec.abs() < AHEAD_MAX_SEC {
            let was_due = self.is_due();
            self.ahead_sec = ahead_sec;
            if self.is_due() && !was_due && self.asked.is_none() {
                self.look_at = Instant::now();
            }
        }
    }

    fn is_due(&self) -> bool {
        let now = clock::wall().unix_secs().saturating_add(self.ahead_sec);
        self.validity.is_some_and(|(from, until)| now >= renewal_begins_at(from, until))
    }

    /// A request for the cloud, if the certificate ends soon.
    pub(crate) fn look(&mut self) -> Option<Outgoing> {
        if !self.is_due() {
            self.look_at = Instant::now() + LOOK_INTERVAL;
            return None;
        }
        self.look_at = Instant::now() + RETRY_INTERVAL;
        match self.request() {
            Ok(payload) => {
                tracing::info!("the device's certificate ends soon: the cloud is asked for the next one");
                Some(Outgoing::new(Topic::CertificateRequest, payload))
            }
            Err(error) => {
                tracing::warn!(%error, "the device's certificate ends soon, and no next one can be asked for");
                None
            }
        }
    }

    /// A new key each time: an answer to an older request is passed over.
    fn request(&mut self) -> Result<Vec<u8>, RenewalError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.device.as_str());
        let csr = params.serialize_request(&key)?.pem()?;
        // Behind the byte that says how the point is written.
        let point: String = key.public_key_raw().iter().skip(1).take(8).map(|byte| format!("{byte:02x}")).collect();
        let id = Text::try_from(format!("cert_{point}").as_str()).unwrap_or_default();
        let request = CertificateRequest { request_id: id.clone(), csr: Text::try_from(csr.as_str()).unwrap_or_default() };
        self.asked = Some(Asked { id, key });
        Ok(serde_json::to_vec(&request)?)
    }

    /// Takes the cloud's answer. From the next connection on the device shows the new certificate; the cloud takes the old one until then.
    pub(crate) async fn answer(&mut self, payload: &[u8]) {
        match self.take(payload).await {
            Ok(None) => {}
            Ok(Some(until)) => {
                self.look_at = Instant::now() + LOOK_INTERVAL;
                tracing::info!(until, "the device has a new certificate, and shows it from its next connection on");
            }
            Err(error) => tracing::warn!(%error, "the device's certificate ends soon, and was not renewed"),
        }
    }

    async fn take(&mut self, payload: &[u8]) -> Result<Option<i64>, RenewalError> {
        let answer: CertificateResponse = serde_json::from_slice(payload)?;
        let Some(asked) = self.asked.take_if(|asked| answer.request_id.is_empty() || asked.id == answer.request_id) else {
            return Ok(None);
        };
        let Some(certificate) = answer.certificate.filter(|_| answer.success) else {
            if let Some(seconds) = answer.retry_after {
                self.look_at = Instant::now() + Duration::from_secs(u64::from(seconds)).clamp(RETRY_INTERVAL, LOOK_INTERVAL);
            }
            return Err(RenewalError::Refused(answer.error_message.unwrap_or_default().to_string()));
        };
        let text = format!("{}\n{}", certificate.trim_end(), asked.key.serialize_pem());
        let (places, ca) = (self.places.clone(), self.ca.clone());
        let (path, tls) = blocking::run(move || store(&places, &ca, &text)).await??;
        (self.tls, self.validity) = (tls, validity(&path, None));
        Ok(self.validity.map(|(_, until)| until))
    }
}

/// Writes a pair to the first place that takes it.
fn store(places: &[PathBuf], ca: &Path, text: &str) -> Result<(PathBuf, Arc<rustls::ClientConfig>), RenewalError> {
    let mut failed = None;
    for path in places {
        match write(path, ca, text) {
            Ok(tls) => return Ok((path.clone(), tls)),
            Err(error @ RenewalError::File { .. }) => failed = failed.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let nowhere = || RenewalError::File { path: PathBuf::new(), source: io::ErrorKind::NotFound.into() };
    Err(failed.unwrap_or_else(nowhere))
}

/// Whole, on the disk, and only if certificate and key fit each other.
fn write(path: &Path, ca: &Path, text: &str) -> Result<Arc<rustls::ClientConfig>, RenewalError> {
    let temporary = path.with_extension("tmp");
    let failed = |source| RenewalError::File { path: path.to_owned(), source };
    let written = (|| {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE_SECRET).open(&temporary).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        let tls = client_config(ca, Some((&temporary, &temporary)))?;
        fs::rename(&temporary, path).map_err(failed)?;
        // The new name is on the disk, too; where a directory can't be synced it is a power cut's risk, no failure.
        if let Some(dir) = path.parent() {
            let _ = fs::File::open(dir).and_then(|dir| dir.sync_all());
        }
        Ok(tls)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer};

    const DAY: Duration = Duration::from_secs(86_400);

    struct Cloud {
        home: tempfile::TempDir,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Cloud {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            fs::write(home.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
            Self { home, issuer: Issuer::new(params, key) }
        }

        /// A certificate of `cam`, issued so many days ago, for two years.
        fn params(days_ago: u32) -> CertificateParams {
            let now = clock::wall().unix_secs();
            let mut params = CertificateParams::default();
            let from = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.cast_unsigned()) - days_ago * DAY;
            (params.not_before, params.not_after) = (from, from + 730 * DAY);
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "cam");
            params
        }

        fn enrol(&self, days_ago: u32) {
            let key = KeyPair::generate().unwrap();
            let certificate = Self::params(days_ago).signed_by(&key, &self.issuer).unwrap();
            fs::write(self.home.path().join("cam.pem"), certificate.pem()).unwrap();
            fs::write(self.home.path().join("cam.key"), key.serialize_pem()).unwrap();
        }

        fn sign(&self, request: &Outgoing, days_ago: u32) -> CertificateResponse {
            let request: CertificateRequest = serde_json::from_slice(&request.payload).unwrap();
            let csr = CertificateSigningRequestParams::from_pem(&request.csr).unwrap();
            let pem = Self::params(days_ago).signed_by(&csr.public_key, &self.issuer).unwrap().pem();
            CertificateResponse::issued(request.request_id, Text::try_from(pem.as_str()).unwrap(), 0)
        }

        fn files(&self) -> DeviceFiles {
            let file = |name: &str| self.home.path().join(name);
            let configured = Pair { cert: file("cam.pem"), key: file("cam.key") };
            DeviceFiles { device: DeviceId::new("cam").unwrap(), ca: file("ca.pem"), configured, state_dir: Some(file("state")) }
        }
    }

    #[tokio::test]
    async fn a_certificate_in_its_last_month_is_renewed_with_a_key_of_the_device_s_own_and_shown_from_then_on() {
        let cloud = Cloud::new();
        cloud.enrol(699);
        assert!(Renewal::open(&cloud.files()).unwrap().look().is_none(), "31 days left");
        cloud.enrol(705);
        let mut renewal = Renewal::open(&cloud.files()).unwrap();
        let before = renewal.tls();
        let lost = cloud.sign(&renewal.look().unwrap(), 0);
        let request = renewal.look().unwrap();
        renewal.answer(&serde_json::to_vec(&lost).unwrap()).await;
        assert!(Arc::ptr_eq(&before, &renewal.tls()), "an answer to an older request");
        renewal.answer(&serde_json::to_vec(&cloud.sign(&request, 0)).unwrap()).await;
        assert!(!Arc::ptr_eq(&before, &renewal.tls()) && renewal.look().is_none());
        // After a restart, too; what a person brings later counts again.
        let renewed = cloud.home.path().join("cam.renewed.pem");
        assert_eq!(Pair::newest(&cloud.files()), Pair { cert: renewed.clone(), key: renewed.clone() });
        fs::write(&renewed, "torn").unwrap();
        assert_eq!(Pair::newest(&cloud.files()).cert, cloud.files().configured.cert);
    }

    #[tokio::test]
    async fn a_pair_that_a_person_brings_later_counts_and_one_that_does_not_fit_is_not_taken() {
        let cloud = Cloud::new();
        cloud.enrol(705);
        let mut renewal = Renewal::open(&cloud.files()).unwrap();
        let before = renewal.tls();
        let request = renewal.look().unwrap();
        let other = Renewal::open(&cloud.files()).unwrap().look().unwrap();
        let mut stolen = cloud.sign(&other, 0);
        stolen.request_id = Text::new();
        renewal.answer(&serde_json::to_vec(&stolen).unwrap()).await;
        assert!(Arc::ptr_eq(&before, &renewal.tls()) && !cloud.home.path().join("cam.renewed.pem").exists(), "another key's");
        drop(request);
        let request = renewal.look().unwrap();
        renewal.answer(&serde_json::to_vec(&cloud.sign(&request, 10)).unwrap()).await;
        assert_ne!(Pair::newest(&cloud.files()).cert, cloud.files().configured.cert);
        cloud.enrol(1);
        assert_eq!(Pair::newest(&cloud.files()).cert, cloud.files().configured.cert);
    }

    #[tokio::test]
    async fn a_device_whose_clock_is_behind_goes_by_the_cloud_s() {
        let cloud = Cloud::new();
        cloud.enrol(600);
        let mut renewal = Renewal::open(&cloud.files()).unwrap();
        assert!(renewal.look().is_none());
        renewal.note_cloud_time(clock::wall().unix_secs() + 110 * 86_400);
        tokio::time::timeout(Duration::from_secs(1), renewal.due()).await.unwrap();
        assert!(renewal.look().is_some());
    }
}
