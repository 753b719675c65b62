//! The database: all SQL of the cloud, a file a table.
//!
//! [`Store`] reads, and does the housekeeping that nobody asked for. Whatever someone asked for is changed by a [`Write`], which
//! needs to know the actor, and ends with an action in the audit log. So nothing changes without a row that names who did it.
//!
//! Every statement is standard SQL that PostgreSQL takes too; what is SQLite's own is in `sqlite.rs`.

pub(crate) mod actor;
pub(crate) mod allocations;
pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod devices;
mod epochs;
pub(crate) mod error;
mod events;
mod origins;
pub(crate) mod revocations;
pub(crate) mod settings;
pub(crate) mod signing_keys;
mod sqlite;

use crate::{clock::Clock, data_dir::DataDir};
use actor::Actor;
use error::{At as _, StoreError};
use std::{path::Path, sync::Arc};

/// A handle; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: sqlite::Pool,
    path: Arc<Path>,
    audit_head: Arc<Path>,
    clock: Clock,
}

/// An operation that changes the database: it has the write lock until it is committed or dropped.
pub(crate) struct Write<'a> {
    store: &'a Store,
    tx: sqlite::Transaction,
    actor: &'a Actor,
}

impl Store {
    /// Opens the database of the data directory, makes it at the first start and brings it up to date.
    pub(crate) async fn open(dir: &DataDir, clock: Clock) -> Result<Self, StoreError> {
        let path = dir.database();
        let pool = sqlite::open(&path).await?;
        Ok(Self { pool, path: path.into(), audit_head: dir.audit_head().into(), clock })
    }

    /// Begins an operation.
    pub(crate) async fn write<'a>(&'a self, actor: &'a Actor) -> Result<Write<'a>, StoreError> {
        Ok(Write { store: self, tx: sqlite::begin_write(&self.pool).await.at(&self.path)?, actor })
    }

    /// Whether the database answers.
    pub(crate) async fn is_ready(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }

    /// Closes all connections. The last one folds the write-ahead log in.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

impl std::fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write").field("actor", self.actor).finish_non_exhaustive()
    }
}

/// SQL has no unsigned numbers. Ours end far below the limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A column with a device's id.
fn device_id(row: &sqlite::Row, at: usize) -> Result<sightline_signal::DeviceId, sqlx::Error> {
    use sqlx::Row as _;
    sightline_signal::DeviceId::new(row.try_get(at)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
