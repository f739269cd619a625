/**
 * Moments in words. Relative ones ("in 2 minutes") are kept right by one ticking clock for the whole page.
 */

const UNITS = /** @type {const} */ ([
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
]);

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** Discord's timestamp styles, as `Intl` options. @type {Record<string, Intl.DateTimeFormatOptions>} */
const STYLES = {
  t: { timeStyle: 'short' },
  T: { timeStyle: 'medium' },
  d: { dateStyle: 'short' },
  D: { dateStyle: 'long' },
  f: { dateStyle: 'long', timeStyle: 'short' },
  F: { dateStyle: 'full', timeStyle: 'short' },
  s: { dateStyle: 'short', timeStyle: 'short' },
  S: { dateStyle: 'short', timeStyle: 'medium' },
};

/** @param {Date} moment @param {string} style  one of t T d D f F s S */
export function format(moment, style) {
  return new Intl.DateTimeFormat('en-GB', STYLES[style] ?? STYLES.f).format(moment);
}

/** @param {number} seconds  from now; negative is the past */
export function fromNow(seconds) {
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS[UNITS.length - 1];
  return relative.format(Math.trunc(seconds / length), unit);
}

/**
 * @param {number} unixSeconds
 * @param {string} style
 * @returns {HTMLTimeElement}
 */
export function timestamp(unixSeconds, style) {
  const moment = new Date(unixSeconds * 1000);
  const element = document.createElement('time');
  if (Number.isNaN(moment.getTime())) {
    element.textContent = 'an unknown time';
    return element;
  }
  element.className = 'stamp';
  element.dateTime = moment.toISOString();
  element.title = format(moment, 'F');
  if (style === 'R') element.dataset.relative = String(unixSeconds);
  element.textContent = style === 'R' ? fromNow(unixSeconds - Date.now() / 1000) : format(moment, style);
  return element;
}

/**
 * Fill every relative moment below `root`.
 *
 * @param {ParentNode} root
 * @param {number} skew  milliseconds that the server's clock is ahead
 */
export function refresh(root, skew) {
  const now = (Date.now() + skew) / 1000;
  for (const element of root.querySelectorAll('time[data-relative]')) {
    const text = fromNow(Number(/** @type {HTMLElement} */ (element).dataset.relative) - now);
    if (element.textContent !== text) element.textContent = text;
  }
}
