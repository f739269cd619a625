/**
 * A chosen slash command being filled in: its options as fields, optional ones on demand, problems said in place.
 */

import { nested, OPTION } from './commands.js';
import { createControl } from './controls.js';
import { h, icon, iconButton, isTouch, spinner, uniqueId } from './dom.js';
import { openMenu } from './menu.js';

/** @import {App, CommandOption, Option} from './types.js' */
/** @import {Leaf} from './commands.js' */
/** @import {Control} from './controls.js' */
/** @import {Upload} from './uploads.js' */

/** @typedef {{option: Option, control: Control, node: HTMLElement}} Field */

export class CommandForm {
  /** @type {Field[]} */ #fields = [];
  #busy = false;
  #row = h('div', { class: 'fields' });
  #hint = h('p', { class: 'hint', 'aria-live': 'polite' });

  /**
   * @param {App} app
   * @param {Leaf} leaf
   * @param {{left: () => void, sent: () => void}} hear
   */
  constructor(app, leaf, hear) {
    this.app = app;
    this.leaf = leaf;
    this.hear = hear;
    this.channelId = app.state.channelId;
    this.more = h('button', { type: 'button', class: 'add-option', 'aria-haspopup': 'menu', onclick: () => this.#offer() }, icon('plus'), h('span', {}));
    this.send = h('button', { type: 'submit', class: 'button style-1 send' }, h('span', {}, 'Send'), spinner());
    this.node = h(
      'form',
      { class: 'command-form', 'aria-label': `/${leaf.name}`, novalidate: true },
      h('div', { class: 'command-head' }, h('strong', { class: 'command-name' }, `/${leaf.name}`), h('span', { class: 'command-about' }, leaf.description), iconButton('close', 'Leave the command', () => hear.left())),
      h('div', { class: 'command-body' }, this.#row),
      h('div', { class: 'command-foot' }, this.#hint, this.send),
    );
    this.node.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.node.addEventListener('keydown', (event) => this.#key(event));
    this.#row.append(this.more);
    for (const option of leaf.options) if (option.required) this.#show(option);
    // Whoever chose a command that can begin with a file most likely has one at hand.
    const [first] = leaf.options;
    if (this.#fields.length === 0 && first?.type === OPTION.attachment) this.#show(first);
    this.#count();
    this.#explain(null);
  }

  /** Into the first field that waits for something; a command without options can be sent at once. */
  focus() {
    (this.#fields.find((field) => field.control.empty())?.control.focusable ?? this.#fields[0]?.control.focusable ?? this.send).focus();
  }

  /**
   * Files that were dropped, pasted or already on the composer's tray: into the fields that take files, opening more of them.
   *
   * @param {File[]} files
   * @param {Upload[]} [uploads]
   */
  addFiles(files, uploads = []) {
    const waiting = [...uploads.map((upload) => ({ upload, file: upload.file })), ...files.map((file) => ({ upload: null, file }))];
    for (const { upload, file } of waiting) {
      const field = this.#fields.find((one) => one.control.files?.room) ?? this.#openFileField();
      if (!field?.control.files) {
        this.#problem(`/${this.leaf.name} takes no more files.`);
        return;
      }
      if (upload) field.control.files.take([upload]);
      else field.control.files.add([file]);
    }
    this.focus();
  }

  /** Whether the command has any option for a file. */
  get takesFiles() {
    return this.leaf.options.some((option) => option.type === OPTION.attachment);
  }

  #openFileField() {
    const option = this.#unused().find((one) => one.type === OPTION.attachment);
    return option ? this.#show(option) : undefined;
  }

  #unused() {
    return this.leaf.options.filter((option) => !this.#fields.some((field) => field.option === option));
  }

  #count() {
    const left = this.#unused().length;
    this.more.hidden = left === 0;
    const words = this.more.querySelector('span');
    if (words) words.textContent = left === 1 ? '1 more option' : `${left} more options`;
  }

  #offer() {
    openMenu(this.more, 'Options', [
      {
        items: this.#unused().map((option) => ({
          label: option.name,
          hint: option.description,
          run: () => {
            const { focusable } = this.#show(option).control;
            focusable.focus();
            focusable.scrollIntoView({ block: 'nearest' });
          },
        })),
      },
    ]);
  }

  /** @param {Option} option @returns {Field} */
  #show(option) {
    const control = createControl(this.app, option, {
      changed: () => {
        node.classList.remove('wrong');
        this.#explain(field);
      },
      suggest: (text) => this.#autocomplete(option, text),
    });
    control.focusable.id = uniqueId('option');
    const node = h(
      'div',
      { class: `field kind-${option.type}`, dataset: { option: option.name } },
      h('label', { for: control.focusable.id }, option.name, option.required ? h('span', { class: 'required', title: 'required', 'aria-hidden': 'true' }, ' *') : null),
      control.node,
      option.required ? null : iconButton('close', `Leave out ${option.name}`, () => this.#leaveOut(field), { class: 'small', tabindex: '-1' }),
    );
    const field = { option, control, node };
    node.addEventListener('focusin', () => this.#explain(field));
    this.#fields.push(field);
    this.more.before(node);
    this.#count();
    return field;
  }

  /** @param {Field} field */
  #leaveOut(field) {
    const at = this.#fields.indexOf(field);
    this.#fields.splice(at, 1);
    field.node.remove();
    this.#count();
    (this.#fields[at - 1]?.control.focusable ?? this.more).focus();
  }

  /** @param {Field|null} field */
  #explain(field) {
    this.#hint.classList.remove('problem');
    this.#hint.removeAttribute('role');
    if (field) this.#hint.replaceChildren(h('strong', {}, field.option.name), ` ${field.option.description}`);
    else this.#hint.textContent = isTouch() ? '' : 'Enter sends, Tab goes on, Escape leaves.';
  }

  /** @param {string} sentence @param {Field} [field] */
  #problem(sentence, field) {
    field?.control.focusable.focus();
    field?.node.classList.add('wrong');
    this.#hint.classList.add('problem');
    this.#hint.setAttribute('role', 'alert');
    this.#hint.replaceChildren(icon('warning'), sentence);
  }

