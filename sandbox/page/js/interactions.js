/**
 * What became of a command, press or form that the member sent: acknowledged, answered with a form, or failed.
 * The live connection tells; asking the server now and then covers an event that was missed.
 */

/** @import {Api, LiveEvent, Outcome} from './types.js' */

const ASK_EVERY = 1000;
const GIVE_UP_AFTER = 15_000;
const REMEMBERED = 50;

export class Interactions {
  /** @type {Map<string, Outcome>} outcomes that came, also those that nobody waits for yet: an event may overtake its POST's answer */
  #outcomes = new Map();
  /** @type {Map<string, (outcome: Outcome) => void>} */ #waiting = new Map();

  /** @param {LiveEvent} event */
  hear(event) {
    if (event.interaction_id === undefined || event.state === undefined) return;
    this.#settle(event.interaction_id, { state: event.state, error: event.error, modal: event.modal });
  }

  /** @param {Api} api @param {string} id @returns {Promise<Outcome>} */
  async outcome(api, id) {
    const known = this.#outcomes.get(id);
    if (known) return known;
    return new Promise((resolve) => {
      const started = Date.now();
      const timer = setInterval(async () => {
        if (Date.now() - started > GIVE_UP_AFTER) {
          this.#settle(id, { state: 'failed', error: 'No answer came. Try again.' });
          return;
        }
        // The connection may be down as well; the next round asks again until the bound above.
        const asked = await api.interaction(id).catch(() => null);
        if (asked && asked.state !== 'waiting') this.#settle(id, asked);
      }, ASK_EVERY);
      this.#waiting.set(id, (outcome) => {
        clearInterval(timer);
        resolve(outcome);
      });
    });
  }

  /** @param {string} id @param {Outcome} outcome */
  #settle(id, outcome) {
    this.#outcomes.set(id, outcome);
    for (const old of this.#outcomes.keys()) {
      if (this.#outcomes.size <= REMEMBERED) break;
      this.#outcomes.delete(old);
    }
    this.#waiting.get(id)?.(outcome);
    this.#waiting.delete(id);
  }
}
