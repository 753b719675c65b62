//! A file is put whole: in one request where it is small, else in parts. An upload that was cut is not gone on with but begun again: what it left at the store
//! is named in a journal until it is complete or given back.

use crate::bucket::{Bucket, SHA256, Stored};
use crate::error::BucketError;
use crate::seal::{CHUNK_BYTES, ENDING, FileKey, SealError, SealKey, sealed_bytes};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, try_unfold};
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
    /// store against the SHA-256 that its signature covers. Where it is sealed, it has no SHA-256 of its own: its chunks have tags.
    ///
    /// # Errors
    /// [`BucketError`]; nothing is under the name then, or what was there before.
    pub async fn put_file(&self, name: &str, path: &Path, stored: &Stored, journal: &Journal) -> Result<(), BucketError> {
        let unread = |error| BucketError::File { path: path.to_owned(), error };
        let file = File::open(path).await.map_err(unread)?;
        let (mut content, object, sha256) = match &self.seal_key {
            Some(key) => {
                let content = Content::sealed(key, name, file, stored.bytes).map_err(|error| self.unsealed(name, error))?;
                (content, format!("{name}{ENDING}"), None)
            }
            None => (Content::plain(file, stored.bytes), name.to_owned(), stored.sha256.clone()),
        };
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, if self.seal_key.is_some() { "application/octet-stream" } else { "video/mp4" }.into());
        if let Some(sha256) = &sha256 {
            attributes.insert(Attribute::Metadata(SHA256.into()), sha256.clone().into());
        }
        if content.bytes <= PART_BYTES {
            let bytes = content.part().await.map_err(unread)?;
            self.put_with(&object, bytes, attributes).await?;
        } else {
            self.put_parts(&object, path, content, attributes, journal).await?;
        }
        self.forget(name);
        let (found, sent) = (self.stored(name).await?, Stored { bytes: stored.bytes, sha256 });
        if found.as_ref() == Some(&sent) {
            return Ok(());
        }
        let difference = format!("{sent:?} became {found:?}");
        Err(BucketError::Differs { place: self.place().to_owned(), name: name.to_owned(), difference })
    }

    async fn put_parts(
        &self,
        name: &str,
        file: &Path,
        content: Content,
        attributes: Attributes,
        journal: &Journal,
    ) -> Result<(), BucketError> {
        let path = self.path(name);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = self.store.create_multipart_opts(&path, options).await.map_err(self.error("write", name))?;
        let begun = Begun { place: self.place().to_owned(), name: name.to_owned(), id: id.clone() };
        let parts = try_unfold(content, async |mut content| {
            let part = content.part().await?;
            Ok((!part.is_empty()).then_some((part, content)))
        });
        let parts = parts.map_err(|error| BucketError::File { path: file.to_owned(), error });
        let sent = match journal.begin(&begun).await {
            Ok(()) => self.send_parts(name, &id, parts).await,
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

/// What is sent of a file.
struct Content {
    file: File,
    /// Of the file, not read yet.
    left: u64,
    /// Of all parts.
    bytes: u64,
    seal: Option<(FileKey, u64)>,
    /// Sealed, and not in a part yet.
    ready: BytesMut,
}

impl Content {
    fn plain(file: File, bytes: u64) -> Self {
        Self { file, left: bytes, bytes, seal: None, ready: BytesMut::new() }
    }

    fn sealed(key: &SealKey, name: &str, file: File, bytes: u64) -> Result<Self, SealError> {
        let (header, key) = key.new_file(name)?;
        Ok(Self { file, left: bytes, bytes: sealed_bytes(bytes), seal: Some((key, 0)), ready: BytesMut::from(&header[..]) })
    }

    /// The next part; empty: there is none. All but the last are of the same length.
    async fn part(&mut self) -> io::Result<Bytes> {
        let Some((key, mut number)) = self.seal.take() else {
            if !self.ready.is_empty() {
                let length = self.ready.len().min(PART_BYTES as usize);
                return Ok(self.ready.split_to(length).freeze());
            }
            let bytes = self.left.min(PART_BYTES);
            self.left -= bytes;
            return read(&mut self.file, bytes).await.map(Bytes::from);
        };
        while (self.ready.len() as u64) < PART_BYTES {
            let bytes = self.left.min(CHUNK_BYTES as u64);
            self.left -= bytes;
            let chunk = read(&mut self.file, bytes).await?;
            self.ready.extend_from_slice(&key.seal(number, self.left == 0, chunk).map_err(io::Error::other)?);
            number += 1;
            if self.left == 0 {
                // What is ready now is all.
                let length = self.ready.len().min(PART_BYTES as usize);
                return Ok(self.ready.split_to(length).freeze());
            }
        }
        self.seal = Some((key, number));
        Ok(self.ready.split_to(PART_BYTES as usize).freeze())
    }
}

/// The next bytes of a file; fewer are an error: it was cut meanwhile.
async fn read(file: &mut File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact(&mut read).await?;
    Ok(read)
}
