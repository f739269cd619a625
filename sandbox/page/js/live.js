/**
 * The live connection: events as they happen, and a new try whenever the line is cut.
 */

/** @import {LiveEvent} from './types.js' */

const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 5000;

export class Live {
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;
  #pause = FIRST_PAUSE;
  #closed = false;

  /**
   * @param {() => string} address
   * @param {{opened: () => void, lost: () => void, event: (event: LiveEvent) => void}} hear
   *   `opened` after every connect, so that what was missed can be fetched.
   */
  constructor(address, hear) {
    this.address = address;
    this.hear = hear;
    this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect() {
    const socket = new WebSocket(this.address());
    this.#socket = socket;
    socket.addEventListener('open', () => {
      if (this.#closed) return;
      this.#pause = FIRST_PAUSE;
      this.hear.opened();
    });
    socket.addEventListener('message', (message) => {
      if (!this.#closed) this.hear.event(JSON.parse(message.data));
    });
    socket.addEventListener('close', () => {
      if (this.#closed) return;
      this.hear.lost();
      this.#timer = setTimeout(() => this.#connect(), this.#pause);
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    });
  }
}
