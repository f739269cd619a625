/**
 * Embeds: the framed cards that an app adds to a message.
 */

import { localUrl } from './api.js';
import { accent } from './components.js';
import { h } from './dom.js';
import { markdown, namesOf } from './markdown.js';
import { mediaElement } from './media.js';
import { format } from './time.js';

/** @import {App, Embed, Media, Message} from './types.js' */

/**
 * @param {App} app
 * @param {Message} message
 * @param {Embed} embed
 */
export function embedNode(app, message, embed) {
  const names = namesOf(app.state);
  /** @param {string|undefined} text @param {string} className */
  const prose = (text, className) => (text ? h('div', { class: `${className} markdown` }, markdown(text, names)) : null);
  const foot = [embed.footer?.text, embed.timestamp ? format(new Date(embed.timestamp), 'f') : null].filter(Boolean).join(' · ');
  return h(
    'article',
    { class: 'embed', style: accent(embed.color) },
    embed.thumbnail ? h('div', { class: 'thumbnail' }, picture(message, embed.thumbnail)) : null,
    embed.author ? h('p', { class: 'embed-author' }, embed.author.name) : null,
    embed.title ? h('h3', {}, embed.url ? h('a', { href: localUrl(embed.url) ?? embed.url, target: '_blank', rel: 'noreferrer noopener' }, embed.title) : embed.title) : null,
    prose(embed.description, 'embed-text'),
    embed.fields?.length
      ? h('dl', {}, embed.fields.map((field) => h('div', { class: field.inline ? 'field inline' : 'field' }, h('dt', {}, field.name), h('dd', { class: 'markdown' }, markdown(field.value, names)))))
      : null,
    embed.image ? picture(message, embed.image) : null,
    foot ? h('footer', {}, foot) : null,
  );
}

/** The files of a message that its embeds show already. @param {Message} message @returns {Set<string>} ids of attachments */
export function embedded(message) {
  const urls = message.embeds.flatMap((embed) => [embed.image?.url, embed.thumbnail?.url]);
  return new Set(message.attachments.filter((one) => urls.includes(`attachment://${one.filename}`) || urls.includes(one.url)).map((one) => one.id));
}

/** @param {Message} message @param {Media} source */
function picture(message, source) {
  const attachment = message.attachments.find((one) => source.url === `attachment://${one.filename}`);
  const url = attachment?.url ?? source.url;
  return mediaElement({ url, name: attachment?.filename ?? 'picture.png', type: 'image/*', width: attachment?.width ?? source.width, height: attachment?.height ?? source.height });
}
