/**
 * The list of commands that opens while a slash is typed.
 */

import { h } from './dom.js';
import { matching } from './commands.js';

/** @import {Leaf} from './commands.js' */

export class Palette {
  /** @type {Leaf[]} */ #rows = [];
  #active = 0;
  node = h('div', { class: 'palette', hidden: true });
  #list = h('div', { role: 'listbox', id: 'palette', class: 'listbox', 'aria-label': 'Commands' });

  /** @param {HTMLTextAreaElement} input @param {(leaf: Leaf) => void} chose */
  constructor(input, chose) {
    this.input = input;
    this.chose = chose;
    this.node.append(h('p', { class: 'menu-title' }, 'Commands'), this.#list);
  }

  get open() {
    return !this.node.hidden;
  }

  /** @param {Leaf[]} all @param {string} typed  with the slash */
  show(all, typed) {
    const asked = typed.slice(1).trimEnd().toLowerCase();
    this.#rows = matching(all, typed.slice(1));
    this.#list.replaceChildren(
      ...this.#rows.map((leaf, index) =>
        h(
          'div',
          {
            role: 'option',
            id: `palette-${index}`,
            class: 'option-row command-row',
            onpointerdown: (/** @type {Event} */ event) => event.preventDefault(),
            onclick: () => this.chose(leaf),
            onpointermove: () => this.#mark(index, false),
          },
          h('span', { class: 'command-name' }, marked(`/${leaf.name}`, asked)),
          h('span', { class: 'command-about' }, leaf.description),
        ),
      ),
    );
    if (this.#rows.length === 0) this.#list.append(h('p', { class: 'note' }, all.length === 0 ? 'The app offers no commands here.' : `No command is called ${typed.trim()}.`));
    this.node.hidden = false;
    this.input.setAttribute('aria-expanded', 'true');
    this.#mark(0, true);
  }

  hide() {
    this.node.hidden = true;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }

  /** @param {number} step */
  move(step) {
    if (this.#rows.length > 0) this.#mark((this.#active + step + this.#rows.length) % this.#rows.length, true);
  }

  /** The marked command, if any fits. @returns {Leaf|undefined} */
  get active() {
    return this.#rows[this.#active];
  }

  /** @param {number} index @param {boolean} scroll */
  #mark(index, scroll) {
    this.#active = index;
    [...this.#list.children].forEach((row, at) => row.setAttribute('aria-selected', String(at === index)));
    const row = this.#list.children[index];
    if (scroll) row?.scrollIntoView({ block: 'nearest' });
    if (row?.id) this.input.setAttribute('aria-activedescendant', row.id);
  }
}

/** The typed part of a name in bold. @param {string} name @param {string} typed */
function marked(name, typed) {
  const at = typed ? name.toLowerCase().indexOf(typed) : -1;
  return at < 0 ? [name] : [name.slice(0, at), h('mark', {}, name.slice(at, at + typed.length)), name.slice(at + typed.length)];
}
