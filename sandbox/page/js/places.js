/**
 * Servers and their channels, as one list.
 */

import { fill, h, icon } from './dom.js';

/** @import {App} from './types.js' */

/** The address of a place; the page can be reloaded or shared at it. @param {string} guildId @param {string} channelId */
export function addressOf(guildId, channelId) {
  return `#/${guildId}/${channelId}`;
}

/** The place that the address names. @returns {{guildId: string, channelId: string}|null} */
export function placeInAddress() {
  const found = /^#\/(\d+)\/(\d+)$/.exec(location.hash);
  return found ? { guildId: found[1], channelId: found[2] } : null;
}

/** @param {App} app @param {() => void} went  a channel was chosen */
export function createPlaceList(app, went) {
  const list = h('nav', { class: 'places', 'aria-label': 'Servers and channels' });
  const render = () => {
    const { state } = app;
    fill(
      list,
      (state.world?.guilds ?? []).map((guild) =>
        h(
          'section',
          { class: guild.id === state.guildId ? 'place-group here' : 'place-group' },
          h('h3', {}, guild.name),
          h(
            'ul',
            {},
            guild.channels.map((channel) =>
              h(
                'li',
                {},
                h(
                  'a',
                  {
                    href: addressOf(guild.id, channel.id),
                    class: state.unread.has(channel.id) ? 'place unread' : 'place',
                    'aria-current': channel.id === state.channelId ? 'page' : undefined,
                    title: channel.topic,
                    onclick: went,
                  },
                  icon('hash'),
                  h('span', {}, channel.name),
                  state.unread.has(channel.id) ? h('span', { class: 'dot' }, h('span', { class: 'sr-only' }, 'new messages')) : null,
                ),
              ),
            ),
          ),
        ),
      ),
    );
  };
  for (const topic of /** @type {const} */ (['world', 'place', 'unread'])) app.state.on(topic, render);
  return list;
}
