//! Recordings of a cloud's origins: listed, and exported with the rights of whoever asks.

use crate::{Failure, args::Recordings, terminal::WrongUse};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use reqwest::{Certificate, Client, Response, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A server that does not take a connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A download that brings nothing for so long is over.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The right to download: an hour of recordings over a slow line.
const TOKEN_TTL_SEC: u32 = 3600;
/// What the manifest is called.
const MANIFEST: &str = "manifest.json";

/// Why there is no list, and no export.
#[derive(Debug, thiserror::Error)]
enum RemoteError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("{0}: no http:// or https:// address")]
    Url(String),
    #[error("{url}: {error}")]
    Connection { url: String, error: reqwest::Error },
    #[error("{url} answers {status}: {message}")]
    Refused { url: String, status: u16, message: String },
    #[error("nothing is recorded of {device} from {from} to {to}; `sightline recordings list --cloud URL --device {device}` shows what is")]
    Nothing { device: String, from: Timestamp, to: Timestamp },
    #[error("several cameras, or what lies on several servers, go into one .zip: name OUT so")]
    Several,
    #[error("{path}: {error}")]
    Zip { path: PathBuf, error: zip::result::ZipError },
}

/// A cloud, and what is shown to it.
pub(super) struct Cloud {
    base: Url,
    client: Client,
    token: Option<String>,
}

/// What is told of an export.
#[derive(Serialize)]
struct Exported {
    name: String,
    device: String,
    server: String,
    /// Milliseconds since 1970.
    from: i64,
    /// Milliseconds since 1970.
    to: i64,
    bytes: u64,
    sha256: String,
    /// Where nothing was recorded, and why.
    gaps: Vec<Value>,
}

#[derive(Deserialize)]
struct Coverage {
    items: Vec<Covered>,
    unreachable: Vec<Value>,
}

#[derive(Deserialize)]
struct Covered {
    spans: Vec<Span>,
    gaps: Vec<Value>,
}

#[derive(Deserialize)]
struct Span {
    from: i64,
    to: i64,
    server: String,
}

impl Cloud {
    pub(super) fn new(asked: &Recordings, url: &str) -> Result<Self, Failure> {
        let base = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let base = base.ok_or_else(|| WrongUse(RemoteError::Url(url.to_owned()).to_string()))?;
        let mut builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
        if let Some(path) = &asked.ca {
            let pem = read(path)?;
            for certificate in Certificate::from_pem_bundle(&pem)? {
                builder = builder.tls_certs_merge([certificate]);
            }
        }
        let token = match &asked.token_file {
            Some(path) => Some(String::from_utf8_lossy(&read(path)?).trim().to_owned()),
            None => std::env::var("SIGHTLINE_TOKEN").ok(),
        };
        Ok(Self { base, client: builder.build()?, token })
    }

