//! Signed checkpoints of the audit log, carried out of the machine: origins keep the newest one, and show it with each report.
//!
//! Whoever can write the database can make another consistent log, or put an old one back. The key that signs here is not in the
//! database, and what an origin keeps is out of reach: a log that does not hold it was rolled back or rewritten, and that is found at the
//! origin's next report, or by hand (`sightline audit verify --checkpoint FILE`).

use super::chain::Head;
use crate::{
    clock::Clock,
    data_dir::{DataDir, DataDirError, MODE_SECRET, read, write},
    events::{kind::EventKind, log::EventLog},
    servers::id::ServerId,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::json;
use sightline_signal::report::AuditCheckpoint;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A checkpoint is handed out for so long: rows that are younger could be lost unseen, and each new one is a file that origins write.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Signs and compares them.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    key: CheckpointKey,
    store: Store,
    events: Arc<EventLog>,
    clock: Clock,
    newest: Mutex<Option<(Instant, AuditCheckpoint)>>,
    /// What each origin showed last, once it was looked at: an origin shows the same every two seconds.
    seen: Mutex<HashMap<String, AuditCheckpoint>>,
}

/// How a checkpoint compares with the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "checkpoint", rename_all = "snake_case")]
pub enum CheckpointVerdict {
    /// The log holds it.
    Held {
        /// Its number of entries.
        rows: u64,
    },
    /// The log is shorter, or has another entry there: it was rolled back or rewritten.
    Lost {
        /// The checkpoint's number of entries.
        rows: u64,
        /// The log's.
        rows_found: i64,
    },
    /// It is signed by another key than `audit.key`: that was replaced, or the checkpoint is another installation's.
    OtherKey,
    /// Its signature is wrong.
    Forged,
}

/// The key in the file `audit.key`.
pub(crate) struct CheckpointKey(Ed25519KeyPair);

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl CheckpointKey {
    /// Reads it, or makes it at the first start.
    pub(crate) fn open(dir: &DataDir) -> Result<Self, DataDirError> {
        let path = dir.file("audit.key");
        let unusable = |reason: &str| DataDirError::certificate(&path, &reason);
        if !path.exists() {
            let pair = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(|_| unusable("no Ed25519 key was made"))?;
            write(&path, &URL_SAFE_NO_PAD.encode(pair.as_ref()), MODE_SECRET)?;
        }
        let mend = "it holds no Ed25519 key: put the backup's in its place, or remove it to get a new one";
        let pkcs8 = URL_SAFE_NO_PAD.decode(read(&path)?.trim()).map_err(|_| unusable(mend))?;
        Ed25519KeyPair::from_pkcs8(&pkcs8).map(Self).map_err(|_| unusable(mend))
    }

    fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref())
    }

    fn sign(&self, head: Head, time: i64) -> AuditCheckpoint {
        let rows = u64::try_from(head.count).unwrap_or_default();
        let mut checkpoint = AuditCheckpoint { rows, hash: head.hash, time, key: self.public(), signature: String::new() };
        checkpoint.signature = URL_SAFE_NO_PAD.encode(self.0.sign(checkpoint.signed_text().as_bytes()).as_ref());
        checkpoint
    }

    /// `None`: it is good, as far as the signature says.
    fn objection(&self, checkpoint: &AuditCheckpoint) -> Option<CheckpointVerdict> {
        if checkpoint.key != self.public() {
            return Some(CheckpointVerdict::OtherKey);
        }
        let signature = URL_SAFE_NO_PAD.decode(&checkpoint.signature).unwrap_or_default();
        let key = UnparsedPublicKey::new(&ED25519, self.0.public_key().as_ref());
        let is_good = key.verify(checkpoint.signed_text().as_bytes(), &signature).is_ok();
        (!is_good).then_some(CheckpointVerdict::Forged)
    }
}

/// Signs the log as it is.
pub(crate) async fn sign(key: &CheckpointKey, store: &Store, clock: &Clock) -> Result<AuditCheckpoint, StoreError> {
    Ok(key.sign(store.audit_head().await?, clock.unix_secs()))
}

/// Compares a checkpoint with the log.
pub(crate) async fn compare(key: &CheckpointKey, store: &Store, checkpoint: &AuditCheckpoint) -> Result<CheckpointVerdict, StoreError> {
    if let Some(objection) = key.objection(checkpoint) {
        return Ok(objection);
    }
    let head = Head { count: i64::try_from(checkpoint.rows).unwrap_or(i64::MAX), hash: checkpoint.hash.clone() };
    Ok(match store.holds_audit_head(&head).await? {
        None => CheckpointVerdict::Held { rows: checkpoint.rows },
        Some(rows_found) => CheckpointVerdict::Lost { rows: checkpoint.rows, rows_found },
    })
}

impl Checkpoints {
    pub(crate) fn new(key: CheckpointKey, store: Store, events: Arc<EventLog>, clock: Clock) -> Self {
        Self { key, store, events, clock, newest: Mutex::default(), seen: Mutex::default() }
    }

