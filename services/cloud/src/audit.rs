//! The audit log: append-only, hash-chained.
//!
//! Each row's `hash` is SHA-256 over the previous row's hash and all of its own columns, each behind its length. So a change
//! of any bit of any row breaks the chain at that row. The number of rows and the last hash are kept twice more: in the row
//! `audit_head`, and in the file `audit.head` beside the database, so that rows cut off at the end are noticed as well.
//!
//! What it can't show: someone who can write the whole data directory can make a new, consistent log. Keep a copy of
//! `audit.head` elsewhere (`sightline audit verify` prints it); a log that no longer contains that head was rewritten. A crash
//! between a commit and the file's renewal leaves the file behind the table; that is no fault.
//!
//! No secrets go in: callers pass names, addresses, counts and codes.

use crate::{
    data_dir::{MODE_SECRET, unix_secs, write},
    database::Database,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, SqliteConnection};
use std::{fmt::Write as _, path::PathBuf};

/// The hash before the first row.
pub(crate) const HASH_ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AuditEntry {
    /// Its number, from 1 without a gap.
    pub seq: i64,
    /// Seconds since 1970.
    pub time: i64,
    /// Who: `device:ID`, `operator`, `origin:ID`, `cli`, `system`.
    pub actor: String,
    /// What, as `noun.verb`.
    pub action: String,
    /// To whom.
    pub subject: String,
    /// More, as JSON.
    pub detail: String,
    /// The chain.
    pub hash: String,
}

/// What `audit verify` found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every row is as it was written.
    Intact {
        /// How many rows.
        rows: i64,
        /// The last row's hash: keep it elsewhere.
        head: String,
    },
    /// A row was changed, or one is missing before it.
    Broken {
        /// The first row that does not fit.
        seq: i64,
        /// What does not fit.
        reason: String,
    },
    /// Rows are missing at the end.
    Truncated {
        /// The rows that are left.
        rows: i64,
        /// The rows that there must be.
        rows_expected: i64,
    },
}

/// Something to write down.
#[derive(Clone, Debug)]
pub(crate) struct Operation<'a> {
    pub(crate) actor: &'a str,
    pub(crate) action: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) detail: serde_json::Value,
}

/// Appends inside a transaction that holds the write lock (`BEGIN IMMEDIATE`). Returns the new head; see [`write_head`].
pub(crate) async fn append_in(connection: &mut SqliteConnection, operation: &Operation<'_>) -> Result<Head, sqlx::Error> {
    let head = sqlx::query("SELECT count, hash FROM audit_head WHERE id = 1").fetch_one(&mut *connection).await?;
    let (count, prev_hash): (i64, String) = (head.try_get(0)?, head.try_get(1)?);
    let (seq, time, detail) = (count + 1, unix_secs(), operation.detail.to_string());
    let columns = [seq.to_string(), time.to_string()];
    let hash = chain(
        prev_hash.as_bytes(),
        [columns[0].as_bytes(), columns[1].as_bytes(), operation.actor.as_bytes(), operation.action.as_bytes()]
            .into_iter()
            .chain([operation.subject.as_bytes(), detail.as_bytes()]),
    );
    sqlx::query("INSERT INTO audit (seq, time, actor, action, subject, detail, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(seq)
        .bind(time)
        .bind(operation.actor)
        .bind(operation.action)
        .bind(operation.subject)
        .bind(&detail)
        .bind(&prev_hash)
        .bind(&hash)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE audit_head SET count = $1, hash = $2 WHERE id = 1").bind(seq).bind(&hash).execute(connection).await?;
    Ok(Head { count: seq, hash })
}

/// Number of rows and last hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) count: i64,
    pub(crate) hash: String,
}

/// Writes the head's copy beside the database, after the commit.
pub(crate) fn write_head(path: &std::path::Path, head: &Head) {
    if let Err(error) = write(path, &format!("{} {}\n", head.count, head.hash), MODE_SECRET) {
        tracing::warn!(%error, "the copy of the audit log's head was not written");
    }
}

fn read_head_file(path: &PathBuf) -> Option<Head> {
    let text = std::fs::read_to_string(path).ok()?;
    let (count, hash) = text.trim().split_once(' ')?;
    Some(Head { count: count.parse().ok()?, hash: hash.to_owned() })
}

/// SHA-256 over the previous hash and the columns, each behind its length: no two rows have the same canonical form.
fn chain<'a>(prev_hash: &[u8], columns: impl Iterator<Item = &'a [u8]>) -> String {
    let mut sha = Sha256::new().chain_update(prev_hash);
    for column in columns {
        sha.update(u64::try_from(column.len()).unwrap_or(u64::MAX).to_be_bytes());
        sha.update(column);
    }
    hex(&sha.finalize())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Checks every row and both copies of the head.
pub(crate) async fn verify(database: &Database, head_path: &PathBuf) -> Result<Verdict, sqlx::Error> {
    let mut before = Head { count: 0, hash: HASH_ZERO.to_owned() };
    let file = read_head_file(head_path);
    let mut file_fits = file.as_ref().is_none_or(|file| file.count == 0);
    loop {
        // As blobs: a flipped bit may have made a text no text. In pages, so that a log of years fits into memory.
        let rows = sqlx::query(
            "SELECT CAST(seq AS BLOB), CAST(time AS BLOB), CAST(actor AS BLOB), CAST(action AS BLOB), CAST(subject AS BLOB), \
             CAST(detail AS BLOB), CAST(prev_hash AS BLOB), CAST(hash AS BLOB) FROM audit WHERE seq > $1 ORDER BY seq LIMIT 1000",
        )
        .bind(before.count)
        .fetch_all(database.pool())
        .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return Ok(Verdict::Broken { seq: before.count + 1, reason: format!("the database can't read it: {error}") }),
        };
        if rows.is_empty() {
            break;
        }
        for row in rows {
            match check_row(&row, &before) {
                Ok(head) => before = head,
                Err(reason) => return Ok(Verdict::Broken { seq: before.count + 1, reason }),
            }
            file_fits |= file.as_ref() == Some(&before);
        }
    }
    let row = sqlx::query("SELECT count, hash FROM audit_head WHERE id = 1").fetch_optional(database.pool()).await?;
    let kept = row.map(|row| Head { count: row.try_get(0).unwrap_or(-1), hash: row.try_get(1).unwrap_or_default() });
    let expected = kept.iter().chain(&file).map(|head| head.count).max().unwrap_or(0);
    if expected > before.count {
        return Ok(Verdict::Truncated { rows: before.count, rows_expected: expected });
    }
    if kept.as_ref() != Some(&before) || !file_fits {
        let which = if file_fits { "the row audit_head" } else { "the file audit.head" };
        return Ok(Verdict::Broken { seq: before.count, reason: format!("{which} names another chain") });
    }
    Ok(Verdict::Intact { rows: before.count, head: before.hash })
}

