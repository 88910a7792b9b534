// In a worker: the WebSocket of a live stream, between the audio thread (a MessagePort) and the server.
// The page may be busy drawing; the samples do not pass through it.

const NORMAL = 1000;
const LAST_WORDS = new Set([1008, 1009]); // the server will say the same again
const AHEAD_S = 1; // unsent sound beyond which blocks are left out

let settings = null, wire = null, socket = null, ready = false, wait = 500, timer = 0, stats = 0, fault = null;

self.onmessage = ({ data }) => {
  if (data.type === 'start') {
    settings = data;
    wire = data.port;
    wire.onmessage = (event) => send(event.data);
    connect();
  } else if (data.type === 'say') {
    Object.assign(settings.hello, data.remember);
    if (ready) socket.send(JSON.stringify(data.message));
  } else if (data.type === 'stop') {
    clearTimeout(timer);
    clearInterval(stats);
    settings = null;
    if (ready) socket.send('{"type": "bye"}');
    socket?.close(NORMAL);
    wire?.close();
    self.close();
  }
};

function connect() {
  ready = false;
  fault = null;
  socket = new WebSocket(settings.url);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', ...settings.hello }));
  socket.onmessage = ({ data }) => { if (typeof data === 'string') heard(JSON.parse(data)); else back(data); };
  socket.onclose = (event) => closed(event);
}

function heard(message) {
  if (message.type === 'ready') {
    ready = 'waiting'; // for the next block, where the stream begins
    wait = 500;
    settings.latency = message.latency_samples;
    clearInterval(stats);
    stats = setInterval(() => { if (ready === true) socket.send('{"type": "stats"}'); }, 1000);
  } else if (message.type === 'error') {
    fault = message;
  }
  self.postMessage({ type: 'heard', message });
}

function send({ index, samples }) {
  if (!ready) return;
  if (ready === 'waiting') {
    // A stream that begins with the sound has no padding to skip.
    wire.postMessage({ type: 'ready', index, latency: settings.latency });
    ready = true;
    self.postMessage({ type: 'begun', index });
  }
  if (socket.bufferedAmount > AHEAD_S * 4 * settings.hello.rate) return;
  const data = new Uint8Array(4 + samples.byteLength);
  new DataView(data.buffer).setUint32(0, index, true);
  data.set(new Uint8Array(samples.buffer), 4);
  socket.send(data);
}

function back(data) {
  const index = new DataView(data).getUint32(0, true), samples = new Float32Array(data.slice(4));
  wire.postMessage({ type: 'block', index, samples }, [samples.buffer]);
}

function closed({ code }) {
  clearInterval(stats);
  if (!settings) return;
  wire.postMessage({ type: 'lost' });
  ready = false;
  if (LAST_WORDS.has(code) && fault) {
    self.postMessage({ type: 'refused', fault });
    return;
  }
  const seconds = fault?.retry_after_s ?? wait / 1000;
  self.postMessage({ type: 'lost', fault, seconds });
  timer = setTimeout(connect, 1000 * seconds);
  wait = Math.min(4000, 2 * wait);
}
