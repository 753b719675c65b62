//! The hybrid logical clock. It numbers allocations, revocations and settings, so it is also the cursor of who follows them.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    unsigned,
};

impl Store {
    /// The last epoch that was given out.
    pub(crate) async fn newest_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM epoch_clock WHERE id = 1").fetch_one(&self.pool).await.at(&self.path)?;
        Ok(unsigned(epoch))
    }
}

impl Write<'_> {
    /// The next epoch: the wall clock in milliseconds, or one more than the last where that is later. One statement, so that it
    /// rises over restarts, over a clock that was set back, and over processes. The write lock makes epochs commit in their
    /// order: whoever has read up to an epoch never finds a lower one afterwards.
    pub(crate) async fn next_epoch(&mut self) -> Result<u64, StoreError> {
        let now = self.store.clock.unix_millis();
        let epoch: i64 = sqlx::query_scalar(
            "UPDATE epoch_clock SET epoch = CASE WHEN epoch + 1 > $1 THEN epoch + 1 ELSE $1 END WHERE id = 1 RETURNING epoch",
        )
        .bind(now)
        .fetch_one(&mut *self.tx)
        .await
        .at(&self.store.path)?;
        Ok(unsigned(epoch))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        clock::Clock,
        data_dir::DataDir,
        store::{
            Store,
            actor::{Action, Actor},
        },
    };
    use serde_json::json;
    use std::time::Duration;

    #[tokio::test]
    async fn epochs_rise_within_a_millisecond_and_follow_the_clock() {
        let home = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), clock.clone()).await.unwrap();
        let mut write = store.write(&Actor::System).await.unwrap();
        let mut epochs = Vec::new();
        for _ in 0..50 {
            epochs.push(write.next_epoch().await.unwrap());
        }
        assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
        clock.advance(Duration::from_secs(60));
        let later = write.next_epoch().await.unwrap();
        assert!(later >= epochs[0] + 60_000, "{later}");
        write.commit(Action::KeysRotate, "test", json!({})).await.unwrap();
        assert_eq!(store.newest_epoch().await.unwrap(), later);
    }
}
