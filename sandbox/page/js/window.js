/**
 * What the whole window does for the composer: files dropped anywhere, pasted anywhere, keys typed anywhere, and the
 * room that a phone's keyboard leaves.
 */

import { h, icon } from './dom.js';
import { filesOf } from './uploads.js';

/** @import {Composer} from './composer.js' */

/** Whether a form or a picture lies over the page and takes what is pasted or typed. */
function dialogOpen() {
  return document.querySelector('dialog[open]') !== null;
}

/** @param {Composer} composer */
export function acceptDrops(composer) {
  const words = h('p', {});
  const overlay = h('div', { class: 'drop-overlay', hidden: true }, h('div', {}, icon('photo'), words));
  document.body.append(overlay);
  // Entering a child leaves its parent: only the balance says whether the file is still over the page.
  let depth = 0;
  /** @param {number} to */
  const set = (to) => {
    depth = Math.max(to, 0);
    overlay.hidden = depth === 0;
  };
  addEventListener('dragenter', (event) => {
    if (dialogOpen() || !event.dataTransfer?.types.includes('Files')) return;
    words.textContent = `Drop it for ${composer.dropTarget}`;
    set(depth + 1);
  });
  addEventListener('dragleave', (event) => {
    if (event.dataTransfer?.types.includes('Files')) set(depth - 1);
  });
  addEventListener('dragover', (event) => event.preventDefault());
  // In the capturing phase too: a field that takes the file itself ends the event there.
  addEventListener('drop', () => set(0), true);
  addEventListener('drop', (event) => {
    event.preventDefault();
    if (!dialogOpen()) composer.addFiles(filesOf(event.dataTransfer));
  });
}

/** @param {Composer} composer */
export function acceptPaste(composer) {
  document.addEventListener('paste', (event) => {
    if (!dialogOpen()) composer.paste(event);
  });
}

/** A letter typed with nothing focused begins a message. @param {Composer} composer */
export function typeAnywhere(composer) {
  document.addEventListener('keydown', (event) => {
    if (event.key.length !== 1 || event.key === ' ' || event.ctrlKey || event.metaKey || event.altKey || dialogOpen()) return;
    if (event.target instanceof Element && event.target.closest('input, textarea, select, button, a, [role="menu"], [role="listbox"]')) return;
    if (composer.input.isConnected) composer.input.focus();
  });
}

/**
 * Some phones lay the keyboard over the page instead of making the page smaller: take the height that is really seen.
 *
 * @param {() => void} fitted
 */
export function fitKeyboard(fitted) {
  const view = window.visualViewport;
  if (!view) return;
  const fit = () => {
    // A page that is pinched larger has a small view too, and must not shrink.
    if (view.scale > 1.05) return;
    document.documentElement.style.setProperty('--view-height', `${view.height}px`);
    scrollTo(0, 0);
    fitted();
  };
  view.addEventListener('resize', fit);
  fit();
}
