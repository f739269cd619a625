/**
 * The member API over fetch: every request that the page makes. Errors arrive as `ApiError` with a sentence for the reader.
 */

/** @import {World, Message, Uploaded, CommandOption, Outcome, FieldValue} from './types.js' */

/** The server refused, or could not be reached; `message` can be shown as it is. */
export class ApiError extends Error {
  /** @param {string} sentence @param {number} status  0 where no answer came */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

export class Api {
  /** @param {string|null} actingId  the member whose hands these requests are */
  constructor(actingId) {
    this.actingId = actingId;
  }

  /** @returns {Promise<World>} */
  world() {
    return this.#ask('GET', '/member/world');
  }

  /** @param {string} channelId @param {string} [before] @returns {Promise<Message[]>} */
  messages(channelId, before) {
    const query = before === undefined ? '' : `&before=${before}`;
    return this.#ask('GET', `/member/channels/${channelId}/messages?limit=50${query}`);
  }

  /** @param {string} channelId @param {string} content @param {string[]} uploadIds @param {string} [replyTo] @returns {Promise<Message>} */
  post(channelId, content, uploadIds, replyTo) {
    return this.#ask('POST', '/member/messages', { channel_id: channelId, content, attachments: uploadIds, reply_to: replyTo });
  }

  /** @param {string} channelId @param {string} messageId @returns {Promise<void>} */
  remove(channelId, messageId) {
    return this.#ask('DELETE', `/member/messages/${channelId}/${messageId}`);
  }

  /** @param {File} file @returns {Promise<Uploaded>} */
  upload(file) {
    const form = new FormData();
    form.append('file', file, file.name);
    return this.#ask('POST', '/member/attachments', form);
  }

  /** @param {string} channelId @param {string} commandId @param {CommandOption[]} options @param {string} [targetId] @returns {Promise<{interaction_id: string}>} */
  command(channelId, commandId, options, targetId) {
    return this.#ask('POST', '/member/commands', { channel_id: channelId, command_id: commandId, options, target_id: targetId });
  }

  /** @param {string} channelId @param {string} commandId @param {CommandOption[]} options @returns {Promise<{choices: {name: string, value: string|number}[]}>} */
  autocomplete(channelId, commandId, options) {
    return this.#ask('POST', '/member/autocomplete', { channel_id: channelId, command_id: commandId, options });
  }

  /** @param {string} channelId @param {string} messageId @param {string} customId @param {string[]} [values] @returns {Promise<{interaction_id: string}>} */
  press(channelId, messageId, customId, values) {
    return this.#ask('POST', '/member/components', { channel_id: channelId, message_id: messageId, custom_id: customId, values });
  }

  /** @param {string} interactionId @param {Record<string, FieldValue>} values @returns {Promise<{interaction_id: string}>} */
  submit(interactionId, values) {
    return this.#ask('POST', '/member/modals', { interaction_id: interactionId, values });
  }

  /** @param {string} interactionId @returns {Promise<Outcome>} */
  interaction(interactionId) {
    return this.#ask('GET', `/member/interactions/${interactionId}`);
  }

  /** The address of the live websocket. */
  eventsUrl() {
    const url = new URL(this.#path('/member/events'), location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  }

  /** @param {string} path */
  #path(path) {
    if (this.actingId === null) return path;
    return `${path}${path.includes('?') ? '&' : '?'}as=${encodeURIComponent(this.actingId)}`;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object|FormData} [body]
   * @returns {Promise<any>}
   */
  async #ask(method, path, body) {
    /** @type {RequestInit} */
    const request = { method };
    if (body instanceof FormData) request.body = body;
    else if (body !== undefined) {
      request.body = JSON.stringify(body);
      request.headers = { 'Content-Type': 'application/json' };
    }
    let response;
    try {
      response = await fetch(this.#path(path), request);
    } catch {
      throw new ApiError('The sandbox did not answer. Is it still running?', 0);
    }
    if (response.status === 204) return undefined;
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new ApiError(answer?.error ?? `The sandbox answered ${response.status}.`, response.status);
    return answer;
  }
}

/**
 * The address of a file as this page reaches it. The app may know the server by another name than the reader's browser does
 * (127.0.0.1 and localhost), so files of the sandbox are asked for where the page came from; files from elsewhere are left out (null).
 *
 * @param {string|undefined|null} address
 * @returns {string|null}
 */
export function localUrl(address) {
  if (!address) return null;
  let url;
  try {
    url = new URL(address, location.href);
  } catch {
    return null;
  }
  if (url.pathname.startsWith('/cdn/')) return url.pathname + url.search;
  return url.origin === location.origin ? url.href : null;
}
