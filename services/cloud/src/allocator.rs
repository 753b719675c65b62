//! The allocator: where shall this device stream? One function behind MQTT and HTTP (specification §3).

use crate::{
    CloudError,
    audit::Operation,
    data_dir::unix_secs,
    database::{AllocationRow, Database, DeviceRow},
    inventory::{ChosenServer, Inventory},
    presence::Presence,
    rate_limit::RateLimit,
    signing_keys::SigningKeys,
};
use serde_json::{Value, json};
use sightline_signal::{
    Claims, CustomQuality, DeviceId, ErrorCode, Redacted, Request, Response, Server, TOKEN_BYTES_MAX, Text, playback_id,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// The longest request that is read; the seed's has 230 bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 4096;
/// Requests that a device may send at once: discovery, failover over three servers and a rotation, several times over.
const REQUESTS_BURST: u32 = 30;
/// Then one per this long. A device's own backoff starts at ten seconds.
const REQUEST_REFILL: Duration = Duration::from_secs(1);
/// When to come back if no server has room: an origin that restarts reports within two seconds.
const RETRY_AFTER_NO_SERVER_SECS: u32 = 5;
/// When to come back if the cloud itself can't answer.
const RETRY_AFTER_BUSY_SECS: u32 = 5;
/// Answers that are kept for repeated questions; above it the oldest go. About a kilobyte each.
const ANSWERS_KEPT_MAX: usize = 20_000;
/// Tokens of at most this length pass as `token=…` through nginx-rtmp, which takes 255 bytes of arguments.
const TOKEN_BYTES_FOR_OTHERS: usize = 248;
/// The seed answers a 2 Mbit/s request with 4 Mbit/s: room for one second of 1.5 times the target, and a key frame.
const BITRATE_ROOM: u32 = 2;
/// A request's own fields put a lock into one of these: two of the same device are answered one after the other.
const LOCKS: usize = 64;

/// Who asks, as TLS or a bearer token has proved it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Identity {
    Device(DeviceId),
    /// No certificate, no token, or one that is not known or not good any more.
    Unknown,
}

/// Answers requests.
pub(crate) struct Allocator {
    database: Database,
    inventory: Arc<Inventory>,
    presence: Arc<Presence>,
    keys: Arc<RwLock<SigningKeys>>,
    token_ttl_secs: i64,
    limit: RateLimit<DeviceId>,
    answers: Mutex<Answers>,
    locks: [tokio::sync::Mutex<()>; LOCKS],
}

impl std::fmt::Debug for Allocator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Allocator").finish_non_exhaustive()
    }
}

/// Why a request is refused.
struct Refusal {
    code: ErrorCode,
    message: String,
    retry_after_secs: Option<u32>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_secs: None }
    }

    fn busy(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a stream request could not be answered");
        Self { retry_after_secs: Some(RETRY_AFTER_BUSY_SECS), ..Self::new(ErrorCode::ServerOverloaded, "the cloud can't answer now") }
    }
}

impl Allocator {
    pub(crate) fn new(
        database: Database,
        inventory: Arc<Inventory>,
        presence: Arc<Presence>,
        keys: Arc<RwLock<SigningKeys>>,
        token_ttl_sec: u32,
    ) -> Self {
        Self {
            database,
            inventory,
            presence,
            keys,
            token_ttl_secs: i64::from(token_ttl_sec),
            limit: RateLimit::new(REQUESTS_BURST, REQUEST_REFILL),
            answers: Mutex::default(),
            locks: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        }
    }

    /// Answers one request. It never fails: what can't be done is a [`Response`] with an error code.
    pub(crate) async fn handle_request(&self, identity: &Identity, body: &[u8]) -> Response {
        let response = match self.answer(identity, body).await {
            Ok(response) => response,
            Err(Refusal { code, message, retry_after_secs }) => Response::failure(&request_id_of(body), code, &message, retry_after_secs),
        };
        let outcome = response.error_code.map_or("OK", ErrorCode::as_str);
        metrics::counter!("sightline_stream_requests_total", "outcome" => outcome).increment(1);
        response
    }

