// The fleet: a grid of cards that are updated in place.

import { playbackToken } from './api.js';
import { h, icon, setAttribute, setText } from './dom.js';
import { ago, bitrate, latency, number } from './format.js';
import { t } from './i18n.js';
import { LivePlayer } from './live-player.js';
import { empty, isBlind, problemText, qualityTone, shell, sparkline, stateText, tone } from './parts.js';
import { mayOn, store } from './store.js';

/** How often a card's picture is renewed. */
const SNAPSHOT_MS = 4000;
/** Up to this many live cameras, the cards play: beyond it a browser decodes more than its viewer can watch. */
const LIVE_CARDS_MAX = 4;

const FILTERS = {
  all: () => true,
  live: (camera) => camera.live,
  online: (camera) => camera.online && !camera.live,
  offline: (camera) => !camera.online && !camera.live,
};

let filter = 'all';
let search = '';
let group = '';

/** The page; `update` is called after each change of the store, `close` when it is left. */
export function fleetPage() {
  const grid = h('div', { class: 'grid' });
  const body = h('div', {});
  const summary = h('dl', { class: 'summary' });
  const chips = h('div', { class: 'chips', role: 'group' });
  const box = h('label', { class: 'search' }, icon('search'), h('input', {
    type: 'search', placeholder: t('search'), 'aria-label': t('search'), value: search,
    on: { input: (event) => { search = event.target.value; update(); } },
  }));
  const cards = new Map();
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    entry.target.card.isVisible = entry.isIntersecting;
    entry.target.card.show();
  }), { rootMargin: '200px' });
  const renewing = setInterval(() => !document.hidden && cards.forEach((card) => card.show()), SNAPSHOT_MS);
  const groups = h('select', { class: 'group-of', 'aria-label': t('group'), on: { change: (event) => { group = event.target.value; update(); } } });
  const bar = h('div', { class: 'bar' }, chips, h('div', { class: 'finders' }, groups, box));
  const root = h('div', { class: 'page' }, h('header', { class: 'page-head' }, h('h1', { text: t('cameras') }), summary), bar, body);

  function update() {
    updateSummary(summary);
    updateChips(chips, update);
    updateGroups(groups);
    bar.hidden = store.cameras.length === 0;
    const words = search.trim().toLowerCase();
    const shown = store.cameras.filter((camera) => FILTERS[filter](camera) && isIn(camera, group) && camera.id.toLowerCase().includes(words));
    const ids = new Set(shown.map((camera) => camera.id));
    const playsLive = shown.filter((camera) => camera.live).length <= LIVE_CARDS_MAX;
    setAttribute(grid, 'data-few', shown.length <= 2 ? shown.length : null);
    for (const [id, card] of cards) {
      if (ids.has(id)) continue;
      seen.unobserve(card.node);
      card.close();
      card.node.remove();
      cards.delete(id);
    }
    shown.forEach((camera, at) => {
      let card = cards.get(camera.id);
      if (!card) {
        card = new Card(camera.id);
        cards.set(camera.id, card);
        seen.observe(card.node);
      }
      card.update(camera, playsLive);
      if (grid.children[at] !== card.node) grid.insertBefore(card.node, grid.children[at] ?? null);
    });
    if (!store.isLoaded) body.replaceChildren(skeleton());
    else if (!store.cameras.length) body.replaceChildren(noCamera());
    else if (!shown.length) body.replaceChildren(h('p', { class: 'muted center', text: t('nothing_found') }));
    else if (body.firstChild !== grid) body.replaceChildren(grid);
  }

  const close = () => {
    clearInterval(renewing);
    seen.disconnect();
    cards.forEach((card) => card.close());
  };
  return { root, update, close };
}

/** Whether a camera is in a group, or in one below it. */
function isIn(camera, path) {
  return path === '' || camera.group === path || camera.group.startsWith(`${path}/`);
}

function updateGroups(node) {
  const paths = store.groups.map(({ path }) => path);
  if (group && !paths.includes(group)) group = '';
  node.hidden = paths.length === 0;
  if (node.dataset.paths === paths.join('\n')) return;
  node.dataset.paths = paths.join('\n');
  node.replaceChildren(h('option', { value: '', text: t('all_groups') }), ...paths.map((path) => h('option', { value: path, text: path })));
  node.value = group;
}

function updateSummary(node) {
  const live = store.cameras.filter((camera) => camera.live);
  const sum = (pick) => live.reduce((total, camera) => total + pick(camera.live), 0);
  const figures = [
    [t('sum_live'), `${number(live.length)}`, ` / ${number(store.cameras.length)}`],
    [t('sum_viewers'), number(sum((stream) => stream.viewers)), ''],
    [t('sum_ingest'), bitrate(sum((stream) => stream.bitrate_kbps)), ''],
    mayOn('admin', '') && [t('sum_servers'), number(store.servers.filter((server) => server.alive).length), ` / ${number(store.servers.length)}`],
  ];
  node.replaceChildren(...figures.filter(Boolean).map(([label, value, of]) =>
    h('div', {}, h('dt', { text: label }), h('dd', {}, value, h('span', { class: 'of', text: of })))));
}

