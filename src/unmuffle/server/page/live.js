// The live tab: microphone -> audio thread -> worker -> server, and back to the loudspeaker on the same clock.

import { closeMicrophone, join, openMicrophone } from './microphone.js';
import { decibels, strengthText } from './mix.js';
import { encodeWav } from './wav.js';
import { fillMethods } from './presets.js';
import { key, save } from './api.js';

const $ = (id) => document.getElementById(id);
const BLOCK_S = 0.01;
const FIRST_DELAY_S = 0.05;
const HISTORY = 400; // reports of 50 ms

const REASONS = { error: 'has failed', 'non-finite': 'has failed', behind: 'is too slow for this server' };

const toDb = (x) => (x > 1e-6 ? 20 * Math.log10(x) : -120);
const ms = (s) => `${(1000 * s).toFixed(s < 0.1 ? 1 : 0)} ms`;

export class LivePanel {
  running = null;
  recorded = null; // { rate, start: sample, before: [pieces], after: [pieces] }
  last = {};
  #history = [];

  constructor() {
    $('live-start').addEventListener('click', () => (this.running ? this.stop() : this.start()));
    $('live-method').addEventListener('change', () => { if (this.running) this.restart(); });
    $('live-input').addEventListener('change', () => { if (this.running) this.restart(); });
    $('live-strength').addEventListener('input', () => this.#strength());
    $('live-bypass').addEventListener('change', () => this.#say({ type: 'bypass', on: $('live-bypass').checked }, { bypass: $('live-bypass').checked }));
    $('live-mute').addEventListener('change', () => this.#tell({ type: 'mute', on: $('live-mute').checked }));
    $('live-buffer').addEventListener('change', () => this.#tell({ type: 'delay', ...this.#delay() }));
    $('live-record').addEventListener('change', () => this.#record($('live-record').checked));
    for (const side of ['in', 'out']) $(`live-save-${side}`).addEventListener('click', () => this.#save(side === 'in' ? 'before' : 'after'));
    new ResizeObserver(() => this.#picture()).observe($('live-history'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#picture());
  }

  know(methods) { fillMethods($('live-method'), methods, true); }

  get db() { return decibels(Number($('live-strength').value)); }

  #delay(rate = this.running?.context.sampleRate ?? 48000) {
    const chosen = $('live-buffer').value;
    return { samples: Math.round((chosen ? Number(chosen) / 1000 : FIRST_DELAY_S) * rate), automatic: !chosen };
  }

  async start() {
    this.#fail('');
    $('live-start').disabled = true;
    try {
      const stream = await openMicrophone($('live-input').value);
      this.running = { stream };
      await this.#begin(stream);
      await this.#devices();
      $('live-start').textContent = 'Stop';
    } catch (error) {
      await this.stop();
      this.#fail(error.message);
    } finally {
      $('live-start').disabled = false;
    }
  }

  async restart() {
    await this.stop();
    await this.start();
  }

  async #begin(stream) {
    const context = new AudioContext({ latencyHint: 'interactive' });
    const rate = context.sampleRate, block = Math.round(BLOCK_S * rate);
    Object.assign(this.running, { context, block, input: stream.getAudioTracks()[0].getSettings().latency ?? 0 });
    await context.audioWorklet.addModule('/page/worklets.js');
    const { samples, automatic } = this.#delay(rate);
    const node = new AudioWorkletNode(context, 'bridge', {
      channelCount: 1, channelCountMode: 'explicit', outputChannelCount: [2],
      processorOptions: { block, delay: samples, automatic },
    });
    const worker = new Worker('/page/live-worker.js', { type: 'module' });
    Object.assign(this.running, { node, worker });
    node.port.onmessage = ({ data }) => this.#heardBridge(data);
    worker.onmessage = ({ data }) => this.#heardWorker(data);
    node.port.postMessage({ type: 'mute', on: $('live-mute').checked });
    if ($('live-record').checked) this.#record(true);
    const wire = new MessageChannel();
    node.port.postMessage({ type: 'wire', port: wire.port1 }, [wire.port1]);
    const hello = {
      rate, channels: 1, method: $('live-method').value, block_size: block, bypass: $('live-bypass').checked,
      strength: this.db === Infinity ? null : this.db, ...(key.get() ? { key: key.get() } : {}),
    };
    const url = `${location.origin.replace(/^http/, 'ws')}/stream`;
    worker.postMessage({ type: 'start', url, hello, port: wire.port2 }, [wire.port2]);
    this.#history = [];
    this.#state('Connecting …');
    context.createMediaStreamSource(stream).connect(node).connect(context.destination);
    stream.getAudioTracks()[0].addEventListener('ended', () => { this.stop(); this.#fail('The microphone has gone.'); });
    await context.resume();
  }

  async #devices() {
    const found = await navigator.mediaDevices.enumerateDevices();
    const chosen = $('live-input').value;
    const inputs = found.filter((d) => d.kind === 'audioinput' && d.deviceId && d.deviceId !== 'default');
    $('live-input').replaceChildren(new Option('default', ''), ...inputs.map((d) => new Option(d.label || 'microphone', d.deviceId)));
    $('live-input').value = inputs.some((d) => d.deviceId === chosen) ? chosen : '';
  }

  async stop() {
    const was = this.running;
    this.running = null;
    if (!was) return;
    was.worker?.postMessage({ type: 'stop' });
    was.node?.port.postMessage({ type: 'stop' });
    closeMicrophone(was.stream);
    await was.context?.close();
    $('live-start').textContent = 'Start';
    this.#state('Not running.');
  }

  #tell(message) { this.running?.node?.port.postMessage(message); }

  #say(message, remember) { this.running?.worker?.postMessage({ type: 'say', message, remember }); }

  #strength() {
    const text = strengthText(this.db);
    $('live-strength-text').textContent = text;
    $('live-strength').setAttribute('aria-valuetext', text);
    const db = this.db === Infinity ? null : this.db;
    this.#say({ type: 'strength', db }, { strength: db });
  }

  #state(text) { $('live-state').textContent = text; }

  #fail(text) {
    $('live-failure').hidden = !text;
    $('live-failure').textContent = text;
  }

  // -- what is heard ------------------------------------------------------------------------------

  #heardWorker(data) {
    if (!this.running) return;
    if (data.type === 'heard') {
      const { message } = data;
      if (message.type === 'ready') {
        this.running.ready = message;
        this.#fail('');
        this.#running();
      } else if (message.type === 'stats') {
        this.last.stats = message;
        $('live-server').textContent = `${message.server_ms.p50.toFixed(1)} / ${message.server_ms.p99.toFixed(1)} ms`;
      } else if (message.type === 'switched') {
        this.last.switched = message;
        if (message.to === 'main') this.#running();
        else this.#state(`${this.running.ready.method} ${REASONS[message.reason]}: ${message.method === 'identity' ? 'you hear the input' : `${message.method} goes on`} at the same delay.`);
      } else if (message.type === 'draining') this.#state('The server is about to stop.');
      else if (message.type === 'error') this.#fail(message.error);
    } else if (data.type === 'begun') {
      this.running.begun = data.index;
    } else if (data.type === 'lost') {
      this.last.lost = (this.last.lost ?? 0) + 1;
      this.#state('The connection is lost; you hear the input at the same delay. Trying again.');
      if (data.fault) this.#fail(data.fault.error);
    } else if (data.type === 'refused') {
      this.stop();
      this.#fail(data.fault.error);
    }
  }

  #running() {
    const { method, rate, block_size: block } = this.running.ready;
    this.#state(`Running: ${method} at ${rate / 1000} kHz, blocks of ${1000 * block / rate} ms.`);
  }

  #heardBridge(data) {
    if (!this.running) return;
    if (data.type === 'recorded') {
      this.recorded.start ??= data.start;
      this.recorded.before.push(...data.before);
      this.recorded.after.push(...data.after);
    } else if (data.type === 'meter') {
      Object.assign(this.last, data);
      this.#history = [...this.#history.slice(1 - HISTORY), [toDb(data.before), toDb(data.after), data.dropouts]];
      this.#facts(data);
      this.#picture();
    }
  }

  #facts({ before, after, dropouts, missing, delay, latency, slack }) {
    const { context, input } = this.running, rate = context.sampleRate;
    const device = input + (context.baseLatency || 0) + (context.outputLatency || 0);
    const [levelIn, levelOut] = [toDb(before), toDb(after)];
    for (const [id, level] of [['in', levelIn], ['out', levelOut]]) {
      $(`meter-${id}`).style.transform = `scaleX(${Math.max(0, Math.min(1, 1 + level / 60))})`;
      $(`level-${id}`).textContent = level > -100 ? `${level.toFixed(0)} dBFS` : 'silence';
    }
    $('live-total').textContent = ms(device + (delay + latency) / rate);
    $('live-algorithm').textContent = ms(latency / rate);
    $('live-way').textContent = ms(delay / rate);
    $('live-device').textContent = ms(device);
    $('live-dropouts').textContent = dropouts ? `${dropouts} (${ms(missing / rate)})` : '0';
    if (Number.isFinite(slack)) $('live-margin').textContent = ms(slack / rate);
    $('live-reduction').textContent = levelIn > -90 ? `${Math.max(0, levelIn - levelOut).toFixed(1)} dB` : '–';
  }

