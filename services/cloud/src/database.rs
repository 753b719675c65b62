//! The database: SQLite in WAL mode, shared by the running cloud and the command line.

use crate::{
    CloudError,
    audit::{self, Head, Operation},
    data_dir::{DataDir, unix_millis, unix_secs},
};
use sightline_signal::{DeviceId, report::RevokedStream};
use sqlx::{
    Row as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{os::unix::fs::OpenOptionsExt as _, path::PathBuf, time::Duration};

/// Connections: SQLite writes one at a time; a few more read.
const CONNECTIONS_MAX: u32 = 4;
/// How long a write waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams whose revocation is told to origins, newest first: bounds a report's answer at about a megabyte.
const REVOKED_STREAMS_MAX: i64 = 10_000;

/// A handle; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: SqlitePool,
    path: PathBuf,
    head_path: PathBuf,
}

/// A device as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeviceRow {
    pub(crate) id: DeviceId,
    pub(crate) stream: String,
    pub(crate) may_push: bool,
    pub(crate) created_at: i64,
    pub(crate) last_seen: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
    cert_issued_min_ms: i64,
    cert_issued_min_from_ms: i64,
}

impl DeviceRow {
    /// Whether a certificate of this device is still good: not revoked, and not replaced by a newer one.
    pub(crate) fn takes_certificate(&self, issued_at_ms: i64) -> bool {
        self.revoked_at.is_none() && (issued_at_ms >= self.cert_issued_min_ms || unix_millis() < self.cert_issued_min_from_ms)
    }
}

/// A device's newest allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AllocationRow {
    pub(crate) device: DeviceId,
    pub(crate) server: String,
    pub(crate) bitrate_kbps: u64,
    pub(crate) issued_at: i64,
}

/// What enrolling or renewing a device writes.
#[derive(Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) token_sha256: &'a [u8],
    pub(crate) cert_issued_min_ms: i64,
    /// Until then older certificates stay good.
    pub(crate) cert_issued_min_from_ms: i64,
}

impl Database {
    /// Opens the database of the data directory, makes it at the first start and brings it up to date.
    pub(crate) async fn open(dir: &DataDir) -> Result<Self, CloudError> {
        let path = dir.database();
        // It holds the signing keys: made readable by its owner alone before SQLite writes into it.
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(crate::data_dir::MODE_SECRET)
            .open(&path)
            .map_err(|source| CloudError::File { path: path.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let database = |source| CloudError::Database { path: path.clone(), source };
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await.map_err(database)?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(|source| CloudError::Migration { path: path.clone(), source })?;
        Ok(Self { pool, head_path: dir.file("audit.head"), path })
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Names the file in an error.
    pub(crate) fn error(&self, source: sqlx::Error) -> CloudError {
        CloudError::Database { path: self.path.clone(), source }
    }

    pub(crate) fn audit_head_path(&self) -> &PathBuf {
        &self.head_path
    }

    /// A transaction that has the write lock from its first statement: what it reads stays true until it commits.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// Appends to the audit log and commits.
    pub(crate) async fn commit_with(&self, mut tx: Transaction<'static, Sqlite>, operation: &Operation<'_>) -> Result<Head, sqlx::Error> {
        let head = audit::append_in(&mut tx, operation).await?;
        tx.commit().await?;
        audit::write_head(&self.head_path, &head);
        metrics::counter!("sightline_audit_rows_total").increment(1);
        Ok(head)
    }

    /// Appends to the audit log.
    pub(crate) async fn audit(&self, operation: &Operation<'_>) -> Result<Head, sqlx::Error> {
        let tx = self.write().await?;
        self.commit_with(tx, operation).await
    }

    /// Appends what may be lost rather than fail the operation that it tells of.
    pub(crate) async fn audit_or_warn(&self, operation: &Operation<'_>) {
        if let Err(error) = self.audit(operation).await {
            tracing::error!(%error, action = operation.action, subject = operation.subject, "not written to the audit log");
        }
    }

    pub(crate) async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRow>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT id, stream, may_push, created_at, last_seen, revoked_at, cert_issued_min_ms, cert_issued_min_from_ms \
             FROM devices WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(device_of).transpose()
    }

    pub(crate) async fn device_by_token(&self, token_sha256: &[u8]) -> Result<Option<DeviceRow>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT id, stream, may_push, created_at, last_seen, revoked_at, cert_issued_min_ms, cert_issued_min_from_ms \
             FROM devices WHERE token_sha256 = $1",
        )
        .bind(token_sha256)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(device_of).transpose()
    }

