// The table of scores without a reference, before beside after.

import { upload } from './api.js';
import { encodeWav } from './wav.js';

const SCORED_S = 20; // a few seconds of one core for each side

const number = (digits) => (v) => v.toFixed(digits).replace('-', '−');

// [label, value of the answer, as text, which direction is better: 1 up, -1 down, 0 neither, what counts as a change]
const ROWS = [
  ['Overall quality (DNSMOS, 1–5)', (s) => s.dnsmos?.ovrl, number(2), 1, 0.05],
  ['Speech quality', (s) => s.dnsmos?.sig, number(2), 1, 0.05],
  ['Background quality', (s) => s.dnsmos?.bak, number(2), 1, 0.05],
  ['Noise floor, dBFS', (s) => s.noise_dbfs, number(1), -1, 0.5],
  ['Speech level, dBFS', (s) => s.speech_dbfs, number(1), 0, 0],
  ['Speech over noise, dB', (s) => s.snr_db, number(1), 1, 0.5],
  ['Loudness, LUFS', (s) => s.loudness_lufs, number(1), 0, 0],
  ['True peak, dBTP', (s) => s.true_peak_dbtp, number(1), 0, 0],
  ['Clipped, %', (s) => (s.clipped_share === null ? null : 100 * s.clipped_share), number(2), -1, 0.01],
];

/** The part that is scored, in seconds: the loop, or the beginning; never more than can be scored quickly. */
export function scoredSpan(loop, duration) {
  const [from, to] = loop ?? [0, duration];
  return [from, Math.min(to, from + SCORED_S)];
}

/** Ask for the scores of samples. */
export function scoresOf(channels, rate, [from, to], signal) {
  const part = channels.map((x) => x.subarray(Math.round(from * rate), Math.round(to * rate)));
  return upload('/scores?filename=part.wav', encodeWav(part, rate), { signal });
}

/** Fill the table; either side may still be missing. */
export function showScores(body, before, after) {
  body.replaceChildren(...ROWS.map(([label, value, text, direction, least]) => {
    const row = document.createElement('tr');
    const head = Object.assign(document.createElement('th'), { scope: 'row', textContent: label });
    const [a, b] = [before, after].map((side) => (side ? value(side) ?? null : undefined));
    const cells = [a, b].map((v) => Object.assign(document.createElement('td'), {
      textContent: v === undefined ? '…' : v === null ? '–' : text(v),
    }));
    if (direction && typeof a === 'number' && typeof b === 'number' && Math.abs(b - a) >= least) {
      const better = (b - a) * direction > 0;
      cells[1].className = better ? 'better' : 'worse';
      cells[1].append(Object.assign(document.createElement('span'), { className: 'visually-hidden', textContent: better ? ' (better)' : ' (worse)' }));
    }
    row.append(head, ...cells);
    return row;
  }));
}
