//! Everything that is SQLite's own: how to open it, how to lock it, how to bring it up to date.

use super::error::{At as _, StoreError};
use crate::data_dir::MODE_SECRET;
use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

pub(super) type Pool = sqlx::SqlitePool;
pub(super) type Row = sqlx::sqlite::SqliteRow;
pub(super) type Transaction = sqlx::Transaction<'static, sqlx::Sqlite>;

/// Connections: SQLite writes one at a time; a few more read.
const CONNECTIONS_MAX: u32 = 4;
/// How long a write waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The steps that make the schema, by number. A step never changes once it was released: each database keeps its checksum.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "start", include_str!("migrations/0001_start.sql")),
    (2, "device settings", include_str!("migrations/0002_device_settings.sql")),
    (3, "events answers cursors", include_str!("migrations/0003_events_answers_cursors.sql")),
];

/// Opens the file, makes it at the first start and brings it up to date.
pub(super) async fn open(path: &Path) -> Result<Pool, StoreError> {
    // It contains the signing keys: only the owner can read it before SQLite writes into it.
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE_SECRET)
        .open(path)
        .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await.at(path)?;
    migrator(MIGRATIONS.len()).run(&pool).await.map_err(|source| StoreError::Migration { path: path.to_owned(), source })?;
    Ok(pool)
}

/// A transaction that has the write lock from its first statement: what it reads stays true until it commits.
pub(super) async fn begin_write(pool: &Pool) -> Result<Transaction, sqlx::Error> {
    pool.begin_with("BEGIN IMMEDIATE").await
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
        let pool = open(&path).await.unwrap();
        let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM device_settings WHERE device = 'cam'").fetch_one(&pool).await.unwrap();
        assert_eq!(epoch, 0);
    }
}
