/**
 * The open channel's messages, oldest first. It keeps to the newest one unless the reader has scrolled up, and then says
 * that something new came.
 */

import { fill, h, icon, spinner } from './dom.js';
import { IS_THINKING, isThinking, MessageView, summary } from './message.js';
import { format } from './time.js';
import { emptyChannel } from './welcome.js';

/** @import {App, Message} from './types.js' */

const JOIN_WITHIN = 5 * 60_000;
const NEAR = 80;

export class Timeline {
  /** @type {Map<string, MessageView>} */ #views = new Map();
  /** @type {Map<string, HTMLElement>} */ #days = new Map();
  #list = h('ol', { class: 'messages' });
  #before = h('div', { class: 'before' });
  #unseen = 0;
  #pinned = true;
  /** Where the newest message was last scrolled to. */
  #bottom = 0;
  #loadingOlder = false;
  /** @type {string|null} */ #shownChannel = null;

  /** @param {App} app @param {() => Promise<void>} loadOlder */
  constructor(app, loadOlder) {
    this.app = app;
    this.loadOlder = loadOlder;
    this.pill = h('button', { type: 'button', class: 'pill', hidden: true, onclick: () => this.toBottom(true) }, h('span', {}), icon('down'));
    this.scroller = h('div', { class: 'scroller', tabindex: '0', role: 'region', 'aria-label': 'Messages' }, this.#before, this.#list);
    this.announcer = h('div', { class: 'sr-only', 'aria-live': 'polite' });
    this.node = h('div', { class: 'timeline' }, this.scroller, this.pill, this.announcer);
    this.scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    // Pictures that load and cards that grow push the newest message down; the reader at the bottom stays there.
    const sizes = new ResizeObserver(() => this.keepBottom());
    sizes.observe(this.#list);
    sizes.observe(this.scroller);
    for (const topic of /** @type {const} */ (['messages', 'world', 'place'])) app.state.on(topic, () => this.render());
    app.state.on('presses', () => this.#views.forEach((view) => view.showPress()));
  }

  render() {
    const { state } = this.app;
    if (state.channelId === null) return;
    if (this.#shownChannel !== state.channelId) {
      this.#shownChannel = state.channelId;
      this.#views.clear();
      this.#pinned = true;
      this.#bottom = 0;
      this.#setUnseen(0);
    }
    const history = state.history(state.channelId);
    this.scroller.setAttribute('aria-busy', String(!history));
    if (!history) {
      this.#list.replaceChildren();
      fill(this.#before, spinner());
      return;
    }
    this.#unpinIfLeft();
    const heightBefore = this.scroller.scrollHeight;
    const firstBefore = this.#list.querySelector('.message')?.id;
    this.#before.replaceChildren(...(history.complete ? [emptyChannel(this.app, history.list.length === 0)] : [spinner()]));
    this.#arrange(history.list);
    if (this.#pinned) this.toBottom(false);
    else if (firstBefore !== undefined && this.#list.querySelector('.message')?.id !== firstBefore) {
      // Older messages came in above: what the reader looks at stays where it is.
      this.scroller.scrollTop += this.scroller.scrollHeight - heightBefore;
    }
  }

  /** @param {Message[]} messages */
  #arrange(messages) {
    /** @type {HTMLElement[]} */ const wanted = [];
    /** @type {Message|null} */ let above = null;
    const present = new Set(messages.map((message) => message.id));
    for (const id of this.#views.keys()) if (!present.has(id)) this.#views.delete(id);
    for (const message of messages) {
      const day = new Date(message.timestamp).toDateString();
      const newDay = !above || new Date(above.timestamp).toDateString() !== day;
      if (newDay) wanted.push(this.#day(day, message.timestamp));
      const view = this.#views.get(message.id) ?? new MessageView(this.app, message);
      this.#views.set(message.id, view);
      view.update(message, !newDay && above !== null && joins(above, message));
      wanted.push(view.node);
      above = message;
    }
    const keep = new Set(wanted);
    for (const child of [...this.#list.children]) if (!keep.has(/** @type {HTMLElement} */ (child))) child.remove();
    // Nodes that are in place are not touched: moving one would stop its clip.
    wanted.forEach((node, index) => {
      if (this.#list.children[index] !== node) this.#list.insertBefore(node, this.#list.children[index] ?? null);
    });
  }

  /** @param {string} day @param {string} moment */
  #day(day, moment) {
    const known = this.#days.get(day);
    if (known) return known;
    const node = h('li', { class: 'day' }, h('span', {}, format(new Date(moment), 'D')));
    this.#days.set(day, node);
    return node;
  }

  /** Say that a message came. @param {Message} message */
  arrived(message) {
    const { state } = this.app;
    if (message.channel_id !== state.channelId) return;
    const name = state.user(message.author.id)?.display_name ?? message.author.username;
    if (message.author.id === state.world?.me.id) this.toBottom(false);
    else this.announcer.textContent = isThinking(message) ? `${name} is thinking` : `${name}: ${summary(this.app, message)}`;
    if (!this.#pinned) this.#setUnseen(this.#unseen + 1);
  }

  /** Say that a promised answer is there. @param {Message} message @param {Message|undefined} old */
  answered(message, old) {
    const { state } = this.app;
    if (message.channel_id !== state.channelId || !old || !((old.flags ?? 0) & IS_THINKING) || isThinking(message)) return;
    this.announcer.textContent = `${state.user(message.author.id)?.display_name ?? message.author.username}: ${summary(this.app, message)}`;
  }

  /** The room changed: a reader at the newest message stays there. */
  keepBottom() {
    this.#unpinIfLeft();
    if (this.#pinned) this.toBottom(false);
  }

  /** The browser tells of scrolling late; a message that comes before must not carry the reader back down. */
  #unpinIfLeft() {
    if (this.scroller.scrollTop < this.#bottom - NEAR && !this.#nearBottom()) this.#pinned = false;
  }

  #nearBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  /** @param {boolean} smooth */
  toBottom(smooth) {
    this.#pinned = true;
    this.#setUnseen(0);
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth && !matchMedia('(prefers-reduced-motion: reduce)').matches ? 'smooth' : 'instant' });
    // On the way down smoothly, it stands higher for a while: that is not the reader's doing.
    this.#bottom = this.scroller.scrollTop;
  }

  /** @param {string} id @returns {boolean} whether it is among the loaded ones */
  reveal(id) {
    const view = this.#views.get(id);
    if (!view) return false;
    this.#pinned = false;
    view.node.scrollIntoView({ block: 'center' });
    view.node.classList.remove('lit');
    void view.node.offsetWidth; // a restarted animation needs the layout in between
    view.node.classList.add('lit');
    return true;
  }

  /** @param {number} count */
  #setUnseen(count) {
    this.#unseen = count;
    this.pill.hidden = count === 0;
    const words = this.pill.querySelector('span');
    if (words) words.textContent = count === 1 ? '1 new message' : `${count} new messages`;
  }

  async #scrolled() {
    const { scroller } = this;
    this.#pinned = this.#nearBottom();
    if (this.#pinned) this.#bottom = scroller.scrollTop;
    if (this.#pinned) this.#setUnseen(0);
    const history = this.app.state.history(this.app.state.channelId ?? '');
    if (scroller.scrollTop > NEAR * 3 || !history || history.complete || this.#loadingOlder) return;
    this.#loadingOlder = true;
    try {
      await this.loadOlder();
    } finally {
      this.#loadingOlder = false;
    }
  }
}

/** @param {Message} above @param {Message} below */
function joins(above, below) {
  return (
    above.author.id === below.author.id &&
    above.ephemeral === below.ephemeral &&
    !below.message_reference &&
    !below.interaction_metadata &&
    Date.parse(below.timestamp) - Date.parse(above.timestamp) < JOIN_WITHIN
  );
}
