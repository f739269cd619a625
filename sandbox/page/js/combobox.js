/**
 * A text field with a list of suggestions under it: fixed choices, people, or what the app answers to autocompletion.
 */

import { h, uniqueId } from './dom.js';
import { place } from './popover.js';

/** @typedef {{name: string, value: string|number|boolean, hint?: string}} Suggestion */

const PAUSE = 220;

export class Combobox {
  /** @type {Suggestion|null} what was picked, while the text still says so */ picked = null;
  /** @type {Suggestion[]} */ #rows = [];
  #active = -1;
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;

  /**
   * @param {Object} choices
   * @param {string} choices.label
   * @param {(text: string) => Suggestion[]|Promise<Suggestion[]>} choices.suggest
   * @param {boolean} choices.live  the suggestions come from afar: wait for a pause in typing
   * @param {() => void} choices.changed
   */
  constructor({ label, suggest, live, changed }) {
    this.suggest = suggest;
    this.live = live;
    this.changed = changed;
    const id = uniqueId('suggestions');
    this.list = h('div', { id, role: 'listbox', class: 'suggestions', popover: 'manual', 'aria-label': label });
    this.input = h('input', {
      type: 'text',
      role: 'combobox',
      autocomplete: 'off',
      'aria-autocomplete': 'list',
      'aria-controls': id,
      'aria-expanded': 'false',
      onfocus: () => this.#ask(0),
      onclick: () => this.#ask(0),
      onblur: () => this.#hide(),
      oninput: () => {
        this.picked = null;
        changed();
        this.#ask(live ? PAUSE : 0);
      },
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.node = h('span', { class: 'combobox' }, this.input, this.list);
  }

  /**
   * What is typed is a number: a phone shows its digits.
   *
   * @param {boolean} whole
   * @param {string} range
   */
  expectNumber(whole, range) {
    this.input.inputMode = whole ? 'numeric' : 'decimal';
    this.input.placeholder = range;
  }

  /** @param {number} pause */
  #ask(pause) {
    clearTimeout(this.#timer);
    this.#asked += 1;
    const asked = this.#asked;
    // A picked value is not a search: the whole list is offered again.
    const text = () => (this.picked ? '' : this.input.value);
    const rows = this.live ? null : this.suggest(text());
    if (Array.isArray(rows)) {
      this.#show(rows);
      return;
    }
    // What is marked belongs to an older text: Enter and Tab must not take it.
    this.#mark(-1);
    this.#timer = setTimeout(async () => {
      const answer = await this.suggest(text());
      // A slow answer to an older text would replace the newer one.
      if (asked === this.#asked && document.activeElement === this.input) this.#show(answer);
    }, pause);
  }

  /** @param {Suggestion[]} rows */
  #show(rows) {
    this.#rows = rows;
    this.list.replaceChildren(
      ...rows.map((row, index) =>
        h(
          'div',
          {
            role: 'option',
            id: `${this.list.id}-${index}`,
            class: 'option-row',
            'aria-selected': 'false',
            // The field keeps the focus, so it does not close the list before the click arrives.
            onpointerdown: (/** @type {Event} */ event) => event.preventDefault(),
            onclick: () => this.pick(row),
          },
          h('span', { class: 'menu-label' }, row.name, row.hint ? h('small', {}, row.hint) : null),
        ),
      ),
    );
    if (rows.length === 0) {
      this.#hide();
      return;
    }
    if (!this.list.matches(':popover-open')) this.list.showPopover();
    const rectangle = this.input.getBoundingClientRect();
    this.list.style.minWidth = `${Math.max(rectangle.width, 180)}px`;
    place(this.list, rectangle);
    this.input.setAttribute('aria-expanded', 'true');
    // Enter takes what is marked: never another value than the one that was picked.
    const first = this.live && !this.input.value ? -1 : 0;
    this.#mark(this.picked ? rows.findIndex((row) => row.value === this.picked?.value) : first);
  }

  #hide() {
    clearTimeout(this.#timer);
    this.#asked += 1;
    if (this.list.matches(':popover-open')) this.list.hidePopover();
    this.input.setAttribute('aria-expanded', 'false');
    this.#mark(-1);
  }

  /** @param {number} index */
  #mark(index) {
    this.#active = index;
    [...this.list.children].forEach((row, at) => row.setAttribute('aria-selected', String(at === index)));
    const row = this.list.children[index];
    row?.scrollIntoView({ block: 'nearest' });
    if (row) this.input.setAttribute('aria-activedescendant', row.id);
    else this.input.removeAttribute('aria-activedescendant');
  }

  /** @param {Suggestion} row */
  pick(row) {
    this.picked = row;
    this.input.value = row.name;
    this.#hide();
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const open = this.list.matches(':popover-open');
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      if (!open) this.#ask(0);
      else this.#mark((this.#active + (event.key === 'ArrowDown' ? 1 : -1) + this.#rows.length) % this.#rows.length);
    } else if (open && event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      this.#hide();
    } else if (open && this.#active >= 0 && (event.key === 'Enter' || event.key === 'Tab')) {
      const row = this.#rows[this.#active];
      // Tab goes on to the next field; Enter stays here and must not submit yet.
      if (event.key === 'Enter') {
        event.preventDefault();
        event.stopPropagation();
      }
      this.pick(row);
    }
  }
}
