//! A file is put whole: in one request where it is small, else in parts. An upload that was cut is not gone on with but begun again: what it left at the store
//! is named in a journal until it is complete or given back.

use crate::bucket::{Bucket, SHA256, Stored};
use crate::error::BucketError;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, unfold};
use object_store::multipart::MultipartStore as _;
use object_store::{Attribute, Attributes, MultipartId, PutMultipartOptions, PutPayload};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// A part: S3 takes 10,000 of them at 5 MiB and more, so files of 80 GB.
pub const PART_BYTES: u64 = 8 << 20;
/// Parts that are on their way at a time: 16 MiB of memory, and the next is read while one is sent.
const PARTS_AT_ONCE: usize = 2;

/// Which upload is under way: a file on the disk, so that one that was cut by a crash is given back to the store.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Begun {
    place: String,
    name: String,
    id: String,
}

impl Journal {
    /// In this file, which appears with the first upload in parts.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    async fn begin(&self, begun: &Begun) -> io::Result<()> {
        tokio::fs::write(&self.path, serde_json::to_vec(begun)?).await
    }

    async fn end(&self) {
        // Where it stays, an upload that is no more is given back once more, which does nothing.
        let _ = tokio::fs::remove_file(&self.path).await;
    }

    async fn left(&self) -> Option<Begun> {
        serde_json::from_slice(&tokio::fs::read(&self.path).await.ok()?).ok()
    }
}

impl Bucket {
    /// Gives back what an upload that was cut has left at the store, where there is one. True: there was.
    ///
    /// # Errors
    /// [`BucketError`]
    pub async fn abort_left(&self, journal: &Journal) -> Result<bool, BucketError> {
        let Some(left) = journal.left().await else { return Ok(false) };
        if left.place == self.place() {
            match self.store.abort_multipart(&self.path(&left.name), &left.id).await.map_err(self.error("abort an upload", &left.name)) {
                Ok(()) | Err(BucketError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        journal.end().await;
        Ok(true)
    }

    /// Puts a file, whatever was there, and asks what arrived: its length, and the SHA-256 that it was sent with. Every request's bytes are checked by the
    /// store against the SHA-256 that its signature covers.
    ///
    /// # Errors
    /// [`BucketError`]; nothing is under the name then, or what was there before.
    pub async fn put_file(&self, name: &str, path: &Path, stored: &Stored, journal: &Journal) -> Result<(), BucketError> {
        let unread = |error| BucketError::File { path: path.to_owned(), error };
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, "video/mp4".into());
        if let Some(sha256) = &stored.sha256 {
            attributes.insert(Attribute::Metadata(SHA256.into()), sha256.clone().into());
        }
        let mut file = File::open(path).await.map_err(unread)?;
        if stored.bytes <= PART_BYTES {
            let bytes = part(&mut file, stored.bytes).await.map_err(unread)?;
            self.put_with(name, bytes, attributes).await?;
        } else {
            self.put_parts(name, (path, file, stored.bytes), attributes, journal).await?;
        }
        let found = self.stored(name).await?;
        if found.as_ref() == Some(stored) {
            return Ok(());
        }
        let difference = format!("{stored:?} became {found:?}");
        Err(BucketError::Differs { place: self.place().to_owned(), name: name.to_owned(), difference })
    }

    async fn put_parts(
        &self,
        name: &str,
        (file_path, file, bytes): (&Path, File, u64),
        attributes: Attributes,
        journal: &Journal,
    ) -> Result<(), BucketError> {
        let path = self.path(name);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = self.store.create_multipart_opts(&path, options).await.map_err(self.error("write", name))?;
        let begun = Begun { place: self.place().to_owned(), name: name.to_owned(), id: id.clone() };
        let unread = |error| BucketError::File { path: file_path.to_owned(), error };
        let sent = match journal.begin(&begun).await {
            Ok(()) => {
                self.send_parts(
                    name,
                    &id,
                    unfold((file, bytes), async |(mut file, left)| {
                        let read = part(&mut file, left.min(PART_BYTES)).await;
                        (left > 0).then_some((read, (file, left.saturating_sub(PART_BYTES))))
                    })
                    .map_err(unread),
                )
                .await
            }
            Err(error) => Err(BucketError::File { path: journal.path.clone(), error }),
        };
        // What can't be given back now stays in the journal, and is given back at the next upload or start.
        if sent.is_ok() || self.store.abort_multipart(&path, &id).await.is_ok() {
            journal.end().await;
        }
        sent
    }

    async fn send_parts(
        &self,
        name: &str,
        id: &MultipartId,
        parts: impl futures_util::Stream<Item = Result<Bytes, BucketError>>,
    ) -> Result<(), BucketError> {
        let path = self.path(name);
        let sending = parts.enumerate().map(|(number, part)| {
            let path = &path;
            async move { self.store.put_part(path, id, number, PutPayload::from_bytes(part?)).await.map_err(self.error("write", name)) }
        });
        let sent: Vec<_> = sending.buffered(PARTS_AT_ONCE).try_collect().await?;
        self.store.complete_multipart(&path, id, sent).await.map(drop).map_err(self.error("write", name))
    }
}

/// The next bytes of a file; fewer are an error: it was cut meanwhile.
async fn part(file: &mut File, bytes: u64) -> io::Result<Bytes> {
    let mut read = BytesMut::zeroed(usize::try_from(bytes).map_err(io::Error::other)?);
    file.read_exact(&mut read).await?;
    Ok(read.freeze())
}
