// How mpegts.js reads HTTP-FLV. Its own loader does not end a request in Chromium while data comes: it waits for another chunk and ends it
// then. A page that is kept for the browser's back button reads none, keeps the connection, and after six such pages the browser opens no
// further connection to the server.

/** A loader's class for the setting `customLoader`. */
export function flvLoader({ BaseLoader, LoaderErrors, LoaderStatus }) {
  return class extends BaseLoader {
    constructor() {
      super('flv-loader');
      this.stop = new AbortController();
    }

    open({ url }) {
      this._status = LoaderStatus.kConnecting;
      this.read(url);
    }

    async read(url) {
      let received = 0;
      try {
        const answer = await fetch(url, { signal: this.stop.signal });
        if (!answer.ok) return this.fail(LoaderErrors.HTTP_STATUS_CODE_INVALID, answer.status, answer.statusText);
        const reader = answer.body.getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (this.stop.signal.aborted) return;
          if (done) break;
          this._status = LoaderStatus.kBuffering;
          const begins = received;
          received += value.byteLength;
          this.onDataArrival?.(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength), begins, received);
        }
        this._status = LoaderStatus.kComplete;
        this.onComplete?.(0, received - 1);
      } catch (error) {
        if (!this.stop.signal.aborted) this.fail(received ? LoaderErrors.EARLY_EOF : LoaderErrors.EXCEPTION, -1, error.message);
      }
    }

    fail(kind, code, msg) {
      this._status = LoaderStatus.kError;
      this.onError?.(kind, { code, msg });
    }

    abort() {
      this._status = LoaderStatus.kComplete;
      this.stop.abort();
    }

    destroy() {
      this.abort();
      super.destroy();
    }
  };
}
