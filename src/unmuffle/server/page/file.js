// The file tab: a file goes to the server, before and after come back, and everything else happens here.

import { decodeWav, encodeWav } from './wav.js';
import { describe, fillMethods, PRESETS, REPAIRS } from './presets.js';
import { decibels, gains, mixed, position, strengthText } from './mix.js';
import { filenameOf, job, save, ServerError } from './api.js';
import { loudness } from './loudness.js';
import { Player } from './player.js';
import { Recorder } from './microphone.js';
import { scoredSpan, scoresOf, showScores } from './scores.js';
import { Waves } from './waves.js';

const $ = (id) => document.getElementById(id);
const MOST_MATCH_DB = 24;

const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, '0')}`;
const megabytes = (bytes) => (bytes < 1e5 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

export class FilePanel {
  player = new Player();
  file = null;
  sound = null; // { rate, before, after, view, energies }
  #limits = null;
  #methods = null;
  #waves;
  #analysis = null;
  #id = 0;
  #drawing = false;
  #drawAgain = false;
  #work = null; // AbortController of what goes on
  #scoring = null;
  #scored = null;
  #again = null;
  #recorder = null;
  #loop = null;

  constructor() {
    this.#waves = new Waves(this.player, document.querySelectorAll('.track'));
    this.#waves.addEventListener('region', ({ detail }) => this.setLoop(detail));
    this.#fill();
    this.#choosing();
    this.#listening();
    this.#keys();
    $('cancel').addEventListener('click', () => this.#work?.abort());
    $('again').addEventListener('click', () => { const act = this.#again; this.#close(); act?.(); });
    $('dismiss').addEventListener('click', () => this.#close());
    $('download').addEventListener('click', () => this.download());
    $('download-removed').addEventListener('click', () => this.#saveRemoved());
    $('score-again').addEventListener('click', () => this.score());
  }

  /** What /about and /methods said. */
  know(limits, methods) {
    this.#limits = limits;
    this.#methods = methods;
    fillMethods($('method'), methods);
    $('drop-limit').textContent = `up to ${megabytes(limits.upload_bytes)}`;
    const available = new Set(['auto', ...methods.methods.filter((row) => row.available).map((row) => row.name)]);
    for (const { id, method } of PRESETS) {
      $(`preset-${id}`).parentElement.hidden = !method.split('+').every((name) => available.has(name));
    }
    this.#describe();
  }

  #fill() {
    $('presets').replaceChildren(...PRESETS.map((preset, i) => {
      const label = document.createElement('label');
      const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'preset', id: `preset-${preset.id}`, value: preset.id, checked: i === 0 });
      label.append(input, Object.assign(document.createElement('span'), { textContent: preset.label }));
      input.addEventListener('change', () => this.#preset(preset));
      return label;
    }));
    $('repairs').replaceChildren(...REPAIRS.map(([name, text]) => {
      const label = Object.assign(document.createElement('label'), { className: 'check' });
      label.append(Object.assign(document.createElement('input'), { type: 'checkbox', value: name }), text);
      return label;
    }));
  }

  // -- what to do ---------------------------------------------------------------------------------

  #choosing() {
    const drop = $('drop');
    $('choose').addEventListener('click', () => $('picker').click());
    $('picker').addEventListener('change', () => { if ($('picker').files[0]) this.open($('picker').files[0]); $('picker').value = ''; });
    $('sample').addEventListener('click', async () => {
      const answer = await fetch('/page/sample.flac');
      this.open(new File([await answer.blob()], 'sample.flac'));
    });
    $('record').addEventListener('click', () => this.#record());
    let inside = 0;
    const over = (on) => { inside = Math.max(0, inside + (on ? 1 : -1)); drop.classList.toggle('over', inside > 0); };
    addEventListener('dragenter', () => over(true));
    addEventListener('dragleave', () => over(false));
    addEventListener('dragover', (event) => event.preventDefault());
    addEventListener('drop', (event) => {
      event.preventDefault();
      inside = 0;
      drop.classList.remove('over');
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
    $('options').addEventListener('submit', (event) => event.preventDefault());
    $('method').addEventListener('change', () => this.#changed());
    $('repairs').addEventListener('change', () => this.#changed());
  }

  #preset({ method, repair, db }) {
    $('method').value = method;
    for (const box of $('repairs').querySelectorAll('input')) box.checked = repair.includes(box.value);
    $('strength').value = position(db);
    this.#describe();
    this.#mix();
    if (this.file) this.enhance();
  }

  #changed() {
    for (const input of document.querySelectorAll('input[name=preset]')) input.checked = false;
    this.#describe();
    if (this.file) this.enhance();
  }

  #describe() { if (this.#methods) $('method-summary').textContent = describe($('method').value, this.#methods); }

  async #record() {
    const button = $('record');
    if (this.#recorder) {
      const recorder = this.#recorder;
      this.#recorder = null;
      button.setAttribute('aria-pressed', 'false');
      $('record-text').textContent = 'Record';
      try { await this.open(await recorder.stop()); } catch (error) { this.fail(error); }
      return;
    }
    try {
      this.#close();
      const recorder = await Recorder.start();
      this.#recorder = recorder;
      button.setAttribute('aria-pressed', 'true');
      const show = () => {
        if (this.#recorder !== recorder) return;
        $('record-text').textContent = `Stop (${clock(recorder.seconds)})`;
        setTimeout(show, 200);
      };
      show();
    } catch (error) {
      this.fail(error, () => this.#record());
    }
  }

  /** A file, from wherever it came. */
  async open(file) {
    this.#close();
    if (this.#limits && file.size > this.#limits.upload_bytes) {
      this.fail(new Error(`${file.name} has ${megabytes(file.size)}; this server takes ${megabytes(this.#limits.upload_bytes)}. Cut it, or compress it as flac or opus.`));
      return;
    }
    if (!file.size) { this.fail(new Error(`${file.name} is empty.`)); return; }
    this.file = file;
    await this.enhance();
  }

  /** The options as the server wants them. */
  query(extra = {}) {
    const repair = [...$('repairs').querySelectorAll('input:checked')].map((box) => box.value);
    const asked = { filename: this.file.name, method: $('method').value, ...extra };
    if (repair.length) asked.repair = repair.join(',');
    return new URLSearchParams(asked).toString();
  }

  // -- the work -----------------------------------------------------------------------------------

  /** Before and after, to listen to. */
  async enhance() {
    const file = this.file;
    await this.#working(`Enhancing ${file.name}`, async (signal, told) => {
      const { view, body } = await job(`/listen?${this.query()}`, file, { signal, told });
      const { rate, channels } = decodeWav(await body.arrayBuffer());
      signal.throwIfAborted();
      if (!channels[0].length) throw new ServerError('There is no sound in it.', 'NotAudioError', 415);
      this.#show(file, view, rate, channels);
    }, () => this.enhance());
  }

  async #working(text, act, again) {
    this.#work?.abort();
    const mine = this.#work = new AbortController();
    this.#close();
    $('work').hidden = false;
    const told = (stage, share) => {
      const words = { upload: 'sending', queue: 'waiting for a free place', work: 'working' }[stage];
      $('work-text').textContent = `${text}: ${words}${share ? ` ${Math.round(100 * share)} %` : ''}`;
      if (share === null) $('work-bar').removeAttribute('value'); else $('work-bar').value = share;
    };
    told('upload', 0);
    try {
      await act(mine.signal, told);
    } catch (error) {
      if (error.name !== 'AbortError') this.fail(error, again);
    } finally {
      if (this.#work === mine) { this.#work = null; $('work').hidden = true; }
    }
  }

  fail(error, again = null) {
    $('failure').hidden = false;
    $('failure-text').textContent = error.message;
    $('again').hidden = !again;
    this.#again = again;
    if (!(error instanceof ServerError) && error.constructor !== Error) console.error(error);
  }

  #close() {
    $('failure').hidden = true;
    this.#again = null;
  }

  // -- what came back -----------------------------------------------------------------------------

  #show(file, view, rate, channels) {
    const half = channels.length / 2, sides = [channels.slice(0, half), channels.slice(half)];
    const [before, after] = half <= 2 ? sides : sides.map((side) => [mean(side)]);
    const fresh = this.sound?.file !== file;
    this.sound = { file, rate, before, after, view, energies: null };
    if (fresh) this.setLoop(null);
    this.player.load(before, after, rate);
    $('result').hidden = false;
    $('drop').classList.add('small');
    this.#facts(file, view, half);
    this.#analyse();
    this.#mix();
    this.#clock();
    if (fresh) $('result-title').focus({ preventScroll: true });
    $('said').textContent = `${file.name} is ready, ${clock(this.player.duration)} long.`;
    this.score();
  }

  #facts(file, { result }, channels) {
    const sound = `${(result.sample_rate / 1000).toString()} kHz, ${channels === 1 ? 'mono' : channels === 2 ? 'stereo' : `${channels} channels`}`;
    $('result-title').textContent = file.name;
    const speed = result.seconds / Math.max(result.elapsed_s, 1e-6);
    const parts = [sound, `enhanced ${speed >= 10 ? Math.round(speed) : speed.toFixed(1)} times faster than it plays`];
    if (!result.complete) parts.unshift(`the first ${clock(result.seconds)}${result.duration_s ? ` of ${clock(result.duration_s)}` : ''}`);
    if (channels > 2) parts.push('you hear the mean of all channels');
    $('result-facts').textContent = parts.join(' · ');
    $('save-facts').textContent = `The ${result.complete ? '' : 'whole '}file, in its own format, at the strength that is set.`;
    $('length').textContent = clock(this.player.duration);
    $('position').max = this.player.duration;
    for (const id of ['loop-from', 'loop-to']) $(id).max = this.player.duration.toFixed(1);
    if (!this.#loop) { $('loop-from').value = 0; $('loop-to').value = this.player.duration.toFixed(1); }
  }

  #analyse() {
    this.#analysis ??= this.#worker();
    const { rate, before, after } = this.sound;
    this.#drawing = false;
    this.#analysis.postMessage({ type: 'load', id: ++this.#id, rate, before, after, columns: this.#waves.columns });
    this.#draw();
  }

  #worker() {
    const worker = new Worker('/page/analysis.js', { type: 'module' });
    worker.onmessage = ({ data }) => {
      if (data.id !== this.#id) return;
      if (data.type === 'loaded') {
        this.sound.energies = data.energies;
        this.#waves.labels(data.axis);
        this.#match();
        return;
      }
      const height = Math.max(0.02, ...data.pictures.before.peaks.map((side) => side.reduce((a, b) => Math.max(a, b), 0)));
      this.#waves.draw(data.pictures, height);
      this.#waves.setRegion(this.#loop);
      this.#drawing = false;
      this.drawn = (this.drawn ?? 0) + 1;
      if (this.#drawAgain) this.#draw();
    };
    let timer = 0;
    addEventListener('resize', () => { clearTimeout(timer); timer = setTimeout(() => { if (this.sound) this.#draw(); }, 200); });
    return worker;
  }

  /** New pictures; one order at a time, the last one counts. */
  #draw() {
    this.#drawAgain = this.#drawing;
    if (this.#drawing) return;
    this.#drawing = true;
    this.#analysis.postMessage({ type: 'draw', id: this.#id, db: this.db, columns: this.#waves.columns, points: this.#waves.points });
  }

  // -- listening ----------------------------------------------------------------------------------

  get db() { return decibels(Number($('strength').value)); }
  get listen() { return document.querySelector('input[name=listen]:checked').value; }

  #listening() {
    const { player } = this;
    $('play').addEventListener('click', () => (player.playing ? player.stop() : player.play()));
    const state = () => {
      $('play').setAttribute('aria-pressed', String(player.playing));
      $('play').setAttribute('aria-label', player.playing ? 'Pause' : 'Play');
    };
    player.addEventListener('play', state);
    player.addEventListener('pause', state);
    player.addEventListener('timeupdate', () => this.#clock());
    $('position').addEventListener('input', () => player.seek(Number($('position').value)));
    $('listen').addEventListener('change', () => this.#mix(false));
    $('strength').addEventListener('input', () => this.#mix());
    $('match').addEventListener('change', () => this.#match());
    $('loop').addEventListener('change', () => this.setLoop($('loop').checked ? this.#typed() : null));
    for (const id of ['loop-from', 'loop-to']) $(id).addEventListener('change', () => this.setLoop(this.#typed()));
    $('loop-whole').addEventListener('click', () => this.setLoop([0, player.duration]));
    for (const figure of document.querySelectorAll('.track figcaption')) {
      figure.addEventListener('click', () => this.#choose(figure.parentElement.dataset.track));
    }
  }

  #keys() {
    addEventListener('keydown', (event) => {
      if (!this.sound || $('panel-file').hidden || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.matches('input:not([type=radio]):not([type=checkbox]):not([type=range]), select, textarea')) return;
      const act = {
        ' ': () => $('play').click(), 1: () => this.#choose('before'), 2: () => this.#choose('after'),
        3: () => this.#choose('removed'), l: () => $('loop').click(),
      }[event.key.toLowerCase()];
      // Space is also how buttons and boxes are pressed.
      if (!act || (event.key === ' ' && event.target.matches('button, summary, input[type=checkbox], input[type=radio], a'))) return;
      event.preventDefault();
      act();
    });
  }

  #choose(listen) {
    document.querySelector(`input[name=listen][value=${listen}]`).checked = true;
    this.#mix(false);
  }

  /** The strength or what is heard has changed. */
  #mix(pictures = true) {
    const text = strengthText(this.db);
    $('strength-text').textContent = text;
    $('strength').setAttribute('aria-valuetext', text);
    if (!this.sound) return;
    this.player.set({ listen: this.listen, db: this.db });
    this.#waves.mark(this.listen);
    this.#match();
    if (pictures) {
      this.#draw();
      if (this.#scored) $('score-again').hidden = this.#scored.db === this.db;
    }
  }

  /** Turn the louder side down until both are equally loud in the loop. */
  #match() {
    const energies = this.sound?.energies;
    if (!energies) return;
    let match = [1, 1], text = '';
    if ($('match').checked) {
      const [from, to] = this.#loop ?? [0, Infinity];
      const difference = loudness(energies, gains('before', this.db), from, to) - loudness(energies, gains('after', this.db), from, to);
      if (Number.isFinite(difference)) {
        const db = Math.max(-MOST_MATCH_DB, Math.min(MOST_MATCH_DB, difference));
        match = db > 0 ? [10 ** (-db / 20), 1] : [1, 10 ** (db / 20)];
        text = Math.abs(db) < 0.05 ? '' : `${db > 0 ? 'before' : 'after'} is played ${Math.abs(db).toFixed(1)} dB softer`;
      }
    }
    $('match-text').textContent = text;
    this.player.set({ match });
  }

  #typed() {
    const [from, to] = ['loop-from', 'loop-to'].map((id) => Number($(id).value));
    const { duration } = this.player;
    const first = Math.max(0, Math.min(from, duration - 0.2));
    return [first, Math.max(first + 0.2, Math.min(to, duration))];
  }

  /** Loop over `[from, to]`, or not at all (`null`). */
  setLoop(span) {
    this.#loop = span;
    $('loop').checked = span !== null;
    if (span) [$('loop-from').value, $('loop-to').value] = span.map((s) => s.toFixed(2));
    this.#waves.setRegion(span);
    this.player.setLoop(span);
    this.#match();
  }

  get loop() { return this.#loop; }

  #clock() {
    const at = this.player.position;
    $('clock').textContent = clock(at);
    $('position').value = at;
    $('position').setAttribute('aria-valuetext', `${at.toFixed(1)} of ${this.player.duration.toFixed(1)} seconds`);
  }

  // -- scores and downloads -----------------------------------------------------------------------

  /** Score the loop, or the beginning, before and after at this strength. */
  async score() {
    this.#scoring?.abort();
    const { signal } = this.#scoring = new AbortController();
    const { sound, db } = this, span = scoredSpan(this.#loop, this.player.duration);
    const body = $('scores');
    this.#scored = { db };
    $('score-again').hidden = true;
    $('scores-of').textContent = `${clock(span[0])} to ${clock(span[1])}, strength: ${strengthText(db)}`;
    $('scores-note').textContent = '';
    showScores(body, null, null);
    try {
      const before = await scoresOf(sound.before, sound.rate, span, signal);
      showScores(body, before, null);
      const after = await scoresOf(mixed('after', db, sound.before, sound.after), sound.rate, span, signal);
      showScores(body, before, after);
      this.scores = { before, after };
      $('scores-note').textContent = before.dnsmos_missing ?? after.dnsmos_missing ?? 'DNSMOS is what a network thinks listeners would say; trust your ears first.';
    } catch (error) {
      if (error.name === 'AbortError') return;
      body.replaceChildren();
      $('scores-note').textContent = `No scores: ${error.message}`;
    }
  }

  /** The whole file at this strength, as the command line would write it. */
  async download() {
    const { file, db } = this, to = $('format').value;
    await this.#working(`Preparing ${file.name}`, async (signal, told) => {
      const extra = { ...(db === Infinity ? {} : { strength: db }), ...(to ? { to } : {}) };
      const { body, disposition } = await job(`/jobs?${this.query(extra)}`, file, { signal, told });
      save(body, filenameOf(disposition, 'enhanced.wav'));
      $('said').textContent = 'The download has begun.';
    }, () => this.download());
  }

  #saveRemoved() {
    const { rate, before, after } = this.sound;
    const stem = this.file.name.replace(/\.[^.]*$/, '');
    save(encodeWav(mixed('removed', this.db, before, after), rate), `${stem}.removed.wav`);
  }
}

function mean(channels) {
  const out = new Float32Array(channels[0].length);
  for (const x of channels) for (let i = 0; i < out.length; i++) out[i] += x[i] / channels.length;
  return out;
}
