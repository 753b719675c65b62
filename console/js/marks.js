// What was noted about a camera's pictures.

import { marks } from './api.js';
import { h } from './dom.js';
import { clock, number } from './format.js';
import { t } from './i18n.js';
import { store } from './store.js';

/** Marks that are shown: the newest. */
const SHOWN = 20;
/** How often they are read again while new ones come. */
const READ_INTERVAL_MS = 1000;

/** The part of a camera's page. */
export class Marks {
  constructor(id) {
    this.id = id;
    this.node = h('div', {}, h('p', { class: 'muted', text: t('no_marks') }));
    this.read = null;
    this.readAt = 0;
  }

  update() {
    const newest = store.marked.get(this.id) ?? 0;
    if (newest === this.read || Date.now() - this.readAt < READ_INTERVAL_MS) return;
    this.read = newest;
    this.readAt = Date.now();
    this.list();
  }

  async list() {
    try {
      const items = await marks(this.id, SHOWN);
      if (items.length) this.node.replaceChildren(h('ol', { class: 'timeline' }, items.map(row)));
    } catch { /* The page's banner says what is wrong with the cloud. */ }
  }
}

function row(mark) {
  const score = mark.score === null ? '' : `${number(mark.score * 100)} %`;
  const lasts = mark.duration_ms ? t('mark_lasts', { n: number(mark.duration_ms / 1000, 1) }) : '';
  return h('li', { 'data-tone': 'warn' },
    h('time', { class: 'mono', datetime: new Date(mark.at).toISOString(), text: clock(mark.at / 1000) }),
    h('span', { class: 'what' }, h('strong', { text: mark.label || mark.kind }), h('span', { class: 'muted', text: [score, lasts, mark.text].filter(Boolean).join(' · ') })));
}
