/**
 * The beginning of a channel: where one is, and what one could do first.
 */

import { h, icon } from './dom.js';
import { leaves, OPTION } from './commands.js';

/** @import {App} from './types.js' */

/** @param {App} app @param {boolean} empty  nothing was posted yet */
export function emptyChannel(app, empty) {
  const { state } = app;
  const channel = state.channel;
  const first = leaves(state.guild?.commands ?? []).find((leaf) => leaf.options[0]?.type === OPTION.attachment);
  return h(
    'div',
    { class: empty ? 'welcome empty' : 'welcome' },
    h('span', { class: 'welcome-drum', 'aria-hidden': 'true' }, icon('drum')),
    h('h2', {}, `#${channel?.name ?? ''}`),
    h('p', {}, channel?.topic || 'This is where the channel begins.'),
    empty && first
      ? [
          h('p', { class: 'faint' }, 'Nothing has been posted yet. Bring a photo to life, or type / to see everything that ', state.world?.app.name ?? 'the app', ' does.'),
          h('button', { type: 'button', class: 'button style-1', onclick: () => app.composer?.useNamed(first.name) }, icon('photo'), h('span', {}, `Try /${first.name}`)),
        ]
      : null,
  );
}
