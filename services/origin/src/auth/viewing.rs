//! Who may play: whoever knows a playback id, whoever shows a right to it, or no one. A check calls nobody: tokens are signed by keys that
//! are here, and playback keys are a list that came with the last report and lies in a file beside them.

mod list;

use crate::auth::edges::EdgeKey;
use crate::auth::keys::Keys;
use crate::auth::policy::PresentPolicy;
use crate::auth::rules::Act;
use crate::auth::wish::{PlayRefusal, Way, Wish};
use crate::callbacks::Told;
use crate::clock::Clock;
use crate::config::Play as Rule;
use list::KeyList;
use sightline_listen::{Network, Rarely};
use sightline_media::Instant;
use sightline_signal::report::{PlaybackKeyUse, PlaybackKeys};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a player that asks again and again counts as a viewer after its last question: two of the longest segments.
const ASKED_KEPT: Duration = Duration::from_secs(30);
/// Players that ask, of all tokens with a limit of viewers. Beyond it the one that has not asked for the longest time is forgotten.
const ASKED_MAX: usize = 10_000;

/// Refusals cost a stranger nothing: one line stands for all.
static REFUSED: Rarely = Rarely::new();

/// A right that was shown and is good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Right {
    /// The token's or the key's id.
    id: String,
    /// It is a playback key: revoked once the list has it no more.
    is_key: bool,
    /// When whoever watches is cut off, seconds since 1970.
    ends_at: Option<i64>,
    viewers_max: u32,
    /// It is an edge of this installation, which stands for many viewers.
    is_edge: bool,
}

impl Right {
    fn of_edge() -> Self {
        Self { id: String::new(), is_key: false, ends_at: None, viewers_max: 0, is_edge: true }
    }
}

/// The rights to play, and who uses them.
pub(crate) struct Viewing {
    clock: Clock,
    policy: Arc<PresentPolicy>,
    keys: Arc<Keys>,
    /// Of the installation's edges; `None`: it belongs to none.
    edges: Option<EdgeKey>,
    state: Mutex<State>,
}

struct State {
    list: KeyList,
    watching: HashMap<u64, Watching>,
    next: u64,
    by_stream: HashMap<String, u32>,
    by_address: HashMap<IpAddr, u32>,
    by_right: HashMap<String, u32>,
    /// Who asks for playlists with a right that has a limit.
    asked: HashMap<(String, IpAddr), Instant>,
    /// Last uses of playback keys that the cloud has not heard of.
    used: HashMap<String, (i64, IpAddr)>,
}

struct Watching {
    playback: String,
    address: IpAddr,
    right: Option<Right>,
    over: CancellationToken,
}

/// Someone who watches, until it is dropped.
pub(crate) struct Admitted {
    viewing: Arc<Viewing>,
    number: u64,
    /// The right has ended, or was revoked.
    pub(crate) over: CancellationToken,
    /// Tells of its end, where that is wanted.
    pub(crate) told: Option<Told>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.viewing.state();
        let Some(Watching { playback, address, right, .. }) = state.watching.remove(&self.number) else { return };
        leave(&mut state.by_stream, &playback);
        leave(&mut state.by_address, &address);
        if let Some(right) = right {
            leave(&mut state.by_right, &right.id);
        }
    }
}

