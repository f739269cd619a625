/**
 * One message. It is built once and then updated part by part: only what an edit changed is built again, so a clip
 * goes on playing and a focused button stays focused while a card counts its progress.
 */

import { componentNodes, IS_COMPONENTS_V2, showPress } from './components.js';
import { fill, h, icon, iconButton } from './dom.js';
import { embedded, embedNode } from './embeds.js';
import { markdown, namesOf, plain } from './markdown.js';
import { MediaStrip } from './media.js';
import { openMessageMenu, openOnHold } from './message-menu.js';
import { avatar } from './people.js';
import { format, refresh } from './time.js';

/** @import {App, Message} from './types.js' */

export const IS_THINKING = 1 << 7;

/** @param {Message} message */
export function isThinking(message) {
  return ((message.flags ?? 0) & IS_THINKING) !== 0;
}

/** A message in a few words, for previews and for people who listen. @param {App} app @param {Message} message */
export function summary(app, message) {
  if (isThinking(message)) return 'is thinking…';
  const text = plain(message.content, namesOf(app.state));
  if (text) return text;
  if (message.attachments.length > 0) return message.attachments.map((one) => one.filename).join(', ');
  return message.embeds[0]?.title ?? message.embeds[0]?.description ?? 'A message';
}

/** A part of the message that is rebuilt only when what it shows has changed. */
class Part {
  #shown = '';

  /** @param {HTMLElement} node */
  constructor(node) {
    this.node = node;
    this.node.hidden = true;
  }

  /** @param {unknown} shown  everything that the nodes depend on @param {() => import('./dom.js').Child[]} build */
  show(shown, build) {
    const text = JSON.stringify(shown);
    if (text === this.#shown) return;
    this.#shown = text;
    const focused = /** @type {HTMLElement|null} */ (document.activeElement);
    const customId = this.node.contains(focused) ? focused?.dataset.customId : undefined;
    fill(this.node, ...build());
    this.node.hidden = this.node.childNodes.length === 0;
    if (customId !== undefined) /** @type {HTMLElement|null} */ (this.node.querySelector(`[data-custom-id="${CSS.escape(customId)}"]`))?.focus();
  }
}

export class MessageView {
  /** @type {Message} */ message;
  #above = new Part(h('div', { class: 'above' }));
  #head = new Part(h('header', { class: 'head' }));
  #text = new Part(h('div', { class: 'text markdown' }));
  #strip = new MediaStrip();
  #embeds = new Part(h('div', { class: 'embeds' }));
  #components = new Part(h('div', { class: 'components' }));
  #foot = new Part(h('footer', { class: 'foot' }));

