//! The allocator: where shall this device stream? One function behind MQTT and HTTP (specification §3).

use super::{
    answer::{Grounds, with_token},
    refusal::Refusal,
};
use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    devices::presence::Presence,
    events::{kind::EventKind, log::EventLog},
    identity::signing_keys::SigningKeys,
    rate_limit::RateLimit,
    secrets::random_seed,
    servers::inventory::{ChosenServer, Inventory, PlacementRequest},
    store::{
        Store,
        actor::{Action, Actor},
        allocations::AllocationRow,
        answers::Answer,
        devices::DeviceRow,
        error::StoreError,
    },
};
use serde_json::{Value, json};
use sightline_signal::{CustomQuality, DeviceId, ErrorCode, Quality, Request, Response};
use std::{sync::Arc, time::Duration};

/// The longest request that is read; the specification's has 230 bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 4096;
/// Requests that a device may send at once: discovery, failover over three servers and a rotation, several times over.
const REQUESTS_BURST: u32 = 30;
/// Then one every second. A device's own backoff starts at ten seconds.
const REQUEST_REFILL: Duration = Duration::from_secs(1);

/// Who asks, as TLS or a bearer token has proved it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Identity {
    Device(DeviceId),
    /// No certificate, no token, or one that is unknown, revoked or expired.
    Unknown,
}

/// What the allocator works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) keys: SigningKeys,
    pub(crate) clock: Clock,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) token_ttl_sec: u32,
}

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Allocator {
    parts: Parts,
    limit: RateLimit<DeviceId>,
}

impl Allocator {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, limit: RateLimit::new(REQUESTS_BURST, REQUEST_REFILL) }
    }

    /// Answers one request. It never fails: what can't be done is a [`Response`] with an error code.
    pub(crate) async fn handle_request(&self, identity: &Identity, body: &[u8]) -> Response {
        let response = match self.answer(identity, body).await {
            Ok(response) => response,
            Err(Refusal { code, message, retry_after_sec }) => Response::failure(&request_id_of(body), code, &message, retry_after_sec),
        };
        let outcome = response.error_code.map_or("OK", ErrorCode::as_str);
        metrics::counter!("sightline_stream_requests_total", "outcome" => outcome).increment(1);
        response
    }

    async fn answer(&self, identity: &Identity, body: &[u8]) -> Result<Response, Refusal> {
        let Identity::Device(id) = identity else {
            return Err(Refusal::new(ErrorCode::Unauthorized, "show the device's certificate, or its bearer token"));
        };
        self.limit.take(id.clone(), self.parts.clock.now()).map_err(Refusal::too_often)?;
        let device = self.parts.store.device(id).await.map_err(|error| Refusal::busy(&error))?;
        let Some(device) = device.filter(|device| device.revoked_at.is_none()) else {
            return Err(Refusal::new(ErrorCode::Unauthorized, "this device is not known here, or its right was taken away"));
        };
        let request = self.parse(id, body).await?;
        if !device.may_push {
            self.log_refusal(
                id,
                Action::AllocationRefuse,
                "it may not publish",
                json!({ "error_code": ErrorCode::PermissionDenied.as_str() }),
            )
            .await;
            return Err(Refusal::new(ErrorCode::PermissionDenied, "this device may not publish"));
        }
        self.parts.presence.seen(id);
        let answer = match self.parts.store.answer(id, &request.request_id).await.map_err(|error| Refusal::busy(&error))? {
            Some(repeated) => repeated,
            None => self.allocate(&device, &request).await?,
        };
        with_token(answer, &self.parts.keys).map_err(|error| Refusal::busy(&error))
    }

    async fn parse(&self, id: &DeviceId, body: &[u8]) -> Result<Request, Refusal> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(Refusal::new(ErrorCode::BadRequest, format!("a request has at most {REQUEST_BYTES_MAX} bytes")));
        }
        let request: Request = serde_json::from_slice(body).map_err(|error| refusal_of(body, &error))?;
        if request.request_id.is_empty() {
            return Err(Refusal::new(ErrorCode::BadRequest, "request_id is empty"));
        }
        if request.device_id != *id {
            self.log_refusal(id, Action::AllocationImpersonate, "it names another device", json!({ "named": request.device_id.as_str() }))
                .await;
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

    async fn allocate(&self, device: &DeviceRow, request: &Request) -> Result<Answer, Refusal> {
        let asked_bps = request.quality.settings().map_or(request.max_bitrate, |preset| preset.bitrate_bps.min(request.max_bitrate));
        let bitrate_kbps = u64::from(asked_bps.div_ceil(1000));
        let placement = self.parts.inventory.choose(&PlacementRequest {
            device: &device.id,
            region: &request.preferred_region,
            bitrate_kbps,
            is_secure: request.stream_type == "rtmps",
            seed: random_seed().map_err(|error| Refusal::busy(&error))?,
        });
        let Some(first) = placement.servers.first() else {
            tracing::warn!(device = %device.id, refused = ?placement.refused, "no server for a stream");
            return Err(Refusal::no_server(!placement.refused.is_empty()));
        };
        let now = self.parts.clock.unix_secs();
        let allocation = AllocationRow { device: device.id.clone(), server: first.id.clone(), bitrate_kbps, issued_at: now };
        let grounds = Grounds {
            device: &device.id,
            stream: &device.stream,
            playback: self.parts.store.playback_of(&device.stream),
            request,
            servers: &placement.servers,
            asked_bps,
            now,
            now_ms: self.parts.clock.unix_millis(),
            token_ttl_sec: i64::from(self.parts.token_ttl_sec),
            kid: self.parts.keys.current_kid(),
        };
        let stored = self.store(request, first, &allocation, grounds).await.map_err(|error| Refusal::busy(&error))?;
        let Some((answer, is_new)) = stored else {
            return Err(Refusal::new(ErrorCode::PermissionDenied, "the right of this device was taken away just now"));
        };
        if is_new {
            self.parts.inventory.allocated(allocation);
            let detail = json!({ "server": first.id, "reason": first.reason });
            self.parts.events.push(device.id.as_str(), EventKind::Allocated, detail).await;
        }
        Ok(answer)
    }

    /// Epoch, allocation, answer and audit row in one transaction: no token without its row in the log. The same question may come
    /// over MQTT and HTTP at once; the second one gets the first one's answer, and false. `None`: the device was denied or revoked after
    /// it was looked up, and an epoch from now on would be above the one that voids its tokens.
    async fn store(
        &self,
        request: &Request,
        server: &ChosenServer,
        allocation: &AllocationRow,
        grounds: Grounds<'_>,
    ) -> Result<Option<(Answer, bool)>, StoreError> {
        let id = &allocation.device;
        let actor = Actor::Device(id.clone());
        let mut write = self.parts.store.write(&actor).await?;
        if !write.may_push(id, grounds.stream).await? {
            return Ok(None);
        }
        if let Some(answer) = write.answer(id, &request.request_id).await? {
            return Ok(Some((answer, false)));
        }
        let epoch = write.next_epoch().await?;
        write.allocate(allocation, epoch).await?;
        let answer = grounds.answer(epoch);
        write.keep_answer(id, &request.request_id, &answer).await?;
        let detail = json!({
            "request_id": request.request_id.as_str(), "server": server.id, "reason": server.reason, "epoch": epoch,
            "quality": request.quality.name(), "bitrate_kbps": allocation.bitrate_kbps,
        });
        write.commit(Action::AllocationIssue, id.as_str(), detail).await?;
        Ok(Some((answer, true)))
    }

    async fn log_refusal(&self, id: &DeviceId, action: Action, reason: &str, detail: Value) {
        self.parts.refusals.record(&Actor::Device(id.clone()), action, id.as_str(), reason, detail).await;
    }

    /// Where refusals are counted.
    pub(crate) fn refusals(&self) -> &Arc<Refusals> {
        &self.parts.refusals
    }
}

