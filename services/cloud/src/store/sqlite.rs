//! Everything that is SQLite's own: how to open it, how to lock it, how to bring it up to date.

use super::error::{At as _, StoreError};
use crate::data_dir::MODE_SECRET;
use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::{File, TryLockError},
    io,
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

pub(super) type Pool = sqlx::SqlitePool;
pub(super) type Connection = SqliteConnection;
pub(super) type Row = sqlx::sqlite::SqliteRow;

/// Connections that read. They never wait for a writer: what is looked up when a device comes in has its own.
const READERS_MAX: u32 = 4;
/// Writes are one after another in SQLite anyway. One connection makes those of this process wait in order, and leaves the readers alone.
const WRITERS_MAX: u32 = 1;
/// How long a write waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a write waits for this process's other writes: shorter than a request may take.
const WRITER_WAIT: Duration = Duration::from_secs(8);
/// A reader that an error of the disk has left in some state is gone after this.
const READER_LIFETIME: Duration = Duration::from_secs(60);
/// The ending of the file whose lock says who brings the database up to date.
const MIGRATE_LOCK: &str = "migrate.lock";
/// How often whoever waits for it looks again: it takes some milliseconds, and far longer only for a large database of an old version.
const MIGRATE_LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The steps that make the schema, by number. A step never changes once it was released: each database keeps its checksum.
const MIGRATIONS: [(i64, &str, &str); 11] = [
    (1, "start", include_str!("migrations/0001_start.sql")),
    (2, "device settings", include_str!("migrations/0002_device_settings.sql")),
    (3, "events answers cursors", include_str!("migrations/0003_events_answers_cursors.sql")),
    (4, "removed devices", include_str!("migrations/0004_removed_devices.sql")),
    (5, "playback keys", include_str!("migrations/0005_playback_keys.sql")),
    (6, "marks", include_str!("migrations/0006_marks.sql")),
    (7, "relays", include_str!("migrations/0007_relays.sql")),
    (8, "hooks", include_str!("migrations/0008_hooks.sql")),
    (9, "people", include_str!("migrations/0009_people.sql")),
    (11, "holds", include_str!("migrations/0011_holds.sql")),
    (12, "servers", include_str!("migrations/0012_servers.sql")),
];

/// The connections of a database.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    pub(super) readers: Pool,
    pub(super) writer: Pool,
}