  /** @param {App} app @param {Message} message */
  constructor(app, message) {
    this.app = app;
    this.message = message;
    const more = iconButton('more', 'More', () => openMessageMenu(app, this.message, more), { 'aria-haspopup': 'menu' });
    const reply = iconButton('reply', 'Reply', () => app.composer?.replyTo(this.message));
    this.side = new Part(h('div', { class: 'side' }));
    this.node = h(
      'li',
      { class: 'message', id: `m-${message.id}`, dataset: { id: message.id } },
      this.#above.node,
      h(
        'div',
        { class: 'message-row' },
        this.side.node,
        h('div', { class: 'body' }, this.#head.node, this.#text.node, this.#strip.node, this.#embeds.node, this.#components.node, this.#foot.node),
      ),
      h('div', { class: 'tools' }, reply, more),
    );
    openOnHold(this.node, (point) => openMessageMenu(app, this.message, point));
  }

  /**
   * @param {Message} message
   * @param {boolean} joined  goes on from the message above: same author, little time between
   */
  update(message, joined) {
    this.message = message;
    const { state } = this.app;
    const user = state.user(message.author.id);
    const name = user?.display_name ?? message.author.global_name ?? message.author.username;
    const me = state.world?.me.id;
    const roles = state.membership?.roles ?? [];
    const calls = (message.mentions ?? []).some((one) => one.id === me) || (message.mention_roles ?? []).some((id) => roles.includes(id)) || message.mention_everyone;
    const thinking = isThinking(message);
    const componentsOnly = ((message.flags ?? 0) & IS_COMPONENTS_V2) !== 0;
    const shownInEmbeds = embedded(message);

    this.node.classList.toggle('joined', joined);
    this.node.classList.toggle('ephemeral', Boolean(message.ephemeral));
    this.node.classList.toggle('calls', Boolean(calls));
    this.side.show([message.author.id, joined, user], () => (joined ? [h('time', { class: 'side-time' }, format(new Date(message.timestamp), 't'))] : [avatar(user ?? { ...message.author, display_name: name, color: '#8a8178', bot: Boolean(message.author.bot) })]));
    this.#above.show([message.referenced_message ?? null, message.message_reference ?? null, message.interaction_metadata ?? null, message.interaction ?? null], () => this.#origin());
    this.#head.show([joined, name, user?.color, message.timestamp, message.author.bot], () =>
      joined ? [] : [h('span', { class: 'author', style: user ? { '--of': user.color } : {} }, name), message.author.bot ? h('span', { class: 'tag' }, 'App') : null, h('time', { class: 'when', datetime: message.timestamp, title: format(new Date(message.timestamp), 'F') }, when(message.timestamp))],
    );
    this.#text.show([thinking, message.content, message.edited_timestamp, componentsOnly, state.guildId], () => {
      if (thinking) return [thinkingNode(name)];
      const edited = message.edited_timestamp ? h('small', { class: 'edited', title: format(new Date(message.edited_timestamp), 'F') }, ' (edited)') : null;
      if (!message.content || componentsOnly) return message.edited_timestamp && !componentsOnly && message.embeds.length === 0 && message.attachments.length === 0 ? [edited] : [];
      const nodes = markdown(message.content, namesOf(state));
      const last = nodes.lastElementChild;
      if (edited) (last?.tagName === 'P' ? last : nodes).append(edited);
      return [nodes];
    });
    this.#strip.update(componentsOnly ? [] : message.attachments.filter((one) => !shownInEmbeds.has(one.id)));
    this.#embeds.show([message.embeds, message.embeds.length ? message.attachments : []], () => message.embeds.map((embed) => embedNode(this.app, message, embed)));
    this.#components.show([message.components ?? [], componentsOnly ? message.attachments : []], () => componentNodes(this.app, message));
    this.showPress();
    refresh(this.node, state.clockSkew);
  }

  /** Which component waits, or what went wrong with it. */
  showPress() {
    const press = this.app.state.presses.get(this.message.id);
    showPress(this.#components.node, press);
    const { message } = this;
    this.#foot.show([press?.error ?? null, message.ephemeral ?? false], () => [
      press?.error ? h('p', { class: 'problem', role: 'alert' }, icon('warning'), press.error) : null,
      message.ephemeral
        ? h('p', { class: 'only-you' }, icon('eye'), h('span', {}, 'Only you can see this'), ' · ', h('button', { type: 'button', class: 'text-button', onclick: () => this.app.actions.remove(message) }, 'Dismiss'))
        : null,
    ]);
  }

  /** What the message answers: another message, or somebody's command. */
  #origin() {
    const { message, app } = this;
    const answered = message.referenced_message;
    const target = message.message_reference?.message_id;
    if (answered) {
      const author = app.state.user(answered.author.id)?.display_name ?? answered.author.username;
      return [
        h(
          'button',
          { type: 'button', class: 'origin', onclick: () => app.actions.showMessage(answered.id) },
          icon('answer'),
          h('strong', {}, author),
          ' ',
          h('span', {}, summary(app, answered)),
        ),
      ];
    }
    if (target) return [h('p', { class: 'origin' }, icon('answer'), h('em', {}, 'The message that this answers was deleted.'))];
    const asker = message.interaction_metadata?.user;
    const command = message.interaction?.name;
    if (!asker || !command) return [];
    return [h('p', { class: 'origin' }, icon('answer'), h('strong', {}, app.state.user(asker.id)?.display_name ?? 'Somebody'), ' ', h('span', {}, 'used'), ' ', h('span', { class: 'mention' }, `/${command}`))];
  }
}

/** @param {string} moment */
function when(moment) {
  const date = new Date(moment);
  const today = new Date().toDateString() === date.toDateString();
  return format(date, today ? 't' : 's');
}

/** A lantern strip whose bird flies while the app works. @param {string} name */
function thinkingNode(name) {
  return h('p', { class: 'thinking' }, h('span', { class: 'flight', 'aria-hidden': 'true' }), `${name} is thinking…`);
}
