/**
 * The side columns. Where there is room they stand beside the messages; on a phone they slide in over them.
 */

/** @typedef {'places'|'members'} Side */

const NARROW = { places: '(max-width: 820px)', members: '(max-width: 1080px)' };

export class Drawers {
  /** @type {Side|null} */ #open = null;

  /** @param {Record<Side, HTMLElement>} sides @param {Record<Side, HTMLButtonElement>} buttons @param {HTMLElement} scrim */
  constructor(sides, buttons, scrim) {
    this.sides = sides;
    this.buttons = buttons;
    this.scrim = scrim;
    scrim.addEventListener('click', () => this.close());
    for (const side of /** @type {Side[]} */ (['places', 'members'])) {
      buttons[side].addEventListener('click', () => this.#show(this.#open === side ? null : side));
      matchMedia(NARROW[side]).addEventListener('change', () => this.#show(null));
    }
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#open && !event.defaultPrevented) this.close();
    });
    this.#show(null);
  }

  close() {
    const was = this.#open;
    this.#show(null);
    if (was) this.buttons[was].focus();
  }

  /** @param {Side|null} open */
  #show(open) {
    this.#open = open;
    this.scrim.hidden = open === null;
    for (const side of /** @type {Side[]} */ (['places', 'members'])) {
      const floating = matchMedia(NARROW[side]).matches;
      this.sides[side].classList.toggle('open', open === side);
      this.sides[side].inert = floating && open !== side;
      this.buttons[side].setAttribute('aria-expanded', String(open === side));
      if (open === side) /** @type {HTMLElement|null} */ (this.sides[side].querySelector('a[aria-current], a, button'))?.focus();
    }
  }
}
