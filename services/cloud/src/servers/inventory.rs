//! The servers and their load: what origins report, what the settings list, and what each device was given.

use crate::{
    clock::Clock,
    config::{ServerUrl, StaticServer},
    store::allocations::AllocationRow,
};
use sightline_placement::{Candidate, Wanted, choose};
use sightline_signal::{
    DeviceId,
    report::{OriginPull, OriginRecordings, OriginReport, OriginStream, REPORT_INTERVAL_SEC, REPORTS_MISSED_MAX},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// An origin that was silent for longer is dead: three reports, and half an interval for a slow network.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(REPORT_INTERVAL_SEC * 1000 * REPORTS_MISSED_MAX + REPORT_INTERVAL_SEC * 500);
/// An allocation counts as load for this long before its stream must be seen; a camera on a bad uplink needs it.
const ALLOCATION_HELD_SEC: i64 = 30;
/// Origins that may be registered: only holders of the cluster key get here, so this catches a mistake, not an attack.
const ORIGINS_MAX: usize = 1000;

/// Live state of all servers.
pub(crate) struct Inventory {
    tables: Mutex<Tables>,
    clock: Clock,
}

/// Without the servers: a URL that someone entered may contain a password.
impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory").finish_non_exhaustive()
    }
}

struct Tables {
    servers: BTreeMap<String, ServerEntry>,
    allocations: HashMap<DeviceId, AllocationRow>,
    /// Of the servers, those that were entered by the API or the command line.
    entered: BTreeSet<String>,
    /// They are given no cameras.
    draining: BTreeSet<String>,
}

struct ServerEntry {
    report: OriginReport,
    /// `None`: a server of others, which never reports.
    reported_at: Option<Instant>,
}

/// A server, for the API.
#[derive(Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Server)]
pub(crate) struct ServerView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    /// `origin`, or `external` for one entered by hand.
    pub(crate) kind: &'static str,
    pub(crate) alive: bool,
    /// It is given no cameras, and those that it had were called away.
    pub(crate) draining: bool,
    pub(crate) rtmp_url: String,
    pub(crate) rtmps_url: String,
    pub(crate) http_url: String,
    pub(crate) capacity_kbps: u64,
    pub(crate) committed_kbps: u64,
    pub(crate) ingest_kbps: f64,
    pub(crate) viewers: u64,
    pub(crate) streams: usize,
    /// It takes streams from other origins for its viewers, and is given no cameras.
    pub(crate) is_edge: bool,
    /// What it takes from other origins now, by origin.
    pub(crate) pulls: Vec<PulledFrom>,
    /// What it has recorded, and how far back that will reach; null: nothing, or it is no origin of ours.
    pub(crate) recordings: Option<OriginRecordings>,
}

/// Streams that an edge takes from one origin.
#[derive(Clone, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct PulledFrom {
    /// `http(s)://host:port`.
    pub(crate) upstream: String,
    pub(crate) streams: usize,
    /// Of these, how many no origin gives now.
    pub(crate) waiting: usize,
}

/// A live stream and where it is.
#[derive(Clone)]
pub(crate) struct LiveStream {
    pub(crate) server: String,
    pub(crate) rtmp_url: String,
    pub(crate) http_url: String,
    pub(crate) stream: OriginStream,
}

/// What a device needs of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacementRequest<'a> {
    pub(crate) device: &'a DeviceId,
    /// The preferred one; empty: any.
    pub(crate) region: &'a str,
    pub(crate) bitrate_kbps: u64,
    /// Over TLS.
    pub(crate) is_secure: bool,
    /// Of the draw.
    pub(crate) seed: u64,
}

/// The servers that were chosen.
pub(crate) struct Placement {
    /// The first one first; empty: no server fits.
    pub(crate) servers: Vec<ChosenServer>,
    /// Why the others were not chosen.
    pub(crate) refused: Vec<String>,
}

/// A server that was chosen.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ChosenServer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) url: String,
    pub(crate) reason: String,
    /// Ours: it checks the origin set of a token.
    pub(crate) is_origin: bool,
}

/// There are more origins than anyone runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many origins are registered")]
pub(crate) struct TooManyOrigins;