    async fn answer(&self, identity: &Identity, body: &[u8]) -> Result<Response, Refusal> {
        let Identity::Device(id) = identity else {
            return Err(Refusal::new(ErrorCode::Unauthorized, "show the device's certificate, or its bearer token"));
        };
        self.limit.take(id.clone(), Instant::now()).map_err(|wait| Refusal {
            retry_after_secs: Some(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)),
            ..Refusal::new(ErrorCode::ServerOverloaded, "too many requests from this device")
        })?;
        let device = self.database.device(id).await.map_err(|error| Refusal::busy(&error))?;
        let Some(device) = device.filter(|device| device.revoked_at.is_none()) else {
            return Err(Refusal::new(ErrorCode::Unauthorized, "this device is not known here, or its right was taken away"));
        };
        let request = self.parse(id, body).await?;
        if !device.may_push {
            self.audit_refusal(id, "allocation.refuse", json!({ "error_code": ErrorCode::PermissionDenied.as_str() })).await;
            return Err(Refusal::new(ErrorCode::PermissionDenied, "this device may not publish"));
        }
        self.presence.seen(id);
        // A repeated question may arrive over MQTT and HTTP at once.
        let _one_at_a_time = self.locks[lock_of(id)].lock().await;
        if let Some(answer) = self.kept(id, &request.request_id) {
            return Ok(answer);
        }
        let response = self.allocate(&device, &request).await?;
        self.keep(id, &request.request_id, &response);
        Ok(response)
    }

    async fn parse(&self, id: &DeviceId, body: &[u8]) -> Result<Request, Refusal> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(Refusal::new(ErrorCode::BadRequest, format!("a request has at most {REQUEST_BYTES_MAX} bytes")));
        }
        let request: Request = serde_json::from_slice(body).map_err(|error| Refusal::new(ErrorCode::BadRequest, error.to_string()))?;
        if request.request_id.is_empty() {
            return Err(Refusal::new(ErrorCode::BadRequest, "request_id is empty"));
        }
        if request.device_id != *id {
            self.audit_refusal(id, "allocation.impersonate", json!({ "named": request.device_id.as_str() })).await;
            return Err(Refusal::new(ErrorCode::Unauthorized, "device_id is not the device that asks"));
        }
        if !matches!(request.stream_type.as_str(), "rtmp" | "rtmps") {
            return Err(Refusal::new(ErrorCode::BadRequest, "stream_type is rtmp or rtmps"));
        }
        if request.max_bitrate < CustomQuality::BITRATE_BPS_MIN {
            return Err(Refusal::new(ErrorCode::InvalidQuality, format!("max_bitrate is at least {}", CustomQuality::BITRATE_BPS_MIN)));
        }
        Ok(request)
    }

    async fn allocate(&self, device: &DeviceRow, request: &Request) -> Result<Response, Refusal> {
        let asked_bps = request.quality.settings().map_or(request.max_bitrate, |preset| preset.bitrate_bps.min(request.max_bitrate));
        let bitrate_kbps = u64::from(asked_bps.div_ceil(1000));
        let seed = random_seed().map_err(|error| Refusal::busy(&error))?;
        let secure = request.stream_type == "rtmps";
        let (servers, choices) = self.inventory.choose(&device.id, &request.preferred_region, bitrate_kbps, secure, seed);
        let Some(first) = servers.first().cloned() else {
            tracing::warn!(device = %device.id, refused = ?choices.refused, "no server for a stream");
            let message = if choices.refused.is_empty() { "no server is registered" } else { "no server has room for this stream" };
            return Err(Refusal {
                retry_after_secs: Some(RETRY_AFTER_NO_SERVER_SECS),
                ..Refusal::new(ErrorCode::NoServerAvailable, message)
            });
        };
        let epoch = self.write_down(device, request, &first, bitrate_kbps).await.map_err(|error| Refusal::busy(&error))?;
        let row = AllocationRow { device: device.id.clone(), server: first.id.clone(), bitrate_kbps, issued_at: unix_secs() };
        self.inventory.allocated(row);
        self.presence.push(device.id.as_str(), "allocated", json!({ "server": first.id, "reason": first.reason }));
        self.respond(device, request, &servers, epoch, asked_bps).map_err(|error| Refusal::busy(&error))
    }

    /// Epoch, allocation and audit in one transaction: no token without its row in the log.
    async fn write_down(&self, device: &DeviceRow, request: &Request, server: &ChosenServer, kbps: u64) -> Result<u64, sqlx::Error> {
        let mut tx = self.database.write().await?;
        let epoch = Database::next_epoch(&mut tx).await?;
        sqlx::query(
            "INSERT INTO allocations (device, server, epoch, bitrate_kbps, issued_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (device) DO UPDATE SET server = excluded.server, epoch = excluded.epoch, \
             bitrate_kbps = excluded.bitrate_kbps, issued_at = excluded.issued_at",
        )
        .bind(device.id.as_str())
        .bind(&server.id)
        .bind(epoch)
        .bind(i64::try_from(kbps).unwrap_or(i64::MAX))
        .bind(unix_secs())
        .execute(&mut *tx)
        .await?;
        let detail = json!({
            "request_id": request.request_id.as_str(), "server": server.id, "reason": server.reason, "epoch": epoch,
            "quality": request.quality.name(), "bitrate_kbps": kbps,
        });
        let actor = format!("device:{}", device.id);
        let operation = Operation { actor: &actor, action: "allocation.issue", subject: device.id.as_str(), detail };
        self.database.commit_with(tx, &operation).await?;
        Ok(u64::try_from(epoch).unwrap_or(0))
    }

    fn respond(
        &self,
        device: &DeviceRow,
        request: &Request,
        servers: &[ChosenServer],
        epoch: u64,
        asked_bps: u32,
    ) -> Result<Response, CloudError> {
        let now = unix_secs();
        let expires_at = now + self.token_ttl_secs;
        let max_bitrate = request.max_bitrate.max(asked_bps).saturating_mul(BITRATE_ROOM).min(CustomQuality::BITRATE_BPS_MAX);
        let claims = Claims {
            device: device.id.clone(),
            stream: text(&device.stream),
            epoch,
            expires_at,
            origin_set: origin_set(servers),
            bitrate_kbps_max: max_bitrate / 1000,
        };
        let first = servers.first();
        Ok(Response {
            success: true,
            request_id: request.request_id.clone(),
            rtmp_url: first.map(|server| text(&server.url)),
            stream_key: Some(text(&device.stream)),
            server_name: first.map(|server| text(&server.name)),
            server_region: first.map(|server| text(&server.region)),
            max_bitrate: Some(max_bitrate),
            recommended_fps: Some(request.quality.settings().map_or(30, |preset| preset.fps)),
            supports_adaptive: Some(true),
            expires_at: Some(expires_at),
            token: Some(self.token(claims)?),
            servers: (0..)
                .zip(servers)
                .map(|(priority, server)| Server { rtmp_url: text(&server.url), priority, server_name: text(&server.name) })
                .collect(),
            refresh_at: Some(now + refresh_after(self.token_ttl_secs, epoch)),
            server_time: Some(now),
            stream_id: Some(text(&playback_id(&device.stream))),
            ..Response::default()
        })
    }

    /// Signs. The origin set is left out of a token that would grow too long for nginx-rtmp with it: the token is then good
    /// for that one stream and epoch on any of our origins, where a higher epoch ends it.
    fn token(&self, claims: Claims) -> Result<Redacted<TOKEN_BYTES_MAX>, CloudError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut token = keys.sign(&claims)?;
        if token.len() > TOKEN_BYTES_FOR_OTHERS && !claims.origin_set.is_empty() {
            token = keys.sign(&Claims { origin_set: Text::new(), ..claims })?;
        }
        Redacted::try_from(token.as_str()).map_err(|_| CloudError::Crypto("keep a token under its longest length"))
    }

    async fn audit_refusal(&self, id: &DeviceId, action: &str, detail: Value) {
        let actor = format!("device:{id}");
        self.database.audit_or_warn(&Operation { actor: &actor, action, subject: id.as_str(), detail }).await;
    }

    fn kept(&self, id: &DeviceId, request_id: &str) -> Option<Response> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (response, until) = answers.by_question.get(&(id.clone(), request_id.to_owned()))?;
        (*until > Instant::now()).then(|| response.clone())
    }

    fn keep(&self, id: &DeviceId, request_id: &str, response: &Response) {
        let until = Instant::now() + Duration::from_secs(u64::try_from(self.token_ttl_secs).unwrap_or(0));
        let question = (id.clone(), request_id.to_owned());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.by_age.len() >= ANSWERS_KEPT_MAX
            && let Some(oldest) = answers.by_age.pop_front()
        {
            answers.by_question.remove(&oldest);
        }
        answers.by_age.push_back(question.clone());
        answers.by_question.insert(question, (response.clone(), until));
    }
}

