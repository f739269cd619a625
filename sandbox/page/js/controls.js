/**
 * One field for one option of a slash command: it takes the value in, and says what is wrong with it.
 */

import { Combobox } from './combobox.js';
import { OPTION } from './commands.js';
import { h } from './dom.js';
import { FileField } from './uploads.js';

/** @import {App, Option} from './types.js' */
/** @import {Suggestion} from './combobox.js' */

/**
 * @typedef {Object} Control
 * @property {HTMLElement} node
 * @property {HTMLElement} focusable  what a label points at
 * @property {() => boolean} empty
 * @property {() => string|null} problem  a sentence; null when the value can be sent or is empty
 * @property {() => Promise<string|number|boolean|undefined>} value
 * @property {() => string} typed  as it stands, for autocompletion
 * @property {FileField} [files]
 */

/**
 * @param {App} app
 * @param {Option} option
 * @param {{changed: () => void, suggest: (text: string) => Promise<Suggestion[]>}} hear  suggest: ask the app
 * @returns {Control}
 */
export function createControl(app, option, hear) {
  if (option.type === OPTION.attachment) return fileControl(app, option, hear.changed);
  const fixed = fixedSuggestions(app, option);
  if (fixed) {
    /** @param {string} text */
    const suggest = (text) => fixed.filter((one) => one.name.toLowerCase().includes(text.trim().toLowerCase()));
    return comboControl(option, new Combobox({ label: option.name, suggest, live: false, changed: hear.changed }), fixed);
  }
  if (option.autocomplete) {
    const combobox = new Combobox({ label: option.name, suggest: hear.suggest, live: true, changed: hear.changed });
    if (isNumeric(option)) combobox.expectNumber(option.type === OPTION.integer, range(option));
    return comboControl(option, combobox, null);
  }
  return textControl(option, hear.changed);
}

/** @param {App} app @param {Option} option @returns {Suggestion[]|null} null where anything may be typed */
function fixedSuggestions({ state }, option) {
  const guild = state.guild;
  const people = () => (guild?.members ?? []).map(({ user_id: id }) => ({ name: state.user(id)?.display_name ?? id, value: id, hint: state.user(id)?.username }));
  const roles = () => (guild?.roles ?? []).map((role) => ({ name: `@${role.name.replace(/^@/, '')}`, value: role.id }));
  switch (option.type) {
    case OPTION.boolean:
      return [
        { name: 'Yes', value: true },
        { name: 'No', value: false },
      ];
    case OPTION.user:
      return people();
    case OPTION.role:
      return roles();
    case OPTION.mentionable:
      return [...people(), ...roles()];
    case OPTION.channel:
      return (guild?.channels ?? []).map((channel) => ({ name: `#${channel.name}`, value: channel.id }));
    default:
      return option.choices?.length ? option.choices : null;
  }
}

/** @param {Option} option @param {Combobox} combobox @param {Suggestion[]|null} fixed @returns {Control} */
function comboControl(option, combobox, fixed) {
  const typed = () => combobox.input.value.trim();
  // Typing a choice's whole name is as good as picking it.
  const chosen = () => combobox.picked ?? fixed?.find((one) => one.name.toLowerCase() === typed().toLowerCase()) ?? null;
  return {
    node: combobox.node,
    focusable: combobox.input,
    empty: () => typed() === '',
    typed,
    problem: () => {
      if (typed() === '' || chosen()) return null;
      return fixed ? `Pick one from the list for “${option.name}”.` : textProblem(option, typed());
    },
    value: async () => chosen()?.value ?? (typed() === '' ? undefined : parsed(option, typed())),
  };
}

/** @param {Option} option @param {() => void} changed @returns {Control} */
function textControl(option, changed) {
  const input = isNumeric(option)
    ? h('input', { type: 'text', inputmode: option.type === OPTION.integer ? 'numeric' : 'decimal', autocomplete: 'off', placeholder: range(option), oninput: changed, class: 'short' })
    : h('textarea', { rows: '1', maxlength: option.max_length, oninput: changed });
  const typed = () => input.value.trim();
  return {
    node: h('span', { class: 'text-control' }, input),
    focusable: input,
    empty: () => typed() === '',
    typed,
    problem: () => (typed() === '' ? null : textProblem(option, typed())),
    value: async () => (typed() === '' ? undefined : parsed(option, typed())),
  };
}

/** @param {App} app @param {Option} option @param {() => void} changed @returns {Control} */
function fileControl(app, option, changed) {
  const files = new FileField(app.api, { most: 1, label: option.name, changed });
  return {
    node: files.node,
    get focusable() {
      return files.room ? files.button : /** @type {HTMLElement} */ (files.node.querySelector('.tile button') ?? files.button);
    },
    files,
    empty: () => files.uploads.length === 0,
    typed: () => '',
    problem: () => files.problem,
    value: async () => (await files.ids())[0],
  };
}

/** @param {Option} option @param {string} text */
function parsed(option, text) {
  return isNumeric(option) ? Number(text.replace(',', '.')) : text;
}

/** @param {Option} option */
function isNumeric(option) {
  return option.type === OPTION.integer || option.type === OPTION.number;
}

/** @param {Option} option */
function range({ min_value: least, max_value: most }) {
  if (least !== undefined && most !== undefined) return `${least}–${most}`;
  if (least !== undefined) return `from ${least}`;
  return most === undefined ? '' : `up to ${most}`;
}

/** @param {Option} option @param {string} text @returns {string|null} */
function textProblem(option, text) {
  if (isNumeric(option)) {
    const value = parsed(option, text);
    if (typeof value !== 'number' || Number.isNaN(value)) return `“${option.name}” has to be a number.`;
    if (option.type === OPTION.integer && !Number.isInteger(value)) return `“${option.name}” has to be a whole number.`;
    if (value < (option.min_value ?? -Infinity) || value > (option.max_value ?? Infinity)) return `“${option.name}” has to be ${range(option).replace('–', ' to ')}.`;
    return null;
  }
  if (text.length < (option.min_length ?? 0)) return `“${option.name}” needs at least ${option.min_length} characters.`;
  if (text.length > (option.max_length ?? Infinity)) return `“${option.name}” can have at most ${option.max_length} characters.`;
  return null;
}
