// The bare player: /player.html?id=ID (or playback=ID), with &token=KEY where playing needs a right, and with nothing on the page but the video.
// Other pages may show it in a frame.

import { PlayerView } from './player-view.js';

const query = new URLSearchParams(location.search);
const playback = query.get('id') ?? query.get('playback');
const view = new PlayerView({
  onState: (state, via) => {
    document.body.dataset.state = state;
    document.body.dataset.via = via;
  },
});
view.video.id = 'video';
view.note.id = 'status';
document.querySelector('main').append(view.node);
const isId = playback && /^[A-Za-z0-9_-]{1,64}$/.test(playback);
view.play(isId ? playback : null, () => query.get('token') ?? '', 'player.html?id=ID');
// A page that the browser keeps for its back button would keep its connection.
window.addEventListener('pagehide', () => view.close());
window.addEventListener('pageshow', (event) => event.persisted && location.reload());
