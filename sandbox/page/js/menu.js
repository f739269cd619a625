/**
 * A menu of actions: with the keyboard, by mouse, or as a sheet on a phone.
 */

import { h, icon } from './dom.js';
import { openPopover } from './popover.js';

/** @typedef {{label: string, hint?: string, icon?: string, lead?: Node, danger?: boolean, chosen?: boolean, run: () => void}} Item */
/** @typedef {{title?: string, items: Item[]}} Group */

/**
 * @param {Parameters<typeof openPopover>[0]} anchor
 * @param {string} label
 * @param {Group[]} groups
 * @param {() => void} [closed]
 */
export function openMenu(anchor, label, groups, closed) {
  const filled = groups.filter((group) => group.items.length > 0);
  const menu = h(
    'div',
    { role: 'menu', class: 'menu', 'aria-label': label },
    filled.map((group) => h('div', { role: 'group', 'aria-label': group.title }, group.title ? h('p', { class: 'menu-title' }, group.title) : null, group.items.map(row))),
  );

  /** @param {Item} item */
  function row(item) {
    return h(
      'button',
      {
        type: 'button',
        role: item.chosen === undefined ? 'menuitem' : 'menuitemradio',
        'aria-checked': item.chosen === undefined ? undefined : String(item.chosen),
        tabindex: '-1',
        class: item.danger ? 'menu-item danger' : 'menu-item',
        onclick: () => {
          close();
          item.run();
        },
      },
      item.lead ?? (item.icon ? icon(item.icon) : null),
      h('span', { class: 'menu-label' }, item.label, item.hint ? h('small', {}, item.hint) : null),
      item.chosen ? icon('check') : null,
    );
  }

  menu.addEventListener('keydown', (event) => {
    const rows = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll('.menu-item')]);
    const at = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    rows[(next + rows.length) % rows.length].focus();
  });
  const close = openPopover(anchor, menu, { label, closed });
  const chosen = menu.querySelector('[aria-checked="true"]') ?? menu.querySelector('.menu-item');
  /** @type {HTMLElement|null} */ (chosen)?.focus({ preventScroll: true });
}
