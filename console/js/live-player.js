// Live video with as little delay as the browser and the network allow: WebRTC (WHEP), else HTTP-FLV through Media Source (mpegts.js), else HLS.
//
// The delay at the viewer is what lies buffered ahead of the picture on screen. A player that never looks at it falls behind
// with every hiccup of the network and stays there. This one looks four times a second: a little behind is caught up by
// playing faster, which no one notices; far behind is jumped over.

import { PictureAge, byDate, byMediaTime, byRtpTime } from './age.js';
import { flvLoader } from './flv-loader.js';

/** More than this much buffered, in seconds: play faster. */
const CATCH_UP_ABOVE = 0.6;
/** Back to normal speed below this. */
const CATCH_UP_BELOW = 0.3;
/** More than this: jump to the live edge. */
const JUMP_ABOVE = 2.5;
/** Where a jump lands, seconds before the edge: enough for one late frame. */
const EDGE = 0.15;
const LOOK_MS = 250;
/** No new picture for this long: the connection is dead, whatever it says. */
const STALL_MS = 6000;
/** A picture by WHEP that takes longer is not waited for: something between here and the origin lets none of its packets through. */
const WHEP_WAIT_MS = 1000;
/** How long the server's answer may take: as long as it waits for a camera that it has told to start, and a little. */
const ANSWER_WAIT_MS = 12_000;
/** FLV failures in a row before HLS is tried. */
const FLV_FAILURES_MAX = 2;
/** A session that played for this long was no failure. */
const HEALTHY_MS = 10000;
const RETRY_MS = [500, 1000, 2000, 4000];
/** For a stream in a codec that this browser has not: it may come back in another. */
const CODEC_RETRY_MS = 15000;
/** What people call the codecs that browsers may lack, by their names in a type of Media Source. */
const CODEC_NAMES = { hvc1: 'H.265', hev1: 'H.265', av01: 'AV1', vp09: 'VP9', avc1: 'H.264' };

/** The codec that an engine's words say is not supported; null: they say something else. */
function refusedCodec(words) {
  const found = /\b(hvc1|hev1|av01|vp09|avc1)\b/.exec(words ?? '');
  return found && /support|codec/i.test(words) ? CODEC_NAMES[found[1]] : null;
}

const scripts = new Map();

/** Loads a vendored script once. */
export function script(path) {
  if (!scripts.has(path)) {
    const loaded = new Promise((resolve, reject) => {
      const node = document.createElement('script');
      node.src = path;
      node.onload = resolve;
      node.onerror = () => {
        scripts.delete(path);
        reject(new Error(`${path} did not load`));
      };
      document.head.append(node);
    });
    scripts.set(path, loaded);
  }
  return scripts.get(path);
}

const hasWebRtc = () => 'RTCPeerConnection' in window;
const hasMediaSource = () => 'MediaSource' in window || 'ManagedMediaSource' in window;

/** Plays one stream on one video element until it is destroyed; it reconnects for ever. */
export class LivePlayer {
  /**
   * `onState(state, via, codec)`: `connecting`, `playing`, `retrying`, `unsupported` or `codec`, which this browser lacks; via `whep`, `flv` or `hls`.
   * `token()`: the right to watch, or a promise of it; it is asked for again at each connection. `home`: the address of the server's pages.
   */
  constructor(video, playback, onState = () => {}, token = () => '', home = document.baseURI) {
    this.video = video;
    this.home = home;
    this.base = `live/${encodeURIComponent(playback)}`;
    this.onState = onState;
    this.token = token;
    // What WHEP could not do once, this page does not ask of it again before something else has played for a while.
    this.isWhepDue = hasWebRtc();
    this.flvFailures = 0;
    this.failures = 0;
    this.engine = null;
    this.isDestroyed = false;
    this.via = this.isWhepDue ? 'whep' : 'flv';
    this.looking = setInterval(() => this.look(), LOOK_MS);
    this.age = new PictureAge(video, (query) => this.address('/clock', query));
    this.codec = null;
    this.onPlaying = () => {
      this.codec = null;
      this.tell('playing');
    };
    video.addEventListener('playing', this.onPlaying);
    this.open();
  }

  tell(state) {
    if (!this.isDestroyed) this.onState(state, this.via, this.codec);
  }

  async open() {
    if (this.isDestroyed) return;
    this.startedAt = this.progressAt = performance.now();
    this.lastTime = -1;
    // What was said of the codec stays until a picture shows otherwise.
    if (!this.codec) this.tell(this.failures ? 'retrying' : 'connecting');
    try {
      if (this.isWhepDue) await this.openWhep();
      else if (this.flvFailures < FLV_FAILURES_MAX && hasMediaSource()) await this.openFlv();
      else await this.openHls();
    } catch (error) {
      this.failed(error);
    }
  }

