/**
 * Files on their way to the server: sent as soon as they are chosen, shown as a tile with a preview.
 */

import { fileSize, h, icon, iconButton, spinner } from './dom.js';
import { kindOf } from './media.js';

/** @import {Api} from './types.js' */

export class Upload {
  /** @type {string|null} */ id = null;
  /** @type {string|null} */ problem = null;
  #preview;

  /** @param {Api} api @param {File} file */
  constructor(api, file) {
    this.file = file;
    this.#preview = URL.createObjectURL(file);
    /** Ends when the file has arrived or was refused; never throws. */
    this.done = this.#send(api);
  }

  /** @param {Api} api */
  async #send(api) {
    try {
      this.id = (await api.upload(this.file)).upload_id;
    } catch (error) {
      this.problem = /** @type {Error} */ (error).message;
    }
  }

  /** @param {{removed: () => void, removable?: boolean}} choices @returns {HTMLElement} */
  tile({ removed }) {
    const kind = kindOf(this.file.type, this.file.name);
    const picture = kind === 'image' ? h('img', { src: this.#preview, alt: '' }) : kind === 'video' ? h('video', { src: this.#preview, preload: 'metadata', tabindex: '-1', 'aria-hidden': 'true' }) : icon('file');
    // A picture that this browser cannot draw may still be one that the app can read.
    if (picture instanceof HTMLImageElement) picture.addEventListener('error', () => picture.replaceWith(icon('file')));
    const note = h('small', {}, fileSize(this.file.size));
    const tile = h(
      'div',
      { class: 'tile', 'aria-busy': 'true' },
      h('span', { class: 'tile-picture' }, picture, spinner()),
      h('span', { class: 'tile-name' }, h('span', {}, this.file.name), note),
      iconButton('close', `Remove ${this.file.name}`, () => {
        URL.revokeObjectURL(this.#preview);
        removed();
      }),
    );
    this.done.then(() => {
      tile.removeAttribute('aria-busy');
      if (this.problem === null) return;
      tile.classList.add('failed');
      note.textContent = this.problem;
      note.setAttribute('role', 'alert');
    });
    return tile;
  }
}

/**
 * Ask the reader for files.
 *
 * @param {(files: File[]) => void} chose
 * @param {{several?: boolean}} [choices]
 */
export function chooseFiles(chose, { several = false } = {}) {
  const input = h('input', { type: 'file', multiple: several, hidden: true });
  input.addEventListener('change', () => {
    input.remove();
    chose([...(input.files ?? [])]);
  });
  input.addEventListener('cancel', () => input.remove());
  // Outside the page it could be collected, or stay shut in some browsers, while the reader still chooses.
  document.body.append(input);
  input.click();
}

/** The files of a drop or a paste. @param {DataTransfer|null} transfer @returns {File[]} */
export function filesOf(transfer) {
  return [...(transfer?.files ?? [])];
}

/**
 * A place for up to `most` files: choose, drop or paste.
 */
export class FileField {
  /** @type {Upload[]} */ uploads = [];
  #tiles = h('div', { class: 'tiles' });
  #pick;

  /** @param {Api} api @param {{most: number, label: string, changed: () => void}} choices */
  constructor(api, { most, label, changed }) {
    this.api = api;
    this.most = most;
    this.changed = changed;
    this.#pick = h(
      'button',
      { type: 'button', class: 'drop', onclick: () => chooseFiles((files) => this.add(files), { several: most > 1 }), 'aria-label': `Choose a file for ${label}` },
      icon('photo'),
      h('span', {}, most > 1 ? 'Choose files' : 'Choose a file', h('small', {}, 'or drop or paste it')),
    );
    this.node = h('div', { class: 'file-field' }, this.#tiles, this.#pick);
    this.node.addEventListener('dragover', (event) => {
      event.preventDefault();
      this.node.classList.add('over');
    });
    this.node.addEventListener('dragleave', () => this.node.classList.remove('over'));
    this.node.addEventListener('drop', (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.node.classList.remove('over');
      this.add(filesOf(event.dataTransfer));
    });
  }

  get button() {
    return this.#pick;
  }

  /** Whether another file still fits. */
  get room() {
    return this.uploads.length < this.most;
  }

  /** @param {File[]} files  the newest replaces the only one where there is room for one; more than fit are told of when sent */
  add(files) {
    this.take(files.map((file) => new Upload(this.api, file)));
  }

  /** @param {Upload[]} uploads  already on their way */
  take(uploads) {
    this.uploads = this.most === 1 ? uploads.slice(-1) : [...this.uploads, ...uploads];
    for (const upload of uploads) upload.done.then(() => this.changed());
    this.#render();
  }

  #render() {
    this.#tiles.replaceChildren(
      ...this.uploads.map((upload) =>
        upload.tile({
          removed: () => {
            this.uploads = this.uploads.filter((one) => one !== upload);
            this.#render();
            this.#pick.focus();
          },
        }),
      ),
    );
    this.#pick.hidden = !this.room;
    this.changed();
  }

  /** A sentence when the files cannot be submitted. @returns {string|null} */
  get problem() {
    const refused = this.uploads.find((upload) => upload.problem !== null);
    return refused ? `${refused.file.name}: ${refused.problem}` : null;
  }

  /** The ids of what was uploaded; waits for what is still on its way. */
  async ids() {
    await Promise.all(this.uploads.map((upload) => upload.done));
    return this.uploads.flatMap((upload) => (upload.id === null ? [] : [upload.id]));
  }
}
