/**
 * What the page knows, and who wants to hear when it changes. Holds no elements and asks nobody.
 */

/** @import {World, Message, Guild, Channel, User, Member, Command} from './types.js' */

/** @typedef {'world'|'place'|'messages'|'typing'|'connection'|'presses'|'unread'} Topic */
/** @typedef {{customId: string, error: string|null}} Press  A component that was pressed: still waiting, or failed with a sentence. */
/** @typedef {{list: Message[], complete: boolean}} History  Oldest first; complete once nothing older is left on the server. */

const TYPING_SECONDS = 9;

/** Order of snowflakes without rounding: shorter is older, then digit by digit. @param {string} a @param {string} b */
export function byId(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

export class State {
  /** @type {World|null} */ world = null;
  /** @type {string|null} */ guildId = null;
  /** @type {string|null} */ channelId = null;
  /** @type {'connecting'|'open'|'lost'} */ connection = 'connecting';
  /** Milliseconds that the server's clock is ahead of ours. */
  clockSkew = 0;
  /** @type {Map<string, Press>} by message */ presses = new Map();
  /** @type {Set<string>} channels with something new */ unread = new Set();
  /** @type {Map<string, History>} */ #histories = new Map();
  /** @type {Map<string, Map<string, number>>} channel → member → when they stop typing */ #typing = new Map();
  #events = new EventTarget();

  /** @param {Topic} topic @param {() => void} listener */
  on(topic, listener) {
    this.#events.addEventListener(topic, listener);
  }

  /** @param {Topic} topic */
  changed(topic) {
    this.#events.dispatchEvent(new Event(topic));
  }

  /** @param {World} world */
  setWorld(world) {
    this.world = world;
    this.clockSkew = Date.parse(world.now) - Date.now();
    this.changed('world');
  }

  /** @param {string} guildId @param {string} channelId */
  goTo(guildId, channelId) {
    this.guildId = guildId;
    this.channelId = channelId;
    this.unread.delete(channelId);
    this.changed('place');
    this.changed('unread');
  }

  /** @returns {Guild|undefined} */
  get guild() {
    return this.world?.guilds.find((guild) => guild.id === this.guildId);
  }

  /** @returns {Channel|undefined} */
  get channel() {
    return this.guild?.channels.find((channel) => channel.id === this.channelId);
  }

  /** @param {string} id @returns {User|undefined} */
  user(id) {
    return this.world?.users.find((user) => user.id === id);
  }

  /** @returns {Member|undefined} */
  get membership() {
    return this.guild?.members.find((member) => member.user_id === this.world?.me.id);
  }

  /** Menu commands for messages (type 3) that the acting member may use here. @returns {Command[]} */
  get messageCommands() {
    return this.guild?.commands.filter((command) => command.type === 3) ?? [];
  }

  /** @param {string} channelId @returns {History|undefined} */
  history(channelId) {
    return this.#histories.get(channelId);
  }

  /** Replace what is known of a channel with its newest page. @param {string} channelId @param {Message[]} page @param {boolean} complete */
  setHistory(channelId, page, complete) {
    this.#histories.set(channelId, { list: [...page].sort((a, b) => byId(a.id, b.id)), complete });
    this.changed('messages');
  }

  /** @param {string} channelId @param {Message[]} page @param {boolean} complete */
  addOlder(channelId, page, complete) {
    const history = this.#histories.get(channelId);
    if (!history) return;
    const known = new Set(history.list.map((message) => message.id));
    history.list = [...page.filter((message) => !known.has(message.id)), ...history.list].sort((a, b) => byId(a.id, b.id));
    history.complete = complete;
    this.changed('messages');
  }

  /** A message came or changed. @param {Message} message @returns {boolean} whether it is new here */
  put(message) {
    const history = this.#histories.get(message.channel_id);
    if (!history) return false;
    const at = history.list.findIndex((known) => byId(known.id, message.id) >= 0);
    const known = at >= 0 && history.list[at].id === message.id;
    // An edit of something older than what is loaded: it will come with its page.
    if (!known && at === 0 && !history.complete) return false;
    if (known) history.list[at] = message;
    else if (at >= 0) history.list.splice(at, 0, message);
    else history.list.push(message);
    this.#typing.get(message.channel_id)?.delete(message.author.id);
    this.changed('messages');
    return !known;
  }

  /** @param {string} channelId @param {string} messageId */
  drop(channelId, messageId) {
    const history = this.#histories.get(channelId);
    if (!history) return;
    history.list = history.list.filter((message) => message.id !== messageId);
    this.presses.delete(messageId);
    this.changed('messages');
  }

  /** Forget every message: another member sees other ones, and a lost connection may have missed some. */
  forget() {
    this.#histories.clear();
    this.presses.clear();
  }

  /** @param {string} channelId @param {string} userId */
  setTyping(channelId, userId) {
    const typing = this.#typing.get(channelId) ?? new Map();
    typing.set(userId, Date.now() + TYPING_SECONDS * 1000);
    this.#typing.set(channelId, typing);
    this.changed('typing');
  }

  /** Names of those who type in the open channel now. @returns {string[]} */
  get typists() {
    const typing = this.channelId === null ? undefined : this.#typing.get(this.channelId);
    return [...(typing ?? [])]
      .filter(([userId, until]) => until > Date.now() && userId !== this.world?.me.id)
      .map(([userId]) => this.user(userId)?.display_name ?? 'Somebody');
  }

  /** @param {string} messageId @param {Press|null} press */
  setPress(messageId, press) {
    if (press === null) this.presses.delete(messageId);
    else this.presses.set(messageId, press);
    this.changed('presses');
  }
}