impl ServerEntry {
    fn of_others(server: &StaticServer) -> Self {
        let is_secure = server.rtmp_url.is_secure();
        let url = |is_it: bool| if is_it { server.rtmp_url.reveal().to_owned() } else { String::new() };
        let report = OriginReport {
            server_id: server.id.clone(),
            name: if server.name.is_empty() { server.id.clone() } else { server.name.clone() },
            region: server.region.clone(),
            rtmp_url: url(!is_secure),
            rtmps_url: url(is_secure),
            capacity_kbps: server.capacity_kbps,
            ..OriginReport::default()
        };
        Self { report, reported_at: None }
    }

    fn is_alive(&self, now: Instant) -> bool {
        self.reported_at.is_none_or(|at| now.duration_since(at) < DEAD_AFTER)
    }

    /// Without user, password and query, which those of others may have.
    fn shown(&self, url: &str) -> String {
        if self.reported_at.is_some() || url.is_empty() { url.to_owned() } else { format!("{:?}", ServerUrl::from(url)) }
    }

    /// Where to publish, with the specification's slash at the end; `None` if it lacks the scheme.
    fn publish_url(&self, is_secure: bool) -> Option<String> {
        let url = if is_secure { &self.report.rtmps_url } else { &self.report.rtmp_url };
        (!url.is_empty()).then(|| format!("{}/", url.trim_end_matches('/')))
    }
}

impl Inventory {
    pub(crate) fn new(externals: &[StaticServer], allocations: Vec<AllocationRow>, clock: Clock) -> Self {
        let servers = externals.iter().map(|server| (server.id.clone(), ServerEntry::of_others(server))).collect();
        let allocations = allocations.into_iter().map(|row| (row.device.clone(), row)).collect();
        let tables = Tables { servers, allocations, entered: BTreeSet::new(), draining: BTreeSet::new() };
        Self { tables: Mutex::new(tables), clock }
    }

    /// The servers that were entered, whole, and those that are given no cameras; gives those of these that were given some until now. An id that an origin or the
    /// settings have is theirs.
    pub(crate) fn set_entered(&self, servers: &[StaticServer], draining: BTreeSet<String>) -> Vec<String> {
        let mut tables = self.tables();
        for id in std::mem::take(&mut tables.entered) {
            tables.servers.remove(&id);
        }
        for server in servers.iter().filter(|server| !tables.servers.contains_key(&server.id)).collect::<Vec<_>>() {
            tables.servers.insert(server.id.clone(), ServerEntry::of_others(server));
            tables.entered.insert(server.id.clone());
        }
        let begun = draining.difference(&tables.draining).cloned().collect();
        tables.draining = draining;
        begun
    }

    /// Whether there is such a server.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.tables().servers.contains_key(id)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics under the lock; if it did, the tables would still be whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an origin's report; true if it was dead or unknown before.
    pub(crate) fn report(&self, report: OriginReport) -> Result<bool, TooManyOrigins> {
        let now = self.clock.now();
        let mut tables = self.tables();
        if !tables.servers.contains_key(&report.server_id) && tables.servers.len() >= ORIGINS_MAX {
            return Err(TooManyOrigins);
        }
        let entry = ServerEntry { reported_at: Some(now), report };
        // An origin under the id of a server that was entered is that server from now on.
        tables.entered.remove(&entry.report.server_id);
        let before = tables.servers.insert(entry.report.server_id.clone(), entry);
        Ok(before.is_none_or(|before| !before.is_alive(now)))
    }

    /// The `boot_id` that an origin last reported to this process.
    pub(crate) fn boot_id(&self, server: &str) -> Option<String> {
        self.tables().servers.get(server).map(|entry| entry.report.boot_id.clone())
    }

    /// Devices whose newest allocation is on `server`.
    pub(crate) fn devices_on(&self, server: &str) -> Vec<DeviceId> {
        self.tables().allocations.values().filter(|row| row.server == server).map(|row| row.device.clone()).collect()
    }

    /// The server of a device's newest allocation.
    pub(crate) fn server_of(&self, device: &DeviceId) -> Option<String> {
        self.tables().allocations.get(device).map(|row| row.server.clone())
    }

    pub(crate) fn allocated(&self, row: AllocationRow) {
        self.tables().allocations.insert(row.device.clone(), row);
    }

