/**
 * A form that the app opened: labelled fields of every kind, checked here, sent, and kept open with the reason when it fails.
 */

import { fill, h, icon, iconButton, isTouch, spinner, uniqueId } from './dom.js';
import { markdown, namesOf } from './markdown.js';
import { createSelect, isSelect } from './select.js';
import { FileField, filesOf } from './uploads.js';

/** @import {App, Component, FieldValue, Modal} from './types.js' */

const TYPE = { row: 1, input: 4, text: 10, label: 18, files: 19, radios: 21, checks: 22, check: 23 };
const PARAGRAPH = 2;

/**
 * @typedef {Object} Field
 * @property {string} id  the component's custom_id
 * @property {string} label
 * @property {HTMLElement} node
 * @property {HTMLElement} [focusable]
 * @property {() => string|null} problem
 * @property {() => Promise<FieldValue>} value
 * @property {FileField} [files]
 */

/** @param {App} app @param {Modal} modal */
export function openModal(app, modal) {
  /** @type {Field[]} */ const fields = [];
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
  const submit = h('button', { type: 'submit', class: 'button style-1' }, h('span', {}, 'Submit'), spinner());
  const heading = uniqueId('modal');
  const form = h(
    'form',
    { novalidate: true },
    h('header', {}, h('h2', { id: heading }, modal.title), iconButton('close', 'Close', () => dialog.close())),
    h('div', { class: 'modal-body' }, modal.components.map((component) => part(app, component, fields)), problem),
    h('footer', {}, h('small', {}, `This form comes from ${app.state.world?.app.name ?? 'the app'}.`), h('button', { type: 'button', class: 'button style-2', onclick: () => dialog.close() }, 'Cancel'), submit),
  );
  const dialog = h('dialog', { class: 'modal', 'aria-labelledby': heading }, form);
  let busy = false;

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (busy) return;
    for (const field of fields) clear(field);
    problem.hidden = true;
    const wrong = fields.map((field) => ({ field, sentence: field.problem() })).filter((one) => one.sentence !== null);
    for (const { field, sentence } of wrong) mark(field, sentence ?? '');
    if (wrong.length > 0) {
      (wrong[0].field.focusable ?? wrong[0].field.node).focus();
      return;
    }
    busy = true;
    submit.setAttribute('aria-busy', 'true');
    /** @type {Record<string, FieldValue>} */
    const values = {};
    for (const field of fields) values[field.id] = await field.value();
    const late = fields.find((field) => field.files?.problem);
    const error = late?.files?.problem ?? (await app.actions.submit(modal, values));
    busy = false;
    submit.removeAttribute('aria-busy');
    if (error === null) {
      dialog.close();
      return;
    }
    problem.hidden = false;
    fill(problem, icon('warning'), error);
    problem.scrollIntoView({ block: 'nearest' });
  });
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target instanceof HTMLTextAreaElement && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  const files = () => (fields.find((field) => field.files?.room) ?? fields.find((field) => field.files))?.files;
  dialog.addEventListener('paste', (event) => {
    const pasted = filesOf(event.clipboardData);
    if (pasted.length === 0) return;
    event.preventDefault();
    event.stopPropagation();
    files()?.add(pasted);
  });
  dialog.addEventListener('dragover', (event) => event.preventDefault());
  dialog.addEventListener('drop', (event) => {
    event.preventDefault();
    event.stopPropagation();
    files()?.add(filesOf(event.dataTransfer));
  });
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  // On a phone the focus would raise the keyboard over a form that nobody has read yet.
  if (!isTouch()) (fields[0]?.focusable ?? submit).focus();
}

/** @param {Field} field @param {string} sentence */
function mark(field, sentence) {
  field.node.classList.add('wrong');
  field.node.append(h('p', { class: 'problem', role: 'alert' }, icon('warning'), sentence));
}

/** @param {Field} field */
function clear(field) {
  field.node.classList.remove('wrong');
  field.node.querySelector(':scope > .problem')?.remove();
}

/** @param {App} app @param {Component} component @param {Field[]} fields  every field found is added @returns {Node|Node[]} */
function part(app, component, fields) {
  if (component.type === TYPE.text) return h('div', { class: 'markdown' }, markdown(component.content ?? '', namesOf(app.state)));
  if (component.type === TYPE.label && component.component) return one(app, component.component, component.label ?? '', component.description, fields);
  if (component.type === TYPE.row) return (component.components ?? []).map((inner) => one(app, inner, inner.label ?? '', null, fields));
  return h('p', { class: 'note' }, `This page cannot show a component of type ${component.type}.`);
}