/// Why a request can't be read. A quality that no preset has is a fault of its own (specification §1.8).
fn refusal_of(body: &[u8], error: &serde_json::Error) -> Refusal {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let quality = value.as_ref().and_then(|value| value.get("quality")?.as_str());
    match quality.filter(|quality| quality.parse::<Quality>().is_err()) {
        Some(_) => Refusal::new(ErrorCode::InvalidQuality, "quality is low, medium, high, ultra or custom"),
        None => Refusal::new(ErrorCode::BadRequest, error.to_string()),
    }
}

/// The id of a request that did not parse, where it has one.
fn request_id_of(body: &[u8]) -> String {
    let value: Option<Value> = body.get(..REQUEST_BYTES_MAX.min(body.len())).and_then(|body| serde_json::from_slice(body).ok());
    value.and_then(|value| value.get("request_id").and_then(Value::as_str).map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::StaticServer,
        data_dir::DataDir,
        devices::registry::{Registry, RegistryError},
        identity::authority::Authority,
    };

    /// A device, as an allocation that is under way has read it.
    async fn under_way() -> (tempfile::TempDir, Allocator, Registry, DeviceRow, Request) {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let server: StaticServer = serde_json::from_value(json!({ "id": "s1", "rtmp_url": "rtmp://192.0.2.1/live" })).unwrap();
        let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
        let allocator = Allocator::new(Parts {
            store: store.clone(),
            inventory: Arc::new(Inventory::new(&[server], Vec::new(), clock.clone())),
            presence: Arc::new(Presence::new(Arc::clone(&events), clock.clone())),
            events,
            keys: SigningKeys::open(store.clone(), clock.clone()).await.unwrap(),
            clock: clock.clone(),
            refusals: Arc::new(Refusals::new(store.clone(), clock.clone())),
            token_ttl_sec: 60,
        });
        let registry = Registry::new(dir.clone(), Authority::open(&dir, clock.clone()).unwrap(), store, clock);
        let id = DeviceId::new("cam").unwrap();
        registry.add(&Actor::Cli, &id).await.unwrap();
        let device = registry.known(&id).await.unwrap();
        let request = serde_json::from_value(json!({ "request_id": "r1", "device_id": "cam", "timestamp": 1 })).unwrap();
        (home, allocator, registry, device, request)
    }

    #[tokio::test]
    async fn a_request_under_way_while_its_device_is_shut_out_gets_no_token() -> Result<(), RegistryError> {
        for is_revoked in [false, true] {
            let (_home, allocator, registry, device, request) = under_way().await;
            if is_revoked {
                registry.revoke(&Actor::Cli, &device.id).await?;
            } else {
                registry.deny(&Actor::Cli, &device.id).await?;
            }
            let refusal = allocator.allocate(&device, &request).await.unwrap_err();
            assert_eq!(refusal.code, ErrorCode::PermissionDenied);
            if !is_revoked {
                registry.allow(&Actor::Cli, &device.id).await?;
                assert!(allocator.allocate(&device, &request).await.is_ok());
            }
        }
        Ok(())
    }
}
