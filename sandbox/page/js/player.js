/**
 * A clip that plays in place: muted and looping from the moment it is seen, with its own small controls.
 */

import { h, icon, iconButton } from './dom.js';

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** Clips that a reader looks at play; those scrolled away rest. Shared, because one observer serves any number of clips. */
const inView = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) entry.target.dispatchEvent(new CustomEvent('sight', { detail: entry.isIntersecting }));
  },
  { threshold: 0.6 },
);

/**
 * @param {{url: string, name: string, width?: number, height?: number, hidden: boolean}} clip  hidden: behind a spoiler, so not playing yet
 * @returns {{node: HTMLElement, reveal: () => void}}
 */
export function createPlayer({ url, name, width, height, hidden }) {
  const video = h('video', { src: url, playsinline: true, preload: 'metadata', width, height, 'aria-label': name, tabindex: '-1' });
  // As attributes these would only set the defaults of an element that a script makes.
  video.muted = true;
  video.loop = true;

  let stoppedByHand = false;
  let covered = hidden;
  let seen = false;

  const play = () => {
    // A browser may refuse to start by itself; the large play button then stays.
    video.play().catch(() => sync());
  };
  const toggle = () => {
    stoppedByHand = !video.paused;
    if (video.paused) play();
    else video.pause();
  };
  const mayStart = () => seen && !covered && !stoppedByHand && !matchMedia('(prefers-reduced-motion: reduce)').matches;

  const playButton = iconButton('play', 'Play', toggle);
  const soundButton = iconButton('muted', 'Turn sound on', () => {
    video.muted = !video.muted;
  });
  const loopButton = iconButton('loop', 'Play once', () => {
    video.loop = !video.loop;
    sync();
  }, { class: 'roomy' });
  const wideButton = iconButton('expand', 'Full screen', () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else node.requestFullscreen?.();
  });
  const save = h('a', { class: 'icon-button roomy', href: url, download: name, 'aria-label': `Download ${name}`, title: 'Download' }, icon('download'));
  const scrub = h('input', { type: 'range', min: '0', max: '1000', value: '0', 'aria-label': 'Position', class: 'scrub' });
  const time = h('span', { class: 'player-time roomy' }, '0:00');
  const large = h('button', { type: 'button', class: 'player-large', 'aria-label': `Play ${name}`, onclick: toggle }, icon('play'));
  const node = h(
    'div',
    { class: 'player', style: width && height ? { '--ratio': `${width} / ${height}` } : {} },
    video,
    large,
    h('div', { class: 'player-bar' }, playButton, scrub, time, loopButton, soundButton, save, wideButton),
  );

  const sync = () => {
    node.classList.toggle('playing', !video.paused);
    relabel(playButton, video.paused ? 'play' : 'pause', video.paused ? 'Play' : 'Pause');
    relabel(soundButton, video.muted ? 'muted' : 'sound', video.muted ? 'Turn sound on' : 'Turn sound off');
    relabel(loopButton, 'loop', video.loop ? 'Play once' : 'Play in a loop');
    loopButton.setAttribute('aria-pressed', String(video.loop));
  };
  const follow = () => {
    if (!video.duration) return;
    const position = video.currentTime / video.duration;
    scrub.value = String(Math.round(position * 1000));
    scrub.style.setProperty('--played', `${position * 100}%`);
    time.textContent = `${clock(video.currentTime)} / ${clock(video.duration)}`;
    if (!video.paused && node.isConnected) requestAnimationFrame(follow);
  };

  video.addEventListener('click', toggle);
  video.addEventListener('play', () => {
    sync();
    requestAnimationFrame(follow);
  });
  for (const change of ['pause', 'volumechange']) video.addEventListener(change, sync);
  video.addEventListener('loadedmetadata', () => {
    if (!width || !height) node.style.setProperty('--ratio', `${video.videoWidth} / ${video.videoHeight}`);
    follow();
  });
  video.addEventListener('error', () => node.classList.add('broken'));
  scrub.addEventListener('input', () => {
    if (video.duration) video.currentTime = (Number(scrub.value) / 1000) * video.duration;
    follow();
  });
  node.addEventListener('sight', (event) => {
    seen = /** @type {CustomEvent<boolean>} */ (event).detail;
    if (!seen) video.pause();
    else if (mayStart()) play();
  });
  inView.observe(node);

  return {
    node,
    reveal: () => {
      covered = false;
      if (mayStart()) play();
    },
  };
}

/** @param {HTMLButtonElement} button @param {string} drawing @param {string} label */
function relabel(button, drawing, label) {
  if (button.getAttribute('aria-label') === label) return;
  button.replaceChildren(icon(drawing));
  button.setAttribute('aria-label', label);
  button.title = label;
}
