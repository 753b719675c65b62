//! The table `answers`: a question that comes again, by another way or after a restart, gets the identical answer.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    signed,
};
use serde::{Deserialize, Serialize};
use sightline_signal::{Claims, DeviceId, Response};

/// Answers that are kept; above it the oldest go. About a kilobyte each.
const ANSWERS_KEPT_MAX: i64 = 20_000;

/// An answer without its token. The token is a secret, so the database has only what it is signed from:
/// Ed25519 makes the same token of the same claims.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) claims: Claims,
    /// The key that signs.
    pub(crate) kid: String,
}

const SELECT: &str = "SELECT answer FROM answers WHERE device = $1 AND request_id = $2 AND expires_at > $3";

impl Store {
    /// The answer that a question got before, while it is valid.
    pub(crate) async fn answer(&self, device: &DeviceId, request_id: &str) -> Result<Option<Answer>, StoreError> {
        let select = sqlx::query_scalar(SELECT).bind(device.as_str()).bind(request_id).bind(self.clock.unix_secs());
        let text: Option<String> = select.fetch_optional(&self.pool).await.at(&self.path)?;
        text.map(|text| answer_of(&text)).transpose().at(&self.path)
    }

    /// Drops answers that have expired, and the oldest where there are too many.
    pub(crate) async fn drop_old_answers(&self) -> Result<(), StoreError> {
        let expired = sqlx::query("DELETE FROM answers WHERE expires_at <= $1").bind(self.clock.unix_secs());
        expired.execute(&self.writer).await.at(&self.path)?;
        let surplus = sqlx::query("DELETE FROM answers WHERE epoch <= (SELECT epoch FROM answers ORDER BY epoch DESC LIMIT 1 OFFSET $1)");
        surplus.bind(ANSWERS_KEPT_MAX).execute(&self.writer).await.map(|_| ()).at(&self.path)
    }
}

impl Write<'_> {
    /// The same under the write lock: of two that ask the same at once, the second finds the first one's answer.
    pub(crate) async fn answer(&mut self, device: &DeviceId, request_id: &str) -> Result<Option<Answer>, StoreError> {
        let select = sqlx::query_scalar(SELECT).bind(device.as_str()).bind(request_id).bind(self.store.clock.unix_secs());
        let text: Option<String> = select.fetch_optional(&mut *self.tx).await.at(&self.store.path)?;
        text.map(|text| answer_of(&text)).transpose().at(&self.store.path)
    }

    /// Keeps the answer to a question until its token expires.
    pub(crate) async fn keep_answer(&mut self, device: &DeviceId, request_id: &str, answer: &Answer) -> Result<(), StoreError> {
        let text = serde_json::to_string(answer).map_err(|error| sqlx::Error::Encode(Box::new(error))).at(&self.store.path)?;
        let kept = sqlx::query(
            "INSERT INTO answers (device, request_id, epoch, answer, expires_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (device, request_id) DO UPDATE SET epoch = excluded.epoch, answer = excluded.answer, \
             expires_at = excluded.expires_at",
        )
        .bind(device.as_str())
        .bind(request_id)
        .bind(signed(answer.claims.epoch))
        .bind(text)
        .bind(answer.claims.expires_at)
        .execute(&mut *self.tx)
        .await;
        kept.map(|_| ()).at(&self.store.path)
    }

    /// Drops a device's answers: enrolled anew, it has another stream; denied, what they hold is void.
    pub(crate) async fn drop_answers(&mut self, device: &DeviceId) -> Result<(), StoreError> {
        let dropped = sqlx::query("DELETE FROM answers WHERE device = $1").bind(device.as_str()).execute(&mut *self.tx).await;
        dropped.map(|_| ()).at(&self.store.path)
    }
}

fn answer_of(text: &str) -> Result<Answer, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        data_dir::DataDir,
        store::actor::{Action, Actor},
    };
    use serde_json::json;
    use sightline_signal::Text;
    use std::time::Duration;

    fn answer(device: &DeviceId, epoch: u64, expires_at: i64) -> Answer {
        let claims =
            Claims { device: device.clone(), stream: Text::new(), epoch, expires_at, origin_set: Text::new(), bitrate_kbps_max: 1 };
        Answer { response: Response { success: true, ..Response::default() }, claims, kid: "k1".into() }
    }

    #[tokio::test]
    async fn an_answer_is_kept_over_a_restart_and_until_it_expires() {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let cam = DeviceId::new("cam").unwrap();
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let mut write = store.write(&Actor::System).await.unwrap();
        assert_eq!(write.answer(&cam, "r1").await.unwrap(), None);
        let epoch = write.next_epoch().await.unwrap();
        let kept = answer(&cam, epoch, clock.unix_secs() + 60);
        write.keep_answer(&cam, "r1", &kept).await.unwrap();
        write.commit(Action::AllocationIssue, "cam", json!({})).await.unwrap();
        store.close().await;
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        assert_eq!(store.answer(&cam, "r1").await.unwrap(), Some(kept));
        assert_eq!(store.answer(&DeviceId::new("other").unwrap(), "r1").await.unwrap(), None);
        clock.advance(Duration::from_secs(61));
        assert_eq!(store.answer(&cam, "r1").await.unwrap(), None);
        store.drop_old_answers().await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM answers").fetch_one(&store.pool).await.unwrap();
        assert_eq!(rows, 0);
    }
}
