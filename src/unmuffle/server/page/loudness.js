// Loudness (ITU-R BS.1770-4) of any mix of two signals over any span, from energies that are measured once.
//
// The K filter is linear, so the energy of a x + b y in a step of 100 ms is a^2 Exx + 2 a b Exy + b^2 Eyy.

const STEP_S = 0.1;

/** The two sections of the K filter, [b0, b1, b2, a1, a2] each; the formulas of unmuffle.signal.loudness. */
export function kWeighting(rate) {
  const k = Math.tan(Math.PI * 1681.974450955533 / rate), q = 0.7071752369554196;
  const high = 10 ** (3.999843853973347 / 20), band = high ** 0.4996667741545416;
  const norm = 1 + k / q + k * k;
  const shelf = [(high + band * k / q + k * k) / norm, 2 * (k * k - high) / norm, (high - band * k / q + k * k) / norm,
    2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm];
  const [n48] = highPass(48000), [n, a1, a2] = highPass(rate);
  const lift = n48 / n;
  return [shelf, [lift, -2 * lift, lift, a1, a2]];
}

function highPass(rate) {
  const k = Math.tan(Math.PI * 38.13547087602444 / rate), q = 0.5003270373238773;
  const norm = 1 + k / q + k * k;
  return [norm, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm];
}

function filter(x, [b0, b1, b2, a1, a2]) {
  const y = new Float64Array(x.length);
  let s1 = 0, s2 = 0;
  for (let i = 0; i < x.length; i++) {
    const out = b0 * x[i] + s1;
    s1 = b1 * x[i] - a1 * out + s2;
    s2 = b2 * x[i] - a2 * out;
    y[i] = out;
  }
  return y;
}

/** Energies of whole steps of 100 ms: { xx, xy, yy }, summed over channels, per sample. */
export function energies(before, after, rate) {
  const size = Math.round(STEP_S * rate), steps = Math.floor(before[0].length / size);
  const made = { xx: new Float64Array(steps), xy: new Float64Array(steps), yy: new Float64Array(steps) };
  const sections = kWeighting(rate);
  before.forEach((dry, c) => {
    const x = sections.reduce(filter, dry), y = sections.reduce(filter, after[c]);
    for (let s = 0; s < steps; s++) {
      let xx = 0, xy = 0, yy = 0;
      for (let i = s * size; i < (s + 1) * size; i++) { xx += x[i] * x[i]; xy += x[i] * y[i]; yy += y[i] * y[i]; }
      made.xx[s] += xx / size; made.xy[s] += xy / size; made.yy[s] += yy / size;
    }
  });
  return made;
}

/** Integrated loudness in LUFS of a x + b y from `from` to `to` seconds; -Infinity when nothing is above the gate. */
export function loudness(made, [a, b], from = 0, to = Infinity) {
  const first = Math.max(0, Math.floor(from / STEP_S + 1e-6));
  const last = Math.min(made.xx.length, Math.max(first + 4, Math.round(to / STEP_S)));
  const blocks = [];
  for (let s = first; s + 4 <= last; s++) {
    let z = 0;
    for (let j = s; j < s + 4; j++) z += a * a * made.xx[j] + 2 * a * b * made.xy[j] + b * b * made.yy[j];
    blocks.push(z / 4);
  }
  const lufs = (z) => -0.691 + 10 * Math.log10(z);
  const mean = (list) => list.reduce((sum, z) => sum + z, 0) / list.length;
  const loud = blocks.filter((z) => z > 0 && lufs(z) > -70);
  if (!loud.length) return -Infinity;
  const gate = lufs(mean(loud)) - 10;
  const kept = loud.filter((z) => lufs(z) > gate);
  return kept.length ? lufs(mean(kept)) : -Infinity;
}
