/**
 * Files in a message: pictures, clips, sound and everything else, each shown in place or as a card to download.
 */

import { localUrl } from './api.js';
import { fileSize, h, icon, iconButton } from './dom.js';
import { createPlayer } from './player.js';

/** @import {Attachment} from './types.js' */

/**
 * @typedef {Object} Shown
 * @property {string} url
 * @property {string} name
 * @property {string} [description]
 * @property {string} [type]  its content type
 * @property {number} [size]  bytes
 * @property {number} [width]
 * @property {number} [height]
 * @property {boolean} [spoiler]
 */

const KINDS = /** @type {const} */ ({ image: /\.(png|jpe?g|gif|webp|avif|bmp|svg)$/i, video: /\.(mp4|webm|mov|m4v)$/i, audio: /\.(mp3|ogg|wav|flac|m4a|opus)$/i });
const IS_SPOILER = 1 << 3;

/** @param {string|undefined} type @param {string} name @returns {'image'|'video'|'audio'|'file'} */
export function kindOf(type, name) {
  const family = type?.split('/')[0];
  // A browser cannot draw these even though they are pictures.
  if (/hei[cf]|tiff/.test(type ?? '')) return 'file';
  if (family === 'image' || family === 'video' || family === 'audio') return family;
  if (KINDS.image.test(name)) return 'image';
  if (KINDS.video.test(name)) return 'video';
  return KINDS.audio.test(name) ? 'audio' : 'file';
}

/** @param {Attachment} attachment @returns {Shown} */
export function attachmentShown(attachment) {
  return {
    url: attachment.url,
    name: attachment.filename,
    description: attachment.description,
    type: attachment.content_type,
    size: attachment.size,
    width: attachment.width,
    height: attachment.height,
    spoiler: attachment.filename.startsWith('SPOILER_') || ((attachment.flags ?? 0) & IS_SPOILER) !== 0,
  };
}

/** @param {Shown} file @returns {HTMLElement} */
export function mediaElement(file) {
  const url = localUrl(file.url);
  if (url === null) return h('a', { class: 'file-card', href: file.url, target: '_blank', rel: 'noreferrer noopener' }, icon('external'), file.name);
  const kind = kindOf(file.type, file.name);
  if (kind === 'file') return fileCard(file, url);
  const frame = h('figure', { class: `media media-${kind}`, dataset: { name: file.name } });
  if (file.width && file.height) frame.style.setProperty('--ratio', `${file.width} / ${file.height}`);
  if (file.width && file.height) frame.style.setProperty('--ratio-number', String(file.width / file.height));
  let reveal = () => {};
  if (kind === 'video') {
    const player = createPlayer({ url, name: file.name, width: file.width, height: file.height, hidden: Boolean(file.spoiler) });
    reveal = player.reveal;
    frame.append(player.node);
  } else if (kind === 'audio') {
    frame.append(h('figcaption', {}, file.name), h('audio', { src: url, controls: true, preload: 'metadata' }));
  } else {
    const picture = h('img', { src: url, alt: file.description ?? file.name, width: file.width, height: file.height, loading: 'lazy', decoding: 'async' });
    picture.addEventListener('error', () => frame.replaceChildren(gone(file.name)));
    frame.append(h('button', { type: 'button', class: 'picture', 'aria-label': `Look at ${file.name}`, onclick: () => openPicture(url, file) }, picture));
  }
  if (file.spoiler) frame.append(cover(frame, reveal));
  return frame;
}

/** @param {HTMLElement} frame @param {() => void} reveal */
function cover(frame, reveal) {
  frame.classList.add('covered');
  const button = h('button', { type: 'button', class: 'cover' }, h('span', {}, 'Spoiler', h('span', { class: 'cover-more' }, ' – press to show')));
  button.addEventListener('click', () => {
    button.remove();
    frame.classList.remove('covered');
    reveal();
  });
  return button;
}

/** @param {string} name */
function gone(name) {
  return h('div', { class: 'gone' }, icon('file'), h('span', {}, `${name} could not be loaded. Its address may have expired: reload the page.`));
}

/** @param {Shown} file @param {string} url */
function fileCard(file, url) {
  return h(
    'a',
    { class: 'file-card', href: url, download: file.name },
    icon('file'),
    h('span', { class: 'file-name' }, file.name, file.size === undefined ? null : h('small', {}, fileSize(file.size))),
    icon('download'),
  );
}

/** A picture by itself, as large as the window. @param {string} url @param {Shown} file */
function openPicture(url, file) {
  const dialog = h(
    'dialog',
    { class: 'lightbox', 'aria-label': file.name },
    h('img', { src: url, alt: file.description ?? file.name }),
    h('div', { class: 'lightbox-bar' }, h('span', {}, file.name), h('a', { href: url, target: '_blank', rel: 'noopener' }, 'Open the file')),
    iconButton('close', 'Close', () => dialog.close(), { class: 'lightbox-close' }),
  );
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * The files of a message, each kept as the same element from one edit to the next: a take that joins a reply must not
 * restart the clip that plays beside it.
 */
export class MediaStrip {
  node = h('div', { class: 'strip' });
  /** @type {Map<string, HTMLElement>} by attachment id */ #elements = new Map();

  /** @param {Attachment[]} attachments */
  update(attachments) {
    const wanted = attachments.map((attachment) => {
      const element = this.#elements.get(attachment.id) ?? mediaElement(attachmentShown(attachment));
      this.#elements.set(attachment.id, element);
      return element;
    });
    for (const [id, element] of this.#elements) {
      if (wanted.includes(element)) continue;
      element.remove();
      this.#elements.delete(id);
    }
    // Only what is out of place moves: taking a playing clip out of the page would stop it.
    wanted.forEach((element, index) => {
      if (this.node.children[index] !== element) this.node.insertBefore(element, this.node.children[index] ?? null);
    });
    this.node.hidden = wanted.length === 0;
    this.node.dataset.count = String(Math.min(wanted.length, 4));
  }
}
