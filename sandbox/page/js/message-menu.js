/**
 * What can be done with a message: answer it, hand it to one of the app's message commands, delete it.
 */

import { openMenu } from './menu.js';
import { namesOf, plain } from './markdown.js';

/** @import {App, Message} from './types.js' */

/** A finger that rests this long wants the menu; one that moves further than this scrolls. */
const HOLD_MS = 480;
const MOVE_PX = 10;

/**
 * @param {App} app
 * @param {Message} message
 * @param {HTMLElement|{x: number, y: number, within: HTMLElement}} anchor
 */
export function openMessageMenu(app, message, anchor) {
  const { state, actions } = app;
  const text = plain(message.content, namesOf(state));
  const mine = message.author.id === state.world?.me.id;
  openMenu(anchor, 'Message', [
    {
      items: [
        ...(message.ephemeral ? [] : [{ label: 'Reply', icon: 'reply', run: () => app.composer?.replyTo(message) }]),
        ...(text ? [{ label: 'Copy text', icon: 'copy', run: () => copy(app, text) }] : []),
      ],
    },
    {
      title: 'Apps',
      items: message.ephemeral ? [] : state.messageCommands.map((command) => ({ label: command.name, hint: state.world?.app.name, icon: 'drum', run: () => actions.useOnMessage(command, message) })),
    },
    {
      items: [
        ...(message.ephemeral ? [{ label: 'Dismiss', icon: 'close', run: () => actions.remove(message) }] : []),
        ...(!message.ephemeral && (mine || state.membership?.moderator) ? [{ label: 'Delete', icon: 'trash', danger: true, run: () => actions.remove(message) }] : []),
      ],
    },
  ]);
}

/** @param {App} app @param {string} text */
async function copy(app, text) {
  try {
    await navigator.clipboard.writeText(text);
    app.say('Copied.');
  } catch {
    app.say('The browser did not allow copying.');
  }
}

/**
 * Call `open` on a right click and on a long press. Links, players and text that is being selected keep their own.
 *
 * @param {HTMLElement} node
 * @param {(point: {x: number, y: number, within: HTMLElement}) => void} open
 */
export function openOnHold(node, open) {
  /** @type {ReturnType<typeof setTimeout>|undefined} */ let timer;
  let start = { x: 0, y: 0 };
  const cancel = () => clearTimeout(timer);
  /** @param {EventTarget|null} target */
  const ownMenu = (target) => target instanceof Element && target.closest('a, input, textarea, .tools') !== null;

  node.addEventListener('contextmenu', (event) => {
    cancel();
    if (ownMenu(event.target) || String(getSelection()) !== '') return;
    event.preventDefault();
    open({ x: event.clientX, y: event.clientY, within: node });
  });
  node.addEventListener('pointerdown', (event) => {
    cancel();
    if (event.pointerType === 'mouse' || ownMenu(event.target)) return;
    start = { x: event.clientX, y: event.clientY };
    timer = setTimeout(() => open({ ...start, within: node }), HOLD_MS);
  });
  node.addEventListener('pointermove', (event) => {
    if (Math.hypot(event.clientX - start.x, event.clientY - start.y) > MOVE_PX) cancel();
  });
  for (const end of ['pointerup', 'pointercancel', 'pointerleave']) node.addEventListener(end, cancel);
}
