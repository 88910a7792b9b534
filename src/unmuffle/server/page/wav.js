// WAV of 32-bit floats, both ways: the only format in which the page and the server exchange samples.

/** Samples of a WAV of 32-bit floats: { rate, channels: [Float32Array] }. */
export function decodeWav(buffer) {
  const view = new DataView(buffer);
  const word = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 12 || !['RIFF', 'RF64'].includes(word(0)) || word(8) !== 'WAVE') throw new Error('not a WAV file');
  let at = 12, rate = 0, count = 0, format = 0, bits = 0;
  while (at + 8 <= buffer.byteLength) {
    const name = word(at), size = view.getUint32(at + 4, true);
    at += 8;
    if (name === 'fmt ') {
      format = view.getUint16(at, true);
      if (format === 0xfffe) format = view.getUint16(at + 24, true);
      count = view.getUint16(at + 2, true);
      rate = view.getUint32(at + 4, true);
      bits = view.getUint16(at + 14, true);
    } else if (name === 'data') {
      if (format !== 3 || bits !== 32) throw new Error(`a WAV of format ${format} with ${bits} bits`);
      const frames = Math.floor(Math.min(size, buffer.byteLength - at) / (4 * count));
      const flat = at % 4 ? new Float32Array(buffer.slice(at, at + 4 * count * frames)) : new Float32Array(buffer, at, count * frames);
      const channels = Array.from({ length: count }, () => new Float32Array(frames));
      channels.forEach((x, c) => { for (let i = 0, j = c; i < frames; i++, j += count) x[i] = flat[j]; });
      return { rate, channels };
    }
    at += size + (size % 2);
  }
  throw new Error('a WAV file without samples');
}

/** A Blob of 32-bit floats. */
export function encodeWav(channels, rate) {
  const count = channels.length, frames = channels[0].length, bytes = 4 * count * frames;
  const buffer = new ArrayBuffer(58 + bytes);
  const view = new DataView(buffer);
  const text = (at, words) => { for (let i = 0; i < words.length; i++) view.setUint8(at + i, words.charCodeAt(i)); };
  text(0, 'RIFF'); view.setUint32(4, 50 + bytes, true); text(8, 'WAVEfmt ');
  view.setUint32(16, 18, true); view.setUint16(20, 3, true); view.setUint16(22, count, true);
  view.setUint32(24, rate, true); view.setUint32(28, 4 * rate * count, true);
  view.setUint16(32, 4 * count, true); view.setUint16(34, 32, true); view.setUint16(36, 0, true);
  text(38, 'fact'); view.setUint32(42, 4, true); view.setUint32(46, frames, true);
  text(50, 'data'); view.setUint32(54, bytes, true);
  for (let i = 0, at = 58; i < frames; i++) for (let c = 0; c < count; c++, at += 4) view.setFloat32(at, channels[c][i], true);
  return new Blob([buffer], { type: 'audio/wav' });
}
