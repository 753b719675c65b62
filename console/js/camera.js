// One camera: the live picture, its figures, its controls, where else to play it, and what happened.

import { command, moveDevice, playbackToken } from './api.js';
import { h, icon, setAttribute, setText, toast } from './dom.js';
import { bitrate, clock, duration, latency, number } from './format.js';
import { t } from './i18n.js';
import { Marks } from './marks.js';
import { copyRow, isBlind, problemText, qualityTone, sparkline, stateText, timeline, tone } from './parts.js';
import { PlayerView } from './player-view.js';
import { Recordings } from './recordings.js';
import { Relaying } from './relaying.js';
import { Sharing } from './sharing.js';
import { mayOn, refresh, store } from './store.js';

const QUALITIES = ['low', 'medium', 'high', 'ultra'];
/** How long a camera may take to report another quality. */
const WANTED_MS = 10_000;

/** The page of a camera. */
export function cameraPage(id) {
  const stage = new Stage();
  const badge = h('span', { class: 'badge' });
  const figures = h('dl', { class: 'facts' });
  const spark = sparkline();
  const quality = h('div', { class: 'quality' }, h('div', { class: 'quality-head' }, h('span', { class: 'label', text: t('network') }), h('strong', {})), spark.node);
  const controls = new Controls(id);
  const urls = h('div', { class: 'urls' });
  const sharing = new Sharing(id);
  const relaying = new Relaying(id);
  const marks = new Marks(id);
  const recorded = new Recordings(id);
  const events = h('div', {});
  let [urlsOf, eventsOf] = [null, null];
  const problem = h('p', { class: 'banner bad', role: 'status', hidden: true });
  const missing = h('p', { class: 'banner bad', hidden: true, text: t('not_found', { name: id }) });
  const root = h('div', { class: 'page' },
    h('header', { class: 'page-head camera-head' },
      h('a', { class: 'button ghost', href: '#/', 'aria-label': t('back') }, icon('back'), h('span', { text: t('back') })),
      h('h1', { text: id }), badge),
    missing, problem,
    h('div', { class: 'camera' },
      h('div', { class: 'camera-main' }, stage.node, h('section', { class: 'panel' }, h('h2', { text: t('recordings') }), recorded.node),
        h('section', { class: 'panel elsewhere' }, h('h2', { text: t('play_urls') }), urls, sharing.node, relaying.node)),
      h('aside', { class: 'camera-side' },
        controls.panel,
        h('section', { class: 'panel' }, h('h2', { text: t('figures') }), figures, quality),
        h('section', { class: 'panel' }, h('h2', { text: t('marks') }), marks.node),
        h('section', { class: 'panel' }, h('h2', { text: t('timeline') }), events))));

  function update() {
    const camera = store.cameras.find((one) => one.id === id);
    missing.hidden = Boolean(camera) || !store.isLoaded;
    if (!camera) return;
    setAttribute(root, 'data-tone', tone(camera));
    setText(badge, stateText(camera));
    const why = problemText(camera);
    problem.hidden = !why;
    setText(problem, why);
    stage.update(camera);
    controls.update(camera);
    sharing.node.hidden = !mayOn('operator', camera.group);
    relaying.node.hidden = !mayOn('admin', camera.group);
    marks.update();
    recorded.update();
    updateFigures(figures, camera);
    quality.hidden = !camera.live || isBlind(camera);
    const samples = store.history.get(id) ?? [];
    spark.update(samples);
    const now = samples.at(-1) ?? 0;
    setText(quality.querySelector('strong'), `${number(now * 100)} %`);
    quality.dataset.tone = qualityTone(now);
    const key = camera.live ? `${camera.live.playback} ${camera.live.rtmp_url}` : camera.playback;
    if (urlsOf !== key) {
      urlsOf = key;
      urls.replaceChildren(...urlRows(camera));
      sharing.update(camera);
    }
    if (eventsOf !== store.events) {
      eventsOf = store.events;
      events.replaceChildren(timeline(store.events.filter((event) => event.device === id).slice(0, 30), false));
    }
  }

  return { root, update, close: () => { stage.close(); relaying.close(); recorded.close(); } };
}

function updateFigures(node, camera) {
  const { live } = camera;
  const rows = live ? [
    ['size', `${live.width} × ${live.height}`],
    ['fps', `${number(live.fps, 1)} fps`],
    ['bitrate', bitrate(live.bitrate_kbps)],
    ['latency', live.latency_ms === null ? '–' : latency(live.latency_ms), live.latency_kind && t(`latency_${live.latency_kind}`)],
    ['viewers', number(live.viewers)],
    ['uptime', duration(Date.now() / 1000 - live.since), clock(live.since)],
    ['server', live.server],
  ] : [['status', stateText(camera)], ['server', camera.server ?? '–']];
  node.replaceChildren(...rows.map(([key, value, note]) =>
    h('div', {}, h('dt', { text: t(key) }), h('dd', { title: note || null }, value, note && h('small', { class: 'muted', text: note })))));
}