/** @param {App} app @param {Component} component @param {string} label @param {string|null|undefined} description @param {Field[]} fields */
function one(app, component, label, description, fields) {
  const required = component.type !== TYPE.check && component.required !== false;
  const id = uniqueId('field');
  const node = h(
    'div',
    { class: 'modal-field', tabindex: '-1' },
    h('label', { for: id, id: `${id}-label` }, label, required ? h('span', { class: 'required', title: 'required', 'aria-hidden': 'true' }, ' *') : null),
    description ? h('small', { id: `${id}-about` }, description) : null,
  );
  const common = { id: component.custom_id ?? '', label, node };
  const field = fieldOf(app, component, required, id, common);
  if (!field) {
    node.append(h('p', { class: 'note' }, `This page cannot show a component of type ${component.type}.`));
    return node;
  }
  if (description) field.focusable?.setAttribute('aria-describedby', `${id}-about`);
  fields.push(field);
  return node;
}

/**
 * @param {App} app
 * @param {Component} component
 * @param {boolean} required
 * @param {string} id  for the element that the label points at
 * @param {{id: string, label: string, node: HTMLElement}} common
 * @returns {Field|null}
 */
function fieldOf(app, component, required, id, common) {
  const least = component.min_values ?? (required ? 1 : 0);
  const most = component.max_values ?? 1;
  if (component.type === TYPE.input) return textField(component, required, id, common);
  if (isSelect(component.type)) {
    const select = createSelect({ ...component, min_values: required ? least : 0 }, app.state, () => {});
    select.button.id = id;
    common.node.append(select.node);
    return { ...common, focusable: select.button, problem: () => counted(common.label, select.values().length, required ? least : 0, most), value: async () => select.values() };
  }
  if (component.type === TYPE.files) {
    const files = new FileField(app.api, { most, label: common.label, changed: () => clear({ ...common, problem: () => null, value: async () => null }) });
    files.button.id = id;
    common.node.append(files.node);
    return { ...common, files, focusable: files.button, problem: () => files.problem ?? (required || files.uploads.length > 0 ? countedFiles(files.uploads.length, least, most) : null), value: () => files.ids() };
  }
  if (component.type === TYPE.radios || component.type === TYPE.checks) return ticksField(component, required, id, common);
  if (component.type === TYPE.check) {
    const box = h('input', { type: 'checkbox', id, checked: component.default });
    common.node.classList.add('single');
    common.node.prepend(box);
    return { ...common, focusable: box, problem: () => null, value: async () => box.checked };
  }
  return null;
}

/** @param {Component} component @param {boolean} required @param {string} id @param {{id: string, label: string, node: HTMLElement}} common @returns {Field} */
function textField(component, required, id, common) {
  const limits = { id, required, placeholder: component.placeholder, maxlength: component.max_length ?? 4000 };
  const input = component.style === PARAGRAPH ? h('textarea', { ...limits, rows: '4' }) : h('input', { ...limits, type: 'text', autocomplete: 'off' });
  input.value = component.value ?? '';
  common.node.append(input);
  if (component.max_length && component.max_length <= 1000) {
    const count = h('small', { class: 'count', 'aria-hidden': 'true' });
    const show = () => (count.textContent = `${input.value.length} / ${component.max_length}`);
    input.addEventListener('input', show);
    show();
    common.node.append(count);
  }
  return {
    ...common,
    focusable: input,
    problem: () => {
      if (input.value.trim() === '') return required ? `“${common.label}” is needed.` : null;
      return input.value.length < (component.min_length ?? 0) ? `“${common.label}” needs at least ${component.min_length} characters.` : null;
    },
    value: async () => input.value,
  };
}

/** Radios and groups of checkboxes. @param {Component} component @param {boolean} required @param {string} id @param {{id: string, label: string, node: HTMLElement}} common @returns {Field} */
function ticksField(component, required, id, common) {
  const single = component.type === TYPE.radios;
  const options = component.options ?? [];
  const least = single ? Number(required) : required ? component.min_values ?? 1 : 0;
  const most = single ? 1 : component.max_values ?? options.length;
  const boxes = options.map((option, index) => h('input', { type: single ? 'radio' : 'checkbox', name: `${id}-group`, id: index === 0 ? id : `${id}-${index}`, value: option.value, checked: option.default }));
  common.node.append(h('div', { class: 'ticks', role: single ? 'radiogroup' : 'group', 'aria-labelledby': `${id}-label` }, options.map((option, index) => h('label', { class: 'tick' }, boxes[index], h('span', { class: 'menu-label' }, option.label, option.description ? h('small', {}, option.description) : null)))));
  const ticked = () => boxes.filter((box) => box.checked).map((box) => box.value);
  return { ...common, focusable: boxes[0], problem: () => counted(common.label, ticked().length, least, most), value: async () => (single ? ticked()[0] ?? null : ticked()) };
}

/** @param {string} label @param {number} count @param {number} least @param {number} most @returns {string|null} */
function counted(label, count, least, most) {
  if (count < least) return least === 1 ? `Choose something for “${label}”.` : `Choose at least ${least} for “${label}”.`;
  return count > most ? `Choose at most ${most} for “${label}”.` : null;
}

/** @param {number} count @param {number} least @param {number} most @returns {string|null} */
function countedFiles(count, least, most) {
  if (count < least) return least === 1 ? 'Add a file.' : `Add at least ${least} files.`;
  return count > most ? `Add at most ${most} files.` : null;
}