    /// Chooses servers for a device's stream; its own earlier allocation does not count against it.
    pub(crate) fn choose(&self, request: &PlacementRequest<'_>) -> Placement {
        let now = self.clock.now();
        let tables = self.tables();
        let committed = tables.committed(Some(request.device), self.clock.unix_secs());
        let entries: Vec<&ServerEntry> = tables.servers.values().collect();
        let candidates: Vec<Candidate<'_>> = entries
            .iter()
            .map(|entry| Candidate {
                id: &entry.report.server_id,
                region: &entry.report.region,
                capacity_kbps: entry.report.capacity_kbps,
                committed_kbps: committed.get(entry.report.server_id.as_str()).copied().unwrap_or(0),
                is_usable: entry.is_alive(now)
                    && !entry.report.is_edge
                    && !tables.draining.contains(&entry.report.server_id)
                    && entry.publish_url(request.is_secure).is_some(),
            })
            .collect();
        let wanted = Wanted { region: request.region, bitrate_kbps: request.bitrate_kbps };
        let choices = choose(&candidates, &wanted, request.seed);
        let chosen = choices.servers.iter().filter_map(|choice| {
            let entry = entries.get(choice.index)?;
            Some(ChosenServer {
                id: entry.report.server_id.clone(),
                name: entry.report.name.clone(),
                region: entry.report.region.clone(),
                url: entry.publish_url(request.is_secure)?,
                reason: choice.reason.clone(),
                is_origin: entry.reported_at.is_some(),
            })
        });
        Placement { servers: chosen.collect(), refused: choices.refused }
    }

    /// All servers, by id.
    pub(crate) fn servers(&self) -> Vec<ServerView> {
        let now = self.clock.now();
        let tables = self.tables();
        let committed = tables.committed(None, self.clock.unix_secs());
        let view = |entry: &ServerEntry| {
            let alive = entry.is_alive(now);
            let report = &entry.report;
            ServerView {
                id: report.server_id.clone(),
                name: report.name.clone(),
                region: report.region.clone(),
                kind: if entry.reported_at.is_some() { "origin" } else { "external" },
                alive,
                draining: tables.draining.contains(&report.server_id),
                rtmp_url: entry.shown(&report.rtmp_url),
                rtmps_url: entry.shown(&report.rtmps_url),
                http_url: report.http_url.clone(),
                capacity_kbps: report.capacity_kbps,
                committed_kbps: committed.get(report.server_id.as_str()).copied().unwrap_or(0),
                ingest_kbps: if alive { report.ingest_kbps } else { 0.0 },
                viewers: if alive { report.viewers } else { 0 },
                streams: if alive { report.streams.len() } else { 0 },
                is_edge: report.is_edge,
                pulls: if alive { pulled_from(&report.pulls) } else { Vec::new() },
                recordings: report.recordings.clone(),
            }
        };
        tables.servers.values().map(view).collect()
    }

    /// The live streams of live origins, by device. While a stream moves, two origins have it: the higher epoch counts.
    pub(crate) fn live_streams(&self) -> BTreeMap<String, LiveStream> {
        let now = self.clock.now();
        let mut live: BTreeMap<String, LiveStream> = BTreeMap::new();
        for entry in self.tables().servers.values().filter(|entry| entry.is_alive(now)) {
            for stream in &entry.report.streams {
                if live.get(&stream.device).is_some_and(|other| other.stream.epoch >= stream.epoch) {
                    continue;
                }
                let found = LiveStream {
                    server: entry.report.server_id.clone(),
                    rtmp_url: entry.report.rtmp_url.clone(),
                    http_url: entry.report.http_url.clone(),
                    stream: stream.clone(),
                };
                live.insert(stream.device.clone(), found);
            }
        }
        live
    }
}

fn pulled_from(pulls: &[OriginPull]) -> Vec<PulledFrom> {
    let mut found: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for pull in pulls {
        let (streams, waiting) = found.entry(&pull.upstream).or_default();
        *streams += 1;
        *waiting += usize::from(pull.state == "waiting");
    }
    let by_upstream = found.into_iter();
    by_upstream.map(|(upstream, (streams, waiting))| PulledFrom { upstream: upstream.to_owned(), streams, waiting }).collect()
}

