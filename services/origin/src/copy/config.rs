//! Which store, and what is kept where.

use crate::error::StartError;
use crate::https;
use sightline_bucket::{Access, Bucket, Secret};
use std::path::PathBuf;

/// A store that recordings are copied to.
#[derive(Clone, PartialEq, Eq, Debug, confique::Config)]
pub struct Store {
    /// The bucket, s3://BUCKET or s3://BUCKET/PREFIX. Each origin has a prefix of its own. Without it nothing is copied.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_URL")]
    pub url: Option<String>,
    /// The store's address, http(s)://HOST:PORT. Default: Amazon's, in the region.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_ENDPOINT")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for; most stores of one's own take any.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_REGION", default = "us-east-1")]
    pub region: String,
    /// The name of the key. It may write, read, list and remove in the bucket.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_ACCESS_KEY")]
    pub access_key: Option<String>,
    /// The file that holds the key itself.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_SECRET_KEY_FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// The key itself, where there is no file: best by the environment.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_SECRET_KEY")]
    pub secret_key: Option<Secret>,
    /// At an endpoint: the bucket's name is the first part of the path. False: it is the first part of the host's name.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_PATH_STYLE", default = true)]
    pub path_style: bool,
    /// The authority that an https:// endpoint's certificate must come from (PEM). Unset: those that the system trusts.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_CA")]
    pub ca: Option<PathBuf>,
    /// Whether a file stays on the disk, too, by the rules of [record]. False: it goes as soon as the store has it.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_KEEP_LOCAL", default = true)]
    pub keep_local: bool,
    /// Copies that began more hours ago are removed from the store; 0: none is for its age. By a clock that jumps nothing is removed.
    #[config(env = "SIGHTLINE_ORIGIN_STORE_KEEP_HOURS", default = 0)]
    pub keep_hours: u32,
}

impl Store {
    /// What a start would fail on: the setting, and what is wrong with it.
    pub(crate) fn check(&self, records_mp4: bool) -> Result<(), (&'static str, &'static str)> {
        let Some(url) = &self.url else { return Ok(()) };
        if !Access::is_bucket(url) {
            return Err(("store.url", "is not s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits and . - _"));
        }
        if self.endpoint.as_deref().is_some_and(|endpoint| !Access::is_endpoint(endpoint)) {
            return Err(("store.endpoint", "is not http://HOST:PORT or https://HOST:PORT, without a path or a user"));
        }
        if self.access_key.as_deref().is_none_or(str::is_empty) {
            return Err(("store.access_key", "is missing; the store lets in who has a key"));
        }
        if self.secret_key.is_some() == self.secret_key_file.is_some() {
            return Err(("store.secret_key_file", "is missing, or store.secret_key is set as well; one of them holds the key"));
        }
        if !records_mp4 {
            return Err(("store.url", "needs record.enabled and record.fmp4: MP4 is what is copied"));
        }
        Ok(())
    }

    /// The bucket, which is not asked anything yet; `None`: nothing is copied.
    pub(crate) fn bucket(&self) -> Result<Option<Bucket>, StartError> {
        let Some(url) = &self.url else { return Ok(None) };
        let secret_key = match (&self.secret_key, &self.secret_key_file) {
            (Some(key), _) => key.clone(),
            (None, Some(file)) => {
                let unread = |source| StartError::File { key: "store.secret_key_file", path: file.clone(), source };
                Secret::from(std::fs::read_to_string(file).map_err(unread)?.trim())
            }
            (None, None) => Secret::from(""),
        };
        let access = Access {
            url: url.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key: self.access_key.clone().unwrap_or_default(),
            secret_key,
            is_path_style: self.path_style,
        };
        let client = https::client(self.ca.as_deref(), "store.ca")?;
        let wrong =
            |_| StartError::Setting { key: "store.url", reason: "names no bucket that can be asked; see store.endpoint and store.region" };
        Bucket::new(&access, client).map(Some).map_err(wrong)
    }
}