  /** The address of a file of the stream, with the right to it. */
  async address(file, query = '') {
    const token = await this.token();
    const url = new URL(`${this.base}${file}`, this.home);
    url.search = query;
    if (token) url.searchParams.set('token', token);
    return url.href;
  }

  async openWhep() {
    this.via = 'whep';
    const peer = new RTCPeerConnection();
    let session = null;
    const engine = {
      close: () => {
        clearTimeout(late);
        peer.close();
        this.video.srcObject = null;
        if (session) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
      },
    };
    this.engine = engine;
    const isCurrent = () => this.engine === engine && !this.isDestroyed;
    // A camera that sleeps is started by the first who watches: until it is there the answer waits, as those of the other ways do.
    let late = null;
    peer.addEventListener('track', ({ track, streams }) => {
      if (isCurrent()) this.video.srcObject = streams[0] ?? new MediaStream([track]);
    });
    peer.addEventListener('connectionstatechange', () => {
      if (isCurrent() && ['failed', 'closed'].includes(peer.connectionState)) this.failed(new Error('the connection has ended'));
    });
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    const [url] = await Promise.all([this.address('/whep'), peer.setLocalDescription()]);
    if (!isCurrent()) return;
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp' },
      body: peer.localDescription.sdp,
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
    const location = answer.headers.get('location');
    const text = await answer.text();
    if (location) session = new URL(location, answer.url).href;
    if (!isCurrent()) return engine.close();
    // No such stream, or not yet: no other way has it either.
    if (!answer.ok) throw Object.assign(new Error(`WHEP answers ${answer.status}`), { isGone: [404, 503].includes(answer.status) });
    await peer.setRemoteDescription({ type: 'answer', sdp: text });
    if (!isCurrent()) return;
    const zero = answer.headers.get('sightline-rtp-zero');
    this.age.begin('whep', byRtpTime(zero === null ? null : Number(zero)));
    late = setTimeout(() => isCurrent() && !this.video.videoWidth && this.failed(new Error('no picture in time')), WHEP_WAIT_MS);
    this.play();
  }

  async openFlv() {
    this.via = 'flv';
    const [url] = await Promise.all([this.address('.flv'), script(new URL('vendor/mpegts-1.8.2.js', this.home).href)]);
    if (this.isDestroyed) return;
    const { mpegts } = window;
    mpegts.LoggingControl.enableAll = false;
    if (!mpegts.getFeatureList().mseLivePlayback) {
      this.flvFailures = FLV_FAILURES_MAX;
      return this.openHls();
    }
    const player = mpegts.createPlayer(
      { type: 'flv', isLive: true, url },
      {
        enableWorker: false,
        enableStashBuffer: false, // It would hold data back until a buffer is full: pure delay.
        lazyLoad: false,
        liveBufferLatencyChasing: false, // look() does it.
        autoCleanupSourceBuffer: true,
        autoCleanupMaxBackwardDuration: 20,
        autoCleanupMinBackwardDuration: 8,
        fixAudioTimestampGap: false,
        customLoader: flvLoader(mpegts),
      },
    );
    this.engine = {
      close: () => {
        player.off(mpegts.Events.ERROR, onError);
        player.off(mpegts.Events.LOADING_COMPLETE, onEnd);
        player.destroy();
      },
    };
    const onError = (kind, detail, info) => this.failed(new Error(`${kind}: ${detail}`), refusedCodec(info?.msg));
    const onEnd = () => this.failed(new Error('the stream ended'));
    player.on(mpegts.Events.ERROR, onError);
    player.on(mpegts.Events.LOADING_COMPLETE, onEnd);
    player.attachMediaElement(this.video);
    player.load();
    // What it counts from it tells nobody; the version is the one that lies here.
    this.age.begin('flv', byMediaTime(() => player._player_engine?._transmuxer?._controller?._remuxer?.getTimestampBase?.() ?? null));
    this.play();
  }

