// In a worker: what the pictures and the loudness match need, from the samples before and after.
//
// Everything is linear in (before, after) until the last step, so a new strength costs no new transform:
// spectra of both are kept, and mixed before their magnitude is taken.

import { makeFft } from './fft.js';
import { energies } from './loudness.js';
import { gains } from './mix.js';

const ROWS = 112;
const RANGE_DB = 75;
const MOST = 24e6; // numbers kept for the spectra
const TRACKS = ['before', 'after', 'removed'];

let held = null;

self.onmessage = ({ data }) => {
  if (data.type === 'load') self.postMessage(load(data));
  else if (held && data.id === held.id) {
    const answer = { type: 'drawn', id: data.id, pictures: draw(data) };
    self.postMessage(answer, TRACKS.map((t) => answer.pictures[t].levels.buffer));
  }
};

function load({ id, rate, before, after, columns }) {
  held = { id, rate, frames: before[0].length, x: mono(before), y: mono(after), columns: 0 };
  spectra(columns);
  return { type: 'loaded', id, energies: energies(before, after, rate), axis: axis() };
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  const out = new Float32Array(channels[0].length);
  for (const x of channels) for (let i = 0; i < out.length; i++) out[i] += x[i] / channels.length;
  return out;
}

// -- spectra ------------------------------------------------------------------------------------

function windowSize() {
  return 2 ** Math.round(Math.log2(0.03 * held.rate));
}

function spectra(columns) {
  const { x, y, frames } = held;
  const size = windowSize(), bins = size / 2 + 1, fft = makeFft(size);
  const hop = frames / columns;
  const most = Math.max(1, Math.floor(MOST / (4 * bins * columns)));
  const each = Math.max(1, Math.min(6, most, Math.ceil(hop / size)));
  const window = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * (i + 0.5) / size));
  const kept = new Float32Array(4 * bins * columns * each), frame = new Float64Array(size);
  let at = 0;
  for (let column = 0; column < columns; column++) {
    for (let part = 0; part < each; part++) {
      const start = Math.round(hop * (column + (part + 0.5) / each) - size / 2);
      for (const signal of [x, y]) {
        for (let i = 0; i < size; i++) frame[i] = (signal[start + i] || 0) * window[i];
        const { re, im } = fft(frame);
        for (let k = 0; k < bins; k++) { kept[at++] = re[k]; kept[at++] = im[k]; }
      }
    }
  }
  Object.assign(held, { columns, kept, bins, each, rows: rowsOf(bins), scale: 4 / (size * size) });
  held.top = loudest();
}

/** Mel scale: resolution where speech has it. */
const mel = (hz) => 2595 * Math.log10(1 + hz / 700);
const hertz = (m) => 700 * (10 ** (m / 2595) - 1);

function rowsOf(bins) {
  const top = mel(held.rate / 2), width = held.rate / 2 / (bins - 1);
  return Array.from({ length: ROWS }, (_, r) => {
    const low = hertz(top * (1 - (r + 1) / ROWS)) / width, high = hertz(top * (1 - r / ROWS)) / width;
    const first = Math.min(bins - 1, Math.round(low));
    return [first, Math.max(first + 1, Math.min(bins, Math.round(high)))];
  });
}

/** Where labels stand, from the bottom, 0 to 1. */
function axis() {
  const top = mel(held.rate / 2);
  return [250, 1000, 2000, 4000, 8000, 16000].filter((hz) => hz < 0.45 * held.rate)
    .map((hz) => [hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`, mel(hz) / top]);
}

function loudest() {
  let most = 0;
  const { kept } = held;
  for (let i = 0; i < kept.length; i += 2) most = Math.max(most, kept[i] ** 2 + kept[i + 1] ** 2);
  return 10 * Math.log10(most * held.scale + 1e-12);
}

function levels([a, b]) {
  const { kept, columns, bins, each, rows, scale, top } = held;
  const out = new Uint8ClampedArray(ROWS * columns), power = new Float64Array(bins);
  for (let column = 0; column < columns; column++) {
    power.fill(0);
    for (let part = 0; part < each; part++) {
      const x = 4 * bins * (column * each + part), y = x + 2 * bins;
      for (let k = 0; k < bins; k++) {
        const re = a * kept[x + 2 * k] + b * kept[y + 2 * k], im = a * kept[x + 2 * k + 1] + b * kept[y + 2 * k + 1];
        power[k] += re * re + im * im;
      }
    }
    for (let r = 0; r < ROWS; r++) {
      let most = 0;
      for (let k = rows[r][0]; k < rows[r][1]; k++) most = Math.max(most, power[k]);
      const db = 10 * Math.log10(most * scale / each + 1e-12) - top;
      out[r * columns + column] = 255 * (1 + db / RANGE_DB);
    }
  }
  return out;
}

// -- waveforms ----------------------------------------------------------------------------------

function peaks([a, b], points) {
  const { x, y, frames } = held;
  const high = new Float32Array(points), low = new Float32Array(points);
  for (let p = 0; p < points; p++) {
    let most = 0, least = 0;
    const last = Math.floor((p + 1) * frames / points);
    for (let i = Math.floor(p * frames / points); i < last; i++) {
      const v = a * x[i] + b * y[i];
      if (v > most) most = v; else if (v < least) least = v;
    }
    high[p] = most; low[p] = -least;
  }
  return [high, low];
}

function draw({ db, columns, points }) {
  if (columns !== held.columns) spectra(columns);
  return Object.fromEntries(TRACKS.map((track) => {
    const mix = gains(track, db);
    return [track, { peaks: peaks(mix, points), levels: levels(mix), columns, rows: ROWS }];
  }));
}
