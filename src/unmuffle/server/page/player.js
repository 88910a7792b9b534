// Plays before, after or what was removed: one source that holds both, so that they cannot drift apart.
//
//   source (2 C channels) -> splitter -> merger (before) -> gain --+-> destination
//                                     -> merger (after)  -> gain --+

import { gains } from './mix.js';

const RAMP_S = 0.02; // as long as the library's

export class Player extends EventTarget {
  #context = null;
  #buffer = null;
  #source = null;
  #before = null;
  #after = null;
  #offset = 0; // position at `#since`, or while stopped
  #since = 0;
  #loop = null;
  #listen = 'after';
  #db = Infinity;
  #match = [1, 1];
  #frame = 0;

  duration = 0;

  /** Samples before and after, of the same length and channel count (1 or 2). */
  load(before, after, rate) {
    const playing = this.playing, at = this.position;
    this.stop();
    const count = before.length;
    this.#buffer = new AudioBuffer({ length: Math.max(1, before[0].length), numberOfChannels: 2 * count, sampleRate: rate });
    [...before, ...after].forEach((x, c) => this.#buffer.copyToChannel(x, c));
    this.duration = before[0].length / rate;
    this.#offset = at < this.duration ? at : 0;
    this.#wire(count);
    if (playing) this.play();
    this.#tell();
  }

  #wire(count) {
    this.#context ??= new AudioContext({ latencyHint: 'interactive' });
    const context = this.#context;
    this.splitter?.disconnect();
    this.#before?.disconnect();
    this.#after?.disconnect();
    this.splitter = context.createChannelSplitter(2 * count);
    [this.#before, this.#after] = [0, count].map((first) => {
      const merger = context.createChannelMerger(count), gain = context.createGain();
      for (let c = 0; c < count; c++) this.splitter.connect(merger, first + c, c);
      merger.connect(gain).connect(context.destination);
      return gain;
    });
    this.#apply(0);
  }

  get playing() { return this.#source !== null; }

  /** Seconds from the beginning, of what is heard now. */
  get position() {
    if (!this.playing) return this.#offset;
    let at = this.#offset + Math.max(0, this.#context.currentTime - this.#since);
    if (this.#loop) {
      const [from, to] = this.#loop;
      if (at >= to) at = from + ((at - from) % (to - from));
    }
    return Math.min(at, this.duration);
  }

  async play() {
    if (!this.#buffer || this.playing) return;
    if (this.#offset >= this.duration - 1e-3) this.#offset = 0;
    if (this.#loop && (this.#offset < this.#loop[0] || this.#offset >= this.#loop[1])) this.#offset = this.#loop[0];
    this.#start();
    this.dispatchEvent(new Event('play'));
    this.#tick();
    await this.#context.resume();
  }

  #start() {
    const source = this.#context.createBufferSource();
    source.buffer = this.#buffer;
    if (this.#loop) [source.loop, source.loopStart, source.loopEnd] = [true, ...this.#loop];
    source.connect(this.splitter);
    source.onended = () => { if (source === this.#source) { this.stop(); this.#offset = 0; this.#tell(); } };
    source.start(0, this.#offset);
    this.#source = source;
    this.#since = this.#context.currentTime;
  }

  stop() {
    if (!this.playing) return;
    this.#offset = this.position;
    this.#drop();
    cancelAnimationFrame(this.#frame);
    this.dispatchEvent(new Event('pause'));
    this.#tell();
  }

  #drop() {
    this.#source.onended = null;
    this.#source.stop();
    this.#source.disconnect();
    this.#source = null;
  }

  seek(seconds) {
    const at = Math.max(0, Math.min(seconds, this.duration));
    if (this.playing) { this.#drop(); this.#offset = at; this.#start(); } else this.#offset = at;
    this.#tell();
  }

  /** `[from, to]` in seconds, or `null`. */
  setLoop(loop) {
    const at = this.position;
    this.#loop = loop;
    if (!this.playing) return;
    this.#drop();
    this.#offset = loop && (at < loop[0] || at >= loop[1]) ? loop[0] : at;
    this.#start();
  }

  /** What is heard, at which strength, with which factors for (before, after) to make them equally loud. */
  set({ listen = this.#listen, db = this.#db, match = this.#match }) {
    [this.#listen, this.#db, this.#match] = [listen, db, match];
    if (this.#before) this.#apply(RAMP_S);
  }

  /** The factors of (before, after) that are heard now. */
  get factors() {
    const [a, b] = gains(this.#listen, this.#db);
    const level = this.#listen === 'before' ? this.#match[0] : this.#listen === 'after' ? this.#match[1] : 1;
    return [a * level, b * level];
  }

  #apply(seconds) {
    const now = this.#context.currentTime;
    [this.#before, this.#after].forEach((node, i) => {
      node.gain.cancelScheduledValues(now);
      node.gain.setValueAtTime(node.gain.value, now);
      if (seconds) node.gain.linearRampToValueAtTime(this.factors[i], now + seconds);
      else node.gain.setValueAtTime(this.factors[i], now);
    });
  }

  #tick() {
    this.#frame = requestAnimationFrame(() => { if (this.playing) { this.#tell(); this.#tick(); } });
  }

  #tell() { this.dispatchEvent(new Event('timeupdate')); }
}
