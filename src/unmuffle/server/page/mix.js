// The strength, as the library defines it: out = after + g (before - after), g = 10^(-dB / 20).

/** The slider's right end: no limit to the attenuation. */
export const FULL = 41;

/** Decibels at a position of the slider; 0 changes nothing, the right end is the full effect. */
export function decibels(position) {
  return position >= FULL ? Infinity : Number(position);
}

/** The position of the slider for decibels (`null`: full). */
export function position(db) {
  return db === null || db >= FULL ? FULL : Math.round(db);
}

/** Share of the signal before in the result. */
export function share(db) {
  return db === Infinity ? 0 : 10 ** (-db / 20);
}

export function strengthText(db) {
  if (db === Infinity) return 'full';
  return db === 0 ? 'unchanged' : `at most ${db} dB`;
}

/** Factors of (before, after) that make what is listened to. */
export function gains(listen, db) {
  const g = share(db);
  if (listen === 'before') return [1, 0];
  if (listen === 'removed') return [1 - g, g - 1];
  return [g, 1 - g];
}

/** Channels of a track, mixed from those before and after. */
export function mixed(listen, db, before, after) {
  const [a, b] = gains(listen, db);
  if (b === 0 && a === 1) return before;
  if (a === 0 && b === 1) return after;
  return before.map((x, c) => {
    const y = after[c];
    const out = new Float32Array(x.length);
    const { fround } = Math;
    // In 32 bits and in the order of the library, so that it is the same to the last bit.
    if (listen === 'after') for (let i = 0; i < out.length; i++) out[i] = y[i] + fround(fround(a) * fround(x[i] - y[i]));
    else for (let i = 0; i < out.length; i++) out[i] = a * (x[i] - y[i]);
    return out;
  });
}