fn check_row(row: &sqlx::sqlite::SqliteRow, before: &Head) -> Result<Head, String> {
    let mut columns: [&[u8]; 8] = [&[]; 8];
    for (at, column) in columns.iter_mut().enumerate() {
        *column = row.try_get(at).map_err(|error| format!("column {at} can't be read: {error}"))?;
    }
    let [seq, time, actor, action, subject, detail, prev_hash, hash] = columns;
    if seq != (before.count + 1).to_string().as_bytes() {
        return Err(format!("row {} is missing", before.count + 1));
    }
    if prev_hash != before.hash.as_bytes() {
        return Err("it does not follow the row before it".to_owned());
    }
    let expected = chain(prev_hash, [seq, time, actor, action, subject, detail].into_iter());
    if hash != expected.as_bytes() {
        return Err("its contents were changed".to_owned());
    }
    Ok(Head { count: before.count + 1, hash: expected })
}

/// Entries below `before` (exclusive; `None`: from the end), newest first.
pub(crate) async fn entries(database: &Database, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let rows = sqlx::query("SELECT seq, time, actor, action, subject, detail, hash FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2")
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(database.pool())
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditEntry {
                seq: row.try_get(0)?,
                time: row.try_get(1)?,
                actor: row.try_get(2)?,
                action: row.try_get(3)?,
                subject: row.try_get(4)?,
                detail: row.try_get(5)?,
                hash: row.try_get(6)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use serde_json::json;

    async fn log_of(rows: i64) -> (tempfile::TempDir, Database, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let database = Database::open(&dir).await.unwrap();
        for row in 0..rows {
            let detail = json!({ "row": row });
            database.audit(&Operation { actor: "cli", action: "device.add", subject: "cam", detail }).await.unwrap();
        }
        let head = dir.file("audit.head");
        (home, database, head)
    }

    /// Flips a bit of one byte of row 3, checks, and flips it back; false where the column has no such byte.
    async fn flip(database: &Database, head: &PathBuf, column: &str, byte: usize) -> bool {
        let select = format!("SELECT CAST({column} AS BLOB) FROM audit WHERE seq = 3");
        let update = format!("UPDATE audit SET {column} = CAST($1 AS TEXT) WHERE seq = 3");
        let was: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(select)).fetch_one(database.pool()).await.unwrap();
        let mut is = was.clone();
        let Some(flipped) = is.get_mut(byte) else { return false };
        *flipped ^= 1 << (byte % 8);
        sqlx::query(sqlx::AssertSqlSafe(update.clone())).bind(&is).execute(database.pool()).await.unwrap();
        let verdict = verify(database, head).await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { seq: 3, .. }), "{column} byte {byte}: {verdict:?}");
        sqlx::query(sqlx::AssertSqlSafe(update)).bind(&was).execute(database.pool()).await.unwrap();
        true
    }

    #[tokio::test]
    async fn any_flipped_bit_is_found_and_its_row_named() {
        let (_home, database, head) = log_of(5).await;
        assert!(matches!(verify(&database, &head).await.unwrap(), Verdict::Intact { rows: 5, .. }));
        for column in ["time", "actor", "action", "subject", "detail", "prev_hash", "hash"] {
            let mut byte = 0;
            while flip(&database, &head, column, byte).await {
                byte += 1;
            }
            assert!(byte > 2);
        }
        assert!(matches!(verify(&database, &head).await.unwrap(), Verdict::Intact { .. }));
    }

    #[tokio::test]
    async fn rows_cut_off_at_the_end_are_noticed_even_with_the_head_row_mended() {
        let (_home, database, head) = log_of(4).await;
        sqlx::query("DELETE FROM audit WHERE seq > 2").execute(database.pool()).await.unwrap();
        assert_eq!(verify(&database, &head).await.unwrap(), Verdict::Truncated { rows: 2, rows_expected: 4 });
        sqlx::query("UPDATE audit_head SET count = 2, hash = (SELECT hash FROM audit WHERE seq = 2)")
            .execute(database.pool())
            .await
            .unwrap();
        assert_eq!(verify(&database, &head).await.unwrap(), Verdict::Truncated { rows: 2, rows_expected: 4 });
        sqlx::query("DELETE FROM audit WHERE seq = 1").execute(database.pool()).await.unwrap();
        assert!(matches!(verify(&database, &head).await.unwrap(), Verdict::Broken { seq: 1, .. }));
    }
}
