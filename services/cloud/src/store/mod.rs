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
pub(crate) mod groups;
pub(crate) mod holds;
pub(crate) mod hooks;
mod marks;
mod origins;
pub(crate) mod playback_keys;
pub(crate) mod relays;
mod reserve;
pub(crate) mod revocations;
pub(crate) mod servers;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod signing_keys;
mod sqlite;
pub(crate) mod users;

use crate::{
    audit::chain::Head,
    clock::Clock,
    data_dir::{self, DataDir},
};
use actor::Actor;
use error::{At as _, StoreError};
use reserve::Reserve;
use sightline_signal::PlaybackIds;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// A handle; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// Reads only.
    pool: sqlite::Pool,
    writer: sqlite::Pool,
    path: Arc<Path>,
    audit_head: Arc<Path>,
    /// The newest head of the audit log that this process has written or read.
    audit_known: Arc<Mutex<Option<Head>>>,
    reserve: Reserve,
    clock: Clock,
    playback_ids: PlaybackIds,
    /// 0: no limit.
    #[cfg(test)]
    pages_max: Arc<std::sync::atomic::AtomicI64>,
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
        let pools = sqlite::open(&path).await?;
        let store = Self {
            pool: pools.readers,
            writer: pools.writer,
            path: path.into(),
            audit_head: dir.audit_head().into(),
            audit_known: Arc::default(),
            reserve: Reserve::new(dir.reserve()),
            clock,
            playback_ids: PlaybackIds::of_installation(data_dir::read_or_make_secret(&dir.file("cluster.key"))?.reveal()),
            #[cfg(test)]
            pages_max: Arc::default(),
        };
        store.check_audit_at_start().await?;
        store.reserve.fill();
        Ok(store)
    }

    /// What viewers call a stream, by its publishing name.
    pub(crate) fn playback_of(&self, stream: &str) -> String {
        self.playback_ids.of(stream).as_str().to_owned()
    }

    /// Begins an operation.
    pub(crate) async fn write<'a>(&'a self, actor: &'a Actor) -> Result<Write<'a>, StoreError> {
        Ok(Write { store: self, tx: self.begin().await?, actor })
    }

    async fn begin(&self) -> Result<sqlite::Transaction, StoreError> {
        self.check_file()?;
        let tx = sqlite::Transaction::begin(&self.writer).await.at(&self.path)?;
        #[cfg(test)]
        let tx = self.limited(tx).await;
        Ok(tx)
    }

    #[cfg(test)]
    async fn limited(&self, mut tx: sqlite::Transaction) -> sqlite::Transaction {
        let max = self.pages_max.load(std::sync::atomic::Ordering::Relaxed);
        if max > 0 {
            sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {max}"))).fetch_one(&mut *tx).await.unwrap();
        }
        tx
    }

    /// A file that someone has removed still takes writes, which nobody would ever read again.
    fn check_file(&self) -> Result<(), StoreError> {
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(StoreError::Gone { path: self.path.to_path_buf() }),
            // Any other trouble is the database's own to report.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether the database takes writes: it makes one that nobody reads.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn try_write(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlite::touch(&mut tx).await.at(&self.path)?;
        tx.commit().await.map(drop).at(&self.path)
    }

    /// Copies the database into a new file, whole and as of one moment.
    pub(crate) async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        sqlite::copy(&self.writer, path).await.at(&self.path)
    }

    /// Takes room for what can't wait, where there is enough of it.
    pub(crate) fn fill_reserve(&self) {
        self.reserve.fill();
    }

    /// Gives that room back if `error` says that the disk is full: then it is worth another try.
    pub(crate) fn open_reserve(&self, error: &StoreError) -> bool {
        error.is_full() && self.reserve.open()
    }

    /// Lets the database grow no more, or again: how a test fills the disk.
    #[cfg(test)]
    pub(crate) async fn limit_pages(&self, is_limited: bool) {
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&self.pool).await.unwrap();
        self.pages_max.store(if is_limited { pages } else { i64::from(i32::MAX) }, std::sync::atomic::Ordering::Relaxed);
    }

    /// Closes all connections. The last one folds the write-ahead log in.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
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

/// A column with a group's path.
fn group_path(row: &sqlite::Row, at: usize) -> Result<crate::people::names::GroupPath, sqlx::Error> {
    use sqlx::Row as _;
    crate::people::names::GroupPath::new(row.try_get(at)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::{actor::Action, *};
    use crate::audit::chain::Verdict;
    use serde_json::json;

    /// praeclarum/sqlite-net#782: a full disk left connections behind that refused every transaction until a restart.
    #[tokio::test]
    async fn the_first_write_after_a_full_disk_succeeds() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        store.limit_pages(true).await;
        let filler = json!({ "filler": "x".repeat(9000) });
        for _ in 0..10 {
            let write = store.write(&Actor::Cli).await.unwrap();
            let error = write.commit(Action::DeviceAdd, "cam", filler.clone()).await.unwrap_err();
            assert!(error.is_full(), "{error}");
        }
        store.limit_pages(false).await;
        let write = store.write(&Actor::Cli).await.unwrap();
        write.commit(Action::DeviceAdd, "cam", filler).await.unwrap();
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Intact { rows: 1, .. }));
    }

    #[tokio::test]
    async fn an_operation_that_is_given_up_leaves_no_lock_and_no_trace() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        for _ in 0..3 {
            let mut write = store.write(&Actor::Cli).await.unwrap();
            write.next_epoch().await.unwrap();
        }
        assert_eq!(store.newest_epoch().await.unwrap(), 0);
        store.try_write().await.unwrap();
    }

    #[tokio::test]
    async fn whoever_reads_waits_for_no_writer() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let _held = store.write(&Actor::Cli).await.unwrap();
        for _ in 0..20 {
            assert!(store.devices("", 10).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_database_that_is_removed_while_it_is_open_takes_no_writes_and_says_so() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        std::fs::remove_file(&*store.path).unwrap();
        assert!(matches!(store.try_write().await, Err(StoreError::Gone { .. })));
    }

    /// `device add` beside a cloud at its first start: both made the same tables, and one failed.
    #[tokio::test]
    async fn a_database_is_opened_once_no_one_else_brings_it_up_to_date() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let other = std::fs::File::create(home.path().join("sightline.migrate.lock")).unwrap();
        other.lock().unwrap();
        let mut opening = std::pin::pin!(Store::open(&dir, Clock::default()));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(200), &mut opening).await.is_err(), "it waits");
        drop(other);
        opening.await.unwrap().try_write().await.unwrap();
    }
}