/// Opens the file, makes it at the first start and brings it up to date.
pub(super) async fn open(path: &Path) -> Result<Pools, StoreError> {
    // It contains the signing keys: only the owner can read it before SQLite writes into it. One that is there is not touched: to close
    // a file of SQLite's gives up the locks that this process has on it.
    match std::fs::OpenOptions::new().append(true).create_new(true).mode(MODE_SECRET).open(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => return Err(StoreError::File { path: path.to_owned(), source }),
        Ok(_) | Err(_) => {}
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // What was answered is on the disk: after a power cut no token exists without its row, and the audit log is as long as its head says.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    let writer =
        SqlitePoolOptions::new().max_connections(WRITERS_MAX).acquire_timeout(WRITER_WAIT).connect_with(options.clone()).await.at(path)?;
    let turn = turn_to_migrate(path).await?;
    migrator(MIGRATIONS.len()).run(&writer).await.map_err(|source| StoreError::Migration { path: path.to_owned(), source })?;
    drop(turn);
    let readers = SqlitePoolOptions::new().max_connections(READERS_MAX).max_lifetime(READER_LIFETIME);
    let readers = readers.connect_with(options.pragma("query_only", "ON")).await.at(path)?;
    Ok(Pools { readers, writer })
}

/// Waits until no one else brings this database up to date. The library has a lock for that with PostgreSQL only: a command beside a cloud
/// that starts for the first time would make the same tables at the same time. The lock ends with the process that has it.
async fn turn_to_migrate(path: &Path) -> Result<File, StoreError> {
    let path = path.with_extension(MIGRATE_LOCK);
    let failed = |source| StoreError::File { path: path.clone(), source };
    let lock = File::options().write(true).create(true).truncate(false).mode(MODE_SECRET).open(&path).map_err(failed)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(MIGRATE_LOOK_INTERVAL).await,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

/// A transaction that has the write lock from its first statement: what it reads stays true until it commits.
///
/// A connection whose transaction did not commit is thrown away, whatever the reason. SQLite rolls back by itself where the disk is
/// full, the library does not know it, and such a connection would refuse every transaction after it.
pub(super) struct Transaction {
    /// `None` once it was committed.
    connection: Option<PoolConnection<sqlx::Sqlite>>,
}

impl Transaction {
    pub(super) async fn begin(writer: &Pool) -> Result<Self, sqlx::Error> {
        let mut transaction = Self { connection: Some(writer.acquire().await?) };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Ends it. What is done before the result is dropped is done before any other write of this process.
    pub(super) async fn commit(mut self) -> Result<Committed, sqlx::Error> {
        sqlx::query("COMMIT").execute(&mut *self).await?;
        Ok(Committed { _connection: self.connection.take() })
    }
}

/// The connection of a transaction that has ended.
pub(super) struct Committed {
    _connection: Option<PoolConnection<sqlx::Sqlite>>,
}

impl Deref for Transaction {
    type Target = SqliteConnection;
    #[expect(clippy::expect_used, reason = "only `commit` takes the connection, and it consumes the transaction")]
    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("a transaction has its connection until it commits")
    }
}

impl DerefMut for Transaction {
    #[expect(clippy::expect_used, reason = "only `commit` takes the connection, and it consumes the transaction")]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("a transaction has its connection until it commits")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
        }
    }
}

/// Copies the whole database as of one moment, with what is in its write-ahead log.
pub(super) async fn copy(writer: &Pool, path: &Path) -> Result<(), sqlx::Error> {
    let path = path.to_str().ok_or_else(|| sqlx::Error::Configuration("the path is not UTF-8".into()))?;
    sqlx::query("VACUUM INTO $1").bind(path).execute(writer).await.map(drop)
}

/// Writes what nobody reads. It has to change something: a row that stays as it was is not written.
pub(super) async fn touch(tx: &mut Transaction) -> Result<(), sqlx::Error> {
    let version: i32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut **tx).await?;
    let next = if version == 1 { "PRAGMA user_version = 2" } else { "PRAGMA user_version = 1" };
    sqlx::query(next).execute(&mut **tx).await.map(drop)
}

/// The first `steps` steps.
fn migrator(steps: usize) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().take(steps).map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::hex;

    /// What the database of a released version keeps of each step: were one of these another, that database would not open.
    #[test]
    fn released_steps_keep_their_checksums() {
        let migrator = migrator(2);
        let kept: Vec<_> =
            migrator.iter().map(|step| (step.version, step.description.to_string(), hex(&step.checksum)[..16].to_owned())).collect();
        assert_eq!(kept, [(1, "start".into(), "f980e2b024efc9ce".into()), (2, "device settings".into(), "112c1e044860aa57".into())]);
    }

    #[tokio::test]
    async fn a_database_of_the_version_before_is_brought_up_to_date() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("old.sqlite");
        let old = SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true)).await.unwrap();
        migrator(2).run(&old).await.unwrap();
        sqlx::query("INSERT INTO device_settings (device, version, settings, desired_at, version_max) VALUES ('cam', 3, '{}', 1, 3)")
            .execute(&old)
            .await
            .unwrap();
        old.close().await;
        let pools = open(&path).await.unwrap();
        let epoch: i64 =
            sqlx::query_scalar("SELECT epoch FROM device_settings WHERE device = 'cam'").fetch_one(&pools.readers).await.unwrap();
        assert_eq!(epoch, 0);
    }
}
