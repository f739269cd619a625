/**
 * Where a member writes: plain messages with photos, or a slash command chosen from the list.
 */

import { CommandForm } from './command-form.js';
import { leaves } from './commands.js';
import { fill, h, icon, iconButton, isTouch } from './dom.js';
import { summary } from './message.js';
import { Palette } from './palette.js';
import { chooseFiles, filesOf, Upload } from './uploads.js';

/** @import {App, Message} from './types.js' */
/** @import {Leaf} from './commands.js' */

const MOST_FILES = 10;

export class Composer {
  /** @type {Upload[]} */ #uploads = [];
  /** @type {Message|null} */ #answers = null;
  /** @type {CommandForm|null} */ #form = null;
  #sending = false;
  #tray = h('div', { class: 'tray tiles' });
  #notes = h('div', { class: 'composer-notes' });
  #problem = h('p', { class: 'problem', role: 'alert', hidden: true });

  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.input = h('textarea', {
      rows: '1',
      class: 'composer-input',
      role: 'combobox',
      'aria-expanded': 'false',
      'aria-controls': 'palette',
      'aria-autocomplete': 'list',
      maxlength: '2000',
      oninput: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      onblur: () => this.palette.hide(),
    });
    this.palette = new Palette(this.input, (leaf) => this.use(leaf));
    this.#writing = h(
      'div',
      { class: 'composer-row' },
      iconButton('photo', 'Add photos', () => chooseFiles((files) => this.addFiles(files), { several: true })),
      this.input,
      iconButton('slash', 'Commands', () => this.#startCommand(), { class: 'slash' }),
      iconButton('send', 'Send', () => this.#send(), { class: 'send-icon' }),
    );
    this.#box = h('div', { class: 'composer-box' }, this.#tray, this.#writing);
    this.node = h('section', { class: 'composer', 'aria-label': 'Write' }, this.palette.node, this.#notes, this.#problem, this.#box);

    app.state.on('place', () => this.#moved());
    app.state.on('world', () => this.#moved());
    this.#typed();
  }

  #writing;
  #box;
  /** @type {string|null} the place and person that this draft is for */ #owner = null;

  /** Another place or other hands: a command in the making belongs to neither. */
  #moved() {
    const { state } = this.app;
    this.input.placeholder = state.channel ? `Write to #${state.channel.name}, or type /` : 'Write, or type /';
    this.input.setAttribute('aria-label', state.channel ? `Write to #${state.channel.name}` : 'Write');
    const owner = `${state.channelId} ${state.world?.me.id}`;
    if (owner === this.#owner) return;
    this.#owner = owner;
    this.#leave(false);
    this.#answers = null;
    this.#showNotes();
  }

  get #leaves() {
    return leaves(this.app.state.guild?.commands ?? []);
  }

  /** @param {Leaf} leaf */
  use(leaf) {
    this.palette.hide();
    this.#say(null);
    this.input.value = '';
    this.#form = new CommandForm(this.app, leaf, { left: () => this.#leave(true), sent: () => this.#leave(true) });
    this.#box.replaceChildren(this.#form.node);
    if (this.#form.takesFiles && this.#uploads.length > 0) {
      this.#form.addFiles([], this.#uploads);
      this.#uploads = [];
    }
    this.#form.focus();
  }

  /** Begin a command by its name, as if it had been typed. @param {string} name */
  useNamed(name) {
    const leaf = this.#leaves.find((one) => one.name === name);
    if (leaf) this.use(leaf);
  }

  /** @param {boolean} focus */
  #leave(focus) {
    if (this.#form) {
      this.#form = null;
      this.#box.replaceChildren(this.#tray, this.#writing);
    }
    this.#showTray();
    this.#typed();
    if (focus) this.input.focus();
  }

  #startCommand() {
    this.input.value = '/';
    this.input.focus();
    this.#typed();
  }

