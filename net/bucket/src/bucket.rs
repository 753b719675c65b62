//! What is asked of a bucket.

use crate::access::Access;
use crate::connector::{By, HttpsClient};
use crate::error::BucketError;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutOptions, PutPayload, RetryConfig,
};
use std::ops::Range;
use std::time::Duration;

/// Tries of one request besides the first, for a store that refuses now and then; a store that is away is the caller's to wait for.
const RETRIES_MAX: usize = 3;
/// No try begins later than this after the first.
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);
/// The waits between them.
const RETRY_WAIT: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// The name under which an object says the SHA-256 of its bytes, in hexadecimal: `x-amz-meta-sha256`.
pub(crate) const SHA256: &str = "sha256";
/// What a probe writes, reads and removes again.
const PROBE: &str = "sightline-probe";

/// A bucket, or what is under a prefix of one.
#[derive(Debug)]
pub struct Bucket {
    pub(crate) store: AmazonS3,
    prefix: String,
    place: String,
}

/// An object of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Behind the prefix.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// An object as the store knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its length.
    pub bytes: u64,
    /// What it was said to be when it was put.
    pub sha256: Option<String>,
}

impl Bucket {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`BucketError::Address`]
    pub fn new(access: &Access, client: HttpsClient) -> Result<Self, BucketError> {
        let wrong = |cause: &str| BucketError::Address { cause: cause.to_owned() };
        let (bucket, prefix) = access.place().ok_or_else(|| wrong("it is something else"))?;
        let server = access.server();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&access.region)
            .with_access_key_id(&access.access_key)
            .with_secret_access_key(access.secret_key.reveal())
            .with_virtual_hosted_style_request(server.is_none() || !access.is_path_style)
            .with_allow_http(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: RETRY_WAIT, max_backoff: RETRY_WAIT_MAX, base: 2.0 },
                max_retries: RETRIES_MAX,
                retry_timeout: RETRY_TIME_MAX,
            })
            .with_http_connector(By(client));
        if let Some(server) = &server {
            builder = builder.with_endpoint(server);
        }
        let place = server.map_or_else(|| access.url.clone(), |server| format!("{} at {server}", access.url));
        let store = builder.build().map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { store, prefix: prefix.to_owned(), place })
    }

    /// For people: the bucket, and where.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn path(&self, name: &str) -> Path {
        if self.prefix.is_empty() { Path::from(name) } else { Path::from(format!("{}/{name}", self.prefix)) }
    }

    pub(crate) fn error(&self, action: &'static str, name: &str) -> impl Fn(object_store::Error) -> BucketError {
        move |error| BucketError::of(&self.place, action, name, &error)
    }

    /// What is under a folder, by name, from behind `after` on. Without a folder everything.
    pub fn list<'a>(&'a self, folder: &'a str, after: Option<&str>) -> BoxStream<'a, Result<Found, BucketError>> {
        let under = if folder.is_empty() && self.prefix.is_empty() { None } else { Some(self.path(folder)) };
        let listed = match after {
            Some(after) => self.store.list_with_offset(under.as_ref(), &self.path(after)),
            None => self.store.list(under.as_ref()),
        };
        let begin = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        listed
            .map_ok(move |object| Found { name: object.location.as_ref().get(begin..).unwrap_or_default().to_owned(), bytes: object.size })
            .map_err(self.error("list", folder))
            .boxed()
    }

    /// What the store knows of an object; `None`: it has none.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn stored(&self, name: &str) -> Result<Option<Stored>, BucketError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.path(name), options).await.map_err(self.error("read", name)) {
            Ok(found) => {
                let sha256 = found.attributes.get(&Attribute::Metadata(SHA256.into())).map(|value| value.to_string());
                Ok(Some(Stored { bytes: found.meta.size, sha256 }))
            }
            Err(BucketError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Some of an object's bytes.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        self.store.get_range(&self.path(name), range).await.map_err(self.error("read", name))
    }

    /// A whole object, which is small.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn read_whole(&self, name: &str) -> Result<Bytes, BucketError> {
        let found = self.store.get(&self.path(name)).await.map_err(self.error("read", name))?;
        found.bytes().await.map_err(self.error("read", name))
    }

    /// Some of an object's bytes, a piece at a time.
    ///
    /// # Errors
    /// [`BucketError`], also of each piece.
    pub async fn stream(&self, name: &str, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, BucketError>>, BucketError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let found = self.store.get_opts(&self.path(name), options).await.map_err(self.error("read", name))?;
        let (place, name) = (self.place.clone(), name.to_owned());
        Ok(found.into_stream().map_err(move |error| BucketError::of(&place, "read", &name, &error)).boxed())
    }

    /// Puts a small object, whatever was there.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BucketError> {
        self.put_with(name, bytes, Attributes::new()).await
    }

    pub(crate) async fn put_with(&self, name: &str, bytes: Bytes, attributes: Attributes) -> Result<(), BucketError> {
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.store.put_opts(&self.path(name), PutPayload::from_bytes(bytes), options).await.map(drop).map_err(self.error("write", name))
    }

    /// Removes an object; one that is not there is removed.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn remove(&self, name: &str) -> Result<(), BucketError> {
        match self.store.delete(&self.path(name)).await.map_err(self.error("remove from it", name)) {
            Ok(()) | Err(BucketError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes something small, lists it, reads it back and removes it.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn probe(&self) -> Result<(), BucketError> {
        let name = format!("{PROBE}/{}", std::process::id());
        let sent = Bytes::from_static(b"This may be removed: a look whether the store can be written and read.\n");
        self.put(&name, sent.clone()).await?;
        let listed: Vec<Found> = self.list(PROBE, None).try_collect().await?;
        let read = self.read_whole(&name).await?;
        self.remove(&name).await?;
        let differs =
            |difference: &str| BucketError::Differs { place: self.place.clone(), name: name.clone(), difference: difference.to_owned() };
        if !listed.iter().any(|found| found.name == name) {
            return Err(differs("it is not listed"));
        }
        if read == sent { Ok(()) } else { Err(differs("other bytes came back")) }
    }
}
