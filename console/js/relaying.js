// A camera's relays: other servers that its stream goes on to.

import { addStreamRelay, removeStreamRelay, streamRelays } from './api.js';
import { h, toast } from './dom.js';
import { t } from './i18n.js';

/** How often their states are read: an origin reports every two seconds. */
const LOOK_MS = 5000;

/** The part of a camera's page. */
export class Relaying {
  constructor(id) {
    this.id = id;
    this.name = h('input', { required: true, maxlength: 64, placeholder: t('relay_name'), 'aria-label': t('relay_name') });
    // A key is in it: not for a browser's memory of forms.
    this.url = h('input', { required: true, maxlength: 600, autocomplete: 'off', spellcheck: 'false', placeholder: 'rtmps://a.rtmps.youtube.com/live2/…', 'aria-label': t('relay_url') });
    this.button = h('button', { class: 'button small', type: 'submit', text: t('relay_add') });
    this.relays = h('ul', { class: 'keys' });
    this.node = h('form', { class: 'sharing', on: { submit: (event) => { event.preventDefault(); this.add(); } } },
      h('h3', { text: t('relays') }), h('p', { class: 'muted', text: t('relay_text') }), h('div', { class: 'share-new' }, this.name, this.url, this.button), this.relays);
    this.list();
    this.looking = setInterval(() => this.list(), LOOK_MS);
  }

  close() {
    clearInterval(this.looking);
  }

  async add() {
    this.button.disabled = true;
    try {
      await addStreamRelay(this.id, this.name.value, this.url.value.trim());
      [this.name.value, this.url.value] = ['', ''];
      await this.list();
    } catch (error) {
      toast(t('failed', { cmd: t('relay_add'), why: error.message }), true);
    }
    this.button.disabled = false;
  }

  async list() {
    try {
      const relays = await streamRelays(this.id);
      const shown = JSON.stringify(relays.map(({ name, target, set_by, state, error }) => [name, target, set_by, state, error]));
      // Left as it is where nothing has changed: the focus may be on a button in it.
      if (shown === this.shown) return;
      this.shown = shown;
      this.relays.replaceChildren(...relays.map((relay) => this.row(relay)));
    } catch { /* The page's banner says what is wrong with the cloud. */ }
  }

  row(relay) {
    const note = [t(`relay_${relay.state}`), relay.target, relay.error].filter(Boolean).join(' · ');
    const remove = async () => {
      try {
        await removeStreamRelay(this.id, relay.name);
        toast(t('done', { cmd: t('relay_remove') }));
      } catch (error) {
        toast(t('failed', { cmd: t('relay_remove'), why: error.message }), true);
      }
      this.list();
    };
    return h('li', {}, h('span', { class: 'what' }, h('strong', { text: relay.name }), h('span', { class: 'muted', text: note })),
      relay.set_by === 'api' && h('button', { class: 'button small danger', type: 'button', 'aria-label': `${t('relay_remove')}: ${relay.name}`, text: t('relay_remove'), on: { click: remove } }));
  }
}
