//! The table `origins`: the boot id that each origin reported last. It outlives the cloud: a new boot id means that the origin has restarted, not the cloud.

use super::{
    Write,
    error::{At as _, StoreError},
};
use crate::servers::id::ServerId;

impl Write<'_> {
    /// Stores an origin's life; returns the one before, if it was another.
    pub(crate) async fn origin_booted(&mut self, id: &ServerId, boot_id: &str) -> Result<Option<String>, StoreError> {
        let path = &self.store.path;
        let before = sqlx::query_scalar("SELECT boot_id FROM origins WHERE id = $1").bind(id.as_str());
        let before: Option<String> = before.fetch_optional(&mut *self.tx).await.at(path)?;
        sqlx::query("INSERT INTO origins (id, boot_id) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id")
            .bind(id.as_str())
            .bind(boot_id)
            .execute(&mut *self.tx)
            .await
            .at(path)?;
        Ok(before.filter(|before| before != boot_id))
    }
}
