// The picture, what is said over it, and its buttons: on a camera's page, on a page of its own, and in other people's pages.

import { h, icon, setAttribute, setText } from './dom.js';
import { latency, number } from './format.js';
import { t } from './i18n.js';
import { LivePlayer } from './live-player.js';

/** How far a picture can be enlarged: beyond it a pixel is a tile. */
const ZOOM_MOST = 8;
/** One press of a key, and one notch of a wheel. */
const ZOOM_STEP = 1.25;
/** A picture that is older than these is shown so. */
const AGE_AMBER_MS = 2000;
const AGE_RED_MS = 5000;
/** One press of an arrow key, as a part of the stage. */
const PAN_STEP = 0.1;

/** A stage with a player on it. */
export class PlayerView {
  /** `onState(state, via)` hears what the player does; `base` is the address of the server's pages, with a slash at its end. */
  constructor({ onState = () => {}, base } = {}) {
    this.onState = onState;
    this.base = base;
    this.player = null;
    this.zoom = 1;
    [this.x, this.y] = [0, 0];
    this.video = h('video', { muted: true, autoplay: true, playsinline: true });
    this.video.muted = true;
    this.note = h('div', { class: 'stage-note', role: 'status' });
    this.via = h('span', { class: 'stage-via' });
    this.sound = this.button('muted', 'unmute', () => this.toggleSound());
    this.unzoom = this.button('unzoom', 'zoom_reset', () => this.setZoom(1));
    this.small = this.button('pip', 'picture_in_picture', () => this.pictureInPicture());
    this.small.hidden = !document.pictureInPictureEnabled;
    this.shot = this.button('camera', 'take_snapshot', () => this.snapshot());
    this.full = this.button('full', 'fullscreen', () => this.fullScreen());
    this.node = h('div', { class: 'stage', tabindex: 0, 'aria-label': t('player_label'), role: 'group', on: { keydown: (event) => this.key(event), wheel: (event) => this.wheel(event), dblclick: (event) => this.double(event) } },
      this.video, this.note, h('div', { class: 'stage-bar' }, this.via, h('span', { class: 'spacer' }), this.unzoom, this.sound, this.shot, this.small, this.full));
    this.drag();
    this.showSound();
    this.setZoom(1);
    this.showing = setInterval(() => this.showVia(), 1000);
    this.say(t('player_connecting'));
  }

  button(name, label, act) {
    return h('button', { class: 'stage-button', type: 'button', 'aria-label': t(label), title: t(label), on: { click: act } }, icon(name));
  }

  say(text, hint = '') {
    this.note.hidden = !text;
    this.note.replaceChildren(h('strong', { text }), h('span', { text: hint }));
  }

  /** Plays a stream; null: none, and `why` is said. `token` as of `LivePlayer`. */
  play(playback, token, why = '', hint = '') {
    this.player?.destroy();
    this.player = null;
    this.state = null;
    this.setZoom(1);
    this.node.classList.toggle('is-live', Boolean(playback));
    if (!playback) return this.say(why, hint);
    const texts = { connecting: t('player_connecting'), retrying: t('player_retry'), playing: '', unsupported: t('player_none') };
    this.player = new LivePlayer(this.video, playback, (state, via, codec) => {
      this.state = state;
      this.say(state === 'codec' ? t('player_codec', { codec }) : texts[state]);
      this.showVia();
      this.onState(state, via);
    }, token, this.base);
  }

  showVia() {
    const isPlaying = Boolean(this.player) && this.state === 'playing';
    this.via.hidden = !isPlaying;
    if (!isPlaying) return;
    const { age, via } = this.player;
    const [old, source] = [age.age(), age.source()];
    const isFrozen = age.isFrozen();
    const words = isFrozen ? t('age_frozen', { seconds: number(age.standsMs() / 1000) }) : old === null ? null : t(`age_${source.by}`, { age: latency(old) });
    const buffered = via === 'whep' ? null : t('behind', { seconds: number(this.player.buffered(), 1) });
    setText(this.via, [t(`via_${via}`), words ?? buffered].filter(Boolean).join(' · '));
    const error = source?.errorMs ?? null;
    const why = source?.by === 'camera' ? t(error === null ? 'age_by_camera' : 'age_by_camera_within', { ms: number(error ?? 0) }) : t('age_by_arrival');
    setAttribute(this.via, 'title', source ? why : '');
    const grade = isFrozen || old > AGE_RED_MS ? 'red' : old > AGE_AMBER_MS ? 'amber' : '';
    if (this.via.dataset.age !== grade) this.via.dataset.age = grade;
  }

