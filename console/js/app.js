// The frame around the pages, and which page it is.

import { signIn, signInAs, signOut } from './api.js';
import { cameraPage } from './camera.js';
import { h, setAttribute, svg } from './dom.js';
import { fleetPage } from './fleet.js';
import { currentLanguage, t, toggleLanguage } from './i18n.js';
import { peoplePage } from './people.js';
import { forget, leave, mayOn, refresh, run, store, watch } from './store.js';
import { eventsPage, serversPage } from './tables.js';

const app = document.getElementById('app');
let page = null;
let frame = null;

function route() {
  const [, name, id] = location.hash.replace(/^#/, '').split('/');
  if (name === 'camera' && id) return { name: 'cameras', title: decode(id), open: () => cameraPage(decode(id)) };
  if (name === 'servers') return { name, title: t('servers'), open: serversPage };
  if (name === 'people') return { name, title: t('people'), open: peoplePage };
  if (name === 'events') return { name, title: t('events'), open: eventsPage };
  return { name: 'cameras', title: t('cameras'), open: fleetPage };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function mark() {
  return svg('svg', { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
    svg('path', { d: 'M3 16c3.500-6 7.800-9 13-9s9.500 3 13 9c-3.500 6-7.800 9-13 9S6.500 22 3 16Z' }), svg('circle', { cx: 16, cy: 16, r: 4.500 }));
}

/** Builds everything anew: at the start, and after a change of language. */
function build() {
  document.documentElement.lang = currentLanguage() === 'zh' ? 'zh-CN' : 'en';
  const links = [['cameras', '#/'], ['servers', '#/servers'], ['events', '#/events'], ['people', '#/people']].map(([name, href]) => h('a', { href, 'data-name': name, text: t(name) }));
  const banner = h('div', { class: 'banner bad', role: 'alert', hidden: true });
  const main = h('main', { id: 'main', tabindex: '-1' });
  const language = h('button', { class: 'button ghost small', type: 'button', 'aria-label': t('language_label'), text: t('language'), on: { click: () => { toggleLanguage(); build(); } } });
  const who = h('span', { class: 'who-am-i', hidden: true });
  const out = h('button', { class: 'button ghost small', type: 'button', hidden: true, text: t('sign_out'), on: { click: leaveAs } });
  frame = { banner, main, links, who, out };
  app.replaceChildren(
    h('a', { class: 'skip', href: '#main', text: t('skip'), on: { click: (event) => { event.preventDefault(); main.focus(); } } }),
    h('header', { class: 'top' }, h('a', { class: 'brand', href: '#/' }, mark(), h('span', { text: 'Sightline' })), h('nav', {}, links), h('span', { class: 'spacer' }), who, out, language),
    banner, main);
  open();
}

function open() {
  page?.close();
  const next = route();
  document.title = `${next.title} · Sightline`;
  frame.links.forEach((link) => setAttribute(link, 'aria-current', link.dataset.name === next.name ? 'page' : null));
  page = next.open();
  frame.main.replaceChildren(page.root);
  window.scrollTo(0, 0);
  update();
}

async function leaveAs() {
  await signOut();
  forget();
}

/** What is not for whoever has signed in is not shown to them; the API refuses it anyway. */
function updateFrame() {
  const { me } = store;
  frame.out.hidden = !me || me.way === 'here';
  frame.who.hidden = !me?.name;
  frame.who.textContent = me?.name ?? '';
  for (const link of frame.links) link.hidden = ['servers', 'people'].includes(link.dataset.name) && Boolean(me) && !mayOn('admin', '');
}

function update() {
  const { problem } = store;
  updateFrame();
  const asksForToken = problem?.status === 401 || problem?.code === 'HOST_NOT_LOCAL';
  frame.banner.hidden = !problem || asksForToken;
  frame.banner.textContent = problem?.status ? problem.message : t('unreachable');
  if (asksForToken) {
    if (!frame.main.querySelector('.sign-in')) {
      page.close();
      frame.main.replaceChildren(problem.hasUsers ? nameForm() : tokenForm());
    }
    return;
  }
  if (frame.main.querySelector('.sign-in')) return open();
  page.update();
}

/** With the operator's token. */
function tokenForm() {
  const field = h('input', { type: 'password', autocomplete: 'current-password', required: true, 'aria-label': t('sign_in') });
  const wrong = h('p', { class: 'bad-text', role: 'alert', hidden: true, text: t('sign_in_wrong') });
  let tried = false;
  const stop = watch(() => {
    wrong.hidden = !(tried && store.problem && store.problem.status !== 0);
    if (!wrong.isConnected) stop();
  });
  const onSubmit = (event) => {
    event.preventDefault();
    signIn(field.value);
    tried = true;
    refresh();
  };
  return h('form', { class: 'panel sign-in', on: { submit: onSubmit } }, h('h1', { text: t('sign_in') }), h('p', { class: 'muted', text: t('sign_in_text') }), field, wrong,
    h('button', { class: 'button primary', type: 'submit', text: t('sign_in_button') }));
}

/** With a name and a password; the operator's token is another way. */
function nameForm() {
  const name = h('input', { autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true });
  const password = h('input', { type: 'password', autocomplete: 'current-password', required: true });
  const wrong = h('p', { class: 'bad-text', role: 'alert', hidden: true });
  const button = h('button', { class: 'button primary', type: 'submit', text: t('sign_in_button') });
  const onSubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await signInAs(name.value, password.value);
      forget();
    } catch (error) {
      wrong.textContent = error.status === 401 ? t('sign_in_name_wrong') : error.status === 429 ? t('sign_in_too_often') : error.message;
      wrong.hidden = false;
      password.value = '';
      password.focus();
    }
    button.disabled = false;
  };
  const field = (label, input) => h('label', { class: 'field' }, h('span', { class: 'label', text: label }), input);
  const toToken = () => frame.main.replaceChildren(tokenForm());
  return h('form', { class: 'panel sign-in', on: { submit: onSubmit } }, h('h1', { text: t('sign_in_title') }), field(t('user_name'), name), field(t('password'), password), wrong, button,
    h('button', { class: 'button ghost small', type: 'button', text: t('sign_in_with_token'), on: { click: toToken } }));
}

window.addEventListener('hashchange', open);
window.addEventListener('pagehide', () => {
  page?.close();
  leave();
});
window.addEventListener('pageshow', (event) => event.persisted && location.reload());
watch(update);
build();
run();
