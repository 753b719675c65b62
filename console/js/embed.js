// A player for other people's pages: one script and an element.
//
//   <script type="module" src="https://cloud.example/js/embed.js"></script>
//   <sightline-player playback="ID" token="KEY"></sightline-player>
//
// The server is the one that the script comes from; `server="https://…/"` names another. The element tells what it does by the events `state`
// (`detail.state`, `detail.via`) and `snapshot`, and by its property `age` how old the picture on the screen is.

import { PlayerView } from './player-view.js';

const HOME = new URL('../', import.meta.url).href;

/** `<sightline-player playback="…" token="…" server="…">`; without `token` it plays what is open to all. */
class SightlinePlayer extends HTMLElement {
  static observedAttributes = ['playback', 'token', 'server'];

  connectedCallback() {
    const base = new URL(this.getAttribute('server') ?? HOME, document.baseURI).href;
    this.server = base.endsWith('/') ? base : `${base}/`;
    const root = this.shadowRoot ?? this.attachShadow({ mode: 'open' });
    const style = document.createElement('link');
    style.rel = 'stylesheet';
    style.href = `${HOME}player.css`;
    this.view = new PlayerView({
      base: this.server,
      onState: (state, via) => this.dispatchEvent(new CustomEvent('state', { detail: { state, via } })),
    });
    root.replaceChildren(style, this.view.node);
    this.play();
    // A page that the browser keeps for its back button would keep its connection, and six are all that a browser opens to a server.
    this.onHidden ??= () => this.view?.play(null, null, '');
    this.onShown ??= (event) => event.persisted && this.play();
    window.addEventListener('pagehide', this.onHidden);
    window.addEventListener('pageshow', this.onShown);
  }

  disconnectedCallback() {
    window.removeEventListener('pagehide', this.onHidden);
    window.removeEventListener('pageshow', this.onShown);
    this.view?.close();
    this.view = null;
  }

  attributeChangedCallback(_name, before, now) {
    if (!this.view || before === now) return;
    this.disconnectedCallback();
    this.connectedCallback();
  }

  play() {
    const playback = this.getAttribute('playback');
    const isId = playback && /^[A-Za-z0-9_-]{1,64}$/.test(playback);
    this.view.play(isId ? playback : null, () => this.getAttribute('token') ?? '', '<sightline-player playback="ID">');
  }

  /** How old the picture on the screen is: `ms`, `by` (`camera`: since its capture; `arrival`: since it came to the server), `clockErrorMs`, `isFrozen`; null: not known. */
  get age() {
    return this.view?.age() ?? null;
  }

  /** The picture on the screen as a file. */
  snapshot() {
    return this.view?.snapshot();
  }
}

customElements.define('sightline-player', SightlinePlayer);
