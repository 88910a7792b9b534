// On the audio thread: `capture` hands on what the microphone hears; `bridge` is both ends of a live stream.

const QUANTUM = 128;
const LONGEST_S = 0.5; // that an automatic buffer grows to

registerProcessor('capture', class extends AudioWorkletProcessor {
  #block = new Float32Array(4096);
  #filled = 0;

  process([input]) {
    const x = input[0];
    if (!x) return true;
    this.#block.set(x, this.#filled);
    this.#filled += x.length;
    if (this.#filled === this.#block.length) {
      this.port.postMessage(this.#block, [this.#block.buffer]);
      this.#block = new Float32Array(4096);
      this.#filled = 0;
    }
    return true;
  }
});

/**
 * Sends blocks of the input to the wire and plays what comes back, on the clock of this audio context.
 *
 * Sample n of the input is heard at n + delay + latency: `delay` is the way to the server and back with the play-out
 * buffer, `latency` the method's. What has not come back in time is replaced by the input at the very same delay, so
 * the stream never stands still; each such gap is counted as a drop-out. An automatic buffer grows, and the delay with
 * it, while the first blocks come late and after two drop-outs within 5 s; otherwise the delay is constant.
 */
registerProcessor('bridge', class extends AudioWorkletProcessor {
  #size = 2 ** 19; // samples in the rings: 10 s at 48 kHz
  #dry = new Float32Array(this.#size);
  #wet = new Float32Array(this.#size);
  #wetEnd = 0; // what has come back ends here
  #wetFrom = Infinity; // and is good from here on
  #now = 0; // samples captured
  #block;
  #filled = 0;
  #wire = null;
  #delay;
  #latency = 0;
  #mix = 0; // share of wet in the output
  #settled = false; // has anything that came back been played? before that, a gap is the start
  #there = true; // was the last quantum one that had come back?
  #mute = false;
  #record = null;
  #dropouts = 0;
  #missing = 0;
  #slack = Infinity;
  #automatic;
  #late = []; // times of late gaps
  #meter = { in: 0, out: 0, count: 0 };

  constructor({ processorOptions: { block, delay, automatic } }) {
    super();
    this.#block = new Float32Array(block);
    this.#delay = Math.max(delay, block + QUANTUM);
    this.#automatic = automatic;
    this.port.onmessage = ({ data }) => this.#told(data);
  }

  #told(message) {
    if (message.type === 'wire') {
      this.#wire = message.port;
      this.#wire.onmessage = ({ data }) => this.#came(data);
    } else if (message.type === 'delay') {
      this.#automatic = message.automatic;
      this.#delay = Math.max(message.samples, this.#block.length + QUANTUM);
    } else if (message.type === 'mute') this.#mute = message.on;
    else if (message.type === 'record') this.#record = message.on ? { start: this.#now, before: [], after: [] } : null;
    else if (message.type === 'stop') this.#wire?.close();
  }

  /** From the wire: a block that came back, or news of the connection. */
  #came(message) {
    if (message.type === 'ready') {
      // The stream begins anew with block `index`; its first `latency` samples are only padding.
      this.#latency = message.latency;
      this.#wetFrom = message.index * this.#block.length + (message.index ? message.latency : 0);
      this.#wetEnd = message.index * this.#block.length;
    } else if (message.type === 'lost') {
      this.#wetFrom = Infinity;
    } else {
      const start = message.index * this.#block.length;
      if (start > this.#wetEnd) this.#wetFrom = start; // blocks between were lost
      for (let i = 0; i < message.samples.length; i++) this.#wet[(start + i) % this.#size] = message.samples[i];
      this.#wetEnd = start + message.samples.length;
      const slack = start + this.#delay - this.#now;
      this.#slack = Math.min(this.#slack, slack);
      // At the start, the first blocks tell how long the way is.
      if (!this.#settled && slack < QUANTUM) this.#wait(message.samples.length - slack);
    }
  }

  process([input], [output]) {
    const n = output[0].length, x = input[0];
    for (let i = 0; i < n; i++) this.#dry[(this.#now + i) % this.#size] = x ? x[i] : 0;
    this.#now += n;
    this.#send(n);
    this.#play(n, output);
    return true;
  }

  #send(n) {
    for (let i = this.#now - n; i < this.#now; i++) {
      this.#block[this.#filled++] = this.#dry[i % this.#size];
      if (this.#filled === this.#block.length) {
        const index = (i + 1) / this.#block.length - 1, samples = this.#block.slice();
        this.#wire?.postMessage({ index, samples }, [samples.buffer]);
        this.#filled = 0;
      }
    }
  }

  #play(n, output) {
    const first = this.#now - n - this.#delay; // of the wet stream
    const there = first >= this.#wetFrom && first + n <= this.#wetEnd;
    if (there && first > 0) this.#settled = true;
    if (!there && this.#settled) this.#gap(n);
    this.#there = there;
    const step = 1 / (0.01 * sampleRate);
    const out = output[0], meter = this.#meter;
    const before = this.#record ? new Float32Array(n) : null;
    for (let i = 0; i < n; i++) {
      const w = first + i, d = w - this.#latency;
      const dry = d >= 0 ? this.#dry[d % this.#size] : 0;
      // From the very start of a stream there is nothing to fade from.
      if (there) this.#mix = this.#settled ? Math.min(1, this.#mix + step) : 1;
      out[i] = there ? dry + this.#mix * (this.#wet[w % this.#size] - dry) : dry;
      if (there && this.#mix === 1) out[i] = this.#wet[w % this.#size];
      meter.in += dry * dry;
      meter.out += out[i] * out[i];
      if (before) before[i] = dry;
    }
    if (!there) this.#mix = 0;
    if (this.#record) this.#keep(before, out.slice());
    if (this.#mute) out.fill(0);
    for (let c = 1; c < output.length; c++) output[c].set(out);
    meter.count += n;
    if (meter.count >= sampleRate / 20) this.#report();
  }

  /** A block is not here in time: count it, and after two within 5 s wait longer from now on. */
  #gap(n) {
    this.#missing += n;
    if (!this.#there) return;
    this.#dropouts += 1;
    if (!Number.isFinite(this.#wetFrom)) return; // the connection is lost: waiting would not help
    this.#late = [...this.#late.filter((t) => currentTime - t < 5), currentTime];
    if (this.#late.length < 2) return;
    this.#late = [];
    this.#wait(0.02 * sampleRate);
  }

  #wait(samples) {
    if (this.#automatic) this.#delay = Math.min(Math.round(LONGEST_S * sampleRate), Math.round(this.#delay + samples));
  }

  #keep(before, after) {
    this.#record.before.push(before);
    this.#record.after.push(after);
    if (this.#record.before.length < 64) return;
    this.port.postMessage({ type: 'recorded', ...this.#record });
    this.#record = { start: this.#now, before: [], after: [] };
  }

  #report() {
    const { in: a, out: b, count } = this.#meter;
    this.port.postMessage({
      type: 'meter', before: Math.sqrt(a / count), after: Math.sqrt(b / count), dropouts: this.#dropouts,
      missing: this.#missing, delay: this.#delay, latency: this.#latency, slack: this.#slack, now: this.#now,
      wet: this.#mix === 1,
    });
    this.#meter = { in: 0, out: 0, count: 0 };
    this.#slack = Infinity;
  }
});
