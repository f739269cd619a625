/**
 * What a person can do here, from the press to what became of it. Views call these; none of them knows an element.
 */

import { Interactions } from './interactions.js';

/** @import {Api, Command, CommandOption, FieldValue, LiveEvent, Message, Modal, Outcome} from './types.js' */
/** @import {State} from './state.js' */

const NO_ANSWER = 'The application did not respond.';

export class Actions {
  #interactions = new Interactions();

  /**
   * @param {Api} api
   * @param {State} state
   * @param {{say: (sentence: string) => void, openModal: (modal: Modal) => void, showMessage: (id: string) => void}} page
   */
  constructor(api, state, page) {
    this.api = api;
    this.state = state;
    this.page = page;
  }

  /** @param {LiveEvent} event */
  hear(event) {
    this.#interactions.hear(event);
  }

  /** Press a button or choose in a select of a message. @param {Message} message @param {string} customId @param {string[]} [values] */
  async press(message, customId, values) {
    if (this.state.presses.get(message.id)?.error === null) return;
    this.state.setPress(message.id, { customId, error: null });
    const error = await this.#carry(() => this.api.press(message.channel_id, message.id, customId, values));
    this.state.setPress(message.id, error === null ? null : { customId, error });
  }

  /** @param {string} commandId @param {CommandOption[]} options @param {string} channelId @returns {Promise<string|null>} what went wrong */
  useCommand(commandId, options, channelId) {
    return this.#carry(() => this.api.command(channelId, commandId, options));
  }

  /** @param {Command} command @param {Message} message */
  async useOnMessage(command, message) {
    this.state.setPress(message.id, { customId: '', error: null });
    const error = await this.#carry(() => this.api.command(message.channel_id, command.id, [], message.id));
    this.state.setPress(message.id, error === null ? null : { customId: '', error: `${command.name}: ${error}` });
  }

  /** @param {Modal} modal @param {Record<string, FieldValue>} values @returns {Promise<string|null>} */
  submit(modal, values) {
    return this.#carry(() => this.api.submit(modal.interaction_id, values));
  }

  /** @param {Message} message */
  async remove(message) {
    try {
      await this.api.remove(message.channel_id, message.id);
      this.state.drop(message.channel_id, message.id);
    } catch (error) {
      this.page.say(/** @type {Error} */ (error).message);
    }
  }

  /** Scroll to a message and light it up. @param {string} id */
  showMessage(id) {
    this.page.showMessage(id);
  }

  /**
   * Send an interaction and wait for what becomes of it.
   *
   * @param {() => Promise<{interaction_id: string}>} send
   * @returns {Promise<string|null>} a sentence when it failed
   */
  async #carry(send) {
    /** @type {Outcome} */
    let outcome;
    try {
      const { interaction_id: id } = await send();
      outcome = await this.#interactions.outcome(this.api, id);
    } catch (error) {
      return /** @type {Error} */ (error).message;
    }
    if (outcome.state === 'failed') return outcome.error ?? NO_ANSWER;
    if (outcome.state === 'modal' && outcome.modal) this.page.openModal(outcome.modal);
    return null;
  }
}
