/**
 * Things that float beside what opened them: menus, lists, pickers. On a phone they rise from the bottom edge instead.
 */

import { h } from './dom.js';

const GAP = 6;
const EDGE = 8;
const PHONE = '(max-width: 640px)';

/**
 * Place `box` under (or, where there is no room, over) `anchor`, inside the window.
 *
 * @param {HTMLElement} box
 * @param {{left: number, right: number, top: number, bottom: number}} anchor
 */
export function place(box, anchor) {
  const below = innerHeight - anchor.bottom - GAP - EDGE;
  const above = anchor.top - GAP - EDGE;
  box.style.maxHeight = '';
  const upward = box.scrollHeight > below && above > below;
  box.style.maxHeight = `${Math.max(upward ? above : below, 80)}px`;
  box.style.top = upward ? 'auto' : `${anchor.bottom + GAP}px`;
  box.style.bottom = upward ? `${innerHeight - anchor.top + GAP}px` : 'auto';
  const left = Math.min(anchor.left, innerWidth - box.offsetWidth - EDGE);
  box.style.left = `${Math.max(left, EDGE)}px`;
}

/** Closes the popover that is open now: there is never more than one. @type {(() => void)|null} */
let closeOpen = null;

/**
 * Show `content` in the top layer until something else is pressed, Escape is pressed or `close` is called.
 *
 * It closes by its own hand rather than by the browser's light dismissal, which would take the release of a long press
 * for a press beside it.
 *
 * @param {HTMLElement|{x: number, y: number, within: HTMLElement}} anchor  what it belongs to, or a point
 * @param {HTMLElement} content
 * @param {{closed?: () => void, label?: string, matchWidth?: boolean}} [choices]
 * @returns {() => void} close
 */
export function openPopover(anchor, content, { closed, label, matchWidth } = {}) {
  closeOpen?.();
  const owner = anchor instanceof HTMLElement ? anchor : anchor.within;
  const focusedBefore = /** @type {HTMLElement|null} */ (document.activeElement);
  const sheet = matchMedia(PHONE).matches;
  const box = h('div', { popover: 'manual', class: sheet ? 'popover sheet' : 'popover', 'aria-label': label }, sheet && label ? h('p', { class: 'sheet-title' }, label) : null, content);

  const close = () => {
    if (!box.isConnected) return;
    const hadFocus = box.contains(document.activeElement);
    document.removeEventListener('pointerdown', pressed, true);
    document.removeEventListener('keydown', typed, true);
    box.remove();
    closeOpen = null;
    if (hadFocus) focusedBefore?.focus({ preventScroll: true });
    closed?.();
  };
  /** @param {PointerEvent} event */
  const pressed = (event) => {
    const target = /** @type {Node} */ (event.target);
    if (target === box ? inside(box, event) : box.contains(target)) return;
    // The press on its own button closes it; the click that follows must not open it again.
    if (anchor instanceof HTMLElement && anchor.contains(target)) anchor.addEventListener('click', swallow, { capture: true, once: true });
    close();
  };
  /** @param {KeyboardEvent} event */
  const typed = (event) => {
    if (event.key !== 'Escape') return;
    event.preventDefault();
    event.stopPropagation();
    close();
  };

  box.addEventListener('focusout', (event) => {
    if (event.relatedTarget instanceof Node && !box.contains(event.relatedTarget)) close();
  });

  // What lies outside an open dialog is inert, so a list of one of its fields has to live inside it.
  (owner.closest('dialog') ?? document.body).append(box);
  const rectangle = anchor instanceof HTMLElement ? anchor.getBoundingClientRect() : { left: anchor.x, right: anchor.x, top: anchor.y - GAP, bottom: anchor.y - GAP };
  if (matchWidth && !sheet) box.style.minWidth = `${rectangle.right - rectangle.left}px`;
  box.showPopover();
  if (!sheet) place(box, rectangle);
  document.addEventListener('pointerdown', pressed, true);
  document.addEventListener('keydown', typed, true);
  closeOpen = close;
  return close;
}

/** Whether a press is on the box itself: one on its backdrop has the box as its target too. @param {Element} box @param {PointerEvent} event */
function inside(box, event) {
  const { left, right, top, bottom } = box.getBoundingClientRect();
  return event.clientX >= left && event.clientX <= right && event.clientY >= top && event.clientY <= bottom;
}

/** @param {Event} event */
function swallow(event) {
  event.stopImmediatePropagation();
  event.preventDefault();
}