    async fn ask(&self, path: &str, query: &[(&str, String)], body: Option<Value>) -> Result<Value, RemoteError> {
        let mut url = self.base.clone();
        url.set_path(path);
        url.query_pairs_mut().extend_pairs(query).finish();
        let request = match &body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.get(url),
        };
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = checked(request.send().await).await?;
        let url = shown(answer.url());
        answer.json().await.map_err(|error| RemoteError::Connection { url, error: error.without_url() })
    }

    /// All pages, as the API has them.
    pub(super) async fn list(&self, devices: &[String]) -> Result<Vec<Value>, Failure> {
        let mut found = Vec::new();
        for device in devices.iter().map(Some).chain(devices.is_empty().then_some(None)) {
            let mut cursor: Option<String> = None;
            loop {
                let mut query = vec![("limit", "1000".to_owned())];
                query.extend(device.map(|device| ("device", device.clone())));
                query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
                let mut page = self.ask("/api/v1/recordings", &query, None).await?;
                for file in page["unreachable"].as_array().into_iter().flatten() {
                    crate::terminal::say(&format!("note: {} could not be asked: {}", text(&file["server"]), text(&file["reason"])));
                }
                found.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
                cursor = page["next"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Exports a range of each device: one MP4, or a zip of several.
    pub(super) async fn export(&self, devices: &[String], (from, to): (Timestamp, Timestamp), out: &Path) -> Result<Value, Failure> {
        if devices.is_empty() {
            return Err(WrongUse("say whose with --device ID".to_owned()).into());
        }
        let range = (from.as_millisecond(), to.as_millisecond());
        let mut parts = Vec::new();
        for device in devices {
            let found = self.parts(device, range).await?;
            if found.is_empty() {
                return Err(RemoteError::Nothing { device: device.clone(), from, to }.into());
            }
            parts.extend(found);
        }
        let is_zip = out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
        if parts.len() > 1 && !is_zip {
            return Err(WrongUse(RemoteError::Several.to_string()).into());
        }
        let part_file = out.with_added_extension("part");
        let made = self.write(&parts, out, &part_file, is_zip).await;
        if made.is_err() {
            // Half of an export is none; whoever looks for it finds nothing instead of something that breaks off.
            let _ = std::fs::remove_file(&part_file);
        }
        made
    }

    async fn write(&self, parts: &[Part], out: &Path, part_file: &Path, is_zip: bool) -> Result<Value, Failure> {
        let failed = |error| RemoteError::File { path: out.to_owned(), error };
        if out.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()).into());
        }
        let mut file = File::create(part_file).map_err(failed)?;
        let mut exported = Vec::new();
        if is_zip {
            let zipped = |error| RemoteError::Zip { path: out.to_owned(), error };
            let mut zip = ZipWriter::new(&mut file);
            // What is coded once gets no smaller.
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
            for part in parts {
                zip.start_file(&part.name, options).map_err(zipped)?;
                exported.push(self.download(part, &mut zip, out).await?);
            }
            zip.start_file(MANIFEST, options).map_err(zipped)?;
            zip.write_all(&serde_json::to_vec_pretty(&manifest(&exported))?).map_err(failed)?;
            zip.finish().map_err(zipped)?;
        } else {
            for part in parts {
                exported.push(self.download(part, &mut file, out).await?);
            }
        }
        file.sync_all().map_err(failed)?;
        // Another process may have made it meanwhile: it is not replaced.
        match std::fs::hard_link(part_file, out) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(failed(error).into()),
            // A file system without links.
            Err(_) => std::fs::rename(part_file, out).map_err(failed)?,
            Ok(()) => {}
        }
        let _ = std::fs::remove_file(part_file);
        Ok(manifest(&exported))
    }

    /// What is to be fetched of a device: a file for each server that has something.
    async fn parts(&self, device: &str, (from, to): (i64, i64)) -> Result<Vec<Part>, Failure> {
        let range = [("device", device.to_owned()), ("from", from.to_string()), ("to", to.to_string())];
        let coverage = self.ask("/api/v1/coverage", &range, None).await?;
        let coverage: Coverage = serde_json::from_value(coverage)?;
        for server in &coverage.unreachable {
            crate::terminal::say(&format!("note: {} could not be asked: {}", text(&server["server"]), text(&server["reason"])));
        }
        let Some(Covered { spans, gaps }) = coverage.items.into_iter().next() else { return Ok(Vec::new()) };
        let mut parts: Vec<Part> = Vec::new();
        for span in spans {
            match parts.last_mut() {
                Some(part) if part.server == span.server => part.to = span.to.min(to),
                _ => parts.push(Part {
                    name: String::new(),
                    device: device.to_owned(),
                    from: span.from.max(from),
                    to: span.to.min(to),
                    server: span.server,
                    gaps: Vec::new(),
                }),
            }
        }
        for part in &mut parts {
            let stem = Timestamp::from_millisecond(part.from)?.strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
            part.name = format!("{device}-{stem}-{}.mp4", part.server);
            let is_within = |gap: &&Value| gap["from"].as_i64() >= Some(part.from) && gap["to"].as_i64() <= Some(part.to);
            part.gaps = gaps.iter().filter(is_within).cloned().collect();
        }
        Ok(parts)
    }

    /// Fetches a part from the server that has it.
    async fn download(&self, part: &Part, into: &mut impl Write, out: &Path) -> Result<Exported, Failure> {
        let right = json!({ "ways": ["vod"], "ttl_sec": TOKEN_TTL_SEC });
        let right = self.ask(&format!("/api/v1/streams/{}/playback", part.device), &[], Some(right)).await?;
        let servers = self.ask("/api/v1/servers", &[], None).await?;
        let server = servers["items"].as_array().into_iter().flatten().find(|server| server["id"] == part.server.as_str());
        let base = server.and_then(|server| server["http_url"].as_str()).unwrap_or(self.base.as_str()).trim_end_matches('/');
        let url = format!("{base}/vod/{}/{}-{}.mp4", part.device, part.from, part.to);
        let mut answer = checked(self.client.get(&url).bearer_auth(text(&right["token"])).send().await).await?;
        let line = ProgressBar::new_spinner()
            .with_style(
                ProgressStyle::with_template("{spinner} {msg} {bytes} {bytes_per_sec}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            )
            .with_message(part.name.clone());
        line.enable_steady_tick(Duration::from_millis(120));
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        while let Some(piece) =
            answer.chunk().await.map_err(|error| RemoteError::Connection { url: url.clone(), error: error.without_url() })?
        {
            into.write_all(&piece).map_err(|error| RemoteError::File { path: out.to_owned(), error })?;
            digest.update(&piece);
            bytes += piece.len() as u64;
            line.set_position(bytes);
        }
        line.finish_and_clear();
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let Part { name, device, server, from, to, gaps } = part.clone();
        Ok(Exported { name, device, server, from, to, bytes, sha256, gaps })
    }
}

/// A file of an export.
#[derive(Clone)]
struct Part {
    name: String,
    device: String,
    server: String,
    from: i64,
    to: i64,
    gaps: Vec<Value>,
}

fn manifest(files: &[Exported]) -> Value {
    json!({ "software": concat!("sightline ", env!("CARGO_PKG_VERSION")), "exported_at": Timestamp::now().as_millisecond(), "files": files })
}

/// An answer that is good, or what it says.
async fn checked(sent: Result<Response, reqwest::Error>) -> Result<Response, RemoteError> {
    let answer = sent.map_err(|error| {
        let url = error.url().map(shown).unwrap_or_default();
        RemoteError::Connection { url, error: error.without_url() }
    })?;
    let (status, url) = (answer.status(), shown(answer.url()));
    if status.is_success() {
        return Ok(answer);
    }
    let said: Value = answer.json().await.unwrap_or_default();
    let message = said["message"].as_str().unwrap_or("no word of why").to_owned();
    Err(RemoteError::Refused { url, status: status.as_u16(), message })
}

/// Without its query: there are secrets in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, RemoteError> {
    std::fs::read(path).map_err(|error| RemoteError::File { path: path.to_owned(), error })
}
