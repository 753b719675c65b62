//! The certificate authority of one installation: a peer is who this authority says it is.
//!
//! Three kinds of certificates, which differ in the organisational unit that only this authority writes: servers, operators and
//! devices. A device's common name is its id; a device that calls itself `operator` is still a device.

use crate::{
    clock::Clock,
    data_dir::{DataDir, DataDirError, MODE_PUBLIC, MODE_SECRET, read, write},
    secrets::random_serial_half,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sightline_signal::DeviceId;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Ten years: the authority outlives its devices' certificates many times.
const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Two years.
pub(crate) const LEAF_VALIDITY: Duration = Duration::from_secs(2 * 365 * 86_400);
/// Certificates are valid from 2024 on, before any clock that is right: a camera's clock may be behind, and what a cloud signs whose own clock is
/// years ahead must not be good only then.
const VALID_FROM_SEC: u64 = 1_704_067_200;
/// A clock that shows less was never set: what is signed by it ends as if it were the beginning of 2026, when this was written.
const CLOCK_LEAST_SEC: u64 = 1_767_225_600;
/// The server's own certificate is renewed at a start this long before its end.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 86_400);

const UNIT_OPERATORS: &str = "operators";
const UNIT_DEVICES: &str = "devices";
const UNIT_SERVERS: &str = "servers";

/// The operator's common name, and an id that no device may have.
pub(crate) const OPERATOR: &str = "operator";

/// Whom a client certificate of our authority names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Operator {
        /// The certificate's common name: `operator`, or the one that it was made for.
        name: String,
        /// The certificate's serial number, in hexadecimal.
        serial: String,
    },
    Device {
        id: DeviceId,
        /// Milliseconds since 1970, from the serial number: `rotate` refuses older ones by it.
        issued_at_ms: i64,
    },
}

/// Why a device's own key gets no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// What it sent can't be signed.
    #[error("csr: {0}; a PKCS #10 request (PEM) with a key of ECDSA P-256 is expected")]
    Request(rcgen::Error),
    /// No random bytes for a serial number.
    #[error(transparent)]
    Serial(DataDirError),
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: DataDir,
    clock: Clock,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority of the data directory, or makes it at the first start.
    pub(crate) fn open(dir: &DataDir, clock: Clock) -> Result<Self, DataDirError> {
        let (pem_path, key_path) = (dir.file("ca.pem"), dir.file("ca.key"));
        if !key_path.exists() && !pem_path.exists() {
            Self::make(&pem_path, &key_path, clock.unix_millis())?;
        }
        let pem = read(&pem_path)?;
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|error| DataDirError::certificate(&key_path, &error))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| DataDirError::certificate(&pem_path, &error))?;
        Ok(Self { issuer, dir: dir.clone(), clock })
    }

    fn make(pem_path: &Path, key_path: &Path, now_ms: i64) -> Result<(), DataDirError> {
        let key = KeyPair::generate().map_err(|error| DataDirError::certificate(key_path, &error))?;
        let mut params = params(CA_VALIDITY, "Sightline CA", "certificate authority", now_ms)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|error| DataDirError::certificate(pem_path, &error))?;
        write(key_path, &key.serialize_pem(), MODE_SECRET)?;
        write(pem_path, &certificate.pem(), MODE_PUBLIC)
    }

    /// When the authority's own certificate ends, in seconds since 1970.
    pub(crate) fn valid_until(&self) -> i64 {
        valid_until(&self.dir.file("ca.pem")).unwrap_or_default()
    }

    /// A device's certificate and key; returns when it was issued, in milliseconds since 1970: after `last_ms`, whatever the clock says.
    /// Certificates of one device are ordered by it.
    pub(crate) fn issue_device(&self, device: &DeviceId, last_ms: i64) -> Result<i64, DataDirError> {
        let issued_at_ms = self.clock.unix_millis().max(last_ms.saturating_add(1));
        let params = client_params(device.as_str(), UNIT_DEVICES, issued_at_ms)?;
        self.issue(params, &self.dir.device_file(device, "pem"), &self.dir.device_file(device, "key"))?;
        Ok(issued_at_ms)
    }

    /// A certificate for a key that a device has made itself; gives it as PEM, and when it ends. Of the request only the key counts.
    pub(crate) fn sign_device(&self, device: &DeviceId, csr: &str, issued_at_ms: i64) -> Result<(String, i64), SignError> {
        let request = CertificateSigningRequestParams::from_pem(csr).map_err(SignError::Request)?;
        let params = client_params(device.as_str(), UNIT_DEVICES, issued_at_ms).map_err(SignError::Serial)?;
        let valid_until = params.not_after.unix_timestamp();
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(SignError::Request)?;
        Ok((certificate.pem(), valid_until))
    }

    /// The operator's certificate, once.
    pub(crate) fn ensure_operator(&self) -> Result<(), DataDirError> {
        let (pem_path, key_path) = (self.dir.file("operator.pem"), self.dir.file("operator.key"));
        if self.is_good(&pem_path, &[]) && key_path.exists() {
            return Ok(());
        }
        let params = client_params(OPERATOR, UNIT_OPERATORS, self.clock.unix_millis())?;
        self.issue(params, &pem_path, &key_path)
    }

    /// A certificate for an operator of this name, and its key; gives where they are.
    pub(crate) fn issue_operator(&self, name: &str) -> Result<(PathBuf, PathBuf), DataDirError> {
        let (pem_path, key_path) = if name == OPERATOR {
            (self.dir.file("operator.pem"), self.dir.file("operator.key"))
        } else {
            (self.dir.operator_file(name, "pem")?, self.dir.operator_file(name, "key")?)
        };
        let params = client_params(name, UNIT_OPERATORS, self.clock.unix_millis())?;
        self.issue(params, &pem_path, &key_path)?;
        Ok((pem_path, key_path))
    }

    /// The server's certificate: made at the first start, and again near its end or when it lacks a name.
    pub(crate) fn ensure_server(&self, extra_names: &[String]) -> Result<(), DataDirError> {
        let (pem_path, key_path) = (self.dir.file("server.pem"), self.dir.file("server.key"));
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
        names.extend(machine_name());
        names.extend_from_slice(extra_names);
        if self.is_good(&pem_path, &names) && key_path.exists() {
            return Ok(());
        }
        let mut params = params(LEAF_VALIDITY, "sightline", UNIT_SERVERS, self.clock.unix_millis())?;
        params.subject_alt_names = CertificateParams::new(names)
            .map_err(|error| DataDirError::certificate(&pem_path, &format!("host_names: {error}")))?
            .subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.issue(params, &pem_path, &key_path)
    }

    /// Whether a certificate can stay: it is not near its end, and contains all of `names`.
    fn is_good(&self, pem_path: &Path, names: &[String]) -> bool {
        let now_secs = self.clock.unix_secs();
        is_good_until(pem_path, now_secs, now_secs + i64::try_from(RENEW_BEFORE.as_secs()).unwrap_or(i64::MAX), names)
    }

    fn issue(&self, params: CertificateParams, pem_path: &Path, key_path: &Path) -> Result<(), DataDirError> {
        let key = KeyPair::generate().map_err(|error| DataDirError::certificate(key_path, &error))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| DataDirError::certificate(pem_path, &error))?;
        write(key_path, &key.serialize_pem(), MODE_SECRET)?;
        write(pem_path, &certificate.pem(), MODE_PUBLIC)
    }
}