  /** @param {Option} option @param {string} text */
  async #autocomplete(option, text) {
    const { state, api } = this.app;
    /** @type {CommandOption[]} */
    const values = [];
    for (const field of this.#fields) {
      if (field.option === option) values.push({ name: option.name, type: option.type, value: text, focused: true });
      else if (!field.control.empty() && field.control.problem() === null && !field.control.files) values.push({ name: field.option.name, type: field.option.type, value: await field.control.value() });
    }
    try {
      const { choices } = await api.autocomplete(this.channelId ?? state.channelId ?? '', this.leaf.command.id, nested(this.leaf, values));
      return choices;
    } catch (error) {
      this.#problem(/** @type {Error} */ (error).message);
      return [];
    }
  }

  async #submit() {
    if (this.#busy) return;
    for (const field of this.#fields) {
      const problem = field.option.required && field.control.empty() ? `“${field.option.name}” is needed: ${field.option.description}` : field.control.problem();
      if (problem) {
        this.#problem(problem, field);
        return;
      }
    }
    this.#setBusy(true);
    /** @type {CommandOption[]} */
    const values = [];
    for (const field of this.#fields) {
      const value = await field.control.value();
      // A file that was still on its way when Send was pressed may have been refused meanwhile.
      const problem = field.control.problem();
      if (problem) {
        this.#setBusy(false);
        this.#problem(problem, field);
        return;
      }
      if (value !== undefined) values.push({ name: field.option.name, type: field.option.type, value });
    }
    const error = await this.app.actions.useCommand(this.leaf.command.id, nested(this.leaf, values), this.channelId ?? '');
    this.#setBusy(false);
    if (error === null) this.hear.sent();
    else this.#problem(error);
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.#busy = busy;
    this.send.setAttribute('aria-busy', String(busy));
    this.node.classList.toggle('busy', busy);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === 'Escape') {
      event.preventDefault();
      this.hear.left();
    } else if (event.key === 'Enter' && !event.shiftKey && target.matches('input, textarea')) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Backspace' && target.matches('input, textarea') && /** @type {HTMLInputElement} */ (target).value === '') {
      const field = this.#fields.find((one) => one.node.contains(target));
      if (!field) return;
      event.preventDefault();
      if (!field.option.required) this.#leaveOut(field);
      else if (this.#fields.every((one) => one.control.empty())) this.hear.left();
    }
  }
}
