/**
 * Short sentences about the whole page: the app is not running, the line is cut, something could not be done.
 */

import { fill, h, icon, spinner } from './dom.js';

/** @import {State} from './state.js' */

const SHOWN_MS = 4000;

/** @param {State} state */
export function createNotices(state) {
  const node = h('div', { class: 'notices', role: 'status' });
  const toasts = h('div', { class: 'toasts', role: 'status' });

  const render = () => {
    const { world, connection } = state;
    if (connection === 'lost') fill(node, h('p', { class: 'notice' }, spinner(), 'The line to the sandbox is cut. Trying again…'));
    else if (world && !world.app.online) fill(node, h('p', { class: 'notice' }, icon('warning'), h('span', {}, h('strong', {}, `${world.app.name} is not running.`), ' Commands and buttons answer once it is started.')));
    else fill(node);
  };
  state.on('world', render);
  state.on('connection', render);

  return {
    node,
    toasts,
    /** @param {string} sentence */
    say: (sentence) => {
      const toast = h('p', { class: 'toast' }, sentence);
      toasts.replaceChildren(toast);
      setTimeout(() => toast.remove(), SHOWN_MS);
    },
  };
}

/** Who is writing right now. @param {State} state */
export function createTypingLine(state) {
  const line = h('p', { class: 'typing' });
  const render = () => {
    const names = state.typists;
    const words = names.length > 2 ? 'Several people are writing…' : names.length === 0 ? '' : `${names.join(' and ')} ${names.length === 1 ? 'is' : 'are'} writing…`;
    if (line.textContent !== words) line.textContent = words;
  };
  for (const topic of /** @type {const} */ (['typing', 'messages', 'place'])) state.on(topic, render);
  // Nobody says that they have stopped.
  setInterval(render, 1000);
  return line;
}