function urlRows({ playback, live }) {
  const base = `${location.origin}/live/${live?.playback ?? playback}`;
  return [
    live?.rtmp_url.startsWith('rtmp') && copyRow('RTMP', live.rtmp_url),
    copyRow('HTTP-FLV', `${base}.flv`),
    copyRow('HLS', `${base}/index.m3u8`),
    copyRow('JPEG', `${base}/snapshot.jpg`),
  ].filter(Boolean);
}

/** The picture of one camera. */
class Stage extends PlayerView {
  update(camera) {
    const playback = camera.live?.playback ?? null;
    if (playback === this.playback && (playback || this.saidOffline)) return;
    this.playback = playback;
    this.saidOffline = !playback;
    this.play(playback, () => playbackToken(camera.id), t('player_offline'), camera.online ? t('player_start_hint') : '');
  }
}

/** Buttons that tell the camera something. */
class Controls {
  constructor(id) {
    this.id = id;
    const button = (cmd, name, style) => h('button', { class: `button ${style}`, type: 'button', on: { click: () => this.send({ cmd }, t(cmd)) } }, icon(name), h('span', { text: t(cmd) }));
    this.start = button('start', 'play', 'primary');
    this.stop = button('stop', 'stop', 'danger');
    this.keyframe = button('keyframe', 'key', '');
    this.quality = h('select', { 'aria-label': t('quality'), on: { change: () => this.choose() } },
      QUALITIES.map((value) => h('option', { value, text: t(value) })), h('option', { value: 'custom', text: t('custom'), disabled: true }));
    this.note = h('p', { class: 'muted', text: t('device_offline') });
    this.group = h('select', { 'aria-label': t('group'), on: { change: () => this.move() } });
    this.groupField = h('label', { class: 'field' }, h('span', { class: 'label', text: t('group') }), this.group);
    this.node = h('div', { class: 'controls' },
      h('div', { class: 'buttons' }, this.start, this.stop, this.keyframe),
      h('label', { class: 'field' }, h('span', { class: 'label', text: t('quality') }), this.quality), this.note, this.groupField);
    this.panel = h('section', { class: 'panel' }, h('h2', { text: t('controls') }), this.node);
  }

  update(camera) {
    this.panel.hidden = !mayOn('operator', camera.group);
    this.updateGroup(camera);
    const canTell = camera.online && !camera.revoked_at && !this.isBusy;
    this.note.hidden = camera.online;
    this.start.hidden = Boolean(camera.live);
    this.stop.hidden = !camera.live;
    this.start.disabled = this.stop.disabled = !canTell;
    this.keyframe.disabled = !canTell || !camera.live;
    this.quality.disabled = !canTell;
    const quality = camera.live?.quality ?? camera.report?.quality;
    // What was chosen stays chosen until the camera says so, or has had the time to.
    if (quality === this.wanted || Date.now() > this.wantedUntil) this.wanted = null;
    if (quality && !this.wanted && document.activeElement !== this.quality) this.quality.value = quality;
  }

  /** Where it may be put: the groups of which one is an admin. */
  updateGroup(camera) {
    const paths = ['', ...store.groups.map(({ path }) => path)].filter((path) => mayOn('admin', path));
    this.groupField.hidden = !mayOn('admin', camera.group) || store.groups.length === 0;
    const key = `${camera.group}\n${paths.join('\n')}`;
    if (this.groupKey === key) return;
    this.groupKey = key;
    this.group.replaceChildren(...paths.map((path) => h('option', { value: path, text: path || t('no_group') })));
    this.group.value = camera.group;
  }

  async move() {
    try {
      await moveDevice(this.id, this.group.value);
      toast(t('done', { cmd: t('group') }));
    } catch (error) {
      toast(t('failed', { cmd: t('group'), why: error.message }), true);
    }
    this.groupKey = null;
    refresh();
  }

  choose() {
    this.wanted = this.quality.value;
    this.wantedUntil = Date.now() + WANTED_MS;
    this.send({ cmd: 'set_quality', quality: this.wanted }, t('quality'));
  }

  async send(body, name) {
    this.isBusy = true;
    refresh();
    try {
      const answer = await command(this.id, body);
      const why = answer.result?.error_message ?? answer.result?.error_code;
      if (answer.status === 'failed') toast(t('failed', { cmd: name, why: why ?? '' }), true);
      else toast(t(answer.status === 'done' ? 'done' : 'sent', { cmd: name }));
    } catch (error) {
      toast(t('failed', { cmd: name, why: error.code === 'DEVICE_OFFLINE' ? t('device_offline') : error.message }), true);
    }
    this.isBusy = false;
    refresh();
  }
}