  /** @param {Message} message */
  replyTo(message) {
    if (this.#form) this.#leave(false);
    this.#answers = message;
    this.#showNotes();
    this.input.focus();
  }

  /** @param {File[]} files  chosen, dropped or pasted */
  addFiles(files) {
    if (files.length === 0) return;
    if (this.#form) {
      this.#form.addFiles(files);
      return;
    }
    const room = MOST_FILES - this.#uploads.length;
    if (files.length > room) this.#say(`A message holds ${MOST_FILES} files.`);
    this.#uploads.push(...files.slice(0, Math.max(room, 0)).map((file) => new Upload(this.app.api, file)));
    this.#showTray();
    this.input.focus();
  }

  /** Where a dropped file would go, in words. */
  get dropTarget() {
    return this.#form?.takesFiles ? `/${this.#form.leaf.name}` : `#${this.app.state.channel?.name ?? 'here'}`;
  }

  #showTray() {
    this.#tray.replaceChildren(
      ...this.#uploads.map((upload) =>
        upload.tile({
          removed: () => {
            this.#uploads = this.#uploads.filter((one) => one !== upload);
            this.#showTray();
            this.input.focus();
          },
        }),
      ),
    );
    this.#tray.hidden = this.#uploads.length === 0;
    this.#ready();
  }

  #showNotes() {
    const message = this.#answers;
    if (!message) {
      fill(this.#notes);
      return;
    }
    const name = this.app.state.user(message.author.id)?.display_name ?? message.author.username;
    fill(
      this.#notes,
      h(
        'p',
        { class: 'answering' },
        icon('reply'),
        h('span', {}, 'Answering ', h('strong', {}, name), h('span', { class: 'faint' }, ` ${summary(this.app, message)}`)),
        iconButton('close', 'Do not answer', () => this.#stopAnswering(), { class: 'small' }),
      ),
    );
  }

  #stopAnswering() {
    this.#answers = null;
    this.#showNotes();
    this.input.focus();
  }

  /** @param {string|null} sentence */
  #say(sentence) {
    this.#problem.hidden = sentence === null;
    fill(this.#problem, sentence === null ? null : icon('warning'), sentence);
  }

  #typed() {
    const text = this.input.value;
    this.#say(null);
    if (/^\/[^\n]*$/.test(text)) {
      const exact = text.endsWith(' ') ? this.#leaves.find((leaf) => text === `/${leaf.name} `) : undefined;
      if (exact) this.use(exact);
      else this.palette.show(this.#leaves, text);
    } else this.palette.hide();
    this.#ready();
  }

  #ready() {
    this.node.classList.toggle('ready', this.input.value.trim() !== '' || this.#uploads.length > 0);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    const { palette } = this;
    if (palette.open && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      event.preventDefault();
      palette.move(event.key === 'ArrowDown' ? 1 : -1);
    } else if (palette.open && palette.active && (event.key === 'Enter' || event.key === 'Tab')) {
      event.preventDefault();
      this.use(palette.active);
    } else if (event.key === 'Escape') {
      if (palette.open) palette.hide();
      else if (this.#answers) this.#stopAnswering();
    } else if (event.key === 'Enter' && !event.shiftKey && !isTouch()) {
      // On a phone Enter makes a new line; the arrow sends.
      event.preventDefault();
      this.#send();
    }
  }

  async #send() {
    const { state, api } = this.app;
    const content = this.input.value.trim();
    if (this.#sending || state.channelId === null) return;
    if (content.startsWith('/') && !content.includes('\n') && this.#uploads.length === 0) {
      if (this.palette.active) this.use(this.palette.active);
      else this.#say(`No command is called ${content.split(' ')[0]}. Type / to see all of them.`);
      return;
    }
    if (content === '' && this.#uploads.length === 0) return;
    this.#sending = true;
    this.node.classList.add('busy');
    try {
      await Promise.all(this.#uploads.map((upload) => upload.done));
      const refused = this.#uploads.find((upload) => upload.id === null);
      if (refused) throw new Error(`${refused.file.name}: ${refused.problem}`);
      const ids = this.#uploads.map((upload) => /** @type {string} */ (upload.id));
      state.put(await api.post(state.channelId, content, ids, this.#answers?.id));
      this.input.value = '';
      this.#uploads = [];
      this.#answers = null;
      this.#showNotes();
      this.#showTray();
      this.#typed();
    } catch (error) {
      this.#say(/** @type {Error} */ (error).message);
    } finally {
      this.#sending = false;
      this.node.classList.remove('busy');
      this.input.focus();
    }
  }

  /** @param {ClipboardEvent} event */
  paste(event) {
    const files = filesOf(event.clipboardData);
    if (files.length === 0) return;
    event.preventDefault();
    this.addFiles(files);
  }
}
