// What the console knows: polled, and hurried by events.

import { ApiError, list, listen, session } from './api.js';

/** How often lists are asked for. Origins report every two seconds, so faster shows nothing new. */
const POLL_MS = 2000;
/** Samples of network quality that a sparkline shows: one and a half minutes. */
const HISTORY = 45;
const EVENTS_MAX = 200;

/** The state, and `problem`: null or an ApiError; `me` is who one is. */
export const store = { me: null, groups: [], cameras: [], servers: [], events: [], history: new Map(), marked: new Map(), problem: null, isLoaded: false };

const ROLES = ['viewer', 'operator', 'admin'];

/** Whether one has at least a role on a group: the own grants hold for all below them. */
export function mayOn(role, group) {
  const holds = (above) => above === '' || group === above || group.startsWith(`${above}/`);
  return (store.me?.grants ?? []).some((grant) => holds(grant.group) && ROLES.indexOf(grant.role) >= ROLES.indexOf(role));
}

const listeners = new Set();

/** Calls `listener` after each change; returns how to stop it. */
export function watch(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const changed = () => listeners.forEach((listener) => listener());

let wake = () => {};

/** Asks now instead of at the next turn. */
export function refresh() {
  wake();
}

const leaving = new AbortController();
let hearing = new AbortController();

/** Follows the events as whoever one is now. */
function hear() {
  hearing.abort();
  hearing = new AbortController();
  listen(onEvent, hearing.signal);
}

/** Forgets who one was: the next turn asks anew, and so does whoever follows the events. */
export function forget() {
  hear();
  Object.assign(store, { me: null, groups: [], cameras: [], servers: [], events: [], isLoaded: false });
  refresh();
}

/** Lets the connections go: a page that the browser keeps for its back button would keep them, and a browser has six to a host. */
export function leave() {
  leaving.abort();
  hearing.abort();
}

/** Polls and listens as long as the page lives. */
export async function run() {
  hear();
  while (!leaving.signal.aborted) {
    if (!document.hidden || !store.isLoaded) await poll();
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, POLL_MS);
    });
  }
}

async function poll() {
  try {
    if (!store.me || store.problem) store.me = await session();
    const servers = mayOn('admin', '') ? list('api/v1/servers') : [];
    const [devices, streams, known, groups] = await Promise.all([list('api/v1/devices'), list('api/v1/streams'), servers, list('api/v1/groups')]);
    store.groups = groups;
    store.cameras = join(devices, streams);
    store.servers = known;
    if (!store.isLoaded || store.problem) await loadEvents();
    remember(store.cameras);
    store.problem = null;
    store.isLoaded = true;
  } catch (error) {
    store.problem = error instanceof ApiError ? error : new ApiError(0, 'UNREACHABLE', String(error));
  }
  changed();
}

/** Each device with its live stream, if it has one: live first, then online, then the rest, each by name. */
function join(devices, streams) {
  const live = new Map(streams.map((stream) => [stream.device, stream]));
  const rank = (camera) => (camera.live ? 0 : camera.online ? 1 : camera.revoked_at ? 3 : 2);
  return devices
    .map((device) => ({ ...device, live: live.get(device.id) ?? null }))
    .sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id, undefined, { numeric: true }));
}

function remember(cameras) {
  for (const { id, live } of cameras) {
    const samples = store.history.get(id) ?? [];
    if (live) samples.push(live.network_quality ?? 1);
    else samples.length = 0;
    store.history.set(id, samples.slice(-HISTORY));
  }
}

async function loadEvents() {
  store.events = (await list('api/v1/events', 1)).slice(0, EVENTS_MAX);
}

function onEvent(event) {
  if (event.event === 'stream_metrics') return;
  if (event.event === 'mark_added') {
    // They have a list of their own, and come without a number.
    store.marked.set(event.device, event.detail.id);
    return changed();
  }
  if (store.events.some((known) => known.seq === event.seq)) return;
  store.events = [event, ...store.events].slice(0, EVENTS_MAX);
  changed();
  refresh();
}
