// Radix-2 FFT of real frames.

/** A function that turns `size` real samples (size a power of 2) into `re` and `im` of size / 2 + 1 bins. */
export function makeFft(size) {
  const bits = Math.log2(size);
  const cos = new Float64Array(size / 2), sin = new Float64Array(size / 2), reversed = new Uint32Array(size);
  for (let i = 0; i < size / 2; i++) { cos[i] = Math.cos(2 * Math.PI * i / size); sin[i] = Math.sin(2 * Math.PI * i / size); }
  for (let i = 0; i < size; i++) reversed[i] = (reversed[i >> 1] >> 1) | ((i & 1) << (bits - 1));
  const re = new Float64Array(size), im = new Float64Array(size);
  return (frame) => {
    for (let i = 0; i < size; i++) { re[i] = frame[reversed[i]]; im[i] = 0; }
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let j = 0, t = 0; j < half; j++, t += step) {
          const p = start + j, q = p + half;
          const x = re[q] * cos[t] + im[q] * sin[t], y = im[q] * cos[t] - re[q] * sin[t];
          re[q] = re[p] - x; im[q] = im[p] - y; re[p] += x; im[p] += y;
        }
      }
    }
    return { re, im };
  };
}