/// The serial number of an operator's certificate, in hexadecimal; `None` if the file is none.
pub(crate) fn serial_of(pem_path: &Path) -> Option<String> {
    match shown(&CertificateDer::from_pem_file(pem_path).ok()?)?.subject {
        Subject::Operator { serial, .. } => Some(serial),
        Subject::Device { .. } => None,
    }
}

/// A client's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    pub(crate) subject: Subject,
    /// When it ends, in seconds since 1970. TLS looked at that once; a connection may outlive it.
    pub(crate) valid_until: i64,
}

/// Who a client certificate names. The chain was verified by TLS; this only reads.
pub(crate) fn shown(certificate: &CertificateDer<'_>) -> Option<Shown> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let one = |mut values: Vec<&str>| (values.len() == 1).then(|| values.pop().map(str::to_owned)).flatten();
    let common_name = one(parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect())?;
    let unit = one(parsed.subject().iter_organizational_unit().filter_map(|name| name.as_str().ok()).collect())?;
    let serial = &parsed.tbs_certificate.serial;
    let subject = match unit.as_str() {
        // A name as an id is: it goes into file names, logs and the audit.
        UNIT_OPERATORS => {
            DeviceId::new(&common_name).is_ok().then(|| Subject::Operator { name: common_name, serial: serial.to_str_radix(16) })
        }
        UNIT_DEVICES => {
            let id = DeviceId::new(&common_name).ok()?;
            // The first eight bytes of the sixteen of the serial number; DER drops leading zeros.
            let issued_at_ms = serial.to_u64_digits().get(1).and_then(|&digit| i64::try_from(digit).ok())?;
            Some(Subject::Device { id, issued_at_ms })
        }
        _ => None,
    };
    Some(Shown { subject: subject?, valid_until: parsed.validity().not_after.timestamp() })
}

fn params(validity: Duration, common_name: &str, unit: &str, now_ms: i64) -> Result<CertificateParams, DataDirError> {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or_default()).max(Duration::from_secs(CLOCK_LEAST_SEC));
    params.not_before = epoch + Duration::from_secs(VALID_FROM_SEC);
    params.not_after = epoch + now + validity;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Sightline");
    params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial(now_ms)?);
    Ok(params)
}

