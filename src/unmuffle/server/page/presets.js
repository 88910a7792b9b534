// What people say is wrong with a recording, and what helps.

export const PRESETS = [
  { id: 'noise', label: 'Noise', method: 'auto', repair: [], db: null },
  { id: 'gentle', label: 'A little noise', method: 'auto', repair: [], db: 10 },
  { id: 'hum', label: 'Mains hum', method: 'auto', repair: ['dehum', 'low-cut'], db: null },
  { id: 'tone', label: 'Whistle or beep', method: 'auto', repair: ['detone'], db: null },
  { id: 'wind', label: 'Wind and rumble', method: 'auto', repair: ['dewind'], db: null },
  { id: 'clicks', label: 'Clicks', method: 'auto', repair: ['declick'], db: 15 },
  { id: 'clipped', label: 'Clipping', method: 'identity', repair: ['declip'], db: null },
  { id: 'room', label: 'Echoing room', method: 'wpe+late-reverb', repair: [], db: null },
];

export const REPAIRS = [
  ['declip', 'clipped tops'], ['declick', 'clicks'], ['dehum', 'mains hum'], ['detone', 'steady tones'],
  ['dewind', 'wind and rumble'], ['low-cut', 'below the voice'],
];

const FAMILIES = {
  basic: 'Nothing', spectral: 'Noise: spectral', neural: 'Noise: networks', kalman: 'Noise: Kalman filters',
  dereverb: 'Rooms', repair: 'Repair and level', 'third party': 'Added',
};
const HIDDEN = new Set(['limiter', 'loudness', 'agc']); // nothing to compare: they change the level

/** Fill a `<select>` from what /methods said; `live`: only what can run live. */
export function fillMethods(select, { default: standard, methods }, live = false) {
  const chosen = select.value || 'auto';
  const auto = new Option(`automatic (${standard})`, 'auto');
  const groups = new Map();
  for (const row of methods) {
    if (!row.available || HIDDEN.has(row.name) || (live && !row.live)) continue;
    const name = FAMILIES[row.family] ?? row.family;
    if (!groups.has(name)) groups.set(name, Object.assign(document.createElement('optgroup'), { label: name }));
    groups.get(name).append(new Option(row.name, row.name));
  }
  select.replaceChildren(auto, ...groups.values());
  const names = new Set(methods.filter((row) => row.available).map((row) => row.name));
  for (const { label, method } of PRESETS) {
    if (method.includes('+') && method.split('+').every((part) => names.has(part)) && !live) {
      select.append(new Option(`${method} (${label})`, method));
    }
  }
  select.value = [...select.options].some((option) => option.value === chosen) ? chosen : 'auto';
}

/** A sentence about a method. */
export function describe(name, { default: standard, methods }) {
  const rows = (name === 'auto' ? standard : name).split('+').map((part) => methods.find((row) => row.name === part));
  return rows.filter(Boolean).map((row) => {
    const delay = row.live ? `${row.latency_ms.toFixed(1).replace('.0', '')} ms delay when live` : 'needs the whole recording';
    return `${row.summary}; ${delay}.`;
  }).join(' ');
}