    /// Devices above `after`, by id.
    pub(crate) async fn devices(&self, after: &str, limit: u32) -> Result<Vec<DeviceRow>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id, stream, may_push, created_at, last_seen, revoked_at, cert_issued_min_ms, cert_issued_min_from_ms \
             FROM devices WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(device_of).collect()
    }

    /// Ids of all revoked devices.
    pub(crate) async fn revoked_devices(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT id FROM devices WHERE revoked_at IS NOT NULL").fetch_all(&self.pool).await
    }

    /// What origins must refuse.
    pub(crate) async fn revoked_streams(&self) -> Result<Vec<RevokedStream>, sqlx::Error> {
        let rows = sqlx::query("SELECT stream, epoch_min FROM revoked_streams ORDER BY revoked_at DESC LIMIT $1")
            .bind(REVOKED_STREAMS_MAX)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok(RevokedStream { stream: row.try_get(0)?, epoch_min: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0) }))
            .collect()
    }

    /// The next epoch of the hybrid logical clock: the wall clock in milliseconds, or one more than the last where that is later.
    /// One statement, so that it rises over restarts, over a clock that was set back, and over processes.
    pub(crate) async fn next_epoch(tx: &mut Transaction<'static, Sqlite>) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("UPDATE epoch_clock SET epoch = max(epoch + 1, $1) WHERE id = 1 RETURNING epoch")
            .bind(unix_millis())
            .fetch_one(&mut **tx)
            .await
    }

    /// Enrols a device that is not there, or is revoked: with a new stream name, so that what was revoked stays revoked.
    pub(crate) async fn enrol(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        id: &DeviceId,
        stream: &str,
        credentials: &Credentials<'_>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO devices (id, stream, token_sha256, created_at, cert_issued_min_ms, cert_issued_min_from_ms) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET stream = excluded.stream, \
             token_sha256 = excluded.token_sha256, created_at = excluded.created_at, may_push = 1, revoked_at = NULL, last_seen = NULL, \
             cert_issued_min_ms = excluded.cert_issued_min_ms, cert_issued_min_from_ms = excluded.cert_issued_min_from_ms",
        )
        .bind(id.as_str())
        .bind(stream)
        .bind(credentials.token_sha256)
        .bind(unix_secs())
        .bind(credentials.cert_issued_min_ms)
        .bind(credentials.cert_issued_min_from_ms)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// The newest allocation of every device.
    pub(crate) async fn allocations(&self) -> Result<Vec<AllocationRow>, sqlx::Error> {
        let rows = sqlx::query("SELECT device, server, bitrate_kbps, issued_at FROM allocations").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                Ok(AllocationRow {
                    device: device_id(row, 0)?,
                    server: row.try_get(1)?,
                    bitrate_kbps: u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
                    issued_at: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// Remembers which life of an origin reported last; returns the one before, if it was another.
    pub(crate) async fn origin_booted(&self, id: &str, boot_id: &str) -> Result<Option<String>, sqlx::Error> {
        let mut tx = self.write().await?;
        let before: Option<String> =
            sqlx::query_scalar("SELECT boot_id FROM origins WHERE id = $1").bind(id).fetch_optional(&mut *tx).await?;
        sqlx::query("INSERT INTO origins (id, boot_id) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id")
            .bind(id)
            .bind(boot_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(before.filter(|before| before != boot_id))
    }

    /// Writes when devices were last seen.
    pub(crate) async fn store_last_seen(&self, seen: &[(DeviceId, i64)]) -> Result<(), sqlx::Error> {
        let mut tx = self.write().await?;
        for (device, at) in seen {
            sqlx::query("UPDATE devices SET last_seen = $2 WHERE id = $1").bind(device.as_str()).bind(at).execute(&mut *tx).await?;
        }
        tx.commit().await
    }

    /// Closes all connections; the write-ahead log is folded in by the last of them.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn device_id(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<DeviceId, sqlx::Error> {
    DeviceId::new(row.try_get(at)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn device_of(row: &sqlx::sqlite::SqliteRow) -> Result<DeviceRow, sqlx::Error> {
    Ok(DeviceRow {
        id: device_id(row, 0)?,
        stream: row.try_get(1)?,
        may_push: row.try_get(2)?,
        created_at: row.try_get(3)?,
        last_seen: row.try_get(4)?,
        revoked_at: row.try_get(5)?,
        cert_issued_min_ms: row.try_get(6)?,
        cert_issued_min_from_ms: row.try_get(7)?,
    })
}