function updateChips(node, update) {
  const names = Object.keys(FILTERS);
  if (!node.children.length) {
    node.append(...names.map((name) => h('button', {
      class: 'chip', type: 'button', 'data-name': name, on: { click: () => { filter = name; update(); } },
    }, h('span', {}), h('span', { class: 'count' }))));
  }
  names.forEach((name, at) => {
    const chip = node.children[at];
    setText(chip.children[0], t(name));
    setText(chip.children[1], number(store.cameras.filter(FILTERS[name]).length));
    setAttribute(chip, 'aria-pressed', name === filter);
  });
}

function skeleton() {
  return h('div', { class: 'grid', 'aria-hidden': 'true' }, Array.from({ length: 6 }, () => h('div', { class: 'card skeleton' }, h('div', { class: 'thumb' }), h('div', { class: 'card-body' }))));
}

function noCamera() {
  return empty(t('empty_title'), t('empty_text'), shell('sightline device add cam-1 --config cloud.toml', 'sightline config template camera > camera.toml', 'sightline camera --config camera.toml'),
    h('p', { class: 'muted', text: t('empty_demo') }), shell('sightline demo'));
}

class Card {
  constructor(id) {
    this.image = h('img', { alt: '', class: 'snapshot', hidden: true, decoding: 'async' });
    this.badge = h('span', { class: 'badge' });
    this.viewers = h('span', { class: 'pill' }, icon('eye'), h('span', {}));
    this.note = h('span', { class: 'thumb-note' }, icon('camera'), h('span', {}));
    this.name = h('span', { class: 'name', text: id });
    this.sub = h('span', { class: 'sub' });
    this.spark = sparkline();
    this.figures = ['fps', 'bitrate', 'latency'].map(() => h('span', { class: 'figure' }));
    this.quality = h('span', { class: 'quality-now', title: t('network') });
    this.foot = h('div', { class: 'card-foot' }, h('div', { class: 'figures' }, ...this.figures), h('div', { class: 'network' }, this.spark.node, this.quality));
    this.node = h('a', { class: 'card', href: `#/camera/${encodeURIComponent(id)}` },
      (this.thumb = h('div', { class: 'thumb' }, this.note, this.image, this.badge, this.viewers)),
      h('div', { class: 'card-body' }, h('div', { class: 'card-title' }, this.name, this.sub), this.foot));
    this.node.card = this;
    this.isVisible = false;
    this.camera = null;
    this.playsLive = false;
    this.player = null;
  }

  update(camera, playsLive) {
    const { live } = camera;
    const began = live && (!this.camera?.live || playsLive !== this.playsLive);
    this.camera = camera;
    this.playsLive = playsLive;
    setAttribute(this.node, 'data-tone', tone(camera));
    setText(this.badge, stateText(camera));
    this.viewers.hidden = !live;
    setText(this.viewers.lastChild, number(live?.viewers ?? 0));
    const why = problemText(camera);
    setText(this.sub, why ? why : live ? `${live.height}p · ${live.server}` : camera.last_seen ? t('last_seen', { when: ago(camera.last_seen) }) : t('never_seen'));
    setText(this.note.lastChild, live ? '' : stateText(camera));
    this.foot.hidden = !live || isBlind(camera);
    if (live) {
      const texts = [`${number(live.fps, 0)} fps`, bitrate(live.bitrate_kbps), live.latency_ms === null ? '–' : latency(live.latency_ms)];
      this.figures.forEach((figure, at) => setText(figure, texts[at]));
      const samples = store.history.get(camera.id) ?? [];
      this.spark.update(samples);
      const quality = live.network_quality;
      setText(this.quality, quality === null ? '' : `${number(quality * 100)} %`);
      setAttribute(this.quality, 'data-tone', qualityTone(quality ?? 1));
    } else {
      this.image.hidden = true;
      this.close();
    }
    if (began) this.show();
  }

  /** The live picture, or a snapshot of it. */
  show() {
    const playback = this.playsLive && this.isVisible ? this.camera?.live?.playback : null;
    if (this.player?.playback !== playback) this.close();
    if (playback && !this.player) {
      const video = h('video', { class: 'snapshot', muted: true, autoplay: true, playsinline: true });
      video.muted = true;
      video.addEventListener('playing', () => { video.dataset.ready = ''; }, { once: true });
      this.thumb.insertBefore(video, this.badge);
      this.player = { playback, video, engine: new LivePlayer(video, playback, undefined, () => playbackToken(this.camera.id)) };
    }
    // Until the video plays, and where it can't, there is a picture all the same.
    if (!this.player || !('ready' in this.player.video.dataset)) this.snapshot();
  }

  close() {
    this.player?.engine.destroy();
    this.player?.video.remove();
    this.player = null;
  }

  /** Renews the picture: loaded aside, then swapped, so that a card never flickers. */
  snapshot() {
    const { live } = this.camera ?? {};
    if (!this.isVisible || !live || this.isLoading) return;
    this.isLoading = true;
    const next = new Image();
    next.onload = () => {
      this.isLoading = false;
      if (!this.camera?.live) return;
      this.image.src = next.src;
      this.image.hidden = false;
    };
    next.onerror = () => {
      this.isLoading = false;
    };
    playbackToken(this.camera.id).then((token) => {
      const right = token ? `&token=${encodeURIComponent(token)}` : '';
      next.src = `live/${encodeURIComponent(live.playback)}/snapshot.jpg?t=${Date.now()}${right}`;
    });
  }
}
