/**
 * Dark or light: as the system says until the reader chooses.
 */

import { icon, iconButton } from './dom.js';

const KEY = 'zoetrope-theme';

export function createThemeToggle() {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
  const chosen = localStorage.getItem(KEY);
  if (chosen) document.documentElement.dataset.theme = chosen;

  const button = iconButton('lamp', '', () => {
    const next = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEY, next);
    show();
  });
  const show = () => {
    const label = isDark() ? 'Light the lamps' : 'Dim the lamps';
    button.title = label;
    button.setAttribute('aria-label', `${label} (${isDark() ? 'light' : 'dark'} colours)`);
    button.replaceChildren(icon(isDark() ? 'lamp' : 'moon'));
  };
  system.addEventListener('change', show);
  show();
  return button;
}
