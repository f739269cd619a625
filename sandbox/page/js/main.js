/**
 * Puts the page together: who acts, where, what arrives, and the few things that belong to the whole window.
 */

import { Actions } from './actions.js';
import { Api } from './api.js';
import { Composer } from './composer.js';
import { iconButton, spinner } from './dom.js';
import { Drawers } from './drawers.js';
import { Live } from './live.js';
import { openModal } from './modal.js';
import { createNotices, createTypingLine } from './notices.js';
import { createIdentity, createMemberList } from './people.js';
import { addressOf, createPlaceList, placeInAddress } from './places.js';
import { State } from './state.js';
import { createThemeToggle } from './theme.js';
import { refresh } from './time.js';
import { Timeline } from './timeline.js';
import { acceptDrops, acceptPaste, fitKeyboard, typeAnywhere } from './window.js';

/** @import {App, LiveEvent} from './types.js' */

const ACTING_KEY = 'zoetrope-acting-as';
const PAGE = 50;
const RETRY_MS = 1500;

/** @param {string} id */
const slot = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const state = new State();
const api = new Api(localStorage.getItem(ACTING_KEY));
const notices = createNotices(state);
const actions = new Actions(api, state, {
  say: notices.say,
  openModal: (modal) => openModal(app, modal),
  showMessage: (id) => {
    if (!timeline.reveal(id)) notices.say('That message is further up: scroll up to load it.');
  },
});
/** @type {App} */
const app = { api, state, actions, say: notices.say };
const timeline = new Timeline(app, loadOlder);
const composer = new Composer(app);
app.composer = composer;

const menuButton = iconButton('menu', 'Servers and channels', () => {}, { class: 'only-narrow' });
const membersButton = iconButton('people', 'Members', () => {}, { class: 'only-middle' });
const drawers = new Drawers({ places: slot('places'), members: slot('members') }, { places: menuButton, members: membersButton }, slot('scrim'));

slot('places-list').append(createPlaceList(app, () => drawers.close()));
slot('members').append(createMemberList(app, become));
slot('head-start').append(menuButton);
slot('head-end').append(createThemeToggle(), membersButton, createIdentity(app, become));
slot('chat').append(notices.node, timeline.node, createTypingLine(state), composer.node);
document.body.append(notices.toasts);

state.on('place', () => {
  slot('channel-name').textContent = state.channel?.name ?? '';
  slot('channel-topic').textContent = state.channel?.topic ?? '';
  document.title = state.channel ? `#${state.channel.name} · Zoetrope sandbox` : 'Zoetrope sandbox';
});

/** @type {Live|null} */
let live = null;

/** Fetch the world; keep the place if the acting member still sees it. */
async function loadWorld() {
  let world;
  try {
    world = await api.world();
  } catch (error) {
    // The remembered member may be of a world that was since begun anew.
    if (api.actingId === null || /** @type {import('./api.js').ApiError} */ (error).status < 400) throw error;
    localStorage.removeItem(ACTING_KEY);
    api.actingId = null;
    world = await api.world();
  }
  api.actingId = world.me.id;
  const wanted = placeInAddress();
  const guild = world.guilds.find((one) => one.id === wanted?.guildId) ?? world.guilds[0];
  const channel = guild?.channels.find((one) => one.id === wanted?.channelId) ?? guild?.channels[0];
  const moved = channel?.id !== state.channelId;
  // The place first, so that nothing is drawn for a channel that this member does not see.
  state.world = world;
  if (guild && channel && moved) state.goTo(guild.id, channel.id);
  state.setWorld(world);
  if (guild && channel && (wanted?.guildId !== guild.id || wanted.channelId !== channel.id)) history.replaceState(null, '', addressOf(guild.id, channel.id));
}

async function loadMessages() {
  const { channelId } = state;
  const acting = api.actingId;
  if (channelId === null) return;
  const page = await api.messages(channelId);
  // Meanwhile the reader may have become somebody else, who sees other messages.
  if (acting === api.actingId) state.setHistory(channelId, page, page.length < PAGE);
}

async function loadOlder() {
  const { channelId } = state;
  const first = channelId === null ? undefined : state.history(channelId)?.list[0];
  if (channelId === null || !first) return;
  try {
    const page = await api.messages(channelId, first.id);
    state.addOlder(channelId, page, page.length < PAGE);
  } catch (error) {
    notices.say(/** @type {Error} */ (error).message);
  }
}

/** @param {() => Promise<void>} work  what failed is said; the live connection tries again by itself */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    notices.say(/** @type {Error} */ (error).message);
  }
}

function connect() {
  live?.close();
  state.connection = 'connecting';
  live = new Live(() => api.eventsUrl(), {
    opened: () => {
      state.connection = 'open';
      state.changed('connection');
      // Whatever happened before the line stood was not heard: fetch it.
      attempt(async () => {
        await loadWorld();
        await loadMessages();
      });
    },
    lost: () => {
      state.connection = 'lost';
      state.changed('connection');
    },
    event: hear,
  });
}

/** @param {LiveEvent} event */
function hear(event) {
  const { message } = event;
  if (event.type === 'message.create' && message) {
    const isNew = state.put(message);
    if (message.channel_id !== state.channelId && message.author.id !== state.world?.me.id) {
      state.unread.add(message.channel_id);
      state.changed('unread');
    }
    if (isNew) timeline.arrived(message);
  } else if (event.type === 'message.update' && message) {
    const old = state.history(message.channel_id)?.list.find((known) => known.id === message.id);
    state.put(message);
    timeline.answered(message, old);
  } else if (event.type === 'message.delete' && event.channel_id && event.message_id) state.drop(event.channel_id, event.message_id);
  else if (event.type === 'typing' && event.channel_id && event.user_id) state.setTyping(event.channel_id, event.user_id);
  else if (event.type === 'world') attempt(loadWorld);
  else if (event.type === 'interaction') actions.hear(event);
}

/** Act with another member's hands: everything that is shown is theirs. @param {string} userId */
function become(userId) {
  if (userId === api.actingId) return;
  localStorage.setItem(ACTING_KEY, userId);
  api.actingId = userId;
  state.forget();
  drawers.close();
  attempt(async () => {
    await loadWorld();
    connect();
    notices.say(`You are ${state.world?.me.display_name} now.`);
  });
}

addEventListener('hashchange', () => {
  const place = placeInAddress();
  const guild = state.world?.guilds.find((one) => one.id === place?.guildId);
  if (!place || !guild?.channels.some((channel) => channel.id === place.channelId)) {
    notices.say('There is no such channel for you.');
    return;
  }
  if (place.channelId === state.channelId) return;
  state.goTo(place.guildId, place.channelId);
  attempt(loadMessages);
});

setInterval(() => {
  if (!document.hidden) refresh(document, state.clockSkew);
}, 1000);
acceptDrops(composer);
acceptPaste(composer);
typeAnywhere(composer);
fitKeyboard(() => timeline.keepBottom());

async function start() {
  try {
    await loadWorld();
  } catch {
    slot('splash').replaceChildren(spinner(), 'Waiting for the sandbox to answer…');
    setTimeout(start, RETRY_MS);
    return;
  }
  slot('splash').remove();
  connect();
}

start();
