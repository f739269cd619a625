/**
 * Select menus of messages and forms: a button that shows what is chosen, and a list that opens from it.
 */

import { h, icon, uniqueId } from './dom.js';
import { openPopover } from './popover.js';

/** @import {Component, Choice, Emoji} from './types.js' */
/** @import {State} from './state.js' */

/** From this many options on, the list has a field to narrow it. */
const FILTER_FROM = 10;

const TYPES = { string: 3, user: 5, role: 6, mentionable: 7, channel: 8 };

/** Whether a component is one of the select menus. @param {number} type */
export function isSelect(type) {
  return type === TYPES.string || (type >= TYPES.user && type <= TYPES.channel);
}

/** An emoji as text; one that only Discord has a picture of is shown by its name. @param {Emoji|null|undefined} emoji */
export function emojiText(emoji) {
  if (!emoji?.name) return null;
  return h('span', { class: 'emoji', 'aria-hidden': 'true' }, emoji.id ? `:${emoji.name}:` : emoji.name);
}

/**
 * What a select offers: its own options, or the people, roles and channels of the server.
 *
 * @param {Component} component
 * @param {State} state
 * @returns {Choice[]}
 */
function choicesOf(component, state) {
  if (component.type === TYPES.string) return component.options ?? [];
  const preset = new Set((component.default_values ?? []).map((value) => value.id));
  const guild = state.guild;
  const people = (guild?.members ?? []).map(({ user_id: id }) => ({ label: state.user(id)?.display_name ?? id, value: id, description: state.user(id)?.username }));
  const roles = (guild?.roles ?? []).map((role) => ({ label: `@${role.name.replace(/^@/, '')}`, value: role.id }));
  const channels = (guild?.channels ?? []).map((channel) => ({ label: `#${channel.name}`, value: channel.id }));
  const offered = { [TYPES.user]: people, [TYPES.role]: roles, [TYPES.mentionable]: [...people, ...roles], [TYPES.channel]: channels }[component.type] ?? [];
  return offered.map((choice) => ({ ...choice, default: preset.has(choice.value) }));
}

/**
 * @param {Component} component  any select; min_values and max_values default to 1
 * @param {State} state
 * @param {(values: string[]) => void} chose  called with a complete choice
 * @returns {{node: HTMLElement, button: HTMLButtonElement, values: () => string[]}}
 */
export function createSelect(component, state, chose) {
  const choices = choicesOf(component, state);
  const most = component.max_values ?? 1;
  const least = component.min_values ?? 1;
  let values = choices.filter((choice) => choice.default).map((choice) => choice.value);

  const shown = h('span', { class: 'select-shown' });
  const button = h(
    'button',
    { type: 'button', class: 'select', 'aria-haspopup': 'listbox', 'aria-expanded': 'false', disabled: component.disabled, onclick: open, dataset: { customId: component.custom_id } },
    shown,
    icon('chevron'),
  );
  show();

  function show() {
    const chosen = choices.filter((choice) => values.includes(choice.value));
    shown.classList.toggle('placeholder', chosen.length === 0);
    shown.replaceChildren(...(chosen.length === 0 ? [component.placeholder ?? 'Choose'] : chosen.map((choice) => h('span', { class: 'select-value' }, emojiText(choice.emoji), choice.label))));
  }

  function open() {
    const before = values.join();
    let decided = false;
    /** @param {string[]} chosen */
    const finish = (chosen) => {
      values = chosen;
      decided = true;
      close();
      show();
      chose(values);
    };
    const content = most > 1 || least === 0 ? manyList(choices, values, least, most, finish) : oneList(choices, values, finish);
    button.setAttribute('aria-expanded', 'true');
    const close = openPopover(button, content, {
      label: component.placeholder ?? 'Choose',
      matchWidth: true,
      closed: () => {
        button.setAttribute('aria-expanded', 'false');
        if (!decided && values.join() !== before) show();
      },
    });
    /** @type {HTMLElement|null} */ (content.querySelector('input, [aria-selected="true"], [role="option"]'))?.focus({ preventScroll: true });
  }

  return { node: button, button, values: () => values };
}

/** @param {Choice[]} choices @param {string[]} values @param {(values: string[]) => void} finish */
function oneList(choices, values, finish) {
  return list(choices, values, (choice) => finish([choice.value])).node;
}

/** A list where several may be ticked, with a button to be done. @param {Choice[]} choices @param {string[]} values @param {number} least @param {number} most @param {(values: string[]) => void} finish */
function manyList(choices, values, least, most, finish) {
  let ticked = [...values];
  const done = h('button', { type: 'button', class: 'button style-1', onclick: () => finish(ticked) }, 'Done');
  const note = h('small', {});
  const { node, mark } = list(choices, values, (choice) => {
    if (ticked.includes(choice.value)) ticked = ticked.filter((value) => value !== choice.value);
    else if (most === 1) ticked = [choice.value];
    else if (ticked.length < most) ticked = [...ticked, choice.value];
    mark(ticked);
    count();
  });
  const listbox = node.querySelector('[role="listbox"]');
  if (most > 1) listbox?.setAttribute('aria-multiselectable', 'true');
  const count = () => {
    done.disabled = ticked.length < least;
    note.textContent = least > 0 && ticked.length < least ? `Choose at least ${least}` : `${ticked.length} of up to ${most}`;
  };
  count();
  return h('div', {}, node, h('div', { class: 'list-foot' }, note, done));
}

/** @param {Choice[]} choices @param {string[]} values @param {(choice: Choice) => void} pick */
function list(choices, values, pick) {
  const rows = choices.map((choice) =>
    h(
      'div',
      { role: 'option', tabindex: '-1', class: 'option-row', 'aria-selected': String(values.includes(choice.value)), onclick: () => pick(choice), dataset: { value: choice.value } },
      emojiText(choice.emoji),
      h('span', { class: 'menu-label' }, choice.label, choice.description ? h('small', {}, choice.description) : null),
      icon('check'),
    ),
  );
  const listbox = h('div', { role: 'listbox', class: 'listbox' }, rows);
  const filter =
    choices.length >= FILTER_FROM
      ? h('input', { type: 'search', class: 'list-filter', placeholder: 'Find', 'aria-label': 'Find in the list', 'aria-controls': (listbox.id = uniqueId('list')), oninput: narrow })
      : null;
  const node = h('div', { class: 'list' }, filter, listbox);

  function narrow() {
    const wanted = filter?.value.trim().toLowerCase() ?? '';
    rows.forEach((row) => (row.hidden = !(row.textContent ?? '').toLowerCase().includes(wanted)));
  }
  node.addEventListener('keydown', (event) => {
    const open = rows.filter((row) => !row.hidden);
    const at = open.indexOf(/** @type {HTMLDivElement} */ (document.activeElement));
    const next = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
    if (next !== undefined && open.length > 0) {
      event.preventDefault();
      open[(next + open.length) % open.length].focus();
    } else if ((event.key === 'Enter' || event.key === ' ') && at >= 0) {
      event.preventDefault();
      open[at].click();
    }
  });
  /** @param {string[]} ticked */
  const mark = (ticked) => rows.forEach((row) => row.setAttribute('aria-selected', String(ticked.includes(row.dataset.value ?? ''))));
  return { node, mark };
}