  /** The levels of the last seconds: before as a line, after as an area, drop-outs as marks. */
  #picture() {
    const canvas = $('live-history'), ratio = Math.min(2, devicePixelRatio);
    if (!canvas.clientWidth) return; // the other tab is open
    const width = canvas.width = Math.round(canvas.clientWidth * ratio), height = canvas.height = Math.round(canvas.clientHeight * ratio);
    const context = canvas.getContext('2d'), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const x = (i) => width * (1 - (this.#history.length - 1 - i) / HISTORY), y = (db) => height * Math.min(1, Math.max(0, -db / 80));
    context.strokeStyle = colour('line');
    for (const db of [-20, -40, -60]) { context.beginPath(); context.moveTo(0, y(db)); context.lineTo(width, y(db)); context.stroke(); }
    if (this.#history.length < 2) return;
    const trace = (side) => { context.beginPath(); this.#history.forEach((point, i) => context.lineTo(x(i), y(point[side]))); };
    trace(1);
    context.lineTo(x(this.#history.length - 1), height);
    context.lineTo(x(0), height);
    context.fillStyle = colour('after');
    context.globalAlpha = 0.55;
    context.fill();
    context.globalAlpha = 1;
    trace(0);
    context.strokeStyle = colour('before');
    context.lineWidth = 2 * ratio;
    context.stroke();
    context.fillStyle = colour('bad');
    this.#history.forEach((point, i) => { if (i && point[2] > this.#history[i - 1][2]) context.fillRect(x(i) - ratio, 0, 2 * ratio, height); });
  }

  // -- recording both sides -------------------------------------------------------------------------

  #record(on) {
    this.#tell({ type: 'record', on });
    if (!this.running) return;
    if (on) this.recorded = { rate: this.running.context.sampleRate, before: [], after: [] };
    for (const side of ['in', 'out']) $(`live-save-${side}`).disabled = !this.recorded;
  }

  #save(side) {
    if (!this.recorded[side].length) return;
    save(encodeWav([join(this.recorded[side])], this.recorded.rate), `live.${side}.wav`);
  }
}