  async openHls() {
    this.via = 'hls';
    const url = await this.address('/index.m3u8');
    if (this.isDestroyed) return;
    const isNative = this.video.canPlayType('application/vnd.apple.mpegurl') !== '';
    if (hasMediaSource()) {
      await script(new URL('vendor/hls.light-1.7.4.min.js', this.home).href);
      if (this.isDestroyed) return;
      const { Hls } = window;
      if (Hls.isSupported()) {
        const hls = new Hls({ lowLatencyMode: true, enableWorker: false, backBufferLength: 10 });
        this.engine = { close: () => hls.destroy() };
        hls.on(Hls.Events.ERROR, (_, data) => data.fatal && this.failed(new Error(data.details), refusedCodec(`${data.details} ${data.mimeType ?? ''} ${data.error?.message ?? ''}`)));
        hls.loadSource(url);
        hls.attachMedia(this.video);
        this.age.begin('hls', byDate(this.video, () => hls.playingDate));
        return this.play();
      }
    }
    if (!isNative) return this.tell('unsupported');
    this.engine = {
      close: () => {
        this.video.removeAttribute('src');
        this.video.load();
      },
    };
    this.video.src = url;
    this.age.begin('hls', byDate(this.video, () => {
      const start = this.video.getStartDate?.();
      return start && !Number.isNaN(start.getTime()) ? new Date(start.getTime() + this.video.currentTime * 1000) : null;
    }));
    this.play();
  }

  play() {
    // Muted video may start by itself; where even that is forbidden the viewer's own click starts it.
    this.video.play()?.catch(() => {});
  }

  close() {
    const { engine } = this;
    this.engine = null;
    this.age.end();
    try {
      engine?.close();
    } catch { /* An engine that is half open may object; it is gone either way. */ }
  }

  /** `codec`: the one that the browser lacks, where that is why. */
  failed(error, codec = null) {
    if (this.isDestroyed || this.reopening) return;
    console.info(`live player (${this.via}): ${error.message}`);
    const wasHealthy = this.lastTime > 0 && performance.now() - this.startedAt > HEALTHY_MS;
    if (wasHealthy) {
      this.failures = this.flvFailures = 0;
      this.isWhepDue = hasWebRtc();
    }
    if (this.via === 'whep' && !wasHealthy && !error.isGone) return this.fallBack();
    // After HLS has failed as well, begin with FLV again: the stream itself was gone.
    if (this.via === 'hls') this.flvFailures = 0;
    else if (this.via === 'flv') this.flvFailures += wasHealthy ? 0 : 1;
    this.close();
    // By HLS it is the same Media Source; only a browser that plays HLS itself may know more.
    const isHopeless = codec && (this.via === 'hls' || !this.video.canPlayType('application/vnd.apple.mpegurl'));
    if (codec && !isHopeless) this.flvFailures = FLV_FAILURES_MAX;
    const wait = isHopeless ? CODEC_RETRY_MS : RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    if (isHopeless) this.codec = codec;
    this.tell(this.codec ? 'codec' : 'retrying');
    this.reopening = setTimeout(() => {
      this.reopening = null;
      this.open();
    }, wait);
  }

  /** Another way, at once: what failed says nothing about the stream. */
  fallBack() {
    this.isWhepDue = false;
    this.close();
    this.open();
  }

  /** Seconds of video that wait behind the picture on screen. */
  buffered() {
    const { buffered, currentTime } = this.video;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  look() {
    const { video } = this;
    if (!this.engine || this.isDestroyed) return;
    const now = performance.now();
    if (video.currentTime !== this.lastTime) {
      this.lastTime = video.currentTime;
      this.progressAt = now;
    } else if (document.hidden || video.paused) {
      this.progressAt = now; // A hidden tab may rest.
      if (!document.hidden && video.paused && video.readyState > 1 && !this.isPausedByUser) this.play();
    } else if (now - this.progressAt > STALL_MS) {
      return this.failed(new Error('no picture'));
    }
    if (this.via === 'flv') this.chase();
  }

  /** Keeps to the live edge. */
  chase() {
    const { video } = this;
    if (!video.buffered.length || video.seeking) return;
    const last = video.buffered.length - 1;
    const [start, end] = [video.buffered.start(last), video.buffered.end(last)];
    const behind = end - video.currentTime;
    if (video.currentTime < start || behind > JUMP_ABOVE) {
      // Before the last range lies a gap that would never be filled.
      video.currentTime = Math.max(start, end - EDGE);
      video.playbackRate = 1;
    } else if (behind > CATCH_UP_ABOVE) {
      video.playbackRate = behind > 2 * CATCH_UP_ABOVE ? 1.25 : 1.1;
    } else if (behind < CATCH_UP_BELOW && video.playbackRate !== 1) {
      video.playbackRate = 1;
    }
  }

  destroy() {
    this.isDestroyed = true;
    clearInterval(this.looking);
    clearTimeout(this.reopening);
    this.video.removeEventListener('playing', this.onPlaying);
    this.close();
    this.age.destroy();
  }
}