fn client_params(common_name: &str, unit: &str, now_ms: i64) -> Result<CertificateParams, DataDirError> {
    let mut params = params(LEAF_VALIDITY, common_name, unit, now_ms)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// Sixteen bytes: the time in milliseconds, then random ones. So certificates of one device are ordered, and no two are alike.
fn serial(issued_at_ms: i64) -> Result<SerialNumber, DataDirError> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&issued_at_ms.to_be_bytes());
    bytes[8..].copy_from_slice(&random_serial_half()?);
    Ok(SerialNumber::from_slice(&bytes))
}

/// When the certificate in a file ends, in seconds since 1970.
pub(crate) fn valid_until(path: &Path) -> Option<i64> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// Whether the certificate is valid until `until_secs` and contains all of `names`.
fn is_good_until(path: &Path, now_secs: i64, until_secs: i64, names: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_file(path) else { return false };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else { return false };
    // One of an earlier version may begin years from now, if the clock was ahead when it was made.
    let begins_late = parsed.validity().not_before.timestamp() > now_secs.max(i64::try_from(VALID_FROM_SEC).unwrap_or(i64::MAX));
    if parsed.validity().not_after.timestamp() < until_secs || begins_late {
        return false;
    }
    if names.is_empty() {
        return true;
    }
    let Ok(Some(held)) = parsed.subject_alternative_name() else { return false };
    names.iter().all(|name| held.value.general_names.iter().any(|general| is_name(general, name)))
}

fn is_name(general: &x509_parser::extensions::GeneralName<'_>, name: &str) -> bool {
    use x509_parser::extensions::GeneralName;
    if let GeneralName::DNSName(dns) = general {
        return *dns == name;
    }
    let GeneralName::IPAddress(bytes) = general else { return false };
    match name.parse() {
        Ok(std::net::IpAddr::V4(address)) => *bytes == address.octets(),
        Ok(std::net::IpAddr::V6(address)) => *bytes == address.octets(),
        Err(_) => false,
    }
}

/// The machine's own name, if it is one that fits into a certificate.
fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    let is_plain =
        !name.is_empty() && name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    is_plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_its_device_and_only_the_unit_makes_an_operator() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let authority = Authority::open(&dir, Clock::default()).unwrap();
        authority.ensure_operator().unwrap();
        // The registry reserves this id; here it shows that the name alone gives no right.
        let impostor = DeviceId::new(OPERATOR).unwrap();
        let issued = authority.issue_device(&impostor, 0).unwrap();
        let read = |path: std::path::PathBuf| shown(&CertificateDer::from_pem_file(path).unwrap()).unwrap().subject;
        assert!(matches!(read(dir.file("operator.pem")), Subject::Operator { name, .. } if name == OPERATOR));
        assert_eq!(read(dir.device_file(&impostor, "pem")), Subject::Device { id: impostor, issued_at_ms: issued });
    }

    #[test]
    fn what_a_cloud_signs_while_its_clock_is_wrong_is_good_once_it_is_right() {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let now = clock.unix_secs();
        // 2040, more or less.
        clock.advance(Duration::from_secs(14 * 365 * 86_400));
        let authority = Authority::open(&dir, clock).unwrap();
        authority.ensure_server(&[]).unwrap();
        let cam = DeviceId::new("cam").unwrap();
        let issued = authority.issue_device(&cam, 0).unwrap();
        for path in [dir.file("ca.pem"), dir.file("server.pem"), dir.device_file(&cam, "pem")] {
            let der = CertificateDer::from_pem_file(path).unwrap();
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
            assert!(parsed.validity().not_before.timestamp() <= now && parsed.validity().not_after.timestamp() > now);
        }
        // The clock is back: the next certificate is a later one all the same.
        let back = Authority::open(&dir, Clock::default()).unwrap();
        assert!(back.issue_device(&cam, issued).unwrap() > issued);
        // A clock that was never set.
        let unset = params(LEAF_VALIDITY, "cam", UNIT_DEVICES, 0).unwrap();
        assert!(unset.not_before.unix_timestamp() <= now && unset.not_after.unix_timestamp() > now);
    }

    #[test]
    fn the_server_s_certificate_is_kept_until_a_name_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let authority = Authority::open(&dir, Clock::default()).unwrap();
        authority.ensure_server(&[]).unwrap();
        let first = read(&dir.file("server.pem")).unwrap();
        Authority::open(&dir, Clock::default()).unwrap().ensure_server(&[]).unwrap();
        assert_eq!(first, read(&dir.file("server.pem")).unwrap());
        authority.ensure_server(&["cloud.example.com".into(), "192.0.2.7".into()]).unwrap();
        assert_ne!(first, read(&dir.file("server.pem")).unwrap());
    }
}