    /// The one to carry out; the same for a minute. `None` where the database can't be read now.
    pub(crate) async fn newest(&self) -> Option<AuditCheckpoint> {
        let now = self.clock.now();
        let kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((signed_at, checkpoint)) = kept
            && now.saturating_duration_since(signed_at) < CHECKPOINT_INTERVAL
        {
            return Some(checkpoint);
        }
        let checkpoint = sign(&self.key, &self.store, &self.clock).await.ok()?;
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, checkpoint.clone()));
        Some(checkpoint)
    }

    /// Looks at what an origin has kept. What the log does not hold is logged, audited and an event, once.
    pub(crate) async fn shown_by(&self, server: &ServerId, checkpoint: &AuditCheckpoint) -> Result<(), StoreError> {
        let is_known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(server.as_str()) == Some(checkpoint);
        if is_known {
            return Ok(());
        }
        let verdict = compare(&self.key, &self.store, checkpoint).await?;
        // Servers are bounded by the inventory, which takes no more of them.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(server.as_str().to_owned(), checkpoint.clone());
        if matches!(verdict, CheckpointVerdict::Held { .. }) {
            return Ok(());
        }
        tracing::error!(%server, ?verdict, signed_at = checkpoint.time, "the audit log does not hold the checkpoint that an origin has kept");
        metrics::counter!("sightline_audit_gaps_total").increment(1);
        let mut detail = json!({ "server": server.to_string(), "signed_at": checkpoint.time, "rows_known": checkpoint.rows });
        if let (Some(detail), Ok(serde_json::Value::Object(verdict))) = (detail.as_object_mut(), serde_json::to_value(&verdict)) {
            detail.extend(verdict);
        }
        self.store.log(&Actor::Origin(server.clone()), Action::AuditCheckpointLost, "audit", detail.clone()).await;
        self.events.push("cloud", EventKind::AuditRolledBack, detail).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        home: tempfile::TempDir,
        store: Store,
        checkpoints: Checkpoints,
        events: Arc<EventLog>,
        clock: Clock,
    }

    impl Bench {
        async fn new(home: tempfile::TempDir) -> Self {
            let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
            let store = Store::open(&dir, clock.clone()).await.unwrap();
            let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
            let checkpoints = Checkpoints::new(CheckpointKey::open(&dir).unwrap(), store.clone(), events.clone(), clock.clone());
            Self { home, store, checkpoints, events, clock }
        }

        async fn grow(&self, rows: u32) {
            for row in 0..rows {
                self.store.log(&Actor::Cli, Action::DeviceAdd, "cam", json!({ "row": row, "home": self.home.path() })).await;
            }
        }

        async fn compare(&self, checkpoint: &AuditCheckpoint) -> CheckpointVerdict {
            compare(&self.checkpoints.key, &self.store, checkpoint).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_log_that_was_rolled_back_or_rewritten_does_not_hold_what_an_origin_has_kept() {
        let bench = Bench::new(tempfile::tempdir().unwrap()).await;
        bench.grow(3).await;
        let old = tempfile::tempdir().unwrap();
        bench.store.copy_to(&old.path().join("sightline.sqlite")).await.unwrap();
        bench.grow(2).await;
        let kept = bench.checkpoints.newest().await.unwrap();
        bench.grow(4).await;
        assert_eq!(bench.checkpoints.newest().await.unwrap(), kept, "the same for a minute");
        bench.clock.advance(CHECKPOINT_INTERVAL);
        assert_eq!(bench.checkpoints.newest().await.unwrap().rows, 9);
        let server = ServerId::new("o1").unwrap();
        bench.checkpoints.shown_by(&server, &kept).await.unwrap();
        assert_eq!((bench.compare(&kept).await, kept.rows), (CheckpointVerdict::Held { rows: 5 }, 5));
        // The old database in the place of the new one, and the key beside it: the chain itself is whole.
        std::fs::copy(bench.home.path().join("audit.key"), old.path().join("audit.key")).unwrap();
        let rolled_back = Bench::new(old).await;
        assert!(matches!(rolled_back.store.verify_audit().await.unwrap(), crate::audit::chain::Verdict::Intact { .. }));
        assert_eq!(rolled_back.compare(&kept).await, CheckpointVerdict::Lost { rows: 5, rows_found: 3 });
        rolled_back.grow(9).await;
        assert!(matches!(rolled_back.compare(&kept).await, CheckpointVerdict::Lost { .. }), "other rows in the place of those");
        for _ in 0..2 {
            rolled_back.checkpoints.shown_by(&server, &kept).await.unwrap();
        }
        let events = rolled_back.events.events(None, None, 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.event).collect::<Vec<_>>(), [EventKind::AuditRolledBack], "once");
        assert_eq!(rolled_back.store.audit_entries(None, 1).await.unwrap()[0].action, "audit.checkpoint_lost");
    }

    #[tokio::test]
    async fn a_checkpoint_of_another_key_and_one_that_was_changed_are_told_apart() {
        let bench = Bench::new(tempfile::tempdir().unwrap()).await;
        bench.grow(2).await;
        let good = bench.checkpoints.newest().await.unwrap();
        let changed = AuditCheckpoint { rows: 1, ..good.clone() };
        assert_eq!(bench.compare(&changed).await, CheckpointVerdict::Forged);
        let other = Bench::new(tempfile::tempdir().unwrap()).await;
        assert_eq!(other.compare(&good).await, CheckpointVerdict::OtherKey);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(bench.home.path().join("audit.key")).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