/// Answers by device and request id.
#[derive(Default)]
struct Answers {
    by_question: HashMap<(DeviceId, String), (Response, Instant)>,
    by_age: VecDeque<(DeviceId, String)>,
}

/// The HTTP status of a response (specification §3).
pub(crate) fn http_status(response: &Response) -> u16 {
    match response.error_code {
        None => 200,
        Some(ErrorCode::BadRequest) => 400,
        Some(ErrorCode::Unauthorized) => 401,
        Some(ErrorCode::PermissionDenied) => 403,
        Some(ErrorCode::InvalidQuality) => 409,
        Some(ErrorCode::ServerOverloaded) => 429,
        Some(_) => 503,
    }
}

/// The origins of an answer, behind commas. Empty, which means any, if one of the servers is not ours or they do not fit.
fn origin_set(servers: &[ChosenServer]) -> Text<64> {
    if servers.iter().any(|server| !server.is_origin) {
        return Text::new();
    }
    let joined = servers.iter().map(|server| server.id.as_str()).collect::<Vec<_>>().join(",");
    Text::try_from(joined.as_str()).unwrap_or_default()
}

/// Ask again at 75 to 85 % of the token's life: spread, so that a fleet that started at once does not ask at once for ever.
fn refresh_after(ttl_secs: i64, epoch: u64) -> i64 {
    let spread = i64::try_from(epoch % 11).unwrap_or(0);
    ttl_secs * (75 + spread) / 100
}

/// The id of a request that did not parse, where it has one.
fn request_id_of(body: &[u8]) -> String {
    let value: Option<Value> = body.get(..REQUEST_BYTES_MAX.min(body.len())).and_then(|body| serde_json::from_slice(body).ok());
    value.and_then(|value| value.get("request_id").and_then(Value::as_str).map(str::to_owned)).unwrap_or_default()
}

/// As much of it as fits.
fn text<const N: usize>(from: &str) -> Text<N> {
    let end = from.floor_char_boundary(N);
    Text::try_from(&from[..end]).unwrap_or_default()
}

fn lock_of(id: &DeviceId) -> usize {
    id.as_str().bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte))) % LOCKS
}

fn random_seed() -> Result<u64, CloudError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CloudError::Crypto("draw a seed"))?;
    Ok(u64::from_le_bytes(bytes))
}
