// Servers and events.

import { h, setAttribute } from './dom.js';
import { bitrate, number } from './format.js';
import { t } from './i18n.js';
import { empty, shell, timeline } from './parts.js';
import { store } from './store.js';

/** All servers with their load. */
export function serversPage() {
  const body = h('div', {});
  const root = h('div', { class: 'page' }, h('header', { class: 'page-head' }, h('h1', { text: t('servers') })), body);
  const update = () => {
    if (!store.isLoaded) return;
    if (!store.servers.length) {
      body.replaceChildren(empty(t('no_servers'), t('no_servers_text'), shell('sightline origin --config origin.toml')));
      return;
    }
    body.replaceChildren(h('div', { class: 'rows' }, store.servers.map(serverRow)));
  };
  return { root, update, close: () => {} };
}

function serverRow(server) {
  const share = server.capacity_kbps ? Math.min(1, server.committed_kbps / server.capacity_kbps) : 0;
  const meter = h('progress', { max: 1, value: share, 'aria-label': t('load') });
  setAttribute(meter, 'data-tone', share > 0.85 ? 'poor' : share > 0.6 ? 'fair' : 'good');
  const limit = server.capacity_kbps ? bitrate(server.capacity_kbps) : t('no_limit');
  const fact = (label, value) => h('div', {}, h('dt', { text: label }), h('dd', { text: value }));
  const kind = server.kind === 'external' ? ` · ${t('external')}` : server.is_edge ? ` · ${t('edge')}` : '';
  const pulled = (server.pulls || []).reduce((sum, from) => sum + from.streams, 0);
  return h('section', { class: 'panel server', 'data-tone': server.alive ? 'live' : 'bad' },
    h('div', { class: 'server-head' }, h('span', { class: 'badge', text: server.alive ? t('up') : t('down') }), h('strong', { text: server.name || server.id }),
      h('span', { class: 'muted mono', text: server.id + kind })),
    h('dl', { class: 'facts wide' }, fact(t('region'), server.region || '–'), fact(t('streams'), number(server.streams)), server.is_edge && fact(t('pulled'), number(pulled)), fact(t('viewers'), number(server.viewers)),
      fact(t('ingest'), bitrate(server.ingest_kbps)), fact(t('load'), `${bitrate(server.committed_kbps)} / ${limit}`)),
    meter);
}

/** What happened lately, everywhere. */
export function eventsPage() {
  const body = h('section', { class: 'panel' });
  const root = h('div', { class: 'page narrow' }, h('header', { class: 'page-head' }, h('h1', { text: t('events') })), body);
  let shown = null;
  const update = () => {
    if (shown === store.events) return;
    shown = store.events;
    body.replaceChildren(timeline(store.events, true));
  };
  return { root, update, close: () => {} };
}
