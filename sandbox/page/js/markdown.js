/**
 * Discord's small dialect of markdown as DOM nodes. It builds nodes itself, so nothing in a message can become markup.
 */

import { h } from './dom.js';
import { localUrl } from './api.js';
import { timestamp } from './time.js';

/**
 * Who and what an id stands for.
 *
 * @typedef {Object} Names
 * @property {(id: string) => {name: string, me: boolean}} user
 * @property {(id: string) => {name: string, color?: string}} role
 * @property {(id: string) => string} channel
 */

/** @typedef {(found: RegExpExecArray, names: Names) => Node} Build */

/** The first rule that matches at a place wins, so the longer marks stand before the shorter ones. @type {[RegExp, Build][]} */
const RULES = [
  [/\\([\\*_~`|<>#\-[\]()])/y, (found) => document.createTextNode(found[1])],
  [/``([^\n]+?)``/y, (found) => h('code', {}, found[1].trim())],
  [/`([^`\n]+)`/y, (found) => h('code', {}, found[1])],
  [/\*\*(?=\S)([\s\S]+?)\*\*(?!\*)/y, (found, names) => h('strong', {}, inline(found[1], names))],
  [/__(?=\S)([\s\S]+?)__(?!_)/y, (found, names) => h('u', {}, inline(found[1], names))],
  [/~~(?=\S)([\s\S]+?)~~/y, (found, names) => h('s', {}, inline(found[1], names))],
  [/\|\|(?=\S)([\s\S]+?)\|\|/y, (found, names) => spoiler(inline(found[1], names))],
  [/\*(?=[^\s*])([^*]+?)\*(?!\*)/y, (found, names) => h('em', {}, inline(found[1], names))],
  [/_(?=[^\s_])([^_]+?)_(?![\w])/y, (found, names) => h('em', {}, inline(found[1], names))],
  [/<t:(-?\d{1,13})(?::([tTdDfFsSR]))?>/y, (found) => timestamp(Number(found[1]), found[2] ?? 'f')],
  [/<@!?(\d+)>/y, (found, names) => userMention(names.user(found[1]))],
  [/<@&(\d+)>/y, (found, names) => mention(`@${names.role(found[1]).name}`, { color: names.role(found[1]).color })],
  [/<#(\d+)>/y, (found, names) => mention(`#${names.channel(found[1])}`)],
  [/<\/([^:>]+):\d+>/y, (found) => mention(`/${found[1]}`)],
  [/<a?:(\w+):\d+>/y, (found) => document.createTextNode(`:${found[1]}:`)],
  [/@(everyone|here)\b/y, (found) => mention(`@${found[1]}`)],
  [/\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/y, (found, names) => link(found[2], inline(found[1], names))],
  [/<(https?:\/\/[^\s>]+)>/y, (found) => link(found[1], [found[1]])],
  [/https?:\/\/[^\s<>|*]+[^\s<>|*.,:;!?)'"\]]/y, (found) => link(found[0], [found[0]])],
];

/** Characters at which a rule may begin; everything between is plain text. */
const MAYBE = /[\\`*_~|<@[h]/g;

/**
 * @param {string} text
 * @param {Names} names
 * @returns {DocumentFragment}
 */
function inline(text, names) {
  const nodes = document.createDocumentFragment();
  let plainFrom = 0;
  let at = 0;
  while (at < text.length) {
    MAYBE.lastIndex = at;
    const next = MAYBE.exec(text);
    if (!next) break;
    at = next.index;
    const node = ruleAt(text, at, names);
    if (!node) {
      at += 1;
      continue;
    }
    if (at > plainFrom) nodes.append(text.slice(plainFrom, at));
    nodes.append(node[0]);
    at = node[1];
    plainFrom = at;
  }
  if (plainFrom < text.length) nodes.append(text.slice(plainFrom));
  return nodes;
}

/** @param {string} text @param {number} at @param {Names} names @returns {[Node, number]|null} the node and where the text goes on */
function ruleAt(text, at, names) {
  // An underscore inside a word is part of the word, as in snake_case.
  if (text[at] === '_' && at > 0 && /\w/.test(text[at - 1])) return null;
  for (const [pattern, build] of RULES) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) return [build(found, names), at + found[0].length];
  }
  return null;
}

/** @param {Node} content */
function spoiler(content) {
  const element = h('span', { class: 'spoiler', role: 'button', tabindex: '0', 'aria-label': 'Spoiler, press to show' }, h('span', {}, content));
  const show = () => {
    element.classList.add('shown');
    for (const name of ['role', 'tabindex', 'aria-label']) element.removeAttribute(name);
  };
  element.addEventListener('click', show);
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    show();
  });
  return element;
}

/** @param {string} text @param {{color?: string, me?: boolean}} [look] */
function mention(text, { color, me } = {}) {
  return h('span', { class: me ? 'mention mention-me' : 'mention', style: color ? { '--of': color } : {} }, text);
}

/** @param {{name: string, me: boolean}} who */
function userMention(who) {
  return mention(`@${who.name}`, { me: who.me });
}

/** @param {string} address @param {(Node|string)[]|Node} content */
function link(address, content) {
  return h('a', { href: localUrl(address) ?? address, target: '_blank', rel: 'noreferrer noopener' }, ...(Array.isArray(content) ? content : [content]));
}

/**
 * @param {string} source
 * @param {Names} names
 * @returns {DocumentFragment}
 */
export function markdown(source, names) {
  const result = document.createDocumentFragment();
  for (const [index, part] of source.split(/```(?:[\w+-]*\n)?([\s\S]*?)```/).entries()) {
    if (index % 2) result.append(h('pre', {}, h('code', {}, part.replace(/\n$/, ''))));
    else if (part.trim() !== '') blocks(part.replace(/^\n|\n$/g, ''), names, result);
  }
  return result;
}

/** @type {[string, RegExp][]} line beginnings that make a block of their own */
const LINES = [
  ['h3', /^### (.+)/],
  ['h2', /^## (.+)/],
  ['h1', /^# (.+)/],
  ['small', /^-# (.+)/],
  ['quote', /^> ?(.*)/],
  ['item', /^\s*[-*] (.+)/],
];

/** @param {string} text @param {Names} names @param {DocumentFragment} into */
function blocks(text, names, into) {
  /** Lines of one kind in a row, so that a spoiler or bold may span a paragraph's lines. @type {{kind: string, lines: string[]}[]} */
  const runs = [];
  for (const line of text.split('\n')) {
    const [kind, content] = lineKind(line);
    const last = runs.at(-1);
    if (last && last.kind === kind && !kind.startsWith('h')) last.lines.push(content);
    else runs.push({ kind, lines: [content] });
  }
  for (const { kind, lines } of runs) {
    if (kind === 'item') into.append(h('ul', {}, lines.map((line) => h('li', {}, inline(line, names)))));
    else if (kind === 'quote') into.append(h('blockquote', {}, inline(lines.join('\n'), names)));
    else if (kind === 'text') into.append(h('p', {}, inline(lines.join('\n'), names)));
    else into.append(h('p', { class: `md-${kind}` }, inline(lines.join('\n'), names)));
  }
}

/** @param {string} line @returns {[string, string]} */
function lineKind(line) {
  for (const [kind, pattern] of LINES) {
    const found = pattern.exec(line);
    if (found) return [kind, found[1]];
  }
  return ['text', line];
}

/**
 * The same text without its marks, on one line: for previews and announcements.
 *
 * @param {string} source
 * @param {Names} names
 */
export function plain(source, names) {
  const shown = document.createElement('div');
  shown.append(markdown(source.replace(/\|\|[\s\S]+?\|\|/g, '(spoiler)'), names));
  return (shown.textContent ?? '').replace(/\s+/g, ' ').trim();
}

/** @param {import('./state.js').State} state @returns {Names} */
export function namesOf(state) {
  return {
    user: (id) => ({ name: state.user(id)?.display_name ?? 'somebody', me: id === state.world?.me.id }),
    role: (id) => state.guild?.roles.find((role) => role.id === id) ?? { name: 'a role' },
    channel: (id) => state.world?.guilds.flatMap((guild) => guild.channels).find((channel) => channel.id === id)?.name ?? 'a-channel',
  };
}