  /** Milliseconds since the capture of the picture on the screen, and whose word that is; null: not known. */
  age() {
    const [ms, source] = [this.player?.age.age() ?? null, this.player?.age.source()];
    return ms === null || !source ? null : { ms, by: source.by, clockErrorMs: source.errorMs, isFrozen: this.player.age.isFrozen() };
  }

  toggleSound() {
    this.video.muted = !this.video.muted;
    this.showSound();
  }

  showSound() {
    const label = this.video.muted ? t('unmute') : t('mute');
    setAttribute(this.sound, 'aria-label', label);
    setAttribute(this.sound, 'title', label);
    this.sound.replaceChildren(icon(this.video.muted ? 'muted' : 'sound'));
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    // The phone's browser knows full screen for videos only.
    else if (this.node.requestFullscreen) this.node.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  pictureInPicture() {
    if (document.pictureInPictureElement) document.exitPictureInPicture();
    else this.video.requestPictureInPicture?.().catch(() => {});
  }

  /** The picture on the screen as a file, in its own size. */
  async snapshot() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return;
    const canvas = h('canvas', { width, height });
    canvas.getContext('2d').drawImage(this.video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.92));
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    const name = `snapshot-${new Date().toISOString().replace(/[:.]/g, '-')}.jpg`;
    h('a', { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    this.node.dispatchEvent(new CustomEvent('snapshot', { bubbles: true, composed: true, detail: { name, width, height } }));
  }

  /** Enlarges around a point of the stage (parts of it, from its left and top). */
  setZoom(zoom, at = [0.5, 0.5]) {
    const next = Math.min(ZOOM_MOST, Math.max(1, zoom));
    const scale = next / this.zoom;
    [this.x, this.y] = [at[0] - (at[0] - this.x) * scale, at[1] - (at[1] - this.y) * scale];
    this.zoom = next;
    this.move(0, 0);
    this.unzoom.hidden = next === 1;
    this.node.classList.toggle('is-zoomed', next > 1);
  }

  /** Moves the enlarged picture, which covers the stage always. */
  move(dx, dy) {
    const within = (value) => Math.min(0, Math.max(1 - this.zoom, value));
    [this.x, this.y] = [within(this.x + dx), within(this.y + dy)];
    this.video.style.transform = this.zoom === 1 ? '' : `translate(${this.x * 100}%, ${this.y * 100}%) scale(${this.zoom})`;
  }

  place(event) {
    const { left, top, width, height } = this.node.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  wheel(event) {
    // Elsewhere it scrolls the page.
    const isOurs = event.ctrlKey || this.zoom > 1 || document.fullscreenElement || document.body.classList.contains('bare');
    if (!isOurs || !event.deltaY || !this.player) return;
    event.preventDefault();
    this.setZoom(this.zoom * (event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP), this.place(event));
  }

  double(event) {
    if (event.target.closest('.stage-bar')) return;
    this.setZoom(this.zoom > 1 ? 1 : 2, this.place(event));
  }

  /** One finger or the mouse moves the enlarged picture, two fingers enlarge it. */
  drag() {
    const held = new Map();
    const spread = () => {
      const [a, b] = [...held.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    this.node.addEventListener('pointerdown', (event) => {
      if (!event.target.closest('.stage-bar')) held.set(event.pointerId, this.place(event));
    });
    this.node.addEventListener('pointermove', (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const [wide, now] = [held.size === 2 ? spread() : 0, this.place(event)];
      held.set(event.pointerId, now);
      if (held.size === 2 && wide > 0) this.setZoom(this.zoom * (spread() / wide), now);
      else if (this.zoom > 1) this.move(now[0] - before[0], now[1] - before[1]);
    });
    for (const name of ['pointerup', 'pointercancel', 'pointerleave']) this.node.addEventListener(name, (event) => held.delete(event.pointerId));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.player) return;
    const pan = { ArrowLeft: [PAN_STEP, 0], ArrowRight: [-PAN_STEP, 0], ArrowUp: [0, PAN_STEP], ArrowDown: [0, -PAN_STEP] }[event.key];
    const act = {
      m: () => this.toggleSound(),
      f: () => this.fullScreen(),
      p: () => this.pictureInPicture(),
      s: () => this.snapshot(),
      '+': () => this.setZoom(this.zoom * ZOOM_STEP),
      '=': () => this.setZoom(this.zoom * ZOOM_STEP),
      '-': () => this.setZoom(this.zoom / ZOOM_STEP),
      0: () => this.setZoom(1),
    }[event.key.toLowerCase()] ?? (pan && this.zoom > 1 ? () => this.move(...pan) : null);
    if (!act) return;
    event.preventDefault();
    act();
  }

  close() {
    clearInterval(this.showing);
    this.player?.destroy();
  }
}
