// A day of a camera's recordings: what there is at a glance, a still of any moment, playing from there, and a minute to keep.

import { playbackToken, recordings } from './api.js';
import { h, icon, svg } from './dom.js';
import { t } from './i18n.js';
import { script } from './live-player.js';

const DAY_MS = 86_400_000;
/** Files that follow within this are one stretch. */
const GAP_MS = 1500;
/** How often the present day is looked at again, and until it has something. */
const READ_INTERVAL_MS = 60_000;
const READ_FIRST_MS = 3000;
/** How long a hand rests before a still is fetched. */
const REST_MS = 150;
/** Played from a moment on; the playlist of more would be read for nothing. */
const PLAYED_MS = 30 * 60_000;
const KEPT_MS = 60_000;
/** The width of the day's drawing: two units a minute. */
const UNITS = 2880;
/** Narrower, and a minute on a phone would not be seen. */
const LEAST_UNITS = 8;

const two = (value) => String(value).padStart(2, '0');
const timeOf = (ms) => {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
};
/** Midnight before a moment, where the viewer is. */
const dayOf = (ms) => new Date(ms).setHours(0, 0, 0, 0);

/** Runs of files without a hole. */
export function stretches(files) {
  const found = [];
  for (const { from, to } of [...files].sort((a, b) => a.from - b.from)) {
    const last = found.at(-1);
    if (last && from - last.to <= GAP_MS) last.to = Math.max(last.to, to);
    else found.push({ from, to });
  }
  return found;
}

