// The cloud's API, and its events. All addresses are relative to the page, so that a proxy may serve it under any path.

const TOKEN = 'sightline.operator-token';

function token() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
}

/** Keeps the operator's token until the tab is closed. */
export function signIn(value) {
  sessionStorage.setItem(TOKEN, value.trim());
}

/** Why a request failed: `status` 0 means that nothing answered; `hasUsers`: someone may sign in with a name. */
export class ApiError extends Error {
  constructor(status, code, message, hasUsers = false) {
    super(message);
    this.status = status;
    this.code = code;
    this.hasUsers = hasUsers;
  }
}

const TIMEOUT_MS = 8000;

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), ...options, headers });
  } catch (error) {
    throw new ApiError(0, 'UNREACHABLE', error.message);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const hasUsers = (response.headers.get('www-authenticate') ?? '').startsWith('Session');
  throw new ApiError(response.status, body.error_code ?? String(response.status), body.error_message ?? response.statusText, hasUsers);
}

async function send(method, path, body) {
  const response = await call(path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  return response.json();
}

/** Who one is here, and what one may do. */
export async function session() {
  return (await call('api/v1/session')).json();
}

/** Signs in with a name and a password: the browser keeps a cookie that no script reads. */
export async function signInAs(name, password) {
  forgetToken();
  return send('POST', 'api/v1/session', { name, password });
}

/** Signs out, whichever way one came in. */
export async function signOut() {
  await call('api/v1/session', { method: 'DELETE' }).catch(() => {});
  forgetToken();
}

function forgetToken() {
  playbackTokens.clear();
  try {
    sessionStorage.removeItem(TOKEN);
  } catch { /* Then there was none. */ }
}

/** Changes one's own password. */
export async function changePassword(password, newPassword) {
  await send('PUT', 'api/v1/session/password', { password, new_password: newPassword });
}

/** Adds a user. */
export async function addUser(name, password, grants) {
  await send('POST', 'api/v1/users', { name, password, grants });
}

/** Changes a user's password or grants. */
export async function changeUser(name, change) {
  await send('PATCH', `api/v1/users/${encodeURIComponent(name)}`, change);
}

/** Removes a user. */
export async function removeUser(name) {
  await call(`api/v1/users/${encodeURIComponent(name)}`, { method: 'DELETE' });
}

/** Makes a group. */
export async function addGroup(path) {
  await send('POST', 'api/v1/groups', { path });
}

/** Removes a group that holds nothing. */
export async function removeGroup(path) {
  await call(`api/v1/groups/${path.split('/').map(encodeURIComponent).join('/')}`, { method: 'DELETE' });
}

/** Puts a camera into a group; '' is the root. */
export async function moveDevice(device, group) {
  await send('PATCH', `api/v1/devices/${encodeURIComponent(device)}`, { group });
}

/** All items of a list, page by page, up to a bound that a page of cards can still show. */
export async function list(path, itemsMax = 2000) {
  const items = [];
  let cursor = '';
  do {
    const query = `limit=500${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
    const page = await (await call(`${path}${path.includes('?') ? '&' : '?'}${query}`)).json();
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < itemsMax);
  return items;
}

/** One page of a list. */
export async function page(path) {
  return (await (await call(path)).json()).items;
}

/** What was recorded of a device in a range (milliseconds since 1970), and the servers that could not be asked. */
export async function recordings(device, from, to) {
  const answer = await call(`api/v1/recordings?device=${encodeURIComponent(device)}&from=${from}&to=${to}&limit=1000`);
  return answer.json();
}

/** Tells a camera to do something; the answer has `status` and `result`. */
export async function command(device, body) {
  const response = await call(`api/v1/devices/${encodeURIComponent(device)}/command`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json();
}

/** How long a token to watch is good, in seconds, and how long before its end another is asked for. */
const PLAYBACK_TTL_SEC = 3600;
const PLAYBACK_RENEW_SEC = 60;
const playbackTokens = new Map();

/** A token to watch a device's stream; '' where there is none to have: then the origin says why. */
export async function playbackToken(device) {
  const known = playbackTokens.get(device);
  if (known && known.until > Date.now()) return known.asked;
  const asked = call(`api/v1/streams/${encodeURIComponent(device)}/playback`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ttl_sec: PLAYBACK_TTL_SEC }),
  }).then((response) => response.json()).then(({ token: signed }) => signed);
  playbackTokens.set(device, { until: Date.now() + (PLAYBACK_TTL_SEC - PLAYBACK_RENEW_SEC) * 1000, asked: asked.catch(() => {
    playbackTokens.delete(device);
    return '';
  }) });
  return playbackTokens.get(device).asked;
}

/** The newest marks of a device. */
export async function marks(device, count) {
  return page(`api/v1/streams/${encodeURIComponent(device)}/marks?limit=${count}`);
}

/** The keys that play a device's stream. */
export async function playbackKeys(device) {
  return (await list('api/v1/playback-keys')).filter((key) => key.device === device);
}

/** Makes one; the answer has its secret, this once. */
export async function addPlaybackKey(device, name, ttlSec) {
  const response = await call('api/v1/playback-keys', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ device, name, ttl_sec: ttlSec }),
  });
  return response.json();
}

/** Takes one back. */
export async function removePlaybackKey(id) {
  await call(`api/v1/playback-keys/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/** A device's relays to other servers. */
export async function streamRelays(device) {
  return (await (await call(`api/v1/streams/${encodeURIComponent(device)}/relays`)).json()).items;
}

/** Sends a device's stream on to another server. */
export async function addStreamRelay(device, name, url) {
  await call(`api/v1/streams/${encodeURIComponent(device)}/relays`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name, url }),
  });
}

/** Ends one that was set so. */
export async function removeStreamRelay(device, name) {
  await call(`api/v1/streams/${encodeURIComponent(device)}/relays/${encodeURIComponent(name)}`, { method: 'DELETE' });
}

const RECONNECT_MS = 3000;

/**
 * Calls `listener` with each event until `signal` aborts. By fetch, because an EventSource can't show a token.
 */
export async function listen(listener, signal) {
  while (!signal.aborted) {
    try {
      const response = await call('api/v1/events/stream', { signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const parts = text.split('\n\n');
        text = parts.pop();
        for (const part of parts) deliver(part, listener);
      }
    } catch { /* The page's own polling shows that the cloud is gone; here it is only tried again. */ }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

function deliver(part, listener) {
  const lines = part.split('\n');
  if (!lines.includes('event: status')) return;
  const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n');
  try {
    listener(JSON.parse(data));
  } catch { /* A broken event is no reason to stop listening. */ }
}
