// The bare player: /player.html?id=ID (or playback=ID), with &token=KEY where playing needs a right, and with nothing on the page but the video.

import { t } from './i18n.js';
import { LivePlayer } from './live-player.js';

const query = new URLSearchParams(location.search);
const playback = query.get('id') ?? query.get('playback');
const status = document.getElementById('status');
const show = (text) => {
  status.hidden = !text;
  status.textContent = text;
};
if (playback && /^[A-Za-z0-9_-]{1,64}$/.test(playback)) {
  const texts = { connecting: t('player_connecting'), retrying: t('player_retry'), playing: '', unsupported: t('player_none') };
  const player = new LivePlayer(document.getElementById('video'), playback, (state, via, codec) => {
    document.body.dataset.state = state;
    document.body.dataset.via = via;
    show(state === 'codec' ? t('player_codec', { codec }) : texts[state]);
  }, () => query.get('token') ?? '');
  // A page that the browser keeps for its back button would keep its connection.
  window.addEventListener('pagehide', () => player.destroy());
  window.addEventListener('pageshow', (event) => event.persisted && location.reload());
} else {
  show('player.html?id=ID');
}
