/**
 * Faces and names: avatars, the list of members, and whose hands the reader uses.
 */

import { fill, h, icon } from './dom.js';
import { openMenu } from './menu.js';

/** @import {App, User} from './types.js' */

/** Initials on the member's colour; the app has the drum of its name instead. @param {User} user */
export function avatar(user) {
  const initials = user.display_name
    .split(/\s+/)
    .map((word) => word[0])
    .slice(0, 2)
    .join('');
  return h('span', { class: user.bot ? 'avatar bot' : 'avatar', style: { '--of': user.color }, 'aria-hidden': 'true' }, user.bot ? icon('drum') : initials.toUpperCase());
}

/** @param {App} app @param {User} user */
function rolesLine(app, user) {
  const guild = app.state.guild;
  const member = guild?.members.find((one) => one.user_id === user.id);
  const names = guild?.roles.filter((role) => member?.roles.includes(role.id)).map((role) => role.name) ?? [];
  return names.join(', ');
}

/**
 * The button that says whose hands these are, and lets the reader take another member's.
 *
 * @param {App} app
 * @param {(userId: string) => void} become
 */
export function createIdentity(app, become) {
  const button = h('button', { type: 'button', class: 'identity', 'aria-haspopup': 'menu', onclick: open });

  function open() {
    const guild = app.state.guild;
    const people = app.state.world?.users.filter((user) => !user.bot && guild?.members.some((member) => member.user_id === user.id)) ?? [];
    openMenu(button, 'Act as', [
      {
        title: 'Act as',
        items: people.map((user) => ({ label: user.display_name, hint: rolesLine(app, user) || 'Member', lead: avatar(user), chosen: user.id === app.state.world?.me.id, run: () => become(user.id) })),
      },
    ]);
  }

  app.state.on('world', () => {
    const me = app.state.world?.me;
    if (!me) return;
    fill(button, avatar(me), h('span', { class: 'identity-name' }, h('small', {}, 'You are'), h('strong', {}, me.display_name)), icon('chevron'));
    button.setAttribute('aria-label', `You are ${me.display_name}. Act as somebody else`);
  });
  return button;
}

/**
 * Everybody in the open server, the app first.
 *
 * @param {App} app
 * @param {(userId: string) => void} become
 */
export function createMemberList(app, become) {
  const list = h('div', { class: 'members' });

  /** @param {string} title @param {User[]} users */
  const group = (title, users) => (users.length === 0 ? null : h('section', {}, h('h3', {}, title), h('ul', {}, users.map(row))));

  /** @param {User} user */
  function row(user) {
    const me = user.id === app.state.world?.me.id;
    const online = app.state.world?.app.online;
    const hint = user.bot ? (online ? 'Running' : 'Not running') : rolesLine(app, user);
    const content = [avatar(user), h('span', { class: 'member-name' }, h('span', { class: 'author', style: { '--of': user.color } }, user.display_name), hint ? h('small', {}, hint) : null), me ? h('span', { class: 'tag' }, 'You') : null];
    if (user.bot) return h('li', { class: online ? 'member' : 'member away' }, content);
    return h('li', {}, h('button', { type: 'button', class: 'member', 'aria-label': me ? `${user.display_name}, you` : `Act as ${user.display_name}`, disabled: me, onclick: () => become(user.id) }, content, me ? null : h('span', { class: 'act-as' }, 'Act as')));
  }

  const render = () => {
    const { guild, world } = app.state;
    if (!guild || !world) return;
    const users = guild.members.map((member) => ({ member, user: app.state.user(member.user_id) })).filter(/** @returns {one is {member: typeof one.member, user: User}} */ (one) => one.user !== undefined);
    fill(
      list,
      group('App', users.filter((one) => one.user.bot).map((one) => one.user)),
      group('Moderators', users.filter((one) => !one.user.bot && one.member.moderator).map((one) => one.user)),
      group('Members', users.filter((one) => !one.user.bot && !one.member.moderator).map((one) => one.user)),
    );
  };
  app.state.on('world', render);
  app.state.on('place', render);
  return list;
}
