// Pieces that more than one page shows.

import { h, icon, setText, svg, toast } from './dom.js';
import { bitrate, clock, number } from './format.js';
import { t } from './i18n.js';
import { store } from './store.js';

/** How long a stream that has just begun may be without a picture, in seconds. */
const FIRST_PICTURE_SEC = 6;

/** Whether a stream runs that shows nothing: a camera without a picture is never green. */
export function isBlind({ live }) {
  return Boolean(live) && !(live.fps > 0) && Date.now() / 1000 - live.since > FIRST_PICTURE_SEC;
}

/** Why there is no picture, as a code of docs/protocol/errors.md; null where all is well or nothing is known. */
export function problemOf(camera) {
  const isWell = camera.live ? !isBlind(camera) : !['error', 'reconnecting'].includes(camera.state);
  if (camera.revoked_at || isWell) return null;
  const last = store.events.find((event) => event.device === camera.id && ['connection_error', 'stream_started'].includes(event.event));
  return last?.event === 'connection_error' ? last.detail?.error_code ?? null : null;
}

/** The reason and its mend, for people. */
export function problemText(camera) {
  const code = problemOf(camera);
  return code ? `${t(`why_${code}`)} (${code})` : isBlind(camera) ? t('why_nothing') : '';
}

/** A camera's state as one word of the stylesheet: live, warn, bad, idle or off. */
export function tone(camera) {
  if (camera.revoked_at) return 'off';
  if (isBlind(camera)) return 'bad';
  if (camera.live) return ['reconnecting', 'error'].includes(camera.live.state) ? 'warn' : 'live';
  if (!camera.online) return 'off';
  if (camera.state === 'error') return 'bad';
  return ['requesting', 'connecting', 'reconnecting', 'stopping'].includes(camera.state) ? 'warn' : 'idle';
}

/** The same for people. */
export function stateText(camera) {
  if (camera.revoked_at) return t('state_revoked');
  if (isBlind(camera)) return t('state_blind');
  if (camera.live) return t(`state_${camera.live.state}`);
  if (!camera.online) return t('state_offline');
  return t(`state_${camera.state ?? 'online'}`);
}

/** Good, fair or poor: three steps, because more could not be told apart. */
export function qualityTone(quality) {
  return quality >= 0.85 ? 'good' : quality >= 0.6 ? 'fair' : 'poor';
}

/** A sparkline of network quality, 0 to 1. */
export function sparkline() {
  const line = svg('polyline', { points: '' });
  const area = svg('polygon', { points: '' });
  const node = svg('svg', { class: 'spark', viewBox: '0 0 88 24', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, area, line);
  const update = (samples, slots = 45) => {
    const points = samples.map((value, at) => {
      const x = 88 - (samples.length - 1 - at) * (88 / (slots - 1));
      return `${x.toFixed(1)},${(22 - Math.max(0, Math.min(1, value)) * 20).toFixed(1)}`;
    });
    line.setAttribute('points', points.join(' '));
    area.setAttribute('points', points.length > 1 ? `${points.join(' ')} 88,24 ${points[0].split(',')[0]},24` : '');
    node.dataset.tone = qualityTone(samples.at(-1) ?? 1);
  };
  return { node, update };
}

/** A text that can be copied. */
export function copyRow(label, value) {
  const field = h('input', { class: 'mono', readonly: true, value, 'aria-label': label, on: { focus: (event) => event.target.select() } });
  const button = h('button', { class: 'button small', type: 'button', 'aria-label': `${t('copy')} ${label}` }, icon('copy'), h('span', { text: t('copy') }));
  button.addEventListener('click', async () => {
    try {
      // The clipboard is there on HTTPS and localhost only; the old way works on the rest.
      if (navigator.clipboard) await navigator.clipboard.writeText(field.value);
      else {
        field.select();
        if (!document.execCommand('copy')) throw new Error('refused');
      }
      setText(button.lastChild, t('copied'));
      setTimeout(() => setText(button.lastChild, t('copy')), 1500);
    } catch {
      toast(t('copy_failed'), true);
    }
  });
  return h('div', { class: 'copy-row' }, h('span', { class: 'label', text: label }), field, button);
}

const EVENT_TONES = {
  stream_started: 'live', device_online: 'live', server_up: 'live', connection_error: 'bad', server_down: 'bad', device_revoked: 'bad', device_duel: 'bad',
  certificate_ends: 'warn', audit_rolled_back: 'bad', storage_failed: 'bad', motion: 'warn', server_restarted: 'warn', server_store_failed: 'bad', server_store_resumed: 'live', server_recordings_short: 'bad', server_recordings_enough: 'live', stream_duel: 'bad', stream_limited: 'bad', recording_failed: 'bad', recording_resumed: 'live', relay_failed: 'bad', start_failed: 'bad', relay_resumed: 'live', pull_failed: 'bad', pull_resumed: 'live', hook_failed: 'bad', hook_recovered: 'live',
};

/** A list of events, newest first. */
export function timeline(events, withDevice) {
  if (!events.length) return h('p', { class: 'muted', text: t('no_events') });
  return h('ol', { class: 'timeline' }, events.map((event) => h('li', { 'data-tone': EVENT_TONES[event.event] ?? 'idle' },
    h('time', { class: 'mono', datetime: new Date(event.time * 1000).toISOString(), text: clock(event.time) }),
    h('span', { class: 'what' },
      h('strong', { text: t(event.event === 'motion' ? `ev_motion_${event.detail?.motion === true}` : `ev_${event.event}`, event.detail ?? {}) }),
      withDevice && h('span', { class: 'who', text: event.device }),
      h('span', { class: 'muted', text: eventDetail(event) })))));
}

function eventDetail({ event, detail = {} }) {
  if (event === 'connection_error') {
    const retry = detail.next_retry_in_sec ? t('ev_retry', { n: detail.next_retry_in_sec }) : '';
    return [detail.error_code, retry].filter(Boolean).join(' · ');
  }
  if (event === 'device_duel') return (detail.addresses ?? []).join(' · ');
  if (event === 'stream_started') return [detail.server_url, detail.quality].filter(Boolean).join(' · ');
  if (event === 'stream_stopped' && detail.final_metrics) {
    const { average_fps: fps, average_bitrate_kbps: kbps } = detail.final_metrics;
    return t('ev_average', { fps: number(fps ?? 0, 1), kbps: bitrate(kbps ?? 0) });
  }
  if (event === 'server_store_failed') return detail.message;
  if (event === 'recording_failed' || event === 'stream_limited' || event === 'relay_failed' || event === 'start_failed' || event === 'relay_resumed' || event === 'pull_failed' || event === 'pull_resumed') return [detail.server, detail.message].filter(Boolean).join(' · ');
  if (event === 'stream_duel') return [detail.holder, detail.rival].filter(Boolean).join(' · ');
  if (event === 'allocated') return [detail.server, detail.reason].filter(Boolean).join(' · ');
  if (event === 'hook_failed' || event === 'hook_recovered') return [detail.url, detail.reason].filter(Boolean).join(' · ');
  return event === 'storage_failed' ? detail.reason ?? '' : '';
}

/** A page's empty state. */
export function empty(title, text, ...more) {
  return h('section', { class: 'empty' }, h('div', { class: 'empty-icon' }, icon('camera')), h('h2', { text: title }), h('p', { text }), ...more);
}

/** Commands to type. */
export function shell(...lines) {
  return h('pre', { class: 'shell' }, h('code', { text: lines.join('\n') }));
}
