// The three tracks: waveforms by wavesurfer.js, spectrograms on canvases, one loop region and one cursor for all.

import WaveSurfer from './vendor/wavesurfer.js';
import Regions from './vendor/regions.js';

const NAMES = ['before', 'after', 'removed'];
const SHORTEST_S = 0.2;

/** What wavesurfer takes for a media element: the player's clock. */
class Clock extends EventTarget {
  src = ''; currentSrc = ''; volume = 1; muted = false; playbackRate = 1; seeking = false; ended = false; readyState = 4;
  #player;

  constructor(player) {
    super();
    this.#player = player;
    for (const name of ['play', 'pause', 'timeupdate']) player.addEventListener(name, () => this.dispatchEvent(new Event(name)));
  }

  get currentTime() { return this.#player.position; }
  set currentTime(seconds) { this.#player.seek(seconds); }
  get duration() { return this.#player.duration || NaN; }
  get paused() { return !this.#player.playing; }
  play() { return this.#player.play(); }
  pause() { this.#player.stop(); }
  load() {}
  remove() {}
  removeAttribute() {}
  canPlayType() { return ''; }
}

export class Waves extends EventTarget {
  #player;
  #tracks = {};
  #region = null; // [from, to]
  #mirroring = false;

  constructor(player, figures) {
    super();
    this.#player = player;
    for (const figure of figures) this.#tracks[figure.dataset.track] = { figure, canvas: figure.querySelector('canvas') };
    player.addEventListener('timeupdate', () => this.#heads());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#recolour());
  }

  /** Columns of a spectrogram at this window's size. */
  get columns() {
    return Math.max(100, Math.min(1400, Math.round(this.#tracks.before.canvas.clientWidth * Math.min(devicePixelRatio, 2))));
  }

  get points() { return Math.max(100, Math.min(2400, this.#tracks.before.canvas.clientWidth)); }

  #colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

  #recolour() {
    for (const name of NAMES) {
      const colour = this.#colour(name);
      this.#tracks[name].wave?.setOptions({ waveColor: colour, progressColor: colour, cursorColor: this.#colour('text') });
      this.#tracks[name].region?.setOptions({ color: this.#colour('region') });
    }
  }

  /** New pictures, as the worker drew them; `height` is the sample value that fills a waveform. */
  draw(pictures, height) {
    for (const name of NAMES) {
      const track = this.#tracks[name], { peaks, levels, columns, rows } = pictures[name];
      const scaled = peaks.map((side) => side.map((v) => Math.min(1, v / height)));
      if (!track.wave) this.#make(track, name, scaled);
      else track.wave.setOptions({ peaks: scaled, duration: this.#player.duration });
      paint(track.canvas, levels, columns, rows);
    }
    this.#heads();
  }

  #make(track, name, peaks) {
    const colour = this.#colour(name);
    track.regions = Regions.create();
    track.wave = WaveSurfer.create({
      container: track.figure.querySelector('.wave'), height: 62, waveColor: colour, progressColor: colour,
      cursorColor: this.#colour('text'), cursorWidth: 2, barWidth: 2, barGap: 1, barRadius: 2, hideScrollbar: true,
      maxPeak: 1, peaks, duration: this.#player.duration, media: new Clock(this.#player), plugins: [track.regions],
      cspNonce: document.querySelector('meta[property=csp-nonce]').content,
    });
    track.regions.enableDragSelection({ color: this.#colour('region'), minLength: SHORTEST_S });
    track.regions.on('region-created', (region) => this.#edited(track, region));
    track.regions.on('region-updated', (region) => this.#edited(track, region));
    track.regions.on('region-double-clicked', () => this.#chosen(null));
    track.canvas.parentElement.addEventListener('click', (event) => {
      const box = track.canvas.getBoundingClientRect();
      this.#player.seek((event.clientX - box.left) / box.width * this.#player.duration);
    });
  }

  #edited(track, region) {
    if (this.#mirroring) return;
    if (track.region && track.region !== region) { const old = track.region; track.region = null; old.remove(); }
    track.region = region;
    this.#chosen(region.end - region.start >= SHORTEST_S ? [region.start, region.end] : null);
  }

  #chosen(span) {
    this.setRegion(span);
    this.dispatchEvent(new CustomEvent('region', { detail: span }));
  }

  /** Show a region on all tracks, or none. */
  setRegion(span) {
    this.#region = span;
    this.#mirroring = true;
    for (const name of NAMES) {
      const track = this.#tracks[name];
      if (!track.wave) continue;
      if (!span) { track.region?.remove(); track.region = null; }
      else if (track.region) track.region.setOptions({ start: span[0], end: span[1] });
      else track.region = track.regions.addRegion({ start: span[0], end: span[1], color: this.#colour('region'), minLength: SHORTEST_S });
    }
    this.#mirroring = false;
  }

  /** Mark the track that is heard. */
  mark(listen) {
    for (const name of NAMES) this.#tracks[name].figure.classList.toggle('heard', name === listen);
  }

  labels(axis) {
    for (const name of NAMES) {
      this.#tracks[name].figure.querySelector('.axis').replaceChildren(...axis.map(([text, height]) => {
        const label = Object.assign(document.createElement('i'), { textContent: text });
        label.style.bottom = `${100 * height}%`;
        return label;
      }));
    }
  }

  #heads() {
    const share = this.#player.duration ? this.#player.position / this.#player.duration : 0;
    for (const name of NAMES) {
      const { figure, canvas } = this.#tracks[name];
      figure.querySelector('.head').style.transform = `translateX(${share * canvas.clientWidth}px)`;
    }
  }
}

// -- colours of the spectrogram -----------------------------------------------------------------

// Dark to light, evenly bright steps (after matplotlib's "magma", by Smith and van der Walt, CC0).
const STOPS = [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191]];

const COLOURS = Uint32Array.from({ length: 256 }, (_, level) => {
  const at = level / 255 * (STOPS.length - 1), i = Math.min(STOPS.length - 2, Math.floor(at)), t = at - i;
  const [r, g, b] = STOPS[i].map((v, c) => Math.round(v + t * (STOPS[i + 1][c] - v)));
  return 0xff000000 | b << 16 | g << 8 | r;
});

function paint(canvas, levels, columns, rows) {
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const pixels = new Uint32Array(levels.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = COLOURS[levels[i]];
  canvas.getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows), 0, 0);
}