/** The part of a camera's page. */
export class Recordings {
  constructor(id) {
    this.id = id;
    this.day = dayOf(Date.now());
    this.stretches = [];
    this.chosen = null;
    this.readAt = 0;
    this.title = h('strong', {});
    this.before = this.button('back', 'day_before', () => this.go(-1));
    this.after = h('button', { class: 'button', type: 'button', text: t('day_after'), on: { click: () => this.go(1) } });
    this.drawing = svg('svg', { class: 'day', viewBox: `0 0 ${UNITS} 40`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.slider = h('input', { type: 'range', class: 'day-at', min: 0, max: DAY_MS - 1000, step: 1000, value: 0, 'aria-label': t('time_of_day'), on: { input: () => this.choose() } });
    this.at = h('output', { class: 'mono' });
    this.still = h('img', { class: 'recorded', alt: '', hidden: true });
    this.video = h('video', { class: 'recorded', controls: true, playsinline: true, hidden: true });
    this.note = h('p', { class: 'muted', role: 'status' });
    this.play = this.button('play', 'play_from_here', () => this.playFromHere());
    this.keep = this.button('camera', 'keep_a_minute', () => this.keepAMinute());
    this.tools = h('div', { class: 'buttons' }, this.play, this.keep);
    this.still.addEventListener('error', () => { this.still.hidden = true; });
    this.still.addEventListener('load', () => { this.still.hidden = !this.video.hidden; });
    this.node = h('div', { class: 'recordings' },
      h('div', { class: 'recordings-head' }, this.before, this.title, this.after),
      h('div', { class: 'day-frame' }, this.drawing, this.slider), h('div', { class: 'recordings-at' }, this.at, this.tools), this.note, this.still, this.video);
    this.show();
  }

  button(name, label, act) {
    return h('button', { class: 'button', type: 'button', on: { click: act } }, icon(name), h('span', { text: t(label) }));
  }

  /** Called with each change of the page; it reads seldom. */
  update() {
    const isToday = this.day === dayOf(Date.now());
    const interval = this.stretches.length ? READ_INTERVAL_MS : READ_FIRST_MS;
    if (this.readAt && (!isToday || Date.now() - this.readAt < interval)) return;
    this.read();
  }

  go(days) {
    // Days have 23 to 25 hours.
    const day = new Date(this.day);
    this.day = dayOf(day.setDate(day.getDate() + days));
    this.stop();
    this.stretches = [];
    this.chosen = null;
    this.read();
  }

  async read() {
    this.readAt = Date.now();
    const { day } = this;
    this.show();
    try {
      const { items, unreachable } = await recordings(this.id, day, day + DAY_MS);
      if (this.day !== day) return;
      this.stretches = stretches(items);
      this.unreachable = unreachable.map(({ server }) => server);
      if (this.chosen === null && this.stretches.length) this.choose(this.stretches.at(-1).from);
    } catch { /* The page's banner says what is wrong with the cloud. */ }
    this.show();
  }

  show() {
    const isToday = this.day >= dayOf(Date.now());
    this.title.textContent = new Date(this.day).toLocaleDateString(undefined, { weekday: 'short', year: 'numeric', month: 'short', day: 'numeric' });
    this.after.disabled = isToday;
    const scale = UNITS / DAY_MS;
    this.drawing.replaceChildren(...this.stretches.map(({ from, to }) => {
      const [start, end] = [Math.max(0, from - this.day), Math.min(DAY_MS, to - this.day)];
      return svg('rect', { x: start * scale, y: 0, width: Math.max(LEAST_UNITS, (end - start) * scale), height: 40 });
    }));
    const missing = this.unreachable?.length ? t('not_asked', { servers: this.unreachable.join(', ') }) : '';
    this.note.textContent = [this.stretches.length ? '' : t('nothing_recorded'), missing].filter(Boolean).join(' ');
    this.note.hidden = !this.note.textContent;
    this.tools.hidden = this.slider.hidden = !this.stretches.length;
  }

  /** A moment of the day: the slider's, or another. */
  choose(at = this.day + Number(this.slider.value)) {
    this.chosen = Math.max(at, this.day);
    this.slider.value = this.chosen - this.day;
    this.at.textContent = timeOf(this.chosen);
    this.slider.setAttribute('aria-valuetext', timeOf(this.chosen));
    this.stop();
    clearTimeout(this.resting);
    this.resting = setTimeout(async () => {
      if (!this.stretches.some(({ from, to }) => from <= this.chosen && this.chosen < to)) {
        this.still.hidden = true;
        return;
      }
      this.still.alt = t('still_of', { time: timeOf(this.chosen) });
      this.still.src = await this.address(`${this.chosen}.jpg`);
    }, REST_MS);
  }

  /** The address of something recorded, with the right to it. */
  async address(file) {
    const token = await playbackToken(this.id).catch(() => '');
    return `vod/${encodeURIComponent(this.id)}/${file}${token && `?token=${encodeURIComponent(token)}`}`;
  }

  async playFromHere() {
    this.stop();
    this.still.hidden = true;
    this.video.hidden = false;
    const url = await this.address(`${this.chosen}-${this.chosen + PLAYED_MS}.m3u8`);
    await script('vendor/hls.light-1.7.4.min.js').catch(() => {});
    const { Hls } = window;
    if (Hls?.isSupported()) {
      this.hls = new Hls({ enableWorker: false });
      this.hls.on(Hls.Events.ERROR, (_, data) => data.fatal && this.failed(data.details));
      this.hls.loadSource(url);
      this.hls.attachMedia(this.video);
    } else {
      this.video.src = url;
    }
    this.video.play().catch(() => {});
  }

  failed(why) {
    this.stop();
    this.note.hidden = false;
    this.note.textContent = t('not_played', { why });
  }

  async keepAMinute() {
    const url = await this.address(`${this.chosen}-${this.chosen + KEPT_MS}.mp4`);
    h('a', { href: url, download: `${this.id}-${this.chosen}.mp4` }).click();
  }

  stop() {
    this.hls?.destroy();
    this.hls = null;
    this.video.pause();
    this.video.removeAttribute('src');
    this.video.hidden = true;
  }

  close() {
    clearTimeout(this.resting);
    this.stop();
  }
}
