//! The table `devices`: who may come in.

use super::{
    Store, Write, device_id,
    error::{At as _, StoreError},
    group_path,
    sqlite::Row,
};
use crate::people::names::GroupPath;
use sightline_signal::DeviceId;
use sqlx::Row as _;

/// How long a device's older certificate stays valid after `rotate`: it has to fetch the new one first.
pub(crate) const ROTATION_GRACE_MS: i64 = 3_600_000;

/// A device as it is stored. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeviceRow {
    pub(crate) id: DeviceId,
    pub(crate) stream: String,
    pub(crate) may_push: bool,
    pub(crate) created_at: i64,
    pub(crate) last_seen: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) group: GroupPath,
    cert_issued_min_ms: i64,
    cert_issued_min_from_ms: i64,
}

impl DeviceRow {
    /// When its newest certificate was issued, in milliseconds since 1970.
    pub(crate) fn certificate_issued_at_ms(&self) -> i64 {
        self.cert_issued_min_ms
    }

    /// Whether a certificate of this device is valid: not revoked, and not replaced by a newer one.
    pub(crate) fn takes_certificate(&self, issued_at_ms: i64, now_ms: i64) -> bool {
        // A grace that is farther away than it lasts was given by a clock that was ahead.
        let grace_ms = self.cert_issued_min_from_ms.saturating_sub(now_ms);
        self.revoked_at.is_none() && (issued_at_ms >= self.cert_issued_min_ms || (1..=ROTATION_GRACE_MS).contains(&grace_ms))
    }
}

/// What enrolling or renewing a device writes.
#[derive(Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) token_sha256: &'a [u8],
    pub(crate) cert_issued_min_ms: i64,
    /// Until then older certificates stay valid.
    pub(crate) cert_issued_min_from_ms: i64,
}

impl Store {
    pub(crate) async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, stream, may_push, created_at, last_seen, revoked_at, cert_issued_min_ms, cert_issued_min_from_ms, group_path \
             FROM devices WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await;
        row.and_then(|row| row.as_ref().map(device_of).transpose()).at(&self.path)
    }

    pub(crate) async fn device_by_token(&self, token_sha256: &[u8]) -> Result<Option<DeviceRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, stream, may_push, created_at, last_seen, revoked_at, cert_issued_min_ms, cert_issued_min_from_ms, group_path \
             FROM devices WHERE token_sha256 = $1",
        )
        .bind(token_sha256)
        .fetch_optional(&self.pool)
        .await;
        row.and_then(|row| row.as_ref().map(device_of).transpose()).at(&self.path)
    }

    /// Devices above `after`, by id.
    pub(crate) async fn devices(&self, after: &str, limit: u32) -> Result<Vec<DeviceRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, stream, may_push, created_at, last_seen, revoked_at, cert_issued_min_ms, cert_issued_min_from_ms, group_path \
             FROM devices WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await;
        rows.and_then(|rows| rows.iter().map(device_of).collect()).at(&self.path)
    }

    /// Saves when devices were last seen.
    pub(crate) async fn store_last_seen(&self, seen: &[(DeviceId, i64)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (device, at) in seen {
            let update = sqlx::query("UPDATE devices SET last_seen = $2 WHERE id = $1").bind(device.as_str()).bind(at);
            update.execute(&mut *tx).await.at(&self.path)?;
        }
        tx.commit().await.map(drop).at(&self.path)
    }
}

impl Write<'_> {
    /// Whether there is such a device and it is not revoked.
    pub(crate) async fn is_enrolled(&mut self, id: &DeviceId) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM devices WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.as_str())
            .fetch_one(&mut *self.tx)
            .await
            .at(&self.store.path)?;
        Ok(count != 0)
    }

    /// Whether a device may publish a stream of this name at this moment. What was read before the write lock may be outdated.
    pub(crate) async fn may_push(&mut self, id: &DeviceId, stream: &str) -> Result<bool, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM devices WHERE id = $1 AND stream = $2 AND may_push AND revoked_at IS NULL")
                .bind(id.as_str())
                .bind(stream)
                .fetch_one(&mut *self.tx)
                .await
                .at(&self.store.path)?;
        Ok(count != 0)
    }

    /// Enrols a device that is new or revoked. Its stream's name is a new one, so that what was revoked stays revoked,
    /// and it is in no group: whose it was before sees nothing of it.
    pub(crate) async fn enrol(&mut self, id: &DeviceId, stream: &str, credentials: &Credentials<'_>) -> Result<(), StoreError> {
        let enrolled = sqlx::query(
            "INSERT INTO devices (id, stream, token_sha256, may_push, created_at, cert_issued_min_ms, cert_issued_min_from_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET stream = excluded.stream, \
             token_sha256 = excluded.token_sha256, created_at = excluded.created_at, may_push = excluded.may_push, revoked_at = NULL, \
             last_seen = NULL, group_path = '', cert_issued_min_ms = excluded.cert_issued_min_ms, \
             cert_issued_min_from_ms = excluded.cert_issued_min_from_ms",
        )
        .bind(id.as_str())
        .bind(stream)
        .bind(credentials.token_sha256)
        .bind(true)
        .bind(self.store.clock.unix_secs())
        .bind(credentials.cert_issued_min_ms)
        .bind(credentials.cert_issued_min_from_ms)
        .execute(&mut *self.tx)
        .await;
        enrolled.map(|_| ()).at(&self.store.path)
    }

    /// Replaces a device's bearer token and certificate.
    pub(crate) async fn renew(&mut self, id: &DeviceId, credentials: &Credentials<'_>) -> Result<(), StoreError> {
        let renewed =
            sqlx::query("UPDATE devices SET token_sha256 = $2, cert_issued_min_ms = $3, cert_issued_min_from_ms = $4 WHERE id = $1")
                .bind(id.as_str())
                .bind(credentials.token_sha256)
                .bind(credentials.cert_issued_min_ms)
                .bind(credentials.cert_issued_min_from_ms)
                .execute(&mut *self.tx)
                .await;
        renewed.map(|_| ()).at(&self.store.path)
    }

    /// A device has come with a certificate that it was given since: those before it are refused from now on.
    pub(crate) async fn certificate_seen(&mut self, id: &DeviceId, issued_at_ms: i64) -> Result<(), StoreError> {
        let update = sqlx::query(
            "UPDATE devices SET cert_issued_min_ms = $2, cert_issued_min_from_ms = $3 WHERE id = $1 AND cert_issued_min_ms < $2",
        );
        let update = update.bind(id.as_str()).bind(issued_at_ms).bind(self.store.clock.unix_millis());
        update.execute(&mut *self.tx).await.map(|_| ()).at(&self.store.path)
    }

    /// Allows or forbids a device to publish.
    pub(crate) async fn permit_push(&mut self, id: &DeviceId, may_push: bool) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE devices SET may_push = $2 WHERE id = $1").bind(id.as_str()).bind(may_push);
        update.execute(&mut *self.tx).await.map(|_| ()).at(&self.store.path)
    }
}

fn device_of(row: &Row) -> Result<DeviceRow, sqlx::Error> {
    Ok(DeviceRow {
        id: device_id(row, 0)?,
        stream: row.try_get(1)?,
        may_push: row.try_get(2)?,
        created_at: row.try_get(3)?,
        last_seen: row.try_get(4)?,
        revoked_at: row.try_get(5)?,
        cert_issued_min_ms: row.try_get(6)?,
        cert_issued_min_from_ms: row.try_get(7)?,
        group: group_path(row, 8)?,
    })
}
