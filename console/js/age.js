// How old the picture on the screen is: the time since its capture, where the camera writes that into its pictures, else since it came to the server.
//
// The server says of its newest picture when it was captured (`/live/{playback}/clock`). Of the picture on the screen the browser says which it is on the
// stream's own time line; each way of playing says how far that line is from the server's. What lies between the two pictures is the rest.

/** The server's clock is looked at this often: a stream that begins anew has another line, and a camera's clock is corrected now and then. */
const LOOK_MS = 5000;
/** So often until it has answered, so many times. */
const FIRST_MS = 1000;
const FIRST_TRIES = 5;
/** A picture that stays this long is frozen. */
const FROZEN_MS = 2000;

/** The difference of two numbers that begin again at 2^32. */
const wrapped = (difference) => difference | 0;

/** Watches a video element; `via` and `lines()` are told by whoever plays. */
export class PictureAge {
  /** `ask(query)`: the address of the stream's clock, or a promise of it. */
  constructor(video, ask) {
    this.video = video;
    this.ask = ask;
    this.newest = null;
    this.frame = null;
    this.looking = null;
    this.isOver = false;
    this.watch();
  }

  /**
   * A way of playing begins. `capturedMs(frame, newest)`: when the picture on the screen was captured, in milliseconds since 1970, or null while it is not known;
   * `frame` is the browser's word of it, `newest` the server's.
   */
  begin(via, capturedMs) {
    this.end();
    [this.via, this.capturedMs, this.tries] = [via, capturedMs, 0];
    this.look();
  }

  /** Nothing plays. */
  end() {
    clearTimeout(this.looking);
    [this.newest, this.frame, this.capturedMs] = [null, null, null];
  }

  watch() {
    if (!this.video.requestVideoFrameCallback) return;
    this.video.requestVideoFrameCallback((now, frame) => {
      if (this.isOver) return;
      this.frame = { ...frame, shownAt: now, capturedMs: this.capturedMs && this.newest ? this.capturedMs(frame, this.newest) : null };
      this.watch();
    });
  }

  async look() {
    const { capturedMs } = this;
    const isCurrent = () => !this.isOver && this.capturedMs === capturedMs;
    try {
      const before = this.age();
      // Of a picture whose camera does not say, nobody knows the age.
      const isTold = before !== null && this.newest.by === 'camera' && !this.isFrozen();
      const told = isTold ? `&age_ms=${Math.round(before)}` : '';
      const url = await this.ask(`via=${this.via}${told}`);
      const asked = performance.now();
      const answer = await fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(LOOK_MS) });
      const halfMs = (performance.now() - asked) / 2;
      if (answer.ok) {
        const found = await answer.json();
        if (!isCurrent()) return;
        // Of two answers the one that was on its way for less time knows the server's clock better.
        const known = this.newest?.clock;
        const clock = known && known.halfMs < halfMs && performance.now() - known.at < 60_000 ? known : { halfMs, at: performance.now(), offsetMs: found.now_unix_us / 1000 - asked - halfMs };
        this.newest = { clock, ticks: found.media_ticks, capturedMs: found.captured_unix_us / 1000, by: found.captured_by, errorMs: found.clock_error_ms };
      }
    } catch { /* The stream's own connection says what is wrong. */ }
    this.tries += 1;
    if (isCurrent()) this.looking = setTimeout(() => this.look(), this.newest || this.tries > FIRST_TRIES ? LOOK_MS : FIRST_MS);
  }

  /** Milliseconds since the capture of the picture on the screen; null: not known. */
  age() {
    const captured = this.frame?.capturedMs ?? null;
    if (captured === null || !this.newest) return null;
    return Math.max(0, performance.now() + this.newest.clock.offsetMs - captured);
  }

  /** Whether the picture stands. */
  isFrozen() {
    return Boolean(this.frame) && !document.hidden && !this.video.paused && performance.now() - this.frame.shownAt > FROZEN_MS;
  }

  /** For how long. */
  standsMs() {
    return this.frame ? performance.now() - this.frame.shownAt : 0;
  }

  /** Whose word it is: `camera` or `arrival`, and how far the camera's clock may be off. */
  source() {
    return this.newest && { by: this.newest.by, errorMs: this.newest.errorMs };
  }

  destroy() {
    this.isOver = true;
    this.end();
  }
}

/** Of WebRTC: pictures bear an RTP time; `zero` is that of the stream's 0. */
export function byRtpTime(zero) {
  return ({ rtpTimestamp }, { ticks, capturedMs }) => {
    if (rtpTimestamp === undefined || zero === null) return null;
    // The server's ticks go round as those of RTP do.
    return capturedMs + wrapped(rtpTimestamp - zero - (ticks % 2 ** 32)) / 90;
  };
}

/** Of FLV: its times are milliseconds of the stream's line, and the player counts from `baseMs()`. */
export function byMediaTime(baseMs) {
  return ({ mediaTime }, { ticks, capturedMs }) => {
    const base = baseMs();
    if (base === null) return null;
    return capturedMs + wrapped(Math.round(base + mediaTime * 1000) - (Math.floor(ticks / 90) % 2 ** 32));
  };
}

/** Of HLS: its playlist has dates, which are those of capture. `date()`: that of the picture at `video.currentTime`. */
export function byDate(video, date) {
  return ({ mediaTime }) => {
    const found = date();
    return found ? found.getTime() + (mediaTime - video.currentTime) * 1000 : null;
  };
}
