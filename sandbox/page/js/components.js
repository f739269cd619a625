/**
 * Message components, both kinds: rows of buttons and selects, and the layouts that make up a whole message.
 */

import { h, icon, spinner } from './dom.js';
import { markdown, namesOf } from './markdown.js';
import { mediaElement } from './media.js';
import { createSelect, emojiText, isSelect } from './select.js';

/** @import {App, Component, Media, Message} from './types.js' */
/** @import {Press} from './state.js' */

const TYPE = { row: 1, button: 2, section: 9, text: 10, thumbnail: 11, gallery: 12, file: 13, separator: 14, container: 17 };
const LINK = 5;

/** The flag of messages that are made of components alone. */
export const IS_COMPONENTS_V2 = 1 << 15;

/**
 * @param {App} app
 * @param {Message} message
 * @returns {Node[]}
 */
export function componentNodes(app, message) {
  return (message.components ?? []).map((component) => build(app, message, component));
}

/** @param {App} app @param {Message} message @param {Component} component @returns {Node} */
function build(app, message, component) {
  /** @param {Component[]|undefined} parts */
  const all = (parts) => (parts ?? []).map((part) => build(app, message, part));
  switch (component.type) {
    case TYPE.row:
      return h('div', { class: 'row' }, all(component.components));
    case TYPE.button:
      return button(app, message, component);
    case TYPE.section:
      return h('div', { class: 'section' }, h('div', { class: 'section-text' }, all(component.components)), component.accessory ? build(app, message, component.accessory) : null);
    case TYPE.text:
      return h('div', { class: 'text markdown' }, markdown(component.content ?? '', namesOf(app.state)));
    case TYPE.thumbnail:
      return h('div', { class: 'thumbnail' }, media(message, component.media, component.description, component.spoiler));
    case TYPE.gallery: {
      const items = component.items ?? [];
      return h('div', { class: 'strip', dataset: { count: String(Math.min(items.length, 4)) } }, items.map((item) => media(message, item.media, item.description, item.spoiler)));
    }
    case TYPE.file:
      return media(message, component.file, component.name, component.spoiler);
    case TYPE.separator:
      return h('hr', { class: `${component.divider === false ? 'bare' : ''} ${component.spacing === 2 ? 'wide' : ''}` });
    case TYPE.container:
      return h('div', { class: component.spoiler ? 'container spoiler-box' : 'container', style: accent(component.accent_color), onclick: reveal }, all(component.components));
    default:
      if (isSelect(component.type)) {
        return createSelect(component, app.state, (values) => app.actions.press(message, component.custom_id ?? '', values)).node;
      }
      // Newer kinds than this page knows are named rather than dropped, so that nobody wonders what is missing.
      return h('p', { class: 'note' }, `This page cannot show a component of type ${component.type}.`);
  }
}

/** @param {Event} event */
function reveal(event) {
  /** @type {HTMLElement} */ (event.currentTarget).classList.remove('spoiler-box');
}

/** @param {number|null|undefined} color @returns {Record<string, string>} */
export function accent(color) {
  return color === null || color === undefined ? {} : { '--accent': `#${color.toString(16).padStart(6, '0')}` };
}

/** @param {App} app @param {Message} message @param {Component} component */
function button(app, message, component) {
  const content = [emojiText(component.emoji), component.label ? h('span', {}, component.label) : null];
  if (component.style === LINK) {
    return h('a', { class: 'button style-5', href: component.url, target: '_blank', rel: 'noreferrer noopener' }, content, icon('external'));
  }
  return h(
    'button',
    {
      type: 'button',
      class: `button style-${component.style ?? 2}`,
      disabled: component.disabled,
      'aria-label': component.label ? undefined : component.emoji?.name,
      dataset: { customId: component.custom_id },
      onclick: () => app.actions.press(message, component.custom_id ?? ''),
    },
    content,
    spinner(),
  );
}

/** @param {Message} message @param {Media|undefined} source @param {string|undefined|null} description @param {boolean|undefined} spoiler */
function media(message, source, description, spoiler) {
  const attachment = message.attachments.find((one) => one.id === source?.attachment_id || source?.url === `attachment://${one.filename}`);
  const url = attachment?.url ?? source?.url ?? '';
  const name = attachment?.filename ?? decodeURIComponent(url.split('?')[0].split('/').at(-1) ?? 'file');
  return mediaElement({
    url,
    name,
    description: description ?? undefined,
    spoiler,
    type: attachment?.content_type ?? source?.content_type,
    size: attachment?.size,
    width: attachment?.width ?? source?.width,
    height: attachment?.height ?? source?.height,
  });
}

/**
 * Show on the built components which one waits for its answer. Idempotent, so that a press need not rebuild (and so
 * take the focus from) what was pressed.
 *
 * @param {HTMLElement} root
 * @param {Press|undefined} press
 */
export function showPress(root, press) {
  const waiting = press !== undefined && press.error === null;
  for (const element of root.querySelectorAll('[data-custom-id]')) {
    const mine = waiting && /** @type {HTMLElement} */ (element).dataset.customId === press.customId;
    element.toggleAttribute('aria-busy', mine);
    if (mine) element.setAttribute('aria-busy', 'true');
    // aria-disabled rather than disabled: the pressed button keeps the focus.
    if (waiting) element.setAttribute('aria-disabled', 'true');
    else element.removeAttribute('aria-disabled');
  }
}
