// Users and groups: who may do what, and where.

import { addGroup, addUser, changePassword, changeUser, list, removeGroup, removeUser } from './api.js';
import { h, toast } from './dom.js';
import { number } from './format.js';
import { t } from './i18n.js';
import { forget, refresh, store } from './store.js';

const ROLES = ['viewer', 'operator', 'admin'];

/** The page; lists are read when it is opened, and after each change. */
export function peoplePage() {
  const users = h('ul', { class: 'people' });
  const groups = h('ul', { class: 'people' });
  const none = h('p', { class: 'muted', hidden: true, text: t('no_users') });
  const paths = h('datalist', { id: 'group-paths' });
  const adding = newUser(() => reload());
  const reload = async () => {
    try {
      const [people, known] = await Promise.all([list('api/v1/users'), list('api/v1/groups')]);
      none.hidden = people.length > 0;
      // Whoever comes first lets the others in.
      if (!people.length) adding.querySelector('select').value = 'admin';
      users.replaceChildren(...people.map((user) => userRow(user, reload)));
      groups.replaceChildren(...known.map((group) => groupRow(group, reload)));
      if (!known.length) groups.append(h('li', { class: 'muted', text: t('no_groups') }));
      paths.replaceChildren(...known.map(({ path }) => h('option', { value: path })));
    } catch (error) {
      toast(error.message, true);
    }
    refresh();
  };
  const root = h('div', { class: 'page narrow people-page' }, h('header', { class: 'page-head' }, h('h1', { text: t('people') })), paths,
    h('section', { class: 'panel' }, h('h2', { text: t('users') }), h('p', { class: 'muted', text: t('users_text') }), none, users, adding),
    h('section', { class: 'panel' }, h('h2', { text: t('groups') }), h('p', { class: 'muted', text: t('groups_text') }), groups, newGroup(reload)),
    store.me?.way === 'session' && ownPassword());
  reload();
  return { root, update: () => {}, close: () => {} };
}

/** Does it, says so, and shows the lists anew. */
async function act(name, work, reload) {
  try {
    await work();
    toast(t('done', { cmd: name }));
    // From the first user on, this browser has to sign in, too.
    if (store.me?.way === 'here') return forget();
  } catch (error) {
    toast(t('failed', { cmd: name, why: error.message }), true);
  }
  await reload?.();
}

function roleField() {
  return h('select', { 'aria-label': t('role') }, ROLES.map((role) => h('option', { value: role, text: t(`role_${role}`) })));
}

function groupField() {
  return h('input', { list: 'group-paths', placeholder: t('everything'), 'aria-label': t('group'), autocapitalize: 'none', spellcheck: 'false' });
}

function button(text, label, style, click) {
  return h('button', { class: `button small ${style}`, type: 'button', 'aria-label': label, text, on: { click } });
}

function userRow(user, reload) {
  const [role, group] = [roleField(), groupField()];
  const setGrants = (grants) => act(user.name, () => changeUser(user.name, { grants }), reload);
  const others = (path) => user.grants.filter((grant) => grant.group !== path);
  const grants = user.grants.map((grant) => {
    const text = `${t(`role_${grant.role}`)} · ${grant.group || t('everything')}`;
    return h('span', { class: 'grant' }, h('span', { text }), button('×', `${t('remove')}: ${user.name}, ${text}`, 'ghost', () => setGrants(others(grant.group))));
  });
  const password = h('input', { type: 'password', autocomplete: 'new-password', minlength: 8, placeholder: t('new_password'), 'aria-label': `${t('new_password')}: ${user.name}` });
  const setPassword = () => act(user.name, () => changeUser(user.name, { password: password.value }), reload);
  const path = () => group.value.trim().replace(/^\/|\/$/g, '');
  return h('li', {}, h('div', { class: 'person' }, h('strong', { text: user.name }), !user.has_password && h('span', { class: 'muted', text: t('no_password') }),
    h('span', { class: 'spacer' }), button(t('remove'), `${t('remove')}: ${user.name}`, 'danger', () => act(`${t('remove')}: ${user.name}`, () => removeUser(user.name), reload))),
  h('div', { class: 'grants' }, grants.length ? grants : h('span', { class: 'muted', text: t('no_role') })),
  h('details', {}, h('summary', { text: t('change') }),
    h('div', { class: 'share-new' }, role, group, button(t('grant'), `${t('grant')}: ${user.name}`, '', () => setGrants([...others(path()), { role: role.value, group: path() }]))),
    h('div', { class: 'share-new' }, password, button(t('set_password'), `${t('set_password')}: ${user.name}`, '', setPassword))));
}

function newUser(reload) {
  const name = h('input', { required: true, maxlength: 64, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', placeholder: t('user_name'), 'aria-label': t('user_name') });
  const password = h('input', { type: 'password', required: true, minlength: 8, autocomplete: 'new-password', placeholder: t('password'), 'aria-label': t('password') });
  const [role, group] = [roleField(), groupField()];
  const onSubmit = (event) => {
    event.preventDefault();
    const grants = [{ role: role.value, group: group.value.trim() }];
    act(t('add_user'), async () => {
      await addUser(name.value, password.value, grants);
      form.reset();
    }, reload);
  };
  const form = h('form', { class: 'share-new', on: { submit: onSubmit } }, name, password, role, group, h('button', { class: 'button small', type: 'submit', text: t('add_user') }));
  return form;
}

function groupRow({ path, devices }, reload) {
  return h('li', { class: 'person' }, h('strong', { text: path }), h('span', { class: 'muted', text: t('in_group', { n: number(devices) }) }), h('span', { class: 'spacer' }),
    button(t('remove'), `${t('remove')}: ${path}`, 'danger', () => act(`${t('remove')}: ${path}`, () => removeGroup(path), reload)));
}

function newGroup(reload) {
  const path = h('input', { required: true, maxlength: 256, autocapitalize: 'none', spellcheck: 'false', placeholder: t('group_path'), 'aria-label': t('group_path') });
  const onSubmit = (event) => {
    event.preventDefault();
    act(t('add_group'), async () => {
      await addGroup(path.value.trim());
      path.value = '';
    }, reload);
  };
  return h('form', { class: 'share-new', on: { submit: onSubmit } }, path, h('button', { class: 'button small', type: 'submit', text: t('add_group') }));
}

function ownPassword() {
  const field = (name, complete) => h('input', { type: 'password', required: true, autocomplete: complete, placeholder: t(name), 'aria-label': t(name) });
  const [old, next] = [field('password', 'current-password'), field('new_password', 'new-password')];
  const onSubmit = (event) => {
    event.preventDefault();
    act(t('own_password'), async () => {
      await changePassword(old.value, next.value);
      [old.value, next.value] = ['', ''];
    });
  };
  return h('section', { class: 'panel' }, h('h2', { text: t('own_password') }),
    h('form', { class: 'share-new', on: { submit: onSubmit } }, old, next, h('button', { class: 'button small', type: 'submit', text: t('change') })));
}