fn leave<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Viewing {
    /// With the playback keys of the cached file, if there is one.
    pub(crate) fn load(clock: Clock, policy: Arc<PresentPolicy>, keys: Arc<Keys>, edges: Option<EdgeKey>, file: PathBuf) -> Arc<Self> {
        let state = State {
            list: KeyList::load(file),
            watching: HashMap::new(),
            next: 0,
            by_stream: HashMap::new(),
            by_address: HashMap::new(),
            by_right: HashMap::new(),
            asked: HashMap::new(),
            used: HashMap::new(),
        };
        Arc::new(Self { clock, policy, keys, edges, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a wish may be granted, and by what right; `None`: none is needed.
    fn right(&self, wish: Wish<'_>) -> Result<Option<Right>, PlayRefusal> {
        let policy = self.policy.now();
        if !policy.apps.allows(wish.app, Act::Play, wish.address) {
            return Err(PlayRefusal::Denied);
        }
        let is_edge = || self.edges.as_ref().is_some_and(|edges| edges.grants(wish, self.clock.wall().unix_secs()));
        let rule = if wish.way == Way::Vod { policy.vod } else { policy.play };
        match (rule, wish.token) {
            (Rule::Closed, _) => Err(PlayRefusal::Closed),
            (Rule::Open | Rule::Signed, Some(_)) if is_edge() => Ok(Some(Right::of_edge())),
            (Rule::Open, _) => Ok(None),
            (Rule::Signed, None) => Err(PlayRefusal::NoToken),
            (Rule::Signed, Some(token)) => {
                let unix_secs = self.clock.wall().unix_secs();
                let checked = if token.contains('.') { self.token(wish, token, unix_secs) } else { self.key(wish, token, unix_secs) };
                checked.map(Some)
            }
        }
    }

    fn token(&self, wish: Wish<'_>, token: &str, unix_secs: i64) -> Result<Right, PlayRefusal> {
        let claims = self.keys.check_playback(token, unix_secs)?;
        fits(wish, &claims.playback, &claims.address, &claims.ways)?;
        Ok(Right { id: claims.id.as_str().to_owned(), is_key: false, ends_at: None, viewers_max: claims.viewers_max, is_edge: false })
    }

    fn key(&self, wish: Wish<'_>, secret: &str, unix_secs: i64) -> Result<Right, PlayRefusal> {
        let mut state = self.state();
        let key = state.list.find(secret).ok_or(PlayRefusal::Invalid)?;
        if key.ends_at.is_some_and(|end| end <= unix_secs) {
            return Err(PlayRefusal::Expired);
        }
        fits(wish, &key.playback, &key.address, &key.ways)?;
        let right = Right { id: key.id.clone(), is_key: true, ends_at: key.ends_at, viewers_max: key.viewers_max, is_edge: false };
        // As many as there are keys.
        state.used.insert(right.id.clone(), (unix_secs, wish.address));
        Ok(right)
    }

    /// Lets someone watch by a connection of its own, until that is dropped.
    pub(crate) fn begin(self: &Arc<Self>, wish: Wish<'_>) -> Result<Admitted, PlayRefusal> {
        let begun = self.right(wish).and_then(|right| self.enter(wish, right));
        begun.inspect_err(|refusal| tell(wish, *refusal))
    }

    fn enter(self: &Arc<Self>, wish: Wish<'_>, right: Option<Right>) -> Result<Admitted, PlayRefusal> {
        let (address, limits) = (wish.address.to_canonical(), self.policy.now().viewers);
        let mut state = self.state();
        let is_edge = right.as_ref().is_some_and(|right| right.is_edge);
        let is_full = |count: Option<&u32>, most: u32| !is_edge && most > 0 && count.copied().unwrap_or(0) >= most;
        if is_full(state.by_stream.get(wish.playback), limits.per_stream) {
            return Err(PlayRefusal::StreamFull);
        }
        if is_full(state.by_address.get(&address), limits.per_address) {
            return Err(PlayRefusal::AddressFull);
        }
        if right.as_ref().is_some_and(|right| is_full(state.by_right.get(&right.id), right.viewers_max)) {
            return Err(PlayRefusal::TooMany);
        }
        *state.by_stream.entry(wish.playback.to_owned()).or_default() += 1;
        *state.by_address.entry(address).or_default() += 1;
        if let Some(right) = &right {
            *state.by_right.entry(right.id.clone()).or_default() += 1;
        }
        let (number, over) = (state.next, CancellationToken::new());
        state.next += 1;
        state.watching.insert(number, Watching { playback: wish.playback.to_owned(), address, right, over: over.clone() });
        Ok(Admitted { viewing: self.clone(), number, over, told: None })
    }

    /// Answers one question of someone who comes with many: HLS, a snapshot.
    pub(crate) fn ask(&self, wish: Wish<'_>) -> Result<(), PlayRefusal> {
        let asked = self.right(wish).and_then(|right| match right {
            Some(right) if right.viewers_max > 0 => self.count_asking(&right, wish.address.to_canonical()),
            Some(_) | None => Ok(()),
        });
        asked.inspect_err(|refusal| tell(wish, *refusal))
    }

    /// Addresses stand for viewers: a player may use several connections, and has no other name.
    fn count_asking(&self, right: &Right, address: IpAddr) -> Result<(), PlayRefusal> {
        let now = self.clock.now();
        let mut state = self.state();
        let asked = &mut state.asked;
        asked.retain(|_, at| now.since(*at) < ASKED_KEPT);
        let key = (right.id.clone(), address);
        let others = asked.keys().filter(|(id, from)| *id == right.id && *from != address).count();
        if !asked.contains_key(&key) && others >= right.viewers_max as usize {
            return Err(PlayRefusal::TooMany);
        }
        if asked.len() >= ASKED_MAX
            && let Some(oldest) = asked.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
        {
            asked.remove(&oldest);
        }
        asked.insert(key, now);
        Ok(())
    }

    /// Cuts off those whose right has ended.
    pub(crate) fn end_ended(&self) {
        let unix_secs = self.clock.wall().unix_secs();
        let state = self.state();
        for watching in state.watching.values() {
            if watching.right.as_ref().and_then(|right| right.ends_at).is_some_and(|end| end <= unix_secs) {
                watching.over.cancel();
            }
        }
    }

    /// The version of the playback keys that are here.
    pub(crate) fn keys_version(&self) -> u64 {
        self.state().list.version()
    }

    /// Takes the cloud's list, and cuts off those whose key is no more in it. Blocks on the file.
    pub(crate) fn replace_keys(&self, keys: PlaybackKeys) {
        let mut state = self.state();
        state.list.replace(keys);
        for watching in state.watching.values() {
            if watching.right.as_ref().is_some_and(|right| right.is_key && !state.list.has(&right.id)) {
                watching.over.cancel();
            }
        }
    }

    /// Last uses of keys, for the report.
    pub(crate) fn used(&self) -> Vec<PlaybackKeyUse> {
        let state = self.state();
        let uses = state.used.iter().map(|(id, (time, address))| (id.clone(), *time, address.to_string()));
        uses.map(|(id, time, address)| PlaybackKeyUse { id, time, address }).collect()
    }

    /// The cloud has heard of them.
    pub(crate) fn reported(&self, uses: &[PlaybackKeyUse]) {
        let mut state = self.state();
        for reported in uses {
            if state.used.get(&reported.id).is_some_and(|(time, _)| *time == reported.time) {
                state.used.remove(&reported.id);
            }
        }
    }
}

/// Whether a right is for this stream, address and way.
fn fits(wish: Wish<'_>, playback: &str, address: &str, ways: &str) -> Result<(), PlayRefusal> {
    if playback != wish.playback {
        return Err(PlayRefusal::OtherStream);
    }
    // What can't be read as a network is no network that anyone is in.
    if !address.is_empty() && !address.parse::<Network>().is_ok_and(|network| network.contains(wish.address)) {
        return Err(PlayRefusal::OtherAddress);
    }
    if !ways.is_empty() && !ways.split(',').any(|way| way.trim() == wish.way.name()) {
        return Err(PlayRefusal::OtherWay);
    }
    Ok(())
}

fn tell(wish: Wish<'_>, refusal: PlayRefusal) {
    if refusal == PlayRefusal::Closed {
        return;
    }
    let playback = sightline_listen::shortened(wish.playback);
    REFUSED.write(|others| {
        tracing::info!(address = %wish.address, playback, way = wish.way.name(), %refusal, others, "a viewer was refused");
    });
}

#[cfg(test)]
#[path = "viewing/viewing_tests.rs"]
mod tests;
