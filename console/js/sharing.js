// Keys that play a camera's stream: links that are shared, and what needs one fixed address.

import { addPlaybackKey, playbackKeys, removePlaybackKey } from './api.js';
import { h, setText, toast } from './dom.js';
import { ago, clock } from './format.js';
import { t } from './i18n.js';
import { copyRow } from './parts.js';

/** How long links may last, in seconds; null: until the key is taken back. */
const LASTS = [['share_hour', 3600], ['share_day', 86_400], ['share_week', 604_800], ['share_always', null]];

/** The part of a camera's page. */
export class Sharing {
  constructor(id) {
    this.id = id;
    this.playback = null;
    this.name = h('input', { required: true, maxlength: 64, placeholder: t('share_name'), 'aria-label': t('share_name') });
    this.lasts = h('select', { 'aria-label': t('share_lasts') }, LASTS.map(([name], at) => h('option', { value: at, text: t(name) })));
    this.button = h('button', { class: 'button small', type: 'submit', text: t('share_make') });
    this.made = h('div', {});
    this.keys = h('ul', { class: 'keys' });
    this.node = h('form', { class: 'sharing', on: { submit: (event) => { event.preventDefault(); this.make(); } } },
      h('h3', { text: t('share') }), h('p', { class: 'muted', text: t('share_text') }), h('div', { class: 'share-new' }, this.name, this.lasts, this.button), this.made, this.keys);
  }

  update({ playback, live }) {
    this.playback = live?.playback ?? playback;
    this.list();
  }

  async make() {
    this.button.disabled = true;
    try {
      const [, ttlSec] = LASTS[Number(this.lasts.value)];
      const { key, playback } = await addPlaybackKey(this.id, this.name.value, ttlSec);
      const at = (path) => new URL(path, document.baseURI).href;
      this.made.replaceChildren(h('p', { class: 'muted', role: 'status', text: t('share_once') }), copyRow(t('share_link'), at(`player.html?id=${playback}&token=${key}`)),
        copyRow('HLS', at(`live/${playback}/index.m3u8?token=${key}`)));
      this.name.value = '';
      await this.list();
    } catch (error) {
      toast(t('failed', { cmd: t('share_make'), why: error.message }), true);
    }
    this.button.disabled = false;
  }

  async list() {
    try {
      this.keys.replaceChildren(...(await playbackKeys(this.id)).map((key) => this.row(key)));
    } catch { /* The page's banner says what is wrong with the cloud. */ }
  }

  row(key) {
    const used = key.used_at ? t('share_used', { when: ago(key.used_at), from: key.used_from ?? '' }) : t('share_unused');
    const end = key.ends_at ? t('share_ends', { when: clock(key.ends_at) }) : t('share_always');
    const note = h('span', { class: 'muted' });
    setText(note, `${end} · ${used}`);
    const remove = async () => {
      try {
        await removePlaybackKey(key.id);
        toast(t('done', { cmd: t('share_remove') }));
      } catch (error) {
        toast(t('failed', { cmd: t('share_remove'), why: error.message }), true);
      }
      this.list();
    };
    return h('li', {}, h('span', { class: 'what' }, h('strong', { text: key.name }), note),
      h('button', { class: 'button small danger', type: 'button', 'aria-label': `${t('share_remove')}: ${key.name}`, text: t('share_remove'), on: { click: remove } }));
  }
}
