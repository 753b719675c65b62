//! The device's certificate, its key, and the authority of the broker: the files of `[mqtt]`.

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Finding, clock};
use crate::{cloud::renewal::Pair, config::local::Local};
use sightline_capture::tls;

/// A certificate that ends sooner than this is named, for whoever is away then needs a person.
const ENDS_SOON_SECS: i64 = 30 * 86_400;

/// What the files say.
pub(super) struct Identity {
    /// With the device's certificate, where all is well with the files.
    pub(super) client: Option<Arc<rustls::ClientConfig>>,
    /// With the authority alone.
    pub(super) authority: Option<Arc<rustls::ClientConfig>>,
    /// From when to when the certificate is good, in seconds since 1970.
    pub(super) validity: Option<(i64, i64)>,
    detail: String,
    /// Each with its fix.
    problems: Vec<(String, String)>,
}

impl Identity {
    pub(super) fn finding(&self) -> Finding {
        if self.problems.is_empty() {
            return Finding::Passed(self.detail.clone());
        }
        let (details, mends): (Vec<&str>, Vec<&str>) = self.problems.iter().map(|(detail, mend)| (detail.as_str(), mend.as_str())).unzip();
        Finding::failed(details.join("; "), mends.join("; "))
    }
}

/// Who a certificate names, and when it is good.
struct Certificate {
    names: Vec<String>,
    from_secs: i64,
    until_secs: i64,
}

/// Why a certificate can't be read.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("{}: {source}", path.display())]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{}: no X.509 certificate: {reason}", path.display())]
    X509 { path: PathBuf, reason: String },
}

/// Looks through the files of a configuration.
pub(super) fn read(local: &Local) -> Identity {
    let files = &local.cloud;
    // What the device has fetched since counts, as with the agent.
    let pair = Pair::newest(&local.device_files());
    let mut problems = Vec::new();
    let is_there: Vec<bool> = [("mqtt.ca", &files.ca), ("mqtt.cert", &pair.cert), ("mqtt.key", &pair.key)]
        .into_iter()
        .map(|(key, path)| present(key, path).map_err(|problem| problems.push(problem)).is_ok())
        .collect();
    let [has_ca, has_cert, has_key] = is_there[..] else { unreachable!("three files") };
    let authority = has_ca.then(|| tls::client_config(&files.ca, None)).and_then(|tls| {
        tls.map_err(|problem| problems.push((format!("mqtt.ca: {problem}"), "set mqtt.ca to the cloud's ca.pem".to_owned()))).ok()
    });
    let mut validity = None;
    let mut detail = String::new();
    if has_cert {
        match certificate(&pair.cert) {
            Ok(found) => {
                validity = Some((found.from_secs, found.until_secs));
                detail = judge(&found, local.device.as_str(), clock::now_secs(), &mut problems);
            }
            Err(problem) => problems.push((format!("mqtt.cert: {problem}"), RENEW.to_owned())),
        }
    }
    let client = (authority.is_some() && has_cert && has_key)
        .then(|| tls::client_config(&files.ca, Some((&pair.cert, &pair.key))))
        .and_then(|tls| {
            let mend = "set mqtt.key to the key (PEM) that was made with mqtt.cert";
            tls.map_err(|problem| problems.push((format!("mqtt.key: {problem}"), mend.to_owned()))).ok()
        });
    Identity { client, authority, validity, detail, problems }
}

/// How a device comes by its files.
const RENEW: &str = "on the cloud's machine run `sightline device rotate ID`, and bring the new files to mqtt.cert and mqtt.key";

fn present(key: &str, path: &Path) -> Result<(), (String, String)> {
    let mend = || format!("set {key} to its file: `sightline device add ID` on the cloud's machine makes ca.pem, ID.pem and ID.key");
    if path.as_os_str().is_empty() {
        return Err((format!("{key} is not set"), mend()));
    }
    match std::fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err((format!("{key}: {}: {error}", path.display()), format!("let this user read {}", path.display())))
        }
        Err(error) => Err((format!("{key}: {}: {error}", path.display()), mend())),
    }
}

fn certificate(path: &Path) -> Result<Certificate, CertificateError> {
    let der = CertificateDer::from_pem_file(path).map_err(|source| CertificateError::Pem { path: path.to_owned(), source })?;
    let parsed = x509_parser::parse_x509_certificate(&der);
    let (_, parsed) = parsed.map_err(|error| CertificateError::X509 { path: path.to_owned(), reason: error.to_string() })?;
    let names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect();
    let validity = parsed.validity();
    Ok(Certificate { names, from_secs: validity.not_before.timestamp(), until_secs: validity.not_after.timestamp() })
}

/// Says what is good about it, and adds what is not.
fn judge(certificate: &Certificate, device_id: &str, now_secs: i64, problems: &mut Vec<(String, String)>) -> String {
    let Certificate { names, from_secs, until_secs } = certificate;
    if !matches!(&names[..], [name] if name == device_id) {
        let named = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        problems.push((
            format!("mqtt.cert names {named}, and device_id is {device_id}"),
            "set device_id as the certificate names the device, or bring the files of this device".to_owned(),
        ));
    }
    if now_secs < *from_secs {
        let problem = format!("mqtt.cert is good from {} only, and the clock says {}", clock::shown(*from_secs), clock::shown(now_secs));
        problems.push((problem, "set this machine's clock (NTP)".to_owned()));
    }
    if now_secs > *until_secs {
        problems.push((format!("mqtt.cert has ended at {}", clock::shown(*until_secs)), RENEW.to_owned()));
    }
    let soon = if until_secs - now_secs < ENDS_SOON_SECS { ": soon; the agent renews it while it is connected" } else { "" };
    format!("certificate of {device_id}, good until {}{soon}; its key fits", clock::shown(*until_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn judged(names: &[&str], now_secs: i64) -> (String, Vec<(String, String)>) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let mut problems = Vec::new();
        let certificate = Certificate { names, from_secs: 1_000_000_000, until_secs: 1_100_000_000 };
        let detail = judge(&certificate, "cam-1", now_secs, &mut problems);
        (detail, problems)
    }

    #[test]
    fn a_certificate_is_judged_by_its_name_and_its_dates() {
        let (detail, problems) = judged(&["cam-1"], 1_050_000_000);
        assert!(problems.is_empty() && !detail.contains("soon"), "{problems:?} {detail}");
        assert!(judged(&["cam-1"], 1_099_999_000).0.contains("soon"));
        assert!(judged(&["cam-2"], 1_050_000_000).1[0].0.contains("names cam-2"));
        assert!(judged(&[], 1_050_000_000).1[0].0.contains("names nobody"));
        assert!(judged(&["cam-1"], 1_100_000_001).1[0].1.contains("device rotate"));
        assert!(judged(&["cam-1"], 999_999_999).1[0].1.contains("clock"));
    }

    #[test]
    fn files_that_are_not_there_are_each_named_with_their_setting() {
        let mut config = Config::new("cam-1", "test");
        config.mqtt.url = "mqtts://localhost".to_owned();
        config.mqtt.cert = "/nonexistent/cam-1.pem".into();
        let identity = read(&config.checked().unwrap().local);
        let Finding::Failed { detail, .. } = identity.finding() else { panic!("it passed") };
        for part in ["mqtt.ca is not set", "/nonexistent/cam-1.pem", "mqtt.key is not set"] {
            assert!(detail.contains(part), "{detail}");
        }
        assert!(identity.client.is_none() && identity.authority.is_none());
    }
}