impl Tables {
    /// What each server was given, in kbit/s: the greater of its load and of the allocations that may still become load.
    fn committed(&self, without: Option<&DeviceId>, now_secs: i64) -> HashMap<&str, u64> {
        let live: HashSet<(&str, &str)> = self
            .servers
            .values()
            .flat_map(|entry| entry.report.streams.iter().map(|stream| (entry.report.server_id.as_str(), stream.device.as_str())))
            .collect();
        let held_since = now_secs - ALLOCATION_HELD_SEC;
        let mut allocated: HashMap<&str, u64> = HashMap::new();
        for row in self.allocations.values().filter(|row| Some(&row.device) != without) {
            if row.issued_at >= held_since || live.contains(&(row.server.as_str(), row.device.as_str())) {
                let sum = allocated.entry(&row.server).or_default();
                *sum = sum.saturating_add(row.bitrate_kbps);
            }
        }
        for entry in self.servers.values() {
            // A rate from the network: negative, endless and not-a-number all become 0 or the most there is.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let ingest = entry.report.ingest_kbps as u64;
            let sum = allocated.entry(&entry.report.server_id).or_default();
            *sum = (*sum).max(ingest);
        }
        allocated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(id: &str, boot: &str) -> OriginReport {
        OriginReport {
            server_id: id.into(),
            name: id.into(),
            region: "eu".into(),
            boot_id: boot.into(),
            rtmp_url: format!("rtmp://{id}:1935/live"),
            capacity_kbps: 10_000,
            ..OriginReport::default()
        }
    }

    #[test]
    fn an_origin_is_offered_over_the_schemes_it_has_and_its_load_counts() {
        let clock = Clock::default();
        let inventory = Inventory::new(&[], Vec::new(), clock.clone());
        let device = DeviceId::new("cam").unwrap();
        let choose =
            |is_secure| inventory.choose(&PlacementRequest { device: &device, region: "eu", bitrate_kbps: 1000, is_secure, seed: 1 });
        assert!(choose(false).servers.is_empty());
        assert!(inventory.report(origin("a", "1")).unwrap());
        assert!(!inventory.report(origin("a", "1")).unwrap());
        assert_eq!(choose(false).servers[0].url, "rtmp://a:1935/live/");
        assert!(choose(true).servers.is_empty(), "it has no rtmps");
        inventory.allocated(AllocationRow {
            device: DeviceId::new("other").unwrap(),
            server: "a".into(),
            bitrate_kbps: 8500,
            issued_at: clock.unix_secs(),
        });
        let placement = choose(false);
        assert!(placement.servers.is_empty() && placement.refused[0].contains("full"), "{:?}", placement.refused);
        assert_eq!(inventory.devices_on("a"), [DeviceId::new("other").unwrap()]);
        // The other device's stream never came: its place is free again.
        clock.advance(Duration::from_secs(31));
        inventory.report(origin("a", "1")).unwrap();
        assert_eq!(choose(false).servers.len(), 1);
        // An edge has an address for cameras as every origin has, and gets none.
        inventory.report(OriginReport { is_edge: true, ..origin("a", "1") }).unwrap();
        assert!(choose(false).servers.is_empty());
    }

    #[test]
    fn an_origin_that_misses_three_reports_is_dead_until_the_next() {
        let clock = Clock::default();
        let inventory = Inventory::new(&[], Vec::new(), clock.clone());
        inventory.report(origin("a", "1")).unwrap();
        clock.advance(DEAD_AFTER - Duration::from_millis(500));
        assert!(inventory.servers()[0].alive);
        clock.advance(Duration::from_millis(500));
        assert!(!inventory.servers()[0].alive && inventory.live_streams().is_empty());
        assert!(inventory.report(origin("a", "1")).unwrap(), "it is back");
        assert!(inventory.servers()[0].alive);
    }

    #[test]
    fn a_stream_that_moves_is_listed_once_where_its_epoch_is_higher() {
        let inventory = Inventory::new(&[], Vec::new(), Clock::default());
        for (id, epoch) in [("a", 7), ("b", 9), ("c", 8)] {
            let stream = OriginStream { device: "cam".into(), epoch, ..OriginStream::default() };
            inventory.report(OriginReport { streams: vec![stream], ..origin(id, "1") }).unwrap();
        }
        let live = inventory.live_streams();
        assert_eq!((live.len(), live["cam"].server.as_str()), (1, "b"));
    }
}
