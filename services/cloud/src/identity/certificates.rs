//! When certificates end: the server's own is renewed while it runs, and those of devices are told of in good time.

use super::{
    authority::{Authority, LEAF_VALIDITY},
    tls::ServerCertificate,
};
use crate::{
    clock::Clock,
    events::{kind::EventKind, log::EventLog},
    store::{Store, devices::DeviceRow},
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Warnings begin this long before a certificate ends.
const WARN_BEFORE_SEC: i64 = 30 * DAY_SEC;
/// A day, in seconds.
const DAY_SEC: i64 = 86_400;
/// How often ends are looked at. A warning is repeated as often.
const LOOK_INTERVAL: Duration = Duration::from_secs(86_400);
/// Devices that are read at a time.
const DEVICES_PER_PAGE: u32 = 500;

/// From when on a device's newest certificate is good, in seconds since 1970; near enough: a day less for clocks that are behind.
pub(crate) fn device_certificate_from(device: &DeviceRow) -> i64 {
    device.certificate_issued_at_ms() / 1000
}

/// When a device's newest certificate ends, in seconds since 1970.
pub(crate) fn device_certificate_until(device: &DeviceRow) -> i64 {
    device.certificate_issued_at_ms() / 1000 + i64::try_from(LEAF_VALIDITY.as_secs()).unwrap_or(i64::MAX)
}

/// What looks at them.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: Authority,
    /// What the server's certificate holds besides the names of every machine.
    pub(crate) host_names: Vec<String>,
    pub(crate) server: Arc<ServerCertificate>,
    pub(crate) store: Store,
    pub(crate) events: Arc<EventLog>,
    pub(crate) clock: Clock,
    pub(crate) looked_at: Option<Instant>,
}

impl Certificates {
    /// Takes a server's certificate that was replaced on the disk. Once a day renews it, and looks at those of devices.
    pub(crate) async fn look(&mut self) {
        let now = self.clock.now();
        // A clock that was set may have ended it at once.
        let is_over = self.server.until() <= self.clock.unix_secs();
        if is_over || self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_INTERVAL) {
            self.looked_at = Some(now);
            if let Err(error) = self.authority.ensure_server(&self.host_names) {
                tracing::error!(%error, "the server's certificate can't be renewed");
            }
            self.look_at_authority().await;
            self.look_at_devices().await;
        }
        match self.server.reload() {
            Ok(None) => {}
            Ok(Some(until)) => {
                tracing::info!(until, "the server's certificate was replaced; new connections get it");
                self.events.push("cloud", EventKind::CertificateRenewed, json!({ "certificate": "server", "until": until })).await;
            }
            // What was read before goes on.
            Err(error) => tracing::warn!(%error, "the server's certificate on the disk can't be used"),
        }
        measure("server", self.server.until());
    }

    async fn look_at_authority(&self) {
        let until = self.authority.valid_until();
        measure("authority", until);
        self.warn("cloud", "authority", until, "a new authority means new certificates for all devices").await;
    }

    async fn look_at_devices(&self) {
        let (mut after, mut ending) = (String::new(), 0_u32);
        loop {
            let devices = match self.store.devices(&after, DEVICES_PER_PAGE).await {
                Ok(devices) => devices,
                Err(error) => return tracing::warn!(%error, "the certificates of devices could not be looked at"),
            };
            let Some(last) = devices.last() else { break };
            last.id.as_str().clone_into(&mut after);
            for device in devices.iter().filter(|device| device.revoked_at.is_none()) {
                let mend = format!(
                    "the device renews it by itself once it is connected; `sightline device rotate {}` makes one by hand",
                    device.id
                );
                ending += u32::from(self.warn(device.id.as_str(), "device", device_certificate_until(device), &mend).await);
            }
        }
        metrics::gauge!("sightline_device_certificates_ending").set(f64::from(ending));
    }

    /// True where it ends soon.
    async fn warn(&self, subject: &str, certificate: &str, until: i64, mend: &str) -> bool {
        let left = until - self.clock.unix_secs();
        if left > WARN_BEFORE_SEC {
            return false;
        }
        let days = left.div_euclid(DAY_SEC);
        tracing::warn!(subject, certificate, days, mend, "a certificate ends soon");
        let detail = json!({ "certificate": certificate, "until": until, "days": days, "mend": mend });
        self.events.push(subject, EventKind::CertificateEnds, detail).await;
        true
    }
}

fn measure(certificate: &'static str, until: i64) {
    // Seconds since 1970 stay far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    metrics::gauge!("sightline_certificate_ends_timestamp_seconds", "certificate" => certificate).set(until as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data_dir::DataDir, devices::registry::Registry, store::actor::Actor};
    use sightline_signal::DeviceId;

    #[tokio::test]
    async fn the_server_s_certificate_is_renewed_while_it_runs_and_a_device_s_end_is_told_a_month_before() {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let authority = || Authority::open(&dir, clock.clone()).unwrap();
        authority().ensure_server(&[]).unwrap();
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
        let cam = DeviceId::new("cam").unwrap();
        Registry::new(dir.clone(), authority(), store.clone(), clock.clone()).add(&Actor::Cli, &cam).await.unwrap();
        let server = ServerCertificate::load(&dir).unwrap();
        let (first, looked_at) = (server.until(), None);
        let mut certificates = Certificates {
            authority: authority(),
            host_names: Vec::new(),
            server,
            store,
            events: events.clone(),
            clock: clock.clone(),
            looked_at,
        };
        let kinds = async || events.events(None, None, 10).await.unwrap().iter().map(|event| event.event).collect::<Vec<_>>();
        certificates.look().await;
        assert!(kinds().await.is_empty());
        clock.advance(Duration::from_secs(701 * 86_400));
        certificates.look().await;
        assert_eq!(kinds().await, [EventKind::CertificateRenewed, EventKind::CertificateEnds]);
        assert!(certificates.server.until() > first + 600 * DAY_SEC);
        // Once a day.
        certificates.look().await;
        assert_eq!(kinds().await.len(), 2);
    }
}
