/**
 * Elements from data. Text that came from anybody only ever becomes a text node or an attribute, never markup.
 */

/** @typedef {Node|string|number|null|undefined|false|Child[]} Child */

/**
 * Build an element. `on…` properties are listeners, `style` and `dataset` are objects, the rest are attributes
 * (true is an empty attribute; false, null and undefined are left out).
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'style') for (const [rule, setting] of Object.entries(value)) element.style.setProperty(rule, setting);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, children);
  return element;
}

/**
 * @param {Element|DocumentFragment} parent
 * @param {Child[]} children
 */
export function add(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(parent, child);
    else if (child instanceof Node) parent.append(child);
    else if (child !== null && child !== undefined && child !== false) parent.append(String(child));
  }
}

/**
 * Put exactly these children into `parent`.
 *
 * @param {Element} parent
 * @param {...Child} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
}

const SVG = 'http://www.w3.org/2000/svg';

/**
 * One drawing of the sheet `icons.svg`, in the colour of the text around it.
 *
 * @param {string} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.classList.add('icon');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `/page/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that is only an icon, with its name for people who cannot see it.
 *
 * @param {string} name  the icon
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [properties]
 */
export function iconButton(name, label, onclick, properties = {}) {
  const { class: extra = '', ...rest } = properties;
  return h('button', { type: 'button', class: `icon-button ${extra}`, 'aria-label': label, title: label, onclick, ...rest }, icon(name));
}

/** A turning drum: something is under way. */
export function spinner() {
  return h('span', { class: 'spinner', 'aria-hidden': 'true' });
}

let lastId = 0;

/** An id for aria references, unique in this page. @param {string} prefix */
export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

/** A finger rather than a mouse: hints about keys and hover are left out. */
export function isTouch() {
  return matchMedia('(hover: none)').matches;
}

/** @param {number} bytes */
export function fileSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
